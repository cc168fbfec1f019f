import { readFileSync } from 'node:fs';
import { seededRandom } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { bcaInterval, bootstrap, bootstrapPValue, percentileInterval } from './bootstrap.js';
import { normalCdf, normalQuantile } from './normal.js';
import { mcnemarTest, pairedDifferenceInterval, wilsonInterval } from './proportion.js';
import { mean, median, quantileSorted, sortedCopy } from './quantile.js';

/** Answers of SciPy and NumPy: test/fixtures/generate.py. */
const golden = JSON.parse(readFileSync(new URL('../../test/fixtures/statistics.json', import.meta.url), 'utf8')) as {
  cdf: [number, number][];
  ppf: [number, number][];
  mcnemar: [number, number, number][];
  mcnemarLarge: [number, number, number][];
  bcaMean: { values: number[]; low: number; high: number };
  bcaRatio: { num: number[]; den: number[]; low: number; high: number };
  percentileMedian: { low: number; high: number };
  quantiles: [number, number][];
};

describe('normal distribution', () => {
  it.each(golden.cdf)('P(Z <= %f)', (z, p) => {
    expect(Math.abs(normalCdf(z) / p - 1)).toBeLessThan(1e-11);
  });
  it.each(golden.ppf)('quantile %f', (p, z) => {
    expect(normalQuantile(p)).toBeCloseTo(z, 9);
  });
});

describe('Wilson interval', () => {
  // R. G. Newcombe, Statistics in Medicine 17, 1998, 857-872, table I, method 3.
  it.each([
    [81, 263, 0.2553, 0.3662],
    [15, 148, 0.0624, 0.1605],
    [0, 20, 0, 0.1611],
    [1, 29, 0.0061, 0.1718],
  ])('%i of %i', (successes, n, low, high) => {
    const interval = wilsonInterval(successes, n);
    expect(interval.low).toBeCloseTo(low, 4);
    expect(interval.high).toBeCloseTo(high, 4);
  });
  it('mirrors', () => {
    const a = wilsonInterval(7, 31);
    const b = wilsonInterval(24, 31);
    expect(a.low).toBeCloseTo(1 - b.high, 12);
    expect(wilsonInterval(31, 31).high).toBe(1);
  });
});

describe('paired proportions', () => {
  it('has the published interval of Newcombe, method 10', () => {
    // Statistics in Medicine 17, 1998, 2635-2650: 36 both, 12 and 2 discordant, none neither.
    const interval = pairedDifferenceInterval({ both: 36, onlyFirst: 12, onlySecond: 2, neither: 0 });
    expect(interval.low).toBeCloseTo(0.0569, 4);
    expect(interval.high).toBeCloseTo(0.3404, 4);
  });
  it('changes sign with the order', () => {
    const a = pairedDifferenceInterval({ both: 50, onlyFirst: 9, onlySecond: 4, neither: 20 });
    const b = pairedDifferenceInterval({ both: 50, onlyFirst: 4, onlySecond: 9, neither: 20 });
    expect(a.low).toBeCloseTo(-b.high, 12);
    expect(a.high).toBeCloseTo(-b.low, 12);
  });
  it('covers the true difference about 95 % of the time', () => {
    const random = seededRandom(11);
    const cells = [0.6, 0.12, 0.06, 0.22] as const;
    let covered = 0;
    for (let trial = 0; trial < 600; trial++) {
      const counts = [0, 0, 0, 0] as [number, number, number, number];
      for (let i = 0; i < 150; i++) {
        const u = random.uniform();
        counts[u < cells[0] ? 0 : u < cells[0] + cells[1] ? 1 : u < 1 - cells[3] ? 2 : 3]++;
      }
      const [both, onlyFirst, onlySecond, neither] = counts;
      const { low, high } = pairedDifferenceInterval({ both, onlyFirst, onlySecond, neither });
      if (low <= 0.06 && 0.06 <= high) covered++;
    }
    expect(covered / 600).toBeGreaterThan(0.92);
    expect(covered / 600).toBeLessThan(0.99);
  });
});

describe('McNemar', () => {
  it.each(golden.mcnemar)('exact, %i against %i', (b, c, p) => {
    expect(mcnemarTest(b, c).name).toBe('mcnemar-exact');
    expect(mcnemarTest(b, c).pValue / p).toBeCloseTo(1, 9);
  });
  it.each(golden.mcnemarLarge)('chi-square, %i against %i', (b, c, p) => {
    expect(mcnemarTest(b, c).name).toBe('mcnemar');
    expect(mcnemarTest(b, c).pValue / p).toBeCloseTo(1, 9);
  });
});

describe('bootstrap', () => {
  const { values, low, high } = golden.bcaMean;
  const statistic = (indices: Uint32Array): number => mean(Array.from(indices, (i) => values[i] as number));

  it('gives the BCa interval of SciPy for a skewed mean', () => {
    const total = values.reduce((a, b) => a + b, 0);
    const jackknife = values.map((v) => (total - v) / (values.length - 1));
    const draws = bootstrap(values.length, statistic, { resamples: 20000 });
    const interval = bcaInterval(draws, mean(values), jackknife);
    const width = high - low;
    expect(Math.abs((interval?.low as number) - low)).toBeLessThan(0.03 * width);
    expect(Math.abs((interval?.high as number) - high)).toBeLessThan(0.03 * width);
    // The plain percentile interval is elsewhere: the correction does something.
    expect(Math.abs((percentileInterval(draws)?.high as number) - high)).toBeGreaterThan(0.05 * width);
  });
  it('gives the BCa interval of SciPy for a ratio of sums', () => {
    const { num, den, ...want } = golden.bcaRatio;
    const sum = (x: number[]): number => x.reduce((a, b) => a + b, 0);
    const ratio = (indices: Uint32Array): number => {
      const drawn = Array.from(indices);
      return sum(drawn.map((i) => num[i] as number)) / sum(drawn.map((i) => den[i] as number));
    };
    const jackknife = num.map((n, i) => (sum(num) - n) / (sum(den) - (den[i] as number)));
    const interval = bcaInterval(bootstrap(num.length, ratio, { resamples: 20000 }), sum(num) / sum(den), jackknife);
    const width = want.high - want.low;
    expect(Math.abs((interval?.low as number) - want.low)).toBeLessThan(0.03 * width);
    expect(Math.abs((interval?.high as number) - want.high)).toBeLessThan(0.03 * width);
  });
  it('gives the percentile interval of SciPy for a median', () => {
    const draws = bootstrap(values.length, (i) => median(Array.from(i, (k) => values[k] as number)), {
      resamples: 20000,
    });
    const interval = percentileInterval(draws);
    expect(interval?.low).toBeCloseTo(golden.percentileMedian.low, 1);
    expect(interval?.high).toBeCloseTo(golden.percentileMedian.high, 1);
  });
  it('repeats itself with the same seed only', () => {
    const a = bootstrap(values.length, statistic, { resamples: 50, seed: 3 });
    expect(bootstrap(values.length, statistic, { resamples: 50, seed: 3 })).toEqual(a);
    expect(bootstrap(values.length, statistic, { resamples: 50, seed: 4 })).not.toEqual(a);
  });
  it('has a p-value that is uniform when nothing differs', () => {
    const random = seededRandom(5);
    let rejected = 0;
    for (let trial = 0; trial < 300; trial++) {
      const sample = Array.from({ length: 40 }, () => random.normal());
      const draws = bootstrap(40, (i) => mean(Array.from(i, (k) => sample[k] as number)), {
        resamples: 300,
        seed: trial,
      });
      if (bootstrapPValue(draws) < 0.05) rejected++;
    }
    expect(rejected / 300).toBeGreaterThan(0.01);
    expect(rejected / 300).toBeLessThan(0.11);
  });
  it('knows constants', () => {
    expect(bcaInterval(Float64Array.of(2, 2, 2), 2, [2, 2])).toMatchObject({ low: 2, high: 2 });
    expect(percentileInterval(new Float64Array())).toBeUndefined();
    expect(bootstrapPValue(new Float64Array(99))).toBe(1);
  });
});

it.each(golden.quantiles)('quantile %f as NumPy', (q, value) => {
  expect(quantileSorted(sortedCopy(golden.bcaMean.values), q)).toBeCloseTo(value, 12);
});

describe('seeded random', () => {
  it('is uniform and normal', () => {
    const random = seededRandom(1);
    const bins = new Array<number>(20).fill(0);
    for (let i = 0; i < 20000; i++) bins[random.integer(20)]!++;
    const chi2 = bins.reduce((s, n) => s + (n - 1000) ** 2 / 1000, 0);
    // 0.1 % and 99.9 % quantiles of chi-square with 19 degrees of freedom.
    expect(chi2).toBeGreaterThan(5.4);
    expect(chi2).toBeLessThan(43.8);
    const normals = Array.from({ length: 20000 }, () => random.normal());
    expect(Math.abs(mean(normals))).toBeLessThan(0.03);
    expect(mean(normals.map((v) => v * v))).toBeCloseTo(1, 1);
  });
  it('differs by seed, also beyond 32 bits', () => {
    const first = [1, 2, 2 ** 32 + 1, 0].map((seed) => seededRandom(seed).uniform());
    expect(new Set(first).size).toBe(4);
  });
});
