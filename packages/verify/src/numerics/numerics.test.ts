import type { HostTensor } from '@pare/core';
import { castTensor, seededRandom } from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { rowDivergence } from './divergence.js';
import { ErrorSums } from './errors.js';
import { OutputComparison } from './outputs.js';
import { compareBits, worstOf } from './reproducibility.js';
import { judgeSaturation } from './saturation.js';
import { inputRanges, judgeExtremes } from './stability.js';

fc.configureGlobal({ seed: 20 });

const f32 = (dims: number[], values: readonly number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from(values),
});
const vector = (values: readonly number[]): HostTensor => f32([values.length], values);

describe('error sums', () => {
  it('equal the definitions, however the samples are cut', () => {
    const value = fc.double({ min: -100, max: 100, noNaN: true }).map(Math.fround);
    const pairs = fc.array(fc.tuple(value, value), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(pairs, fc.nat(30), (list, cut) => {
        const a = list.map((p) => p[0]);
        const b = list.map((p) => p[1]);
        const sums = new ErrorSums();
        for (const [from, to] of [
          [0, cut],
          [cut, list.length],
        ]) {
          if (a.slice(from, to).length > 0) sums.add(vector(a.slice(from, to)), vector(b.slice(from, to)));
        }
        const s = sums.summary();
        const e = a.map((x, i) => (b[i] as number) - x);
        const sum = (v: number[]): number => v.reduce((x, y) => x + y, 0);
        const squares = (v: number[]): number => sum(v.map((x) => x * x));
        expect(s.elements).toBe(list.length);
        expect(s.identical).toBe(e.every((x) => x === 0));
        expect(s.maxAbs).toBeCloseTo(Math.max(...e.map(Math.abs)), 10);
        expect(s.meanAbs).toBeCloseTo(sum(e.map(Math.abs)) / list.length, 10);
        if (squares(a) > 0 && squares(b) > 0) {
          const dot = sum(a.map((x, i) => x * (b[i] as number)));
          expect(s.cosine).toBeCloseTo(dot / Math.sqrt(squares(a) * squares(b)), 9);
        } else expect(s.cosine).toBeNull();
        if (squares(a) > 0) expect(s.relativeRmse).toBeCloseTo(Math.sqrt(squares(e) / squares(a)), 6);
        if (squares(a) > 0 && squares(e) > 0) expect(s.sqnrDb).toBeCloseTo(10 * Math.log10(squares(a) / squares(e)), 6);
        else expect(s.sqnrDb).toBeNull();
      }),
    );
  });
  it('measure a known noise', () => {
    const random = seededRandom(3);
    const a = Array.from({ length: 20000 }, () => random.normal());
    const sums = new ErrorSums();
    sums.add(vector(a), vector(a.map((x) => x + 0.01 * random.normal())));
    expect(sums.summary().sqnrDb).toBeCloseTo(40, 0);
  });
  it('count what is not finite apart', () => {
    const sums = new ErrorSums();
    const inf = Number.POSITIVE_INFINITY;
    sums.add(vector([1, Number.NaN, inf, 4, 5]), vector([1, Number.NaN, inf, Number.NaN, 6]));
    expect(sums.summary()).toMatchObject({ identical: false, nonFiniteOriginal: 2, nonFiniteVariant: 3, maxAbs: 1 });
    const same = new ErrorSums();
    same.add(vector([Number.NaN, inf]), vector([Number.NaN, inf]));
    expect(same.summary()).toMatchObject({ identical: true, nonFiniteOriginal: 2, nonFiniteVariant: 2, meanAbs: null });
    const sign = new ErrorSums();
    sign.add(vector([inf]), vector([-inf]));
    expect(sign.identical).toBe(false);
  });
  it('relative error has a floor under small numbers', () => {
    const sums = new ErrorSums();
    sums.add(vector([1000, 1e-9]), vector([1000, 2e-9]));
    expect(sums.summary().maxRel).toBeCloseTo(1e-9 / 1e-3, 9);
  });
  it('compare types with each other', () => {
    const a = vector([1, 2.5, -3]);
    const sums = new ErrorSums();
    sums.add(a, castTensor(a, 'float16'));
    expect(sums.summary()).toMatchObject({ identical: true, cosine: 1 });
  });
});

describe('KL divergence', () => {
  const softmax = (row: number[]): number[] => {
    const e = row.map(Math.exp);
    return e.map((x) => x / e.reduce((a, b) => a + b, 0));
  };
  const row = fc.array(fc.double({ min: -8, max: 8, noNaN: true }), { minLength: 4, maxLength: 4 });
  it('equals the definition on softmax, and on probabilities as they are', () => {
    fc.assert(
      fc.property(row, row, (a, b) => {
        const [p, q] = [softmax(a), softmax(b)];
        const expected = p.reduce((s, x, i) => s + x * Math.log(x / (q[i] as number)), 0);
        expect(rowDivergence(Float64Array.from(a), Float64Array.from(b))).toBeCloseTo(expected, 9);
        expect(rowDivergence(Float64Array.from(p), Float64Array.from(q))).toBeCloseTo(expected, 9);
      }),
    );
  });
  it('is zero for equal rows, also shifted ones, and finite for zeros', () => {
    expect(rowDivergence(Float64Array.of(1, 2), Float64Array.of(4, 5))).toBeCloseTo(0, 12);
    expect(rowDivergence(Float64Array.of(0.5, 0.5), Float64Array.of(1, 0))).toBeCloseTo(
      Math.log(0.5) - 0.5 * Math.log(2 ** -149),
      6,
    );
    expect(rowDivergence(Float64Array.of(1, 0), Float64Array.of(1, 0))).toBe(0);
  });
});

describe('output comparison', () => {
  it('keeps the worst sample, agreement and KL by row', () => {
    const comparison = new OutputComparison();
    comparison.add({ y: vector([1, 2]) }, { y: vector([1, 2]) });
    comparison.add({ y: vector([1, 2]) }, { y: vector([2, 1]) });
    const [y] = comparison.results();
    expect(y).toMatchObject({ name: 'y', elements: 4, top1Agreement: 0.5, worstCosine: { sample: 1 } });
    expect(y?.worstCosine?.value).toBeCloseTo(0.8, 9);
    const p = 1 / (1 + Math.E);
    expect(y?.kl?.max).toBeCloseTo((1 - 2 * p) * 1, 6);
    expect(y?.kl?.mean).toBeCloseTo((1 - 2 * p) / 2, 6);
  });
  it('makes no classes of images and integers', () => {
    const comparison = new OutputComparison();
    const image = f32([1, 2, 2], [1, 2, 3, 4]);
    const ids: HostTensor = { dtype: 'int64', dims: [2], data: BigInt64Array.of(1n, 2n) };
    const text: HostTensor = { dtype: 'string', dims: [1], data: ['a'] };
    comparison.add({ image, ids, text }, { image, ids, text });
    expect(comparison.results().map((o) => [o.name, o.kl, o.top1Agreement])).toEqual([
      ['image', null, null],
      ['ids', null, null],
    ]);
  });
  it('says what is missing or has another shape', () => {
    const comparison = new OutputComparison();
    expect(() => comparison.add({ y: vector([1]) }, {})).toThrow(/no output "y"/);
    expect(() => comparison.add({ y: vector([1]) }, { y: vector([1, 2]) })).toThrow(
      /is float32\[2\] where the original's is float32\[1\]/,
    );
  });
  it('sums the noise of all outputs', () => {
    const comparison = new OutputComparison();
    comparison.add({ a: vector([10]), b: vector([1]) }, { a: vector([11]), b: vector([1.1]) });
    expect(comparison.sqnrDb()).toBeCloseTo(20, 4);
    expect(new OutputComparison().sqnrDb()).toBeNaN();
  });
});

describe('bits', () => {
  it('tells zero from minus zero and NaN from numbers', () => {
    const bits = (a: number[], b: number[]) => compareBits({ y: vector(a) }, { y: vector(b) });
    expect(bits([1, Number.NaN], [1, Number.NaN])).toEqual({ identical: true, maxAbs: 0 });
    expect(bits([0], [-0])).toEqual({ identical: false, maxAbs: 0 });
    expect(bits([1, 2], [1, 2.5])).toEqual({ identical: false, maxAbs: 0.5 });
    expect(bits([1], [Number.NaN])).toEqual({ identical: false, maxAbs: null });
    expect(compareBits({ y: vector([1]) }, {})).toEqual({ identical: false, maxAbs: null });
    const text = (s: string): HostTensor => ({ dtype: 'string', dims: [1], data: [s] });
    expect(compareBits({ y: text('a') }, { y: text('b') })).toEqual({ identical: false, maxAbs: null });
  });
  it('folds', () => {
    expect(
      worstOf([
        { identical: true, maxAbs: 0 },
        { identical: false, maxAbs: 2 },
      ]),
    ).toEqual({ identical: false, maxAbs: 2 });
    expect(
      worstOf([
        { identical: false, maxAbs: null },
        { identical: false, maxAbs: 2 },
      ]).maxAbs,
    ).toBeNull();
  });
});

it('ranges of inputs', () => {
  const ranges = inputRanges([
    { x: vector([1, -2]), q: { dtype: 'string', dims: [], data: ['a'] } },
    { x: vector([7]) },
  ]);
  expect(ranges).toEqual({ x: [-2, 7] });
});

it('extremes are judged against the original', () => {
  const run = (nan: number | null, error: string | null = null) => ({
    name: 'large' as const,
    input: '',
    nan,
    infinite: nan,
    error,
  });
  const verdict = (variant: ReturnType<typeof run>, original: ReturnType<typeof run>) =>
    judgeExtremes([variant], [original])[0]?.verdict;
  expect(verdict(run(0), run(3))).toBe('finite');
  expect(verdict(run(3), run(0))).toBe('not finite');
  expect(verdict(run(3), run(1))).toBe('not finite, like the original');
  expect(verdict(run(null, 'x'), run(0))).toBe('failed');
  expect(verdict(run(null, 'x'), run(null, 'y'))).toBe('failed, like the original');
  const self = [run(3)];
  expect(judgeExtremes(self, self)[0]?.verdict).toBe('not finite');
});

it('saturation is a loss of more than rounding', () => {
  expect(judgeSaturation(16.1, 32.9, 16)).toMatchObject({ verdict: 'saturates', samples: 16 });
  expect(judgeSaturation(28.5, 29.8, 16)).toMatchObject({ verdict: 'none' });
  expect(judgeSaturation(33, 30, 16).verdict).toBe('none');
  expect(judgeSaturation(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 1)).toMatchObject({
    lossDb: null,
    verdict: 'none',
  });
});
