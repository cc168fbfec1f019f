import { PareError } from '@pare/core';
import type { Floats, Kernels } from '../../kernels/index.js';
import { Histogram, type HistogramData } from './histogram.js';

/** TensorStatistics as plain data. */
export interface StatisticsData {
  readonly samples: number;
  readonly min: number | null;
  readonly max: number | null;
  readonly averageMin: number;
  readonly averageMax: number;
  readonly averaging: number;
  readonly nan: number;
  readonly inf: number;
  readonly histogram: HistogramData | null;
}

/**
 * What calibration keeps of one tensor: never its values. `observe` sees a sample; `observeRange` takes its extremes when
 * the graph computed them, which is all that min-max and the moving average need.
 */
export class TensorStatistics {
  samples = 0;
  /** Smallest and largest finite value; Infinity and -Infinity while there is none. */
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  /** Moving averages of each sample's extremes: m <- m + averaging * (new - m), starting from the first sample. */
  averageMin = 0;
  averageMax = 0;
  nan = 0;
  inf = 0;
  readonly histogram: Histogram | undefined;

  /**
   * @param options.histogram keep a histogram, as all methods but min-max and the moving average need (default true)
   * @param options.averaging weight of a new sample in the moving average (default 0.01)
   */
  constructor(options: { histogram?: boolean; averaging?: number } = {}) {
    this.histogram = options.histogram === false ? undefined : new Histogram();
    this.averaging = options.averaging ?? 0.01;
    if (!(this.averaging > 0 && this.averaging <= 1)) {
      throw new PareError('bad-option', `The averaging constant ${this.averaging} is not between 0 and 1.`);
    }
  }
  readonly averaging: number;

  /** Adds the values of one sample. */
  observe(kernels: Kernels, x: Floats): void {
    const extremes = kernels.range(x);
    this.nan += extremes.nan;
    this.inf += extremes.inf;
    this.#extend(extremes.min, extremes.max);
    this.histogram?.add(kernels, x, extremes);
  }

  /** Adds the extremes of one sample, NaN or infinite when the sample holds such values. */
  observeRange(min: number, max: number): void {
    if (Number.isNaN(min) || Number.isNaN(max)) this.nan++;
    else if (!Number.isFinite(min) || !Number.isFinite(max)) this.inf++;
    if (Number.isFinite(min) && Number.isFinite(max)) this.#extend(min, max);
  }

  #extend(min: number, max: number): void {
    if (min > max) return; // the sample is empty, or nothing in it is finite
    const first = this.samples++ === 0;
    this.averageMin = first ? min : this.averageMin + this.averaging * (min - this.averageMin);
    this.averageMax = first ? max : this.averageMax + this.averaging * (max - this.averageMax);
    this.min = Math.min(this.min, min);
    this.max = Math.max(this.max, max);
  }

  toJSON(): StatisticsData {
    const { samples, averageMin, averageMax, averaging, nan, inf } = this;
    return {
      samples,
      averageMin,
      averageMax,
      averaging,
      nan,
      inf,
      min: Number.isFinite(this.min) ? this.min : null,
      max: Number.isFinite(this.max) ? this.max : null,
      histogram: this.histogram?.toJSON() ?? null,
    };
  }

  /** The statistics that `toJSON` wrote. */
  static fromJSON(data: StatisticsData): TensorStatistics {
    const { samples, averageMin, averageMax, averaging, nan, inf } = data;
    return Object.assign(new TensorStatistics({ histogram: data.histogram !== null, averaging }), {
      samples,
      averageMin,
      averageMax,
      nan,
      inf,
      min: data.min ?? Number.POSITIVE_INFINITY,
      max: data.max ?? Number.NEGATIVE_INFINITY,
      histogram: data.histogram ? Histogram.fromJSON(data.histogram) : undefined,
    });
  }
}
