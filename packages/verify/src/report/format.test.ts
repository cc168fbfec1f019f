import fc from 'fast-check';
import { expect, it } from 'vitest';
import {
  formatBytes,
  formatCosine,
  formatCount,
  formatDifference,
  formatInterval,
  formatMs,
  formatNumber,
  formatP,
  formatRatio,
  formatShare,
  formatTick,
  formatValue,
  plural,
  shorten,
  truncate,
} from './format.js';

const interval = (low: number, high: number) => ({ low, high, level: 0.95, method: 'wilson' }) as const;

it.each([
  [formatBytes(0), '0 B'],
  [formatBytes(999), '999 B'],
  [formatBytes(1000), '1.00 kB'],
  [formatBytes(999_949), '1.00 MB'],
  [formatBytes(10_820_000), '10.8 MB'],
  [formatBytes(2.5e9), '2.50 GB'],
  [formatMs(14.234), '14.2 ms'],
  [formatMs(999.6), '1.00 s'],
  [formatMs(0.0624), '62 µs'],
  [formatRatio(1.624), '1.62×'],
  [formatRatio(12.34), '12.3×'],
  [formatValue(0.9784, 'percent'), '97.8%'],
  [formatValue(null, 'percent'), '–'],
  [formatValue(0.02137, 'number'), '0.0214'],
  [formatDifference(0.004, 'percent'), '0.4 pt'],
  [formatDifference(-0.0005, 'percent'), '−0.05 pt'],
  [formatDifference(0, 'percent'), '0.0 pt'],
  [formatInterval(interval(0.969, 0.985), 'percent'), '96.9–98.5%'],
  [formatInterval(interval(-0.003, 0.008), 'difference'), '−0.3 to 0.8'],
  [formatInterval(interval(1.55, 1.7), 'ratio'), '1.55–1.70'],
  [formatInterval(interval(0.9967, 1.0021), 'ratio'), '0.997–1.002'],
  [formatInterval(null, 'ratio'), ''],
  [formatNumber(3.1e-7), '3.1e−7'],
  [formatNumber(12_500.4), '12,500'],
  [formatNumber(Number.NaN), 'NaN'],
  [formatCount(1_234_567), '1,234,567'],
  [formatCosine(1), '1'],
  [formatCosine(0.9987), '0.9987'],
  [formatCosine(0.99999), '0.999990'],
  [formatCosine(1 - 1e-12), '>0.999999'],
  [formatCosine(-0.5), '−0.5000'],
  [formatShare(0.11), '11%'],
  [formatShare(0.00062), '0.062%'],
  [formatShare(2e-7), '2.0e−5%'],
  [formatTick(10, formatMs), '10 ms'],
  [formatTick(2.5e6, formatBytes), '2.5 MB'],
  [formatTick(600, formatMs), '600 ms'],
  [formatP(0.0004), 'p\u00a0<\u00a00.001'],
  [formatP(0.41), 'p\u00a0=\u00a00.41'],
  [plural(1, 'sample'), '1 sample'],
  [plural(2000, 'sample'), '2,000 samples'],
  [shorten('/features/conv.1/Conv', 11), '/feat…/Conv'],
  [truncate('automobiles', 10), 'automobil…'],
])('%j is %j', (given, expected) => expect(given).toBe(expected));

it('three figures are within half a unit of the third', () => {
  fc.assert(
    fc.property(fc.double({ min: 1, max: 1e14, noNaN: true }), (bytes) => {
      const [number, unit] = formatBytes(Math.round(bytes)).split(' ') as [string, string];
      const back = Number(number) * 1000 ** ['B', 'kB', 'MB', 'GB', 'TB'].indexOf(unit);
      expect(Math.abs(back / Math.round(bytes) - 1)).toBeLessThanOrEqual(0.0051);
    }),
    { seed: 1 },
  );
});

it('a cosine is never rounded up to 1', () => {
  fc.assert(
    fc.property(fc.double({ min: -1, max: 1, noNaN: true, maxExcluded: true }), (c) => {
      expect(formatCosine(c)).not.toMatch(/^1/);
    }),
    { seed: 1 },
  );
});
