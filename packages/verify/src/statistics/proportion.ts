import type { Interval } from '../evidence.js';
import { erfc, normalQuantile } from './normal.js';

export const LEVEL = 0.95;

/** Wilson's score interval of `successes` in `n` (E. B. Wilson, JASA 22, 1927). */
export function wilsonInterval(successes: number, n: number, level = LEVEL): Interval {
  if (n === 0) return { low: 0, high: 1, level, method: 'wilson' };
  const z = normalQuantile((1 + level) / 2);
  const p = successes / n;
  const center = (p + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((p * (1 - p)) / n + (z * z) / (4 * n * n));
  // At the ends the bound is exact; rounding would leave it a hair inside.
  const low = successes === 0 ? 0 : Math.max(0, center - half);
  const high = successes === n ? 1 : Math.min(1, center + half);
  return { low, high, level, method: 'wilson' };
}

/** Samples by who had them right. */
export interface PairedCounts {
  readonly both: number;
  readonly onlyFirst: number;
  readonly onlySecond: number;
  readonly neither: number;
}

/**
 * Interval of (share of first) - (share of second) on the same samples: Newcombe's hybrid score interval with corrected
 * correlation (method 10 in R. G. Newcombe, Statistics in Medicine 17, 1998, 2635-2650).
 */
export function pairedDifferenceInterval(counts: PairedCounts, level = LEVEL): Interval {
  const { both: a, onlyFirst: b, onlySecond: c, neither: d } = counts;
  const n = a + b + c + d;
  if (n === 0) return { low: -1, high: 1, level, method: 'newcombe-paired' };
  const p1 = (a + b) / n;
  const p2 = (a + c) / n;
  const w1 = wilsonInterval(a + b, n, level);
  const w2 = wilsonInterval(a + c, n, level);
  const margins = (a + b) * (c + d) * (a + c) * (b + d);
  const cross = a * d - b * c;
  const corrected = cross > n / 2 ? cross - n / 2 : Math.min(cross, 0);
  const phi = margins === 0 ? 0 : corrected / Math.sqrt(margins);
  const spread = (x: number, y: number): number => Math.sqrt(Math.max(0, x * x - 2 * phi * x * y + y * y));
  const difference = (b - c) / n;
  return {
    low: difference - spread(p1 - w1.low, w2.high - p2),
    high: difference + spread(w1.high - p1, p2 - w2.low),
    level,
    method: 'newcombe-paired',
  };
}

/**
 * McNemar's test that `b` and `c`, the discordant counts, come from one rate (Q. McNemar, Psychometrika 12, 1947): the exact
 * binomial two-sided p-value up to 1000 discordant samples, beyond it chi-square with continuity correction.
 */
export function mcnemarTest(
  b: number,
  c: number,
): { readonly name: 'mcnemar-exact' | 'mcnemar'; readonly pValue: number } {
  const n = b + c;
  if (n > 1000) {
    const chi2 = Math.max(0, Math.abs(b - c) - 1) ** 2 / n;
    return { name: 'mcnemar', pValue: erfc(Math.sqrt(chi2 / 2)) };
  }
  // 2 * P(X <= min(b, c)), X binomial(n, 1/2); terms in logarithms, because 2^-1000 is near the end of doubles.
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= Math.min(b, c); k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log((n - k) / (k + 1));
  }
  return { name: 'mcnemar-exact', pValue: Math.min(1, 2 * tail) };
}
