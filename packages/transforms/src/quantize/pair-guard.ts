import { roundHalfEven } from './params.js';
import { perFactor, type WeightMatrix } from './weight-matrix.js';

/** What calibration knows about the activations that a weight multiplies, by input channel of the whole operator. */
export interface InputStatistics {
  /** Largest unsigned integer (0 to 255) that each channel reaches. Default: 255 everywhere, which holds for any data. */
  readonly peak?: ArrayLike<number> | undefined;
  /** Mean square of each channel around its mean: how much an error of its factors matters. Default: all the same. */
  readonly power?: ArrayLike<number> | undefined;
}

/** vpmaddubsw adds two products of u8 and s8 in 16 bits and saturates here. */
const PAIR_LIMIT = 32767;
const MOST = 127;
/** Trial scales, relative to the one that just holds the largest weight of a channel. */
const RATIOS = [1, 1.05, 1.1, 1.17, 1.25, 1.35, 1.5, 1.7, 2];
/** Pairs of a channel that the trials look at: enough to rank nine scales. */
const TRIAL_PAIRS = 256;

/**
 * Scales (one a channel) for int8 weights no two neighbours of which can overflow the 16-bit sums of x64 kernels without VNNI.
 * A coarser scale makes fewer pairs break the bound, but rounds all others more: of nine scales the one of least squared error
 * is taken, errors of pairs that must be cut included. Channels without a breaking pair keep the finest. So the guard costs
 * what the few offending pairs cost, where 7-bit weights cost 6 dB everywhere.
 * @param finest scales with which the largest weight of each channel is 127
 */
export function guardedScales(
  values: Float32Array,
  matrix: WeightMatrix,
  finest: Float32Array,
  statistics: InputStatistics,
): Float32Array {
  const scales = finest.slice();
  const broken = breaking(values, matrix, finest, statistics);
  if (broken.length === 0) return scales;
  const least = new Float64Array(matrix.channels).fill(Number.POSITIVE_INFINITY);
  const trial = new Float32Array(matrix.channels);
  for (const ratio of RATIOS) {
    for (const c of broken) trial[c] = (finest[c] as number) * ratio;
    const errors = trialErrors(values, matrix, trial, statistics, broken);
    for (const c of broken) {
      if ((errors[c] as number) >= (least[c] as number)) continue;
      least[c] = errors[c] as number;
      scales[c] = trial[c] as number;
    }
  }
  return scales;
}

/** The int8 weights under `scales`, as bytes in the layout of the tensor, with offending pairs moved to the bound. */
export function quantizeGuarded(
  values: Float32Array,
  matrix: WeightMatrix,
  scales: Float32Array,
  { peak }: InputStatistics,
): Uint8Array {
  const out = new Uint8Array(values.length);
  const peaks = perFactor(matrix, peak, 255);
  forEachPair(matrix, 1, (c, group, k, a, b) => {
    const scale = (scales.length === 1 ? scales[0] : scales[c]) as number;
    const of = peaks[group] as Float64Array;
    const x = (values[a] as number) / scale;
    const y = b < 0 ? 0 : (values[b] as number) / scale;
    const pair = fitPair(x, y, of[k] as number, b < 0 ? 0 : (of[k + 1] as number));
    out[a] = first(pair);
    if (b >= 0) out[b] = second(pair);
  });
  return out;
}

/** Channels with a pair that breaks the bound under `scales`. */
function breaking(
  values: Float32Array,
  matrix: WeightMatrix,
  scales: Float32Array,
  { peak }: InputStatistics,
): number[] {
  const peaks = perFactor(matrix, peak, 255);
  const broken = new Set<number>();
  forEachPair(matrix, 1, (c, group, k, a, b) => {
    if (b < 0) return;
    const scale = (scales.length === 1 ? scales[0] : scales[c]) as number;
    const i = roundHalfEven((values[a] as number) / scale);
    const j = roundHalfEven((values[b] as number) / scale);
    const of = peaks[group] as Float64Array;
    if (i * j > 0 && Math.abs((of[k] as number) * i + (of[k + 1] as number) * j) > PAIR_LIMIT) broken.add(c);
  });
  return [...broken].sort((a, b) => a - b);
}

/** Squared error of each of `channels`, weighted by the power of the inputs, over some of its pairs. */
function trialErrors(
  values: Float32Array,
  matrix: WeightMatrix,
  scales: Float32Array,
  { peak, power }: InputStatistics,
  channels: readonly number[],
): Float64Array {
  const errors = new Float64Array(matrix.channels);
  const peaks = perFactor(matrix, peak, 255);
  const powers = perFactor(matrix, power, 1);
  const every = Math.max(1, Math.floor(matrix.depth / 2 / TRIAL_PAIRS));
  forEachPair(
    matrix,
    every,
    (c, group, k, a, b) => {
      const scale = scales[c] as number;
      const peakOf = peaks[group] as Float64Array;
      const powerOf = powers[group] as Float64Array;
      const x = (values[a] as number) / scale;
      const y = b < 0 ? 0 : (values[b] as number) / scale;
      const pair = fitPair(x, y, peakOf[k] as number, b < 0 ? 0 : (peakOf[k + 1] as number));
      const dx = (x - first(pair)) * scale;
      const dy = (y - second(pair)) * scale;
      errors[c]! += dx * dx * (powerOf[k] as number) + (b < 0 ? 0 : dy * dy * (powerOf[k + 1] as number));
    },
    channels,
  );
  return errors;
}

/**
 * The integers nearest to (x, y) within [-127, 127] and within the bound peakX * |i| + peakY * |j| <= 32767, which matters
 * only when both have one sign. Two integers in one number: read them with `first` and `second`.
 */
function fitPair(x: number, y: number, peakX: number, peakY: number): number {
  let i = clamp(roundHalfEven(x));
  let j = clamp(roundHalfEven(y));
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
const clamp = (v: number): number => (v > MOST ? MOST : Math.max(v, -MOST));

/**
 * Calls `visit` for pairs of neighbouring factors k, k + 1 of each channel: every `every`th pair, elements `a` and `b` of the
 * tensor (b is -1 at an odd end), in the order of memory.
 */
function forEachPair(
  { channels, depth, stride, offsets, groups }: WeightMatrix,
  every: number,
  visit: (c: number, group: number, k: number, a: number, b: number) => void,
  some?: readonly number[],
): void {
  const perGroup = channels / groups;
  const count = some?.length ?? channels;
  const step = 2 * every;
  const pair = (n: number, k: number): void => {
    const c = some ? (some[n] as number) : n;
    const base = c * stride;
    visit(
      c,
      Math.floor(c / perGroup),
      k,
      base + (offsets[k] as number),
      k + 1 < depth ? base + (offsets[k + 1] as number) : -1,
    );
  };
  if (stride === 1) for (let k = 0; k < depth; k += step) for (let n = 0; n < count; n++) pair(n, k);
  else for (let n = 0; n < count; n++) for (let k = 0; k < depth; k += step) pair(n, k);
}
