import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sampleEvidence } from '../../test/evidence.js';
import type { Evidence } from '../evidence.js';
import { renderMarkdown } from './markdown.js';
import { renderTable } from './table.js';
import { visible, widthOf, wrap } from './terminal-text.js';

/** Names of the variants replaced, the verdicts left. */
function renamed(names: readonly string[]): Evidence {
  const evidence = sampleEvidence();
  return { ...evidence, variants: evidence.variants.map((v, i) => ({ ...v, name: names[i] ?? v.name })) };
}

describe('renderTable', () => {
  it.each([80, 90, 100, 120, 140, 200])('fits %i columns', (columns) => {
    for (const line of renderTable(sampleEvidence(), { columns }).split('\n'))
      expect(widthOf(line)).toBeLessThanOrEqual(columns);
  });

  it('has its numbers in line and its intervals behind them, where there is room', () => {
    const lines = renderTable(sampleEvidence(), { columns: 150 }).split('\n');
    expect(lines[0]).toMatch(/^ {2}Variant +Size +p50 +p95 +Speed-up +Top-1 +Drop +Cosine {2}Verdict$/);
    expect(lines[6]).toMatch(
      /^★ int8-static .* 3\.64 MB .* 1\.92× \(1\.88–1\.96\) .* 0\.3 pt \(−0\.3 to 0\.8\) .* recommended$/,
    );
    const ends = lines.slice(1, 8).map((l) => l.indexOf(' MB'));
    expect(new Set(ends).size).toBe(1);
  });

  it('keeps the intervals on a narrow terminal', () => {
    const text = renderTable(sampleEvidence(), { columns: 80 });
    expect(text).toMatch(/★ int8-static .*\n.*6\.67 ms {2}1\.88–1\.96 {2}92\.2–94\.4% {2}−0\.3 to 0\.8\n/);
  });

  it('tells the recommendation and every refusal', () => {
    const { recommendation, variants, refused } = sampleEvidence();
    const text = renderTable(sampleEvidence(), { columns: 100 }).replace(/\s+/g, ' ');
    expect(text).toContain(`★ Ship int8-static. ${recommendation.reason}`);
    for (const v of variants)
      if (v.verdict.status === 'refused') expect(text).toContain(`✕ ${v.name}: ${v.verdict.reasons.join(' ')}`);
    for (const r of refused) expect(text).toContain(`– ${r.name}: ${r.reason}`);
  });

  it('says first and in red that accuracy was not measured', () => {
    const evidence = sampleEvidence();
    const blind: Evidence = {
      ...evidence,
      data: { ...evidence.data, kind: 'random' },
      variants: evidence.variants.map((v) => ({ ...v, accuracy: null })),
    };
    const text = renderTable(blind, { style: (s, t) => `<${s}>${t}</${s}>` });
    expect(text).toMatch(/^<red>ACCURACY WAS NOT MEASURED: no data was given/);
    expect(text).not.toContain('Top-1');
  });

  it('colours without moving anything', () => {
    const plain = renderTable(sampleEvidence(), { columns: 110 });
    const painted = renderTable(sampleEvidence(), { columns: 110, style: (s, t) => `⟦${s}⟧${t}⟦/⟧` });
    expect(painted).toContain('⟦green⟧★⟦/⟧');
    expect(painted.replace(/⟦.*?⟧/g, '').replace(/ +$/gm, '')).toBe(plain.replace(/ +$/gm, ''));
  });

  it('lets no name move the cursor or break the lines, and fits with any name', () => {
    const names = fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }), { minLength: 7, maxLength: 7 });
    fc.assert(
      fc.property(names, (list) => {
        const text = renderTable(renamed(list), { columns: 100 });
        // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
        expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
        for (const line of text.split('\n')) expect(widthOf(line)).toBeLessThanOrEqual(100);
      }),
      { seed: 8 },
    );
    expect(visible('a\u001b[2Jb\nc')).toBe('a\ufffd[2Jb c');
  });

  it('counts wide characters as two columns and marks as none', () => {
    expect(['abc', '模型', 'e\u0301', '🚀'].map(widthOf)).toEqual([3, 4, 1, 2]);
  });

  it('wraps at spaces, loses no word, and breaks what is too long', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1, maxLength: 12 }).map((w) => w.replace(/\s/g, '_'))),
        fc.integer({ min: 5, max: 30 }),
        (words, width) => {
          const lines = wrap(words.join(' '), width);
          for (const line of lines) expect(widthOf(line)).toBeLessThanOrEqual(width);
          expect(lines.join('').replace(/ /g, '')).toBe(words.join('').replace(/ /g, ''));
        },
      ),
      { seed: 9 },
    );
  });
});

describe('renderMarkdown', () => {
  it('lists what may be shipped, with intervals, and on what it was measured', () => {
    const text = renderMarkdown(sampleEvidence());
    expect(text).toContain('| `mobilenetv2.int8-static.onnx` **recommended** | 3.64 MB | 6.19 ms |');
    expect(text).toContain('93.3% (92.2–94.4%) | 0.3 pt (−0.3 to 0.8)');
    expect(text).not.toContain('fp16');
    expect(text).toContain('Measured on 2,000 samples of val.npz; 256 other samples calibrated.');
    expect(text.split('\n').filter((l) => l.startsWith('|'))).toHaveLength(2 + 4);
  });

  it('has the same number of cells in every row, whatever the names', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }), { minLength: 7, maxLength: 7 }),
        (names) => {
          const evidence = sampleEvidence();
          const variants = evidence.variants.map((v, i) => ({
            ...v,
            files: i % 2 ? [`${names[i]}|\`x`] : [],
            name: `${names[i]}|*`,
          }));
          const rows = renderMarkdown({ ...evidence, variants })
            .split('\n')
            .filter((l) => l.startsWith('|'));
          expect(new Set(rows.map((r) => r.replace(/\\\\/g, '').replace(/\\\|/g, '').split('|').length)).size).toBe(1);
          expect(rows).toHaveLength(6);
        },
      ),
      { seed: 10 },
    );
  });

  it('says that accuracy was not measured', () => {
    const evidence = sampleEvidence();
    expect(
      renderMarkdown({ ...evidence, variants: evidence.variants.map((v) => ({ ...v, accuracy: null })) }),
    ).toContain('**Accuracy was not measured.**');
  });
});
