import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { kernels } from '../../kernels/index.js';
import { affineParameters, integerRange, type QuantizationTarget, quantizeValue } from '../params.js';
import { entropyRow, windowDivergence } from './entropy.js';
import { type CalibrationMethod, needsHistogram, rangeOf } from './range.js';
import { QuantizationError } from './squared-error.js';
import { TensorStatistics } from './statistics.js';

const k = kernels();
const UINT8: QuantizationTarget = { qmin: 0, qmax: 255, symmetric: false };
const INT8: QuantizationTarget = { qmin: -127, qmax: 127, symmetric: true };
const METHODS: CalibrationMethod[] = ['min-max', 'moving-average', 'percentile', 'entropy', 'mse'];

/** Seeded uniform deviates (a linear congruential generator: enough here). */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
}
const u = random(7);
const normal = () => Math.sqrt(-2 * Math.log(u())) * Math.cos(2 * Math.PI * u());

/** What activations look like. */
const SHAPES: Record<string, () => number> = {
  gaussian: normal,
  relu: () => Math.max(0, normal()),
  laplace: () => Math.log(u()) * (u() < 0.5 ? -1 : 1),
  skewed: () => 0.3 * normal() + (u() < 0.2 ? 4 * u() : 0),
  outliers: () => normal() * (u() < 1e-4 ? 40 : 1),
  negative: () => -Math.abs(normal()) - 0.1,
};
const values = Object.fromEntries(
  Object.entries(SHAPES).map(([name, draw]) => [name, Float32Array.from({ length: 50_000 }, draw)]),
);
const statisticsOf = (x: Float32Array) => {
  const statistics = new TensorStatistics();
  statistics.observe(k, x);
  return statistics;
};

/** Mean |x - Q(x)|^power, one value at a time. */
function meanError(x: Float32Array, lo: number, hi: number, target: QuantizationTarget, power = 2): number {
  const parameters = affineParameters({ lo, hi }, target);
  let sum = 0;
  for (const v of x) {
    sum += Math.abs(v - (quantizeValue(v, parameters, target) - parameters.zeroPoint) * parameters.scale) ** power;
  }
  return sum / x.length;
}

describe('rangeOf', () => {
  it('holds zero and stays within the extremes for every method', () => {
    for (const x of Object.values(values)) {
      const statistics = statisticsOf(x);
      for (const method of METHODS) {
        const { lo, hi } = rangeOf(statistics, method, UINT8);
        expect(lo).toBeLessThanOrEqual(0);
        expect(hi).toBeGreaterThanOrEqual(0);
        expect(lo).toBeGreaterThanOrEqual(Math.min(0, statistics.min));
        expect(hi).toBeLessThanOrEqual(Math.max(0, statistics.max));
        const mirrored = rangeOf(statistics, method, INT8);
        expect(mirrored.lo).toBe(-mirrored.hi);
      }
    }
  });

  it('handles constants, zeros and a single value', () => {
    for (const x of [[0, 0], [3, 3], [-2], [0, 5], [1e-30], [1e38, -1e38]]) {
      const statistics = statisticsOf(Float32Array.from(x));
      for (const method of METHODS) {
        for (const target of [UINT8, INT8]) {
          const range = rangeOf(statistics, method, target);
          const parameters = affineParameters(range, target);
          expect(Number.isFinite(parameters.scale) && parameters.scale > 0).toBe(true);
        }
      }
    }
  });

  it('refuses statistics without samples, and bad options', () => {
    expect(() => rangeOf(new TensorStatistics(), 'min-max', UINT8)).toThrow(/no finite value/);
    const extremes = new TensorStatistics({ histogram: false });
    extremes.observeRange(-1, 1);
    expect(rangeOf(extremes, 'min-max', UINT8)).toEqual({ lo: -1, hi: 1 });
    for (const method of METHODS.filter(needsHistogram))
      expect(() => rangeOf(extremes, method, UINT8)).toThrow(/histogram/);
    expect(() => rangeOf(statisticsOf(Float32Array.of(1)), 'percentile', UINT8, { percentile: 101 })).toThrow(
      /percentile/,
    );
  });
});

describe('percentile', () => {
  it('is that of the sorted values, within a bin', () => {
    for (const x of Object.values(values)) {
      const statistics = statisticsOf(x);
      const width = statistics.histogram!.width;
      const sorted = Float64Array.from(x).sort();
      const magnitudes = Float64Array.from(x, Math.abs).sort();
      for (const percentile of [90, 99, 99.9]) {
        const rest = 1 - percentile / 100;
        const at = (v: Float64Array, p: number) => v[Math.min(v.length - 1, Math.floor(p * v.length))] as number;
        const mirrored = rangeOf(statistics, 'percentile', INT8, { percentile });
        expect(Math.abs(mirrored.hi - at(magnitudes, 1 - rest))).toBeLessThan(1.01 * width);
        const { lo, hi } = rangeOf(statistics, 'percentile', UINT8, { percentile });
        expect(Math.abs(hi - Math.max(0, at(sorted, 1 - rest / 2)))).toBeLessThan(1.01 * width);
        expect(Math.abs(lo - Math.min(0, at(sorted, rest / 2)))).toBeLessThan(1.01 * width);
      }
    }
  });
});

/** The divergence by its definition: build P and Q, bin by bin. */
function bruteDivergence(counts: readonly number[], from: number, to: number, levels: number): number {
  const bins = to - from;
  const inside = counts.slice(from, to);
  const p = [...inside];
  p[0]! += counts.slice(0, from).reduce((a, b) => a + b, 0);
  p[bins - 1]! += counts.slice(to).reduce((a, b) => a + b, 0);
  const q = new Array<number>(bins).fill(0);
  const groups = Math.min(levels, bins);
  for (let g = 0; g < groups; g++) {
    const start = Math.floor((g * bins) / groups);
    const end = Math.floor(((g + 1) * bins) / groups);
    const mass = inside.slice(start, end).reduce((a, b) => a + b, 0);
    const filled = p.slice(start, end).filter((h) => h > 0).length;
    for (let i = start; i < end; i++) if (p[i]! > 0) q[i] = mass / filled;
  }
  const sumP = p.reduce((a, b) => a + b, 0);
  const sumQ = q.reduce((a, b) => a + b, 0);
  return p.reduce((kl, h, i) => (h > 0 ? kl + (h / sumP) * Math.log(h / sumP / (q[i]! / sumQ)) : kl), 0);
}

describe('entropy', () => {
  it('computes the divergence of any window as its definition does', () => {
    const window = fc
      .array(fc.oneof(fc.constant(0), fc.nat(1000)), { minLength: 1, maxLength: 60 })
      .chain((counts) =>
        fc.tuple(
          fc.constant(counts),
          fc.nat(counts.length - 1),
          fc.nat(counts.length),
          fc.integer({ min: 1, max: 12 }),
        ),
      );
    fc.assert(
      fc.property(window, ([counts, a, b, levels]) => {
        const [from, to] = a < b ? [a, b] : [b, a + 1];
        const fast = windowDivergence(entropyRow(Float64Array.from(counts)), from, to, levels);
        const inside = counts.slice(from, to).some((n) => n > 0);
        const brute = inside ? bruteDivergence(counts, from, to, levels) : Infinity;
        if (Number.isFinite(brute)) expect(fast).toBeCloseTo(brute, 9);
        else expect(fast).toBe(Infinity);
      }),
      { numRuns: 500 },
    );
  });

  // The common Python quantizer tries one threshold with its default options and so returns the extremes.
  it('clips outliers with its default options, unlike min-max', () => {
    const statistics = statisticsOf(values.outliers as Float32Array);
    for (const target of [UINT8, INT8]) {
      const extremes = rangeOf(statistics, 'min-max', target);
      const entropy = rangeOf(statistics, 'entropy', target);
      expect(entropy.hi - entropy.lo).toBeLessThan(0.5 * (extremes.hi - extremes.lo));
    }
  });

  it('finds the best window of all', () => {
    for (const name of ['relu', 'gaussian', 'laplace', 'outliers']) {
      const statistics = statisticsOf(values[name] as Float32Array);
      const { positive, negative, width, max } = statistics.histogram!;
      const [target, levels] = name === 'relu' ? ([UINT8, 256] as const) : ([INT8, 128] as const);
      const reach = Math.floor(Math.max(max, -statistics.min) / width) + 1;
      const magnitudes = Array.from(positive, (n, i) => n + negative[i]!).slice(0, reach);
      const cost = (w: number) => bruteDivergence(magnitudes, 0, w, levels);
      let best = reach;
      // Every 16th window: the brute force is slow.
      for (let w = levels; w <= reach; w += 16) if (cost(w) < cost(best)) best = w;
      const found = Math.min(reach, Math.ceil(rangeOf(statistics, 'entropy', target).hi / width));
      expect(cost(found), name).toBeLessThanOrEqual(cost(best) + 1e-9);
    }
  });

  it('searches both ends of a skewed tensor nearly as well as a dense grid', () => {
    const { histogram } = statisticsOf(values.skewed as Float32Array);
    const { counts, first } = histogram!.bins();
    const row = entropyRow(counts);
    const zero = -first;
    const found = rangeOf(statisticsOf(values.skewed as Float32Array), 'entropy', UINT8);
    const at = (v: number) => Math.max(0, Math.min(counts.length, zero + Math.round(v / histogram!.width)));
    let least = Infinity;
    for (let a = 0; a < zero; a += 8) {
      for (let b = counts.length; b > zero; b -= 16) {
        if (b - a >= 256) least = Math.min(least, windowDivergence(row, a, b, 256));
      }
    }
    expect(windowDivergence(row, at(found.lo), at(found.hi), 256)).toBeLessThan(1.1 * least);
  });
});

describe('mse', () => {
  it('integrates the error that quantizing each value makes', () => {
    for (const [name, x] of Object.entries(values)) {
      const { histogram } = statisticsOf(x);
      for (const power of [2, 2.4]) {
        for (const target of [UINT8, INT8, { qmin: 0, qmax: 127, symmetric: false }]) {
          for (const part of [1, 0.5]) {
            const lo = target.symmetric ? -part * histogram!.max : part * Math.min(0, histogram!.min);
            const hi = part * Math.max(0, histogram!.max);
            const counted = x.filter((v) => v !== 0).length
              ? new QuantizationError(histogram!, power, target).of(lo, hi)
              : 0;
            const mean = meanError(x, lo, hi, target, power);
            expect(counted / x.length / mean, `${name} ^${power}`).toBeGreaterThan(0.97);
            expect(counted / x.length / mean, `${name} ^${power}`).toBeLessThan(1.03);
          }
        }
      }
    }
  });

  it('comes within 1 % of the best of a dense grid, judged on the values themselves', () => {
    for (const [name, x] of Object.entries(values)) {
      const part = x.subarray(0, 10_000);
      const statistics = statisticsOf(part);
      for (const target of [UINT8, INT8]) {
        const found = rangeOf(statistics, 'mse', target);
        let least = Infinity;
        for (let i = 1; i <= 30; i++) {
          const hi = (statistics.max * i) / 30;
          if (target.symmetric) least = Math.min(least, meanError(part, -hi, hi, target));
          else
            for (let j = 1; j <= 30; j += 2)
              least = Math.min(least, meanError(part, (statistics.min * j) / 30, hi, target));
        }
        expect(meanError(part, found.lo, found.hi, target), `${name} ${target.symmetric}`).toBeLessThan(1.01 * least);
      }
    }
  });

  it('is never worse than min-max or percentile', () => {
    for (const x of Object.values(values)) {
      const statistics = statisticsOf(x);
      for (const target of [
        UINT8,
        INT8,
        { ...integerRange('uint8', { symmetric: false, reduced: true }), symmetric: false },
      ]) {
        const mse = rangeOf(statistics, 'mse', target);
        for (const other of ['min-max', 'percentile', 'entropy'] as const) {
          const { lo, hi } = rangeOf(statistics, other, target);
          expect(meanError(x, mse.lo, mse.hi, target)).toBeLessThan(1.01 * meanError(x, lo, hi, target));
        }
      }
    }
  });
});
