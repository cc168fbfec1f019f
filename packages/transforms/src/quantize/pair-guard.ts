import { perFactor, type WeightMatrix } from './weight-matrix.js';

/** What calibration knows about the activations that a weight multiplies, by input channel of the whole operator. */
export interface InputStatistics {
  /** Largest unsigned integer (0 to 255) that each channel reaches. Default: 255 everywhere, which holds for any data. */
  readonly peak?: ArrayLike<number> | undefined;
}

/** vpmaddubsw adds two products of u8 and s8 in 16 bits and saturates here. */
const PAIR_LIMIT = 32767;
const MOST = 127;
/** Largest sum of two weights that is safe whatever the activations: 255 * 128 <= 32767. */
const SAFE_SUM = 128;
/** Trial scales, relative to the one that just holds the largest weight of a channel. */
const RATIOS = [1, 1.06, 1.13, 1.22, 1.35, 1.55, 1.9];
/** Pairs of a channel that the trials look at: enough to rank seven scales. */
const TRIAL_PAIRS = 128;
/** Adding and subtracting it rounds to the nearest integer, ties to even. */
const ROUND = 1.5 * 2 ** 52;

/**
 * Scales (one a channel) for int8 weights no two neighbours of which can overflow the 16-bit sums of x64 kernels without VNNI.
 * A coarser scale makes fewer pairs break the bound, but rounds all others more: of seven scales the one of least squared error
 * is taken, errors of pairs that must be moved included. Channels without a breaking pair keep the finest. So the guard costs
 * what the few offending pairs cost, where 7-bit weights cost 6 dB everywhere.
 * @param finest scales with which the largest weight of each channel is 127
 * @param integers the weights under those scales, in the layout of the tensor
 */
export function guardedScales(
  values: Float32Array,
  matrix: WeightMatrix,
  finest: Float32Array,
  integers: Int8Array,
  { peak }: InputStatistics,
): Float32Array {
  const scales = finest.slice();
  const peaks = perFactor(matrix, peak, 255);
  const broken = new Set<number>();
  forEachBreakingPair(integers, matrix, peaks, (c) => broken.add(c));
  for (const c of broken) {
    scales[c] = (scales[c] as number) * leastErrorRatio(values, matrix, c, scales[c] as number, peaks);
  }
  return scales;
}

/**
 * Moves the pairs of `integers` (the int8 `values` under `scales`, in the layout of the tensor) that break the bound to the
 * nearest integers within it.
 */
export function moveBreakingPairs(
  values: Float32Array,
  matrix: WeightMatrix,
  scales: Float32Array,
  integers: Int8Array,
  { peak }: InputStatistics,
): void {
  const peaks = perFactor(matrix, peak, 255);
  forEachBreakingPair(integers, matrix, peaks, (c, k, a, b) => {
    const of = peakOf(peaks, matrix, c);
    const scale = scales[c] as number;
    const pair = fitPair(
      (values[a] as number) / scale,
      (values[b] as number) / scale,
      of[k] as number,
      of[k + 1] as number,
    );
    integers[a] = first(pair);
    integers[b] = second(pair);
  });
}

/** The peaks of the group that channel `c` is in. */
const peakOf = (peaks: readonly Float64Array[], { channels, groups }: WeightMatrix, c: number): Float64Array =>
  peaks[groups === 1 ? 0 : Math.floor((c * groups) / channels)] as Float64Array;

/**
 * Calls `visit` for the pairs of neighbouring factors k, k + 1 that can exceed the bound together, elements `a` and `b` of the
 * tensor. Goes along memory: nearly all of the time of the guard is spent here.
 */
function forEachBreakingPair(
  integers: Int8Array,
  matrix: WeightMatrix,
  peaks: readonly Float64Array[],
  visit: (c: number, k: number, a: number, b: number) => void,
): void {
  const { channels, depth, stride, offsets } = matrix;
  const test = (c: number, k: number, of: Float64Array, a: number, b: number): void => {
    const i = integers[a] as number;
    const j = integers[b] as number;
    // Only two of one sign add up to this, and less is safe under any activations.
    if (i + j > SAFE_SUM || i + j < -SAFE_SUM) {
      if (Math.abs((of[k] as number) * i + (of[k + 1] as number) * j) > PAIR_LIMIT) visit(c, k, a, b);
    }
  };
  if (stride === 1) {
    const of = peaks[0] as Float64Array;
    for (let k = 0; k + 1 < depth; k += 2) {
      const a = offsets[k] as number;
      const b = offsets[k + 1] as number;
      for (let c = 0; c < channels; c++) test(c, k, of, a + c, b + c);
    }
    return;
  }
  for (let c = 0; c < channels; c++) {
    const base = c * stride;
    const of = peakOf(peaks, matrix, c);
    for (let k = 0; k + 1 < depth; k += 2) {
      test(c, k, of, base + (offsets[k] as number), base + (offsets[k + 1] as number));
    }
  }
}

/** The trial ratio of least squared error of channel `c`, judged by some of its pairs. */
function leastErrorRatio(
  values: Float32Array,
  matrix: WeightMatrix,
  c: number,
  scale: number,
  peaks: readonly Float64Array[],
): number {
  const { depth, stride, offsets } = matrix;
  const of = peakOf(peaks, matrix, c);
  const base = c * stride;
  const step = 2 * Math.max(1, Math.floor(depth / 2 / TRIAL_PAIRS));
  let best = 1;
  let least = Number.POSITIVE_INFINITY;
  for (const ratio of RATIOS) {
    const inverse = 1 / (scale * ratio);
    let error = 0;
    for (let k = 0; k < depth; k += step) {
      const x = (values[base + (offsets[k] as number)] as number) * inverse;
      const y = k + 1 < depth ? (values[base + (offsets[k + 1] as number)] as number) * inverse : 0;
      const pair = fitPair(x, y, of[k] as number, of[k + 1] as number);
      error += (x - first(pair)) ** 2 + (y - second(pair)) ** 2;
    }
    error *= ratio * ratio;
    if (error < least) {
      least = error;
      best = ratio;
    }
  }
  return best;
}

/**
 * The integers nearest to (x, y) within [-127, 127] and within the bound peakX * |i| + peakY * |j| <= 32767, which matters
 * only when both have one sign. Two integers in one number: read them with `first` and `second`.
 */
function fitPair(x: number, y: number, peakX: number, peakY: number): number {
  let i = clamp(round(x));
  let j = clamp(round(y));
  if (i * j > 0 && peakX * Math.abs(i) + peakY * Math.abs(j) > PAIR_LIMIT) {
    const sign = i > 0 ? 1 : -1;
    const u = Math.min(Math.abs(x), MOST);
    const v = Math.min(Math.abs(y), MOST);
    // The nearest point on the line of the bound; then down to integers on its inner side.
    const beyond = (peakX * u + peakY * v - PAIR_LIMIT) / (peakX * peakX + peakY * peakY);
    i = Math.min(MOST, Math.max(0, Math.round(u - beyond * peakX)));
    j = Math.min(MOST, Math.ceil(v), Math.max(0, Math.floor((PAIR_LIMIT - peakX * i) / peakY)));
    i *= sign;
    j *= sign;
  }
  return (i + 128) * 256 + j + 128;
}

const first = (pair: number): number => (pair >> 8) - 128;
const second = (pair: number): number => (pair & 255) - 128;
const round = (v: number): number => v + ROUND - ROUND;
const clamp = (v: number): number => (v > MOST ? MOST : v < -MOST ? -MOST : v);
