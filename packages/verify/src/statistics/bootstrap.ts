import { seededRandom } from '@pare/core';
import type { Interval } from '../evidence.js';
import { normalCdf, normalQuantile } from './normal.js';
import { LEVEL } from './proportion.js';
import { quantileSorted } from './quantile.js';

/** A statistic of a resample: `indices` names the samples drawn (with repetition), in no order. */
export type Statistic = (indices: Uint32Array) => number;

export interface BootstrapOptions {
  /** Default 2000. */
  readonly resamples?: number;
  /** Default 1. */
  readonly seed?: number;
  readonly level?: number;
}

/** Values of `statistic` on resamples of `n` samples, ascending; resamples without a finite value are left out. */
export function bootstrap(n: number, statistic: Statistic, options: BootstrapOptions = {}): Float64Array {
  const { resamples = 2000, seed = 1 } = options;
  const random = seededRandom(seed);
  const indices = new Uint32Array(n);
  const values = new Float64Array(resamples);
  let kept = 0;
  for (let r = 0; r < resamples; r++) {
    for (let i = 0; i < n; i++) indices[i] = random.integer(n);
    const value = statistic(indices);
    if (Number.isFinite(value)) values[kept++] = value;
  }
  return values.slice(0, kept).sort();
}

/** Percentile interval from ascending bootstrap values (Efron 1979); undefined when there are none. */
export function percentileInterval(
  sorted: Float64Array,
  method: Interval['method'] = 'bootstrap-percentile',
  level = LEVEL,
): Interval | undefined {
  if (sorted.length === 0) return undefined;
  const tail = (1 - level) / 2;
  return { low: quantileSorted(sorted, tail), high: quantileSorted(sorted, 1 - tail), level, method };
}

/**
 * Bias-corrected and accelerated interval (B. Efron, JASA 82, 1987) of `statistic`, whose value on the data is `estimate` and
 * without sample i `jackknife[i]`. Falls back to the percentile interval where the correction is not defined.
 */
export function bcaInterval(
  sorted: Float64Array,
  estimate: number,
  jackknife: ArrayLike<number>,
  level = LEVEL,
): Interval | undefined {
  const n = jackknife.length;
  if (sorted.length === 0) return undefined;
  if (sorted[0] === sorted[sorted.length - 1]) return { low: estimate, high: estimate, level, method: 'bootstrap-bca' };
  let below = 0;
  for (const v of sorted) below += v < estimate ? 1 : v === estimate ? 0.5 : 0;
  const bias = normalQuantile(below / sorted.length);
  let center = 0;
  for (let i = 0; i < n; i++) center += (jackknife[i] as number) / n;
  let cubes = 0;
  let squares = 0;
  for (let i = 0; i < n; i++) {
    const d = center - (jackknife[i] as number);
    cubes += d ** 3;
    squares += d ** 2;
  }
  const acceleration = squares === 0 ? 0 : cubes / (6 * squares ** 1.5);
  const bound = (p: number): number => {
    const z = bias + normalQuantile(p);
    return quantileSorted(sorted, normalCdf(bias + z / (1 - acceleration * z)));
  };
  const low = bound((1 - level) / 2);
  const high = bound((1 + level) / 2);
  if (!Number.isFinite(low) || !Number.isFinite(high) || low > high)
    return percentileInterval(sorted, undefined, level);
  return { low, high, level, method: 'bootstrap-bca' };
}

/**
 * Two-sided p-value that a difference is zero, from its ascending bootstrap values: twice the smaller tail beyond zero, with
 * one added to both counts so that it is never zero (Davison and Hinkley, Bootstrap Methods, 1997, section 4.4).
 */
export function bootstrapPValue(sorted: Float64Array): number {
  let notAbove = 0;
  let notBelow = 0;
  for (const v of sorted) {
    if (v <= 0) notAbove++;
    if (v >= 0) notBelow++;
  }
  return Math.min(1, (2 * (Math.min(notAbove, notBelow) + 1)) / (sorted.length + 1));
}
