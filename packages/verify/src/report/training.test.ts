import fc from 'fast-check';
import { type DefaultTreeAdapterTypes, parse } from 'parse5';
import { describe, expect, it } from 'vitest';
import { sampleEvidence, sampleTraining } from '../../test/evidence.js';
import type { TrainingEvidence } from '../evidence.js';
import { smoothed } from './charts/learning-curves.js';
import { formatSeconds } from './describe-training.js';
import { renderReport } from './report.js';
import { renderTraining, type TrainingPage } from './training-page.js';

const page = (training: readonly TrainingEvidence[], more: Partial<TrainingPage> = {}): string =>
  renderTraining({
    before: { file: 'in/model.onnx', bytes: 2e6 },
    after: { file: 'out/tuned.onnx', bytes: 1e6 },
    training,
    command: 'npx pare finetune in/model.onnx --data train.npz -o out/tuned.onnx',
    host: sampleEvidence().host,
    createdAt: '2026-03-14T09:26:53.000Z',
    ...more,
  });

const own: TrainingEvidence = { ...sampleTraining(), what: 'finetune', name: 'tuned.onnx' };

describe('the page of a training', () => {
  it('says first what was kept, what it scores, and that this is no judgement', () => {
    const text = textOf(page([own], { facts: [['Teacher', 'large.onnx']] }));
    expect(text).toContain('Fine-tuned: tuned.onnx');
    expect(text).toContain('Epoch 5 of 6 is kept: accuracy 93.0% on the validation samples, 71.0% before training.');
    expect(text).toMatch(/Not judged yet\..* pare verify/);
    expect(text).toContain('from 2.00 MB');
    expect(text).toContain('Teacherlarge.onnx');
    expect(text).toContain('npx pare finetune in/model.onnx');
    expect(text).toContain(own.notes[0]);
    expect(text).not.toMatch(/undefined|NaN|\[object/);
  });

  it('has every number of the pictures in a table, the kept epoch marked', () => {
    const rows = [...page([own]).matchAll(/<tr class="([^"]*)">(.*?)<\/tr>/gs)].map(([, kind, row]) => [
      kind,
      ...[...(row as string).matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => textOf(cell as string)),
    ]);
    expect(rows[0]).toEqual(['', 'before', '–', '–', '71.0%', '–', '–']);
    expect(rows.slice(1).map((r) => r[0])).toEqual(own.epochs.map((e) => (e.epoch === 5 ? 'recommended' : '')));
    expect(rows[5]).toEqual(['recommended', '5 kept', '0.101', '94.2%', '93.0%', '3.7e−4', '30.7 s']);
  });

  it('says that nothing was chosen where nothing was validated', () => {
    const blind = {
      ...own,
      score: null,
      best: 6,
      epochs: own.epochs.map((e) => ({ ...e, score: null, accuracy: null })),
    };
    const text = textOf(page([blind]));
    expect(text).toContain('there were no validation samples to choose by');
    expect(text).not.toMatch(/Not judged yet|kept epoch|Accuracy/);
  });

  it('says that training brought nothing where it did not', () => {
    const text = textOf(page([{ ...own, best: 0 }]));
    expect(text).toContain('No epoch was better than what it started from, which is kept: accuracy 71.0%');
    expect(text).toContain('before kept');
    expect(text).not.toMatch(/undefined|NaN/);
  });

  it('draws a validation loss on the axis of the loss', () => {
    const lossPlot = (training: TrainingEvidence): string => page([training]).split('<div class="plot">')[1] as string;
    const scored = {
      ...own,
      score: { name: own.loss, format: 'number' as const, before: null },
      epochs: own.epochs.map((e) => ({ ...e, score: 0.3 })),
    };
    expect(lossPlot(own)).not.toContain('dot validation');
    expect(lossPlot(scored)).toContain('dot validation');
  });

  it('is the section of a report whose variants were trained, and absent from others', () => {
    const evidence = sampleEvidence();
    expect(renderReport(evidence)).toContain('<section id="training"');
    expect(renderReport({ ...evidence, training: [] })).not.toContain('id="training"');
  });
});

it('any run can be drawn: short, long, flat, wild, negative, huge', () => {
  const loss = fc.double({ min: -1e6, max: 1e12, noNaN: true });
  const run = fc.record({
    epochs: fc.integer({ min: 1, max: 60 }),
    losses: fc.array(loss, { minLength: 1, maxLength: 500 }),
    flat: fc.boolean(),
    rate: fc.constantFrom(0, 1e-9, 0.1, 5),
  });
  fc.assert(
    fc.property(run, ({ epochs, losses, flat, rate }) => {
      const curve = losses.map((value, i) => {
        const at = flat ? 0.5 : value;
        return { step: i + 1, loss: at, low: at, high: at, learningRate: rate };
      });
      const text = /<main.*<\/main>/s.exec(page([{ ...sampleTraining(epochs, losses.length), curve }]))?.[0] ?? '';
      expect(text).not.toMatch(/NaN|Infinity|undefined/);
      // Every coordinate of a path is a number.
      for (const [, d] of text.matchAll(/ d="M([^"]*)"/g))
        for (const point of (d as string).replace('Z', '').split('L'))
          expect(point).toMatch(/^-?\d+(\.\d+)?,-?\d+(\.\d+)?$/);
    }),
    { seed: 4, numRuns: 60 },
  );
});

describe('smoothing', () => {
  it('leaves lines as they are and takes most of the noise away', () => {
    const line = Array.from({ length: 400 }, (_, i) => 3 - i / 200);
    const inner = (values: readonly number[]): number[] => values.slice(10, -10);
    for (const [i, v] of inner(smoothed(line)).entries()) expect(v).toBeCloseTo(inner(line)[i] as number, 6);
    const noisy = line.map((v, i) => v + (i % 2 ? 0.3 : -0.3));
    for (const [i, v] of inner(smoothed(noisy)).entries())
      expect(Math.abs(v - (inner(line)[i] as number))).toBeLessThan(0.02);
  });

  it('stays between the extremes', () => {
    fc.assert(
      fc.property(
        fc.array(fc.double({ min: -1e3, max: 1e3, noNaN: true }), { minLength: 1, maxLength: 300 }),
        (values) => {
          const result = smoothed(values);
          expect(result.length).toBe(values.length);
          for (const v of result) {
            expect(v).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
            expect(v).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
          }
        },
      ),
      { seed: 5 },
    );
  });
});

it.each([
  [0.123, '0.12 s'],
  [12.34, '12.3 s'],
  [200, '3 min 20 s'],
  [7500, '2 h 5 min'],
])('%d seconds are %s', (seconds, text) => expect(formatSeconds(seconds)).toBe(text));

type Node = DefaultTreeAdapterTypes.Node;

function textOf(markup: string): string {
  const gather = (node: Node): string => {
    if ('value' in node) return node.value;
    if ('tagName' in node && ['style', 'script', 'title'].includes(node.tagName)) return '';
    return 'childNodes' in node ? node.childNodes.map(gather).join('') : '';
  };
  return gather(parse(markup)).replace(/\s+/g, ' ').trim();
}
