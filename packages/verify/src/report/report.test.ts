import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { type DefaultTreeAdapterTypes, parse } from 'parse5';
import { describe, expect, it } from 'vitest';
import { sampleEvidence } from '../../test/evidence.js';
import type { Evidence, VariantEvidence } from '../evidence.js';
import { escapeHtml, html } from './html.js';
import { PALETTE, TEXT_ON } from './palette.js';
import { renderReport } from './report.js';
import { SCRIPT, SCRIPT_HASH } from './script.js';

type Node = DefaultTreeAdapterTypes.Node;
type Element = DefaultTreeAdapterTypes.Element;

const page = renderReport(sampleEvidence());

describe('the page', () => {
  it('is valid HTML that needs nothing from outside', () => {
    const elements = elementsOf(parsed(page));
    for (const e of elements) {
      for (const { name, value } of e.attrs) {
        expect(name, e.tagName).not.toMatch(/^(on|style$|src)/);
        if (name === 'href') expect(value).toMatch(/^#/);
      }
      expect(['link', 'img', 'iframe', 'object', 'image', 'use']).not.toContain(e.tagName);
    }
    expect(page).not.toMatch(/https?:|@import|url\(/);
    expect(elements.filter((e) => e.tagName === 'script')).toHaveLength(1);
  });

  it('lets no other script run: the policy names the hash of its own', () => {
    expect(SCRIPT_HASH).toBe(`sha256-${createHash('sha256').update(SCRIPT).digest('base64')}`);
    const policy = elementsOf(parsed(page)).find((e) => attr(e, 'http-equiv') === 'Content-Security-Policy') as Element;
    expect(attr(policy, 'content')).toContain(
      `default-src 'none'; style-src 'unsafe-inline'; script-src '${SCRIPT_HASH}'`,
    );
  });

  it('is accessible in its structure', () => {
    const elements = elementsOf(parsed(page));
    const ids = elements.flatMap((e) => attr(e, 'id') ?? []);
    expect(new Set(ids).size).toBe(ids.length);
    for (const e of elements) {
      if (e.tagName === 'a') expect(ids).toContain(attr(e, 'href')?.slice(1));
      if (e.tagName === 'section') expect(ids).toContain(attr(e, 'aria-labelledby'));
      if (e.tagName === 'table') expect(elementsOf(e).some((c) => c.tagName === 'caption')).toBe(true);
      if (e.tagName === 'th') expect(attr(e, 'scope')).toMatch(/^(col|row)$/);
      if (e.tagName === 'svg' && !insideSvg(e))
        expect(attr(e, 'aria-hidden') === 'true' || (attr(e, 'role') === 'img' && attr(e, 'aria-label') !== '')).toBe(
          true,
        );
    }
    expect(elements.filter((e) => e.tagName === 'h1')).toHaveLength(1);
  });

  it('every text colour has a contrast of at least 4.5 on every surface it stands on, in both themes', () => {
    for (const theme of [0, 1]) {
      for (const [text, surfaces] of TEXT_ON)
        for (const surface of surfaces)
          expect([theme, text, surface, contrast(PALETTE[text][theme]!, PALETTE[surface][theme]!) >= 4.5]).toEqual([
            theme,
            text,
            surface,
            true,
          ]);
      expect(contrast(PALETTE.surface[theme]!, PALETTE.accent[theme]!)).toBeGreaterThanOrEqual(4.5);
      expect(contrast(PALETTE.page[theme]!, PALETTE.ink[theme]!)).toBeGreaterThanOrEqual(4.5);
    }
  });
});

describe('it tells', () => {
  it('the recommendation, why, and its numbers', () => {
    const text = textOf(parsed(page));
    const { recommendation, variants } = sampleEvidence();
    expect(textOf(find(page, 'h1'))).toBe('Ship int8-static');
    expect(text).toContain(recommendation.reason);
    const best = variants.find((v) => v.name === 'int8-static') as VariantEvidence;
    expect(text).toContain(`${((best.accuracy?.value ?? 0) * 100).toFixed(1)}%`);
    expect(text).toContain('26% of 14.0 MB');
    expect(text).toContain('drop at most 1.0 pt, proven by the interval');
  });

  it('every variant in a row, with intervals', () => {
    const rows = elementsOf(find(page, 'table'))
      .filter((e) => e.tagName === 'tr')
      .slice(1)
      .map(cells);
    expect(rows.map((r) => r[0])).toEqual(sampleEvidence().variants.map((v) => v.name));
    expect(rows[5]).toEqual([
      'int8-static',
      '3.64 MB',
      '6.19 ms',
      '6.67 ms',
      '1.92×1.88–1.96',
      '93.3%92.2–94.4%',
      '0.3 pt−0.3 to 0.8',
      '0.99952',
      'recommended',
    ]);
  });

  it('every refusal with every reason', () => {
    const text = textOf(byId(page, 'refused'));
    const { variants, refused } = sampleEvidence();
    const reasons = [
      ...variants.filter((v) => v.verdict.status === 'refused').flatMap((v) => v.verdict.reasons),
      ...refused.map((r) => r.reason),
    ];
    expect(reasons).toHaveLength(6);
    for (const reason of reasons) expect(text).toContain(reason);
  });

  it('which layer hurts, the worst first', () => {
    const rows = elementsOf(byId(page, 'layers'))
      .filter((e) => e.tagName === 'tr')
      .map(cells);
    const best = sampleEvidence().variants.find((v) => v.name === 'int8-static');
    expect(rows[1]?.[0]).toBe(best?.numerics?.layers?.ranked[0]?.node);
  });

  it('what changed in the confusion, by counts', () => {
    const rows = elementsOf(byId(page, 'confusion'))
      .filter((e) => e.tagName === 'tr')
      .slice(1)
      .map(cells);
    const [before, after] = ['original', 'int8-static'].map(
      (n) => sampleEvidence().variants.find((v) => v.name === n)?.accuracy?.confusion,
    );
    for (const [pair, from, to] of rows as [string, string, string][]) {
      const [truth, answer] = pair.split(' taken for ').map((l) => before?.labels.indexOf(l) ?? -1) as [number, number];
      expect([Number(from), Number(to)]).toEqual([before?.counts[truth]?.[answer], after?.counts[truth]?.[answer]]);
    }
    expect(rows.length).toBe(10);
  });

  it('how to do it again, on what it ran, and the two parts of the data', () => {
    const text = textOf(parsed(page));
    const { repeat, host } = sampleEvidence();
    for (const part of [
      repeat.command,
      repeat.config ?? '',
      host.cpu,
      host.engine,
      host.runtime,
      '256 calibration',
      '2,000 evaluation',
    ])
      expect(text).toContain(part);
  });

  it('loudly that accuracy was not measured', () => {
    expect(page).not.toContain('role="alert"');
    const evidence = sampleEvidence();
    const blind: Evidence = {
      ...evidence,
      data: { ...evidence.data, kind: 'random', labelled: false, classes: null },
      variants: evidence.variants.map((v) => ({ ...v, accuracy: null })),
      warnings: ['Accuracy was not measured: no data was given.'],
    };
    const alert = elementsOf(parsed(renderReport(blind))).filter((e) => attr(e, 'role') === 'alert');
    expect(alert).toHaveLength(1);
    expect(textOf(alert[0] as Element)).toMatch(/Accuracy was not measured\. No data was given/);
  });

  it('that the original is kept', () => {
    const evidence = sampleEvidence();
    const [original] = evidence.variants as [VariantEvidence];
    const alone: Evidence = {
      ...evidence,
      variants: [
        {
          ...original,
          accuracy: null,
          performance: null,
          stability: null,
          verdict: { status: 'recommended', reasons: ['Nothing better.'] },
        },
      ],
      refused: [],
      recommendation: { variant: 'original', reason: 'Nothing better.' },
    };
    expect(textOf(find(renderReport(alone), 'h1'))).toBe('Keep the original');
    parsed(renderReport(alone));
  });
});

describe('hostile text', () => {
  const attack = `</script></style></title><script>alert(1)</script><img src=x onerror=alert(1)>"'\`onload=x&amp;&lt;\u202e\u0000\ud800`;

  it('in every field stays text', () => {
    const poisoned = poison(sampleEvidence(), attack);
    const tree = parsed(renderReport(poisoned));
    const elements = elementsOf(tree);
    expect(elements.filter((e) => ['script', 'style'].includes(e.tagName)).map((e) => e.tagName)).toEqual([
      'style',
      'script',
    ]);
    expect(elements.filter((e) => e.tagName === 'img')).toEqual([]);
    for (const e of elements) for (const { name } of e.attrs) expect(name).not.toMatch(/^on/);
    const shown = `${attack.slice(0, -3)}\ufffd\ufffd\ufffd`;
    expect(textOf(byId(renderReport(poisoned), 'refused'))).toContain(shown);
    expect(textOf(elements.find((e) => e.tagName === 'title') as Element)).toContain(shown);
  });

  it('of any kind comes back from a parser as it went in, but for what HTML cannot hold', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 30 }), (text) => {
        const clean = text.replace(/\r/g, '\ufffd');
        const tree = parsed(`<!doctype html><title>x</title>${html`<p title="${text}">${text}</p>`.text}`);
        const p = elementsOf(tree).find((e) => e.tagName === 'p') as Element;
        expect(escapeHtml(textOf(p))).toBe(escapeHtml(clean));
        expect(attr(p, 'title')).toBe(textOf(p));
      }),
      { seed: 5, numRuns: 500 },
    );
  });
});

it('whatever was not measured, the page is whole and shows no undefined, null or NaN', () => {
  const choice = fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true }));
  fc.assert(
    fc.property(choice, fc.double({ min: 0, max: 0.6, noNaN: true }), (stream, share) => {
      const draw = (): boolean => (stream.next().value as number) < share;
      const evidence = withHoles(sampleEvidence(), draw);
      const text = renderReport(evidence);
      parsed(text);
      expect(text.replace(SCRIPT, '')).not.toMatch(/undefined|\bnull\b|NaN(?!, ∞| %|, \d)|Infinity|\[object/);
    }),
    { seed: 6, numRuns: 60 },
  );
});

it('a large run stays a small page', () => {
  const evidence = sampleEvidence();
  const many = evidence.variants.map((v) => {
    const layers = v.numerics?.layers;
    if (!v.numerics || !layers) return v;
    const ranked = Array.from({ length: 1500 }, (_, i) => ({
      ...layers.ranked[i % 53]!,
      index: i,
      node: `layer ${i}`,
      tensor: `t${i}`,
    }));
    return { ...v, numerics: { ...v.numerics, layers: { ...layers, ranked } } };
  });
  expect(renderReport({ ...evidence, variants: many }).length).toBeLessThan(700_000);
  expect(page.length).toBeLessThan(400_000);
});

// ---- the parsed page ----

/** The tree of a page; a parse error fails. */
function parsed(text: string): Node {
  const errors: string[] = [];
  const tree = parse(text, {
    sourceCodeLocationInfo: true,
    onParseError: (e) => errors.push(`${e.code} at ${e.startLine}:${e.startCol}`),
  });
  expect(errors).toEqual([]);
  return tree;
}

function elementsOf(node: Node): Element[] {
  const children = 'childNodes' in node ? node.childNodes : [];
  return children.flatMap((c) => ('tagName' in c ? [c, ...elementsOf(c)] : []));
}

function textOf(node: Node): string {
  if ('value' in node && node.nodeName === '#text') return node.value;
  return 'childNodes' in node ? node.childNodes.map(textOf).join('') : '';
}

function find(text: string, tag: string): Element {
  return elementsOf(parsed(text)).find((e) => e.tagName === tag) as Element;
}

function byId(text: string, id: string): Element {
  return elementsOf(parsed(text)).find((e) => attr(e, 'id') === id) as Element;
}

function attr(e: Element, name: string): string | undefined {
  return e.attrs.find((a) => a.name === name)?.value;
}

function cells(row: Element): string[] {
  return row.childNodes.filter((c): c is Element => 'tagName' in c).map((c) => textOf(c).trim());
}

function insideSvg(e: Element): boolean {
  for (let p = e.parentNode; p && 'tagName' in p; p = p.parentNode) if (p.tagName === 'svg') return true;
  return false;
}

/** WCAG 2.2, relative luminance and contrast ratio. */
function contrast(a: string, b: string): number {
  const luminance = (hex: string): number => {
    const [r, g, bl] = [1, 3, 5].map((i) => {
      const c = Number.parseInt(hex.slice(i, i + 2), 16) / 255;
      return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
  };
  const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p) as [number, number];
  return (x + 0.05) / (y + 0.05);
}

// ---- evidence that is not as one wishes ----

const ENUMS = new Set([
  'kind',
  'status',
  'verdict',
  'reference',
  'format',
  'method',
  'schema',
  'transform',
  'createdAt',
]);

/** Every free text replaced, names kept different. */
function poison<T>(value: T, attack: string, key = ''): T {
  let n = 0;
  const walk = (v: unknown, k: string): unknown => {
    if (typeof v === 'string') {
      if (ENUMS.has(k) && k !== 'transform' && k !== 'kind') return v;
      if (k === 'kind' || (k === 'name' && /mcnemar|bootstrap/.test(v))) return v;
      return v === 'original' || v === 'int8-static' ? `${v}${attack}` : `${attack}${n++}`;
    }
    if (Array.isArray(v)) return v.map((item) => walk(item, k));
    if (typeof v === 'object' && v !== null)
      return Object.fromEntries(
        Object.entries(v).map(([kk, item]) => [
          kk,
          kk === 'verdict' && typeof item === 'string' ? item : walk(item, kk),
        ]),
      );
    return v;
  };
  return walk(value, key) as T;
}

/** Nullable fields made null at random. */
const NULLABLE = new Set(
  (
    'accuracy numerics stability performance sha256 opset hash classes target config value interval confusion drop gate layers saturation ' +
    'cosine maxAbs maxRel meanAbs relativeRmse sqnrDb worstCosine kl top1Agreement reproducibility freshProcess speedup precision recall f1 ' +
    'lossDb optimizedDb unoptimizedDb nan infinite'
  ).split(' '),
);
function withHoles(evidence: Evidence, draw: () => boolean): Evidence {
  const walk = (v: unknown, parent: string): unknown => {
    if (Array.isArray(v)) return v.map((item) => walk(item, parent));
    if (typeof v !== 'object' || v === null) return v;
    return Object.fromEntries(
      Object.entries(v).map(([k, item]) => {
        const required =
          (parent === 'speedup' && k === 'interval') ||
          (parent === 'drop' && k === 'value') ||
          parent === 'worstCosine';
        if (NULLABLE.has(k) && !required && !(parent === 'options' && k !== 'target') && draw()) return [k, null];
        return [k, walk(item, k)];
      }),
    );
  };
  return walk(evidence, '') as Evidence;
}
