import { PareError } from '@pare/core';
import type { QuantizationTarget, RealRange } from '../params.js';
import { entropyRange } from './entropy.js';
import type { Histogram } from './histogram.js';
import { percentileRange } from './percentile.js';
import { leastErrorRange } from './squared-error.js';
import type { TensorStatistics } from './statistics.js';

/** How calibration turns what it saw of a tensor into the range to quantize. */
export type CalibrationMethod = 'min-max' | 'moving-average' | 'percentile' | 'entropy' | 'mse';

/** Parameters of the methods. */
export interface CalibrationOptions {
  /** Percent of the values that `percentile` keeps. Default 99.999. */
  readonly percentile?: number;
  /** Power of the error that `mse` makes least. Default 2. */
  readonly power?: number;
}

type RangeOf = (statistics: TensorStatistics, target: QuantizationTarget, options: CalibrationOptions) => RealRange;

const METHODS: Readonly<Record<CalibrationMethod, { readonly histogram: boolean; readonly range: RangeOf }>> = {
  'min-max': { histogram: false, range: ({ min, max }) => ({ lo: min, hi: max }) },
  'moving-average': { histogram: false, range: ({ averageMin, averageMax }) => ({ lo: averageMin, hi: averageMax }) },
  percentile: {
    histogram: true,
    range: (s, { symmetric }, { percentile = 99.999 }) => {
      if (percentile > 0 && percentile <= 100) return percentileRange(histogramOf(s), percentile, symmetric);
      throw new PareError('bad-option', `The percentile ${percentile} is not between 0 and 100.`);
    },
  },
  entropy: { histogram: true, range: (s, target) => entropyRange(histogramOf(s), target) },
  mse: {
    histogram: true,
    range: (s, target, { power = 2 }) => {
      if (power >= 1) return leastErrorRange(histogramOf(s), power, target);
      throw new PareError('bad-option', `The power ${power} of the error is less than 1.`);
    },
  },
};

function histogramOf(statistics: TensorStatistics): Histogram {
  if (statistics.histogram) return statistics.histogram;
  throw new PareError('bad-option', 'This calibration method needs histograms, but only extremes were recorded.');
}

/** Whether `method` needs histograms; the others need only the extremes of each sample, which a graph can compute itself. */
export function needsHistogram(method: CalibrationMethod): boolean {
  return METHODS[method].histogram;
}

/**
 * The range of a tensor by `method`, with lo <= 0 <= hi. Symmetric targets get a range that is its own mirror.
 * @throws PareError `bad-data` when not one finite value was seen.
 */
export function rangeOf(
  statistics: TensorStatistics,
  method: CalibrationMethod,
  target: QuantizationTarget,
  options: CalibrationOptions = {},
): RealRange {
  if (statistics.samples === 0) {
    throw new PareError('bad-data', 'Calibration saw no finite value of this tensor: is the calibration data empty?');
  }
  const range = METHODS[method].range(statistics, target, options);
  const lo = Math.min(0, range.lo);
  const hi = Math.max(0, range.hi);
  const reach = Math.max(-lo, hi);
  return target.symmetric ? { lo: -reach, hi: reach } : { lo, hi };
}
