import { affineParameters, coveredRange, type QuantizationTarget, type RealRange, roundHalfEven } from '../params.js';
import type { Histogram } from './histogram.js';

/**
 * The range of least quantization error: the sum over all values of |x - Q(x)|^power, with Q the very quantizer (its float32
 * scale and integer zero point) that the range leads to. Values lie evenly within a bin, and the error is integrated over
 * it, so bins may be wider or narrower than a quantization step. Zeros cost nothing. Power 2 is the mean squared error;
 * 2.4 weighs clipping more (the range search of AIMET's and PPQ's "MSE" observers uses such powers).
 */
export function leastErrorRange(histogram: Histogram, power: number, target: QuantizationTarget): RealRange {
  const error = new QuantizationError(histogram, power, target);
  const lo = Math.min(0, histogram.min);
  const hi = Math.max(0, histogram.max);
  let best = { lo, hi, error: error.of(lo, hi) };
  const visit = (a: number, b: number) => {
    // Never beyond the extremes: a wider range only makes steps larger.
    const range = { lo: Math.max(lo, a), hi: Math.min(hi, b) };
    const e = error.of(range.lo, range.hi);
    if (e >= best.error) return false;
    best = { ...range, error: e };
    return true;
  };
  // Coarse: shrink both ends together down to 1/1000. Fine: move the ends one by one and together, in ever smaller ratios.
  for (let r = 0.8; r > 0.001; r *= 0.8) visit(lo * r, hi * r);
  for (const ratio of [0.8, 0.9, 0.95, 0.975, 0.9875, 0.994]) {
    for (let moved = true; moved; ) {
      moved = false;
      const { lo: a, hi: b } = best;
      const moves = target.symmetric || a === 0 || b === 0 ? BOTH : EACH;
      for (const [da, db] of moves) moved = visit(a * ratio ** da, b * ratio ** db) || moved;
    }
  }
  // What the integers really cover, so that the parameters of the range are those that were judged.
  const covered = coveredRange(affineParameters(best, target), target);
  return { lo: Math.max(lo, covered.lo), hi: Math.min(hi, covered.hi) };
}

const BOTH: readonly (readonly [number, number])[] = [
  [1, 1],
  [-1, -1],
];
const EACH: readonly (readonly [number, number])[] = [...BOTH, [1, 0], [-1, 0], [0, 1], [0, -1], [1, -1], [-1, 1]];

/** The summed error of quantizing what a histogram holds, as a function of the range. */
export class QuantizationError {
  readonly #counts: Float64Array;
  readonly #first: number;
  readonly #width: number;
  readonly #antiderivative: (d: number) => number;
  /** Integral of |d|^power over one quantization step of width 1. */
  readonly #step: number;

  constructor(
    histogram: Histogram,
    readonly power: number,
    readonly target: QuantizationTarget,
  ) {
    const { counts, first } = histogram.bins();
    this.#counts = counts;
    this.#first = first;
    this.#width = histogram.width;
    this.#antiderivative = power === 2 ? (d) => (d * d * d) / 3 : tabulated(power);
    this.#step = (2 * 0.5 ** (power + 1)) / (power + 1);
  }

  /** Sum of |x - Q(x)|^power over all values, Q being the quantizer of the range [lo, hi]. */
  of(lo: number, hi: number): number {
    const { scale, zeroPoint } = affineParameters({ lo, hi }, this.target);
    const least = this.target.qmin - zeroPoint;
    const most = this.target.qmax - zeroPoint;
    const ratio = this.#width / scale;
    const counts = this.#counts;
    // In units of the scale, the antiderivative of the error at t is (whole steps below t) + (the part of the last one).
    // Neighbouring bins share an edge.
    let sum = 0;
    let below = this.#at(this.#first * ratio, least, most);
    for (let i = 0; i < counts.length; i++) {
      const above = this.#at((this.#first + i + 1) * ratio, least, most);
      sum += (counts[i] as number) * (above - below);
      below = above;
    }
    return (sum / ratio) * scale ** this.power;
  }

  #at(t: number, least: number, most: number): number {
    const a = Math.min(most, Math.max(least, roundHalfEven(t)));
    return a * this.#step + this.#antiderivative(t - a);
  }
}

/** The antiderivative of |d|^power; within half a step, where nearly all values are, by interpolation. */
function tabulated(power: number): (d: number) => number {
  const SIZE = 4096;
  const exact = (d: number) => (Math.sign(d) * Math.abs(d) ** (power + 1)) / (power + 1);
  const table = Float64Array.from({ length: SIZE + 2 }, (_, i) => exact(i / SIZE - 0.5));
  return (d) => {
    const at = (d + 0.5) * SIZE;
    if (!(at >= 0 && at <= SIZE)) return exact(d);
    const i = Math.floor(at);
    const low = table[i] as number;
    return low + ((table[i + 1] as number) - low) * (at - i);
  };
}
