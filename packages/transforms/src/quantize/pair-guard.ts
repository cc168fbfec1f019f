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
/** Adding and subtracting it rounds to the nearest integer, ties to even. */
const ROUND = 1.5 * 2 ** 52;

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
  const peaks = perFactor(matrix, statistics.peak, 255);
  const powers = perFactor(matrix, statistics.power, 1);
  forEachChannel(values, matrix, (row, c, group) => {
    const peak = peaks[group] as Float64Array;
    const scale = finest[c] as number;
    if (breaks(row, scale, peak)) scales[c] = scale * leastErrorRatio(row, scale, peak, powers[group] as Float64Array);
  });
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
  const { depth, stride, offsets } = matrix;
  forEachChannel(values, matrix, (row, c, group) => {
    const inverse = 1 / (scales[c] as number);
    const of = peaks[group] as Float64Array;
    const base = c * stride;
    for (let k = 0; k < depth; k += 2) {
      const pair = fitPair(
        (row[k] as number) * inverse,
        (row[k + 1] as number) * inverse,
        of[k] as number,
        of[k + 1] as number,
      );
      out[base + (offsets[k] as number)] = first(pair);
      if (k + 1 < depth) out[base + (offsets[k + 1] as number)] = second(pair);
    }
  });
  return out;
}

/** Whether a pair of `row`, which ends with a zero when the depth is odd, breaks the bound under `scale`. */
function breaks(row: Float32Array, scale: number, peak: Float64Array): boolean {
  const inverse = 1 / scale;
  for (let k = 0; k < row.length; k += 2) {
    const x = (row[k] as number) * inverse;
    const y = (row[k + 1] as number) * inverse;
    // Weights of different signs can only help each other; and a pair is rounded up by half a step at most.
    if (
      x * y <= 0 ||
      (peak[k] as number) * (Math.abs(x) + 0.5) + (peak[k + 1] as number) * (Math.abs(y) + 0.5) <= PAIR_LIMIT
    ) {
      continue;
    }
    if ((peak[k] as number) * Math.abs(round(x)) + (peak[k + 1] as number) * Math.abs(round(y)) > PAIR_LIMIT)
      return true;
  }
  return false;
}

/** The trial ratio of least squared error of `row`, weighted by the power of the inputs, judged by some of its pairs. */
function leastErrorRatio(row: Float32Array, scale: number, peak: Float64Array, power: Float64Array): number {
  const step = 2 * Math.max(1, Math.floor(row.length / 2 / TRIAL_PAIRS));
  let best = 1;
  let least = Number.POSITIVE_INFINITY;
  for (const ratio of RATIOS) {
    const inverse = 1 / (scale * ratio);
    let error = 0;
    for (let k = 0; k < row.length; k += step) {
      const x = (row[k] as number) * inverse;
      const y = (row[k + 1] as number) * inverse;
      const pair = fitPair(x, y, peak[k] as number, peak[k + 1] as number);
      error += (x - first(pair)) ** 2 * (power[k] as number) + (y - second(pair)) ** 2 * (power[k + 1] as number);
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

/** Channels that are gathered together: their elements lie side by side in a MatMul weight. */
const BLOCK = 16;

/** Calls `visit` with the factors of each channel in a row (the same buffer each time), a zero behind an odd number of them. */
function forEachChannel(
  values: Float32Array,
  { channels, depth, stride, offsets, groups }: WeightMatrix,
  visit: (row: Float32Array, channel: number, group: number) => void,
): void {
  const length = depth + (depth % 2);
  const rows = Array.from({ length: BLOCK }, () => new Float32Array(length));
  for (let start = 0; start < channels; start += BLOCK) {
    const count = Math.min(BLOCK, channels - start);
    for (let k = 0; k < depth; k++) {
      const at = start * stride + (offsets[k] as number);
      for (let n = 0; n < count; n++) (rows[n] as Float32Array)[k] = values[at + n * stride] as number;
    }
    for (let n = 0; n < count; n++) {
      const channel = start + n;
      visit(rows[n] as Float32Array, channel, Math.floor((channel * groups) / channels));
    }
  }
}
