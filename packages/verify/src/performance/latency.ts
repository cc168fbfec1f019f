import type { LatencySummary } from '../evidence.js';
import { mean, quantileSorted, sortedCopy } from '../statistics/quantile.js';

/** Percentiles of latencies in ms. */
export function summarizeLatencies(ms: ArrayLike<number>): LatencySummary {
  const sorted = sortedCopy(ms);
  const q = (p: number): number => quantileSorted(sorted, p);
  return {
    runs: sorted.length,
    min: q(0),
    p50: q(0.5),
    p90: q(0.9),
    p95: q(0.95),
    p99: q(0.99),
    max: q(1),
    mean: mean(sorted),
  };
}

/** At most `count` values, ascending, evenly spaced over all of `ms`, ends included: the shape of the distribution. */
export function decimate(ms: ArrayLike<number>, count = 500): number[] {
  const sorted = sortedCopy(ms);
  if (sorted.length <= count) return [...sorted];
  return Array.from({ length: count }, (_, i) => sorted[Math.round((i * (sorted.length - 1)) / (count - 1))] as number);
}
