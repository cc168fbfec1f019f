import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../kernels/index.js';
import { Histogram } from './histogram.js';
import { TensorStatistics } from './statistics.js';

const k = kernels();
const histogramOf = (...samples: ArrayLike<number>[]) => {
  const histogram = new Histogram();
  for (const sample of samples) histogram.add(k, Float32Array.from(sample));
  return histogram;
};

const number = fc.oneof(
  fc.float({ noNaN: true, noDefaultInfinity: true }),
  fc.float({ min: -8, max: 8, noNaN: true }),
  fc.constantFrom(0, -0, 1, -1, 2 ** -140, -(2 ** -149)),
);
const any = fc.oneof({ weight: 9, arbitrary: number }, fc.constantFrom(Number.NaN, Infinity, -Infinity));
const sample = fc.array(any, { maxLength: 50 });

describe('Histogram', () => {
  it('counts each value in the bin that holds it', () => {
    fc.assert(
      fc.property(fc.array(sample, { maxLength: 6 }), (samples) => {
        const histogram = histogramOf(...samples);
        const { counts, first } = histogram.bins();
        const expected = new Map<number, number>();
        for (const v of samples.flat()) {
          if (!Number.isFinite(v) || v === 0) continue;
          const i = v < 0 ? -1 - Math.floor(-v / histogram.width) : Math.floor(v / histogram.width);
          expected.set(i, (expected.get(i) ?? 0) + 1);
        }
        const made = new Map([...counts].map((n, i) => [first + i, n] as const).filter(([, n]) => n > 0));
        expect(made).toEqual(new Map([...expected].sort(([a], [b]) => a - b)));
        const finite = samples.flat().filter(Number.isFinite);
        expect(histogram).toMatchObject({
          count: finite.length,
          zeros: finite.filter((v) => v === 0).length,
          nan: samples.flat().filter(Number.isNaN).length,
          inf: samples.flat().filter((v) => Math.abs(v) === Infinity).length,
          min: Math.min(...finite) + 0,
          max: Math.max(...finite) + 0,
        });
      }),
    );
  });

  it('does not depend on the order of samples, nor on how they are split or merged', () => {
    fc.assert(
      fc.property(fc.array(sample, { minLength: 1, maxLength: 6 }), fc.nat(), (samples, cut) => {
        const all = histogramOf(samples.flat());
        const at = cut % samples.length;
        const left = histogramOf(...samples.slice(0, at));
        left.merge(histogramOf(...samples.slice(at).reverse()));
        expect(histogramOf(...samples).toJSON()).toEqual(all.toJSON());
        expect(histogramOf(...[...samples].reverse()).toJSON()).toEqual(all.toJSON());
        expect(left.toJSON()).toEqual(all.toJSON());
      }),
    );
  });

  it('keeps at least 2048 bins on the longer side', () => {
    fc.assert(
      fc.property(number, number, (a, b) => {
        const most = Math.max(Math.abs(a), Math.abs(b));
        fc.pre(most >= 2 ** -114);
        const bins = most / histogramOf([a, b]).width;
        expect(bins).toBeGreaterThanOrEqual(2048);
        expect(bins).toBeLessThan(4096);
      }),
    );
  });

  it('survives JSON, and refuses a cache whose counts do not add up', () => {
    fc.assert(
      fc.property(sample, (values) => {
        const data = histogramOf(values).toJSON();
        expect(Histogram.fromJSON(JSON.parse(JSON.stringify(data))).toJSON()).toEqual(data);
        expect(() => Histogram.fromJSON({ ...data, count: data.count + 1 })).toThrow(/calibrate again/);
      }),
    );
  });

  // The common Python calibrator keeps every activation of every sample until the end.
  it('has the same size after one sample and after many', () => {
    const histogram = new Histogram();
    const size = () => JSON.stringify([...histogram.positive, ...histogram.negative].length);
    const one = size();
    for (let i = 0; i < 50; i++)
      histogram.add(
        k,
        Float32Array.from({ length: 1000 }, (_, j) => Math.sin(i * j) * 2 ** i),
      );
    expect(size()).toBe(one);
    expect(histogram.count).toBe(50_000);
    expect(histogram.positive.length + histogram.negative.length).toBe(8192);
    expect(Object.values(histogram).filter((field) => typeof field === 'object')).toHaveLength(2);
  });
});

describe('TensorStatistics', () => {
  // The common Python calibrator loses all but the last samples when it is asked to bound its memory.
  it('keeps the extremes of every sample, whichever comes last', () => {
    const samples = Array.from({ length: 10 }, (_, i) =>
      Float32Array.of(-1, 0.5, i === 4 ? 375.2 : 1, i === 4 ? -354.9 : 0),
    );
    for (const order of [samples, [...samples].reverse()]) {
      const statistics = new TensorStatistics();
      for (const s of order) statistics.observe(k, s);
      expect(statistics.min).toBeCloseTo(-354.9, 3);
      expect(statistics.max).toBeCloseTo(375.2, 3);
      expect(statistics.samples).toBe(10);
    }
  });

  it('averages extremes with m <- m + c (new - m)', () => {
    const statistics = new TensorStatistics({ histogram: false, averaging: 0.25 });
    for (const max of [4, 8, 0]) statistics.observeRange(-max, max);
    expect(statistics.averageMax).toBe((4 + 0.25 * 4) * 0.75);
    expect(statistics.averageMin).toBe(-3.75);
    expect(statistics).toMatchObject({ min: -8, max: 8, samples: 3 });
  });

  it('says how many values were NaN or infinite instead of hiding them', () => {
    const statistics = new TensorStatistics();
    statistics.observe(k, Float32Array.of(1, Number.NaN, -Infinity, 2, Number.NaN));
    expect(statistics).toMatchObject({ nan: 2, inf: 1, min: 1, max: 2 });
    statistics.observeRange(Number.NaN, Number.NaN);
    statistics.observeRange(0, Infinity);
    expect(statistics).toMatchObject({ nan: 3, inf: 2, max: 2, samples: 1 });
  });

  it('survives JSON', () => {
    const statistics = new TensorStatistics({ averaging: 0.1 });
    statistics.observe(k, Float32Array.of(1, -3, 2));
    const data = JSON.parse(JSON.stringify(statistics));
    expect(TensorStatistics.fromJSON(data)).toEqual(statistics);
    expect(TensorStatistics.fromJSON(JSON.parse(JSON.stringify(new TensorStatistics()))).samples).toBe(0);
  });
});
