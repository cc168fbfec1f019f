import { PareError } from '@pare/core';
import type { Extremes, Floats, Kernels } from '../../kernels/index.js';

/** A Histogram as plain data. */
export interface HistogramData {
  readonly exponent: number;
  readonly min: number | null;
  readonly max: number | null;
  readonly count: number;
  readonly zeros: number;
  readonly nan: number;
  readonly inf: number;
  /** Counts from the bin next to zero outwards, without the empty bins at the end. */
  readonly positive: readonly number[];
  readonly negative: readonly number[];
}

/** Bins on each side of zero. The range fills more than half of them, so at least 2048 are in use on its longer side. */
const BINS = 4096;
const MIN_EXPONENT = -126;

/**
 * A streaming histogram of float32 values with bounded memory.
 *
 * Bins are [i, i + 1) * 2^exponent on both sides of zero. When a value falls outside, the exponent grows and bins merge in
 * pairs. Because zero is always an edge and widths are powers of two, the counts are those of a histogram made at once with
 * the final width: they depend neither on the order of samples nor on how they were split, and two histograms merge exactly.
 * Zeros are counted apart (no quantization changes them), and so are NaN and infinities, which are never hidden.
 */
export class Histogram {
  /** Counts of the bins of positive and of negative values, from zero outwards. */
  readonly positive = new Float64Array(BINS);
  readonly negative = new Float64Array(BINS);
  exponent = MIN_EXPONENT;
  /** Smallest and largest finite value; Infinity and -Infinity while there is none. */
  min = Number.POSITIVE_INFINITY;
  max = Number.NEGATIVE_INFINITY;
  /** Finite values, zeros included. */
  count = 0;
  zeros = 0;
  nan = 0;
  inf = 0;

  /** Width of a bin. */
  get width(): number {
    return 2 ** this.exponent;
  }

  /** Adds all values of `x`, whose extremes may be known. */
  add(kernels: Kernels, x: Floats, { min, max, nan, inf }: Extremes = kernels.range(x)): void {
    const finite = x.byteLength / 4 - nan - inf;
    this.nan += nan;
    this.inf += inf;
    if (finite === 0) return;
    this.min = Math.min(this.min, min);
    this.max = Math.max(this.max, max);
    this.coarsen(exponentFor(Math.max(Math.abs(min), Math.abs(max))));
    this.count += finite;
    this.zeros += finite - kernels.histogram(x, this.exponent, this.positive, this.negative);
  }

  /** Adds what another histogram has counted. */
  merge(other: Histogram): void {
    this.coarsen(other.exponent);
    const shrink = 2 ** (this.exponent - other.exponent);
    for (let i = 0; i < BINS; i++) {
      const to = Math.floor(i / shrink);
      this.positive[to]! += other.positive[i]!;
      this.negative[to]! += other.negative[i]!;
    }
    this.min = Math.min(this.min, other.min);
    this.max = Math.max(this.max, other.max);
    this.count += other.count;
    this.zeros += other.zeros;
    this.nan += other.nan;
    this.inf += other.inf;
  }

  /** Merges bins until their width is at least 2^exponent. */
  coarsen(exponent: number): void {
    if (exponent <= this.exponent) return;
    const shrink = 2 ** (exponent - this.exponent);
    for (const side of [this.positive, this.negative]) {
      for (let i = 0; i < BINS; i++) {
        const count = side[i] as number;
        side[i] = 0;
        side[Math.floor(i / shrink)]! += count;
      }
    }
    this.exponent = exponent;
  }

  /** The bins in one row, from the lowest value to the highest: bin i covers [first + i, first + i + 1) * width. */
  bins(): { counts: Float64Array; first: number } {
    const below = used(this.negative);
    const above = used(this.positive);
    const counts = new Float64Array(below + above);
    for (let i = 0; i < below; i++) counts[below - 1 - i] = this.negative[i] as number;
    counts.set(this.positive.subarray(0, above), below);
    return { counts, first: -below };
  }

  toJSON(): HistogramData {
    const { exponent, count, zeros, nan, inf } = this;
    return {
      exponent,
      min: Number.isFinite(this.min) ? this.min : null,
      max: Number.isFinite(this.max) ? this.max : null,
      count,
      zeros,
      nan,
      inf,
      positive: Array.from(this.positive.subarray(0, used(this.positive))),
      negative: Array.from(this.negative.subarray(0, used(this.negative))),
    };
  }

  /**
   * The histogram that `toJSON` wrote.
   * @throws PareError `bad-file` when the data is not that of a histogram.
   */
  static fromJSON(data: HistogramData): Histogram {
    const histogram = new Histogram();
    const { exponent, count, zeros, nan, inf, positive, negative } = data;
    const total = [zeros, ...positive, ...negative].reduce((sum, n) => sum + n, 0);
    if (!(exponent >= MIN_EXPONENT) || !(positive.length <= BINS && negative.length <= BINS) || total !== count) {
      throw new PareError(
        'bad-file',
        'The calibration cache holds a broken histogram; delete the cache and calibrate again.',
      );
    }
    histogram.positive.set(positive);
    histogram.negative.set(negative);
    return Object.assign(histogram, {
      exponent,
      count,
      zeros,
      nan,
      inf,
      min: data.min ?? Number.POSITIVE_INFINITY,
      max: data.max ?? Number.NEGATIVE_INFINITY,
    });
  }
}

/** The smallest exponent whose bins reach `magnitude`, a float32 value. */
function exponentFor(magnitude: number): number {
  const [bits] = new Uint32Array(Float32Array.of(magnitude).buffer) as unknown as [number];
  // magnitude < 2^(e + 1) with e the exponent of the float32; 4096 bins reach 2^(exponent + 12).
  return Math.max(MIN_EXPONENT, (bits >>> 23) - 127 + 1 - Math.log2(BINS));
}

/** Bins up to the last one that is not empty. */
function used(side: Float64Array): number {
  let n = side.length;
  while (n > 0 && side[n - 1] === 0) n--;
  return n;
}
