import { readFileSync } from 'node:fs';
import type { HostTensor, Sample } from '@pare/core';
import { seededRandom } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { agreement, argmax, classTable, macroF1, top1, top5, topK } from './classification.js';
import { type Detection, meanAveragePrecision, type TrueBox } from './detection.js';
import { cosine, cosineOf, rankCorrelation, spearman } from './embedding.js';
import { defineMetric, type Metric, type Outputs } from './metric.js';
import { defaultMetric, METRIC_NAMES, metricByName } from './named.js';
import { compareScores, scoreAll } from './score.js';
import { meanIou } from './segmentation.js';
import { snr } from './signal.js';
import { cer, ctcGreedy, editDistance, perplexity, wer } from './text.js';

fc.configureGlobal({ seed: 20 });

const f32 = (dims: number[], values: number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from(values),
});
const logits = (...values: number[]): Outputs => ({ logits: f32([values.length], values) });
const labelled = (label: unknown, inputs: Sample['inputs'] = {}): Sample => ({ inputs, label, id: 'sample 3' });
/** Score of one sample by a metric that needs no original. */
const one = <P>(metric: Metric<P>, outputs: Outputs, label: unknown): P =>
  metric.score(outputs, labelled(label), outputs);
/** Value of a metric over (outputs, label) pairs. */
const value = <P>(metric: Metric<P>, pairs: [Outputs, unknown][]): number | null =>
  scoreAll(
    metric as Metric,
    pairs.map(([o, l]) => one(metric, o, l)),
  ).value;

describe('classification', () => {
  it('top-k counts as sorting does', () => {
    const vector = fc.array(fc.integer({ min: -5, max: 5 }), { minLength: 2, maxLength: 8 });
    fc.assert(
      fc.property(vector, fc.nat(), fc.integer({ min: 1, max: 5 }), (values, pick, k) => {
        const truth = pick % values.length;
        const sorted = values.map((v, i) => ({ v, i })).sort((a, b) => b.v - a.v || a.i - b.i);
        const expected = sorted.slice(0, k).some(({ i }) => i === truth);
        expect(one(topK(k), logits(...values), truth)).toBe(expected);
      }),
    );
  });
  it('understands class names, numbers in text, booleans and single numbers', () => {
    expect(one(top1({ classes: ['cat', 'dog'] }), logits(0, 1), 'dog')).toBe(true);
    expect(one(top1(), logits(0, 1), '1')).toBe(true);
    expect(one(top1(), logits(0, 1), true)).toBe(true);
    expect(one(top1({ threshold: 0.5 }), { p: f32([1], [0.7]) }, 1)).toBe(true);
    expect(one(top1({ threshold: 0.5 }), { p: f32([1], [0.3]) }, 1)).toBe(false);
    expect(one(top1({ output: 'b' }), { a: f32([2], [1, 0]), b: f32([2], [0, 1]) }, 1)).toBe(true);
  });
  it('is never right with NaN', () => {
    expect(one(top5(), logits(Number.NaN, 1, 2), 0)).toBe(false);
    expect(argmax([Number.NaN, 1, 0])).toBe(1);
  });
  it.each([
    [3, /label 3, but the model knows the classes 0 to 1/],
    [-1, /label -1/],
    ['dog', /needs a class number as the label; sample 3 has "dog"/],
    [undefined, /sample 3 has none/],
  ])('refuses the label %s', (label, message) => {
    expect(() => one(top1(), logits(0, 1), label)).toThrow(message);
  });
  it('refuses outputs that are no classes', () => {
    expect(() => one(top1(), { image: f32([2, 2], [1, 2, 3, 4]) }, 0)).toThrow(
      /the output is float32\[2, 2\] a sample/,
    );
    expect(() => one(top1(), { p: f32([1], [0.2]) }, 0)).toThrow(/threshold/);
    expect(() => one(top1({ output: 'x' }), logits(1, 2), 0)).toThrow(/looks for the output "x"; the model has logits/);
  });
  it('per-class rows by hand', () => {
    // Truth 0: two right, one called 1. Truth 1: one right. Class 2 never occurs; class 3 is only said.
    const { classes, confusion } = classTable(
      [
        [0, 0],
        [0, 0],
        [0, 1],
        [1, 1],
        [1, 3],
      ],
      ['a', 'b'],
    );
    expect(confusion.labels).toEqual(['a', 'b', '2', '3']);
    expect(confusion.counts[0]).toEqual([2, 1, 0, 0]);
    expect(classes[0]).toEqual({ label: 'a', support: 3, precision: 1, recall: 2 / 3, f1: 0.8 });
    expect(classes[1]).toEqual({ label: 'b', support: 2, precision: 0.5, recall: 0.5, f1: 0.5 });
    expect(classes[2]).toEqual({ label: '2', support: 0, precision: null, recall: null, f1: null });
    expect(classes[3]).toEqual({ label: '3', support: 0, precision: 0, recall: null, f1: 0 });
  });
  it('macro F1 is the mean of the rows', () => {
    const pair = fc.tuple(fc.nat(3), fc.nat(3));
    fc.assert(
      fc.property(fc.array(pair, { minLength: 1, maxLength: 40 }), (pairs) => {
        const rows = classTable(pairs)
          .classes.map((c) => c.f1)
          .filter((f) => f !== null);
        const expected = rows.reduce((a, b) => a + b, 0) / rows.length;
        expect(macroF1().reduce?.(pairs)).toBeCloseTo(expected, 12);
      }),
    );
  });
  it('agreement asks for the same class in every row', () => {
    const metric = agreement();
    const a = { y: f32([2, 2], [1, 0, 0, 1]) };
    const b = { y: f32([2, 2], [5, 4, 0, 9]) };
    const c = { y: f32([2, 2], [0, 1, 0, 1]) };
    expect([metric.score(b, labelled(null), a), metric.score(c, labelled(null), a)]).toEqual([true, false]);
    expect(metric.reference).toBe('original');
  });
});

describe('mean IoU', () => {
  it('equals counting pixels', () => {
    const random = seededRandom(2);
    const [height, width, classes] = [6, 7, 4];
    const pairs: [Outputs, HostTensor][] = [];
    const truths: number[] = [];
    const answers: number[] = [];
    for (let s = 0; s < 5; s++) {
      const scores = Array.from({ length: classes * height * width }, () => random.normal());
      const truth = Array.from({ length: height * width }, () =>
        random.uniform() < 0.1 ? 255 : random.integer(classes),
      );
      for (let p = 0; p < truth.length; p++) {
        const column = Array.from({ length: classes }, (_, c) => scores[c * height * width + p] as number);
        truths.push(truth[p] as number);
        answers.push(column.indexOf(Math.max(...column)));
      }
      pairs.push([
        { y: f32([classes, height, width], scores) },
        { dtype: 'int64', dims: [height, width], data: BigInt64Array.from(truth, BigInt) },
      ]);
    }
    const ious = [0, 1, 2, 3].map((c) => {
      const counted = truths.map((t, i) => ({ t, a: answers[i] })).filter(({ t }) => t !== 255);
      const both = counted.filter(({ t, a }) => t === c && a === c).length;
      return both / counted.filter(({ t, a }) => t === c || a === c).length;
    });
    expect(value(meanIou(), pairs)).toBeCloseTo(ious.reduce((a, b) => a + b) / 4, 12);
  });
  it('takes class maps and channels-last logits', () => {
    const truth: HostTensor = { dtype: 'uint8', dims: [1, 2], data: Uint8Array.of(0, 1) };
    expect(value(meanIou(), [[{ y: { dtype: 'int32', dims: [1, 2], data: Int32Array.of(0, 1) } }, truth]])).toBe(1);
    expect(value(meanIou({ axis: -1 }), [[{ y: f32([1, 2, 2], [1, 0, 0, 1]) }, truth]])).toBe(1);
    expect(() => value(meanIou(), [[{ y: f32([3], [0, 0, 0]) }, truth]])).toThrow(/needs logits/);
    expect(() => value(meanIou(), [[{ y: f32([1, 3], [0, 0, 0]) }, truth]])).toThrow(
      /mask of 2 pixels, the model answers 3/,
    );
  });
});

describe('mean average precision', () => {
  const golden = JSON.parse(readFileSync(new URL('../../test/fixtures/coco.json', import.meta.url), 'utf8')) as {
    images: number[];
    truths: [number, number, number, number, number, number, number][];
    detections: [number, number, number, number, number, number, number][];
    map: number;
  };
  const ofImage = (image: number): [Outputs, TrueBox[]] => {
    const truths = golden.truths
      .filter((t) => t[0] === image)
      .map(([, c, x, y, w, h, crowd]): TrueBox => ({ box: [x, y, x + w, y + h], class: c, crowd: crowd === 1 }));
    const found = golden.detections.filter((d) => d[0] === image);
    return [
      {
        boxes: f32(
          [found.length, 4],
          found.flatMap(([, , x, y, w, h]) => [x, y, x + w, y + h]),
        ),
        scores: { dtype: 'float64', dims: [found.length], data: Float64Array.from(found, (d) => d[6]) },
        labels: { dtype: 'int64', dims: [found.length], data: BigInt64Array.from(found, (d) => BigInt(d[1])) },
      },
      truths,
    ];
  };

  it('equals pycocotools, with crowds', () => {
    expect(value(meanAveragePrecision(), golden.images.map(ofImage))).toBeCloseTo(golden.map, 10);
  });

  it('VOC: by the definition, on random boxes', () => {
    const random = seededRandom(8);
    const box = (): [number, number, number, number] => {
      const [x, y] = [random.integer(20), random.integer(20)];
      return [x, y, x + 3 + random.integer(15), y + 3 + random.integer(15)];
    };
    const images = Array.from({ length: 12 }, () => {
      const truths = Array.from({ length: random.integer(4) }, (): TrueBox => ({ box: box(), class: 0 }));
      const near = truths.map((t): Detection => {
        const moved = t.box.map((v) => v + random.integer(3)) as unknown as Detection['box'];
        return { box: moved, class: 0, score: random.uniform() };
      });
      const far = Array.from(
        { length: random.integer(3) },
        (): Detection => ({ box: box(), class: 0, score: random.uniform() }),
      );
      return { truths, detections: [...near, ...far] };
    });
    const metric = meanAveragePrecision({
      style: 'voc',
      decode: (_, sample) => images[Number(sample.id)]?.detections ?? [],
    });
    const scores = images.map(({ truths }, i) => metric.score({}, { inputs: {}, label: truths, id: String(i) }, {}));

    // The definition: rank all detections; each takes the box it overlaps most, if by half and not taken before.
    const iou = (a: readonly number[], b: readonly number[]): number => {
      const [ax, ay, aX, aY, bx, by, bX, bY] = [...a, ...b] as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      const inter = Math.max(0, Math.min(aX, bX) - Math.max(ax, bx)) * Math.max(0, Math.min(aY, bY) - Math.max(ay, by));
      return inter / ((aX - ax) * (aY - ay) + (bX - bx) * (bY - by) - inter);
    };
    const ranked = images
      .flatMap(({ detections }, image) => detections.map((d) => ({ ...d, image })))
      .sort((a, b) => b.score - a.score);
    const taken = new Set<TrueBox>();
    const hits = ranked.map((d) => {
      const truths = images[d.image]?.truths ?? [];
      const best = truths.reduce<TrueBox | undefined>(
        (m, t) => (!m || iou(d.box, t.box) > iou(d.box, m.box) ? t : m),
        undefined,
      );
      if (!best || iou(d.box, best.box) < 0.5 || taken.has(best)) return false;
      taken.add(best);
      return true;
    });
    const positives = images.flatMap((i) => i.truths).length;
    const precision = hits.map((_, i) => hits.slice(0, i + 1).filter(Boolean).length / (i + 1));
    let area = 0;
    for (const [i, hit] of hits.entries()) if (hit) area += Math.max(...precision.slice(i)) / positives;
    expect(metric.reduce?.(scores)).toBeCloseTo(area, 12);
    expect(area).toBeGreaterThan(0.2);
  });
});

describe('embeddings', () => {
  const golden = JSON.parse(readFileSync(new URL('../../test/fixtures/statistics.json', import.meta.url), 'utf8'))
    .spearman as {
    a: number[];
    b: number[];
    rho: number;
  };
  it('Spearman equals SciPy, with ties', () => {
    expect(rankCorrelation(golden.a, golden.b)).toBeCloseTo(golden.rho, 12);
    const pairs = golden.a.map((a, i): [Outputs, number] => [{ y: f32([1], [a]) }, golden.b[i] as number]);
    expect(value(spearman(), pairs)).toBeCloseTo(golden.rho, 6);
  });
  it('Spearman ranks pairs of embeddings by their cosine', () => {
    const pair = (angle: number): Outputs => ({ y: f32([2, 2], [1, 0, Math.cos(angle), Math.sin(angle)]) });
    const pairs: [Outputs, number][] = [0.1, 0.7, 0.3, 1.2].map((angle) => [pair(angle), 5 - angle]);
    expect(value(spearman(), pairs)).toBe(1);
  });
  it('cosine', () => {
    expect(cosineOf([1, 0], [1, 1])).toBeCloseTo(Math.SQRT1_2, 12);
    expect([cosineOf([0, 0], [0, 0]), cosineOf([0, 0], [1, 0])]).toEqual([1, 0]);
    const metric = cosine();
    expect(metric.score({ y: f32([2], [2, 0]) }, labelled(null), { y: f32([2], [1, 0]) })).toBe(1);
  });
});

describe('text', () => {
  it('edit distance equals the recursive definition', () => {
    const slow = (a: string, b: string): number => {
      if (!a || !b) return a.length + b.length;
      const replace = slow(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1);
      return Math.min(replace, slow(a.slice(1), b) + 1, slow(a, b.slice(1)) + 1);
    };
    const word = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 5 });
    fc.assert(
      fc.property(word, word, (a, b) => {
        expect(editDistance([...a], [...b])).toBe(slow(a, b));
      }),
    );
  });
  it('CER and WER are edits over the length of the truth', () => {
    const decode = (o: Outputs): string => (o.y as HostTensor).data[0] as string;
    const said = (text: string): Outputs => ({ y: { dtype: 'string', dims: [1], data: [text] } });
    const pairs: [Outputs, string][] = [
      [said('helo world'), 'hello world'],
      [said('a😀c'), 'a😀b'],
    ];
    expect(value(cer({ decode }), pairs)).toBeCloseTo(2 / 14, 12);
    expect(value(wer({ decode }), pairs)).toBeCloseTo(2 / 3, 12);
    expect(cer({ decode }).higherIsBetter).toBe(false);
  });
  it('CTC merges repeats, then drops blanks', () => {
    const path = [0, 1, 1, 0, 1, 2, 2, 0];
    const y = f32(
      [8, 3],
      path.flatMap((c) => [0, 1, 2].map((i) => (i === c ? 5 : 0))),
    );
    expect(ctcGreedy(['', 'a', 'b'])({ y })).toBe('aab');
    expect(ctcGreedy(['a', 'b', ''], { blank: 2 })({ y })).toBe('ababa');
    expect(() => ctcGreedy(['', 'a'])({ y })).toThrow(/3 classes, but the vocabulary has 2/);
  });
  it('perplexity is exp of the mean negative log likelihood', () => {
    const uniform: Outputs = { y: f32([3, 4], new Array<number>(12).fill(2)) };
    expect(value(perplexity(), [[uniform, [0, 3, -100]]])).toBeCloseTo(4, 5);
    // Probabilities 1/4 and 3/4 for the right tokens.
    const odd: Outputs = { y: f32([2, 2], [Math.log(1), Math.log(3), Math.log(1), Math.log(3)]) };
    expect(value(perplexity(), [[odd, [0, 1]]])).toBeCloseTo(1 / Math.sqrt(3 / 16), 5);
    const ids: HostTensor = { dtype: 'int64', dims: [3], data: BigInt64Array.of(1n, 0n, 1n) };
    const shifted = perplexity().score(odd, labelled(undefined, { input_ids: ids }), odd);
    expect(shifted.weight).toBe(2);
    expect(() => value(perplexity(), [[odd, [7]]])).toThrow(/token 7, but the model's vocabulary ends at 1/);
  });
});

it('SNR in dB', () => {
  const clean = f32([2], [3, 4]);
  expect(value(snr(), [[{ y: f32([2], [3.5, 4]) }, clean]])).toBeCloseTo(20, 5);
  expect(value(snr(), [[{ y: clean }, clean]])).toBe(150);
  expect(() => value(snr(), [[{ y: f32([1], [1]) }, clean]])).toThrow(/signal of 2 values, the model answers 1/);
});

describe('scores', () => {
  const better = defineMetric({ name: 'm', higherIsBetter: true, score: () => 0 as number });
  const error = defineMetric({ name: 'e', higherIsBetter: false, score: () => 0 as number });
  const random = seededRandom(4);
  const noise = Array.from({ length: 300 }, () => random.normal());

  it('by kind of score: value, format and interval', () => {
    expect(scoreAll(better, [true, false, true, true])).toMatchObject({
      value: 0.75,
      format: 'percent',
      interval: { method: 'wilson' },
    });
    expect(scoreAll(better, noise)).toMatchObject({ format: 'number', interval: { method: 'bootstrap-bca' } });
    const shares = scoreAll(better, [
      { sum: 1, weight: 4 },
      { sum: 2, weight: 6 },
    ]);
    expect(shares.value).toBeCloseTo(0.3, 12);
    const reduced = scoreAll({ ...better, reduce: (s: readonly unknown[]) => s.length } as Metric, ['a', 'b']);
    expect(reduced).toMatchObject({ value: 2, interval: { low: 2, high: 2, method: 'bootstrap-percentile' } });
    expect(scoreAll(better, [{ sum: 0, weight: 0 }]).value).toBeNull();
  });
  it('refuses scores it does not understand', () => {
    expect(() => scoreAll(better, ['a'])).toThrow(/scores a sample with string/);
    expect(() => scoreAll(better, [1, { x: 2 }])).toThrow(/same kind of score/);
  });

  it('a drop is positive when worse, in both directions', () => {
    const lower = noise.map((v) => v - 0.5 - 0.1 * v);
    expect(compareScores(better, noise, lower)).toMatchObject({ verdict: 'worse' });
    expect(compareScores(better, noise, lower)?.value).toBeCloseTo(0.5, 1);
    expect(compareScores(error, noise, lower)?.value).toBeCloseTo(-0.5, 1);
    expect(compareScores(error, noise, lower)).toMatchObject({ verdict: 'better' });
  });
  it('pairs see what two intervals cannot', () => {
    // Every sample a hair worse: far inside the noise of the samples themselves.
    const worse = noise.map((v, i) => v - 0.02 - 0.01 * Math.sin(i));
    const alone = scoreAll(better, noise).interval;
    expect((alone?.high as number) - (alone?.low as number)).toBeGreaterThan(0.1);
    const drop = compareScores(better, noise, worse);
    expect(drop).toMatchObject({ verdict: 'worse', test: { name: 'paired-bootstrap' } });
    expect(drop?.value).toBeCloseTo(0.02, 3);
  });
  it('equal models do not differ', () => {
    for (const scores of [noise, noise.map((v) => v > 0)]) {
      const drop = compareScores(better, scores, scores);
      expect(drop).toMatchObject({ value: 0, verdict: 'no difference measured', test: { pValue: 1 } });
    }
  });
  it('judges right and wrong by McNemar', () => {
    const a = Array.from({ length: 100 }, (_, i) => i < 80);
    const b = Array.from({ length: 100 }, (_, i) => i >= 12 && i < 82);
    const drop = compareScores(better, a, b, { limit: 0.05 });
    expect(drop).toMatchObject({
      test: { name: 'mcnemar-exact', onlyOriginalRight: 12, onlyVariantRight: 2 },
      verdict: 'worse',
      gate: { limit: 0.05, verdict: 'fails' },
    });
    expect(drop?.value).toBeCloseTo(0.1, 12);
    expect(compareScores(better, a, b, { limit: 0.1 })?.gate?.verdict).toBe('holds');
    expect(compareScores(better, a, b, { limit: 0.3 })?.gate?.verdict).toBe('proven');
  });
  it('a finish is applied to value and interval', () => {
    const exp = { ...better, finish: Math.exp };
    const plain = scoreAll(better, noise);
    const finished = scoreAll(exp, noise);
    expect(finished.value).toBeCloseTo(Math.exp(plain.value as number), 12);
    expect(finished.interval?.high).toBeCloseTo(Math.exp(plain.interval?.high as number), 1);
  });
});

describe('by name', () => {
  it('knows its names only', () => {
    for (const name of METRIC_NAMES) expect(metricByName(name).name).toBeTruthy();
    expect(() => metricByName('accuracy')).toThrow(/Known: top1, top5/);
    expect(() => metricByName('toString')).toThrow(/Known/);
    expect(() => defineMetric({ name: '', higherIsBetter: true, score: () => 1 })).toThrow(/needs a name/);
  });
  it('chooses by the labels and the output', () => {
    const ten = { logits: f32([10], new Array<number>(10).fill(0)) };
    expect(defaultMetric(3, ten)?.name).toBe('top-1');
    expect(defaultMetric('3', ten)?.name).toBe('top-1');
    expect(defaultMetric('dog', ten)).toBeUndefined();
    expect(defaultMetric('dog', ten, { classes: ['dog'] })?.name).toBe('top-1');
    expect(defaultMetric(undefined, ten)?.name).toMatch(/agreement/);
    expect(defaultMetric(undefined, { y: f32([2], [0.25, 0.75]) })?.name).toMatch(/agreement/);
    expect(defaultMetric(undefined, { y: f32([3], [1, -2, 3]) })?.name).toMatch(/cosine/);
    expect(defaultMetric(3, { image: f32([2, 2], [1, 2, 3, 4]) })).toBeUndefined();
  });
});
