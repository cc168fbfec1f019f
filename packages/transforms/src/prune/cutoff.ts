import { rowsOf, type WeightView } from './weight-view.js';

/** What goes when the lowest scores go: all below `score`, and of those equal to it the first `ties`. */
export interface Cutoff {
  readonly score: number;
  readonly ties: number;
}

/**
 * The cutoff that removes exactly `count` of `scores`, whole arrays at a time; they are not negative and hold no NaN. The bits of
 * such floats are ordered as the floats are: a histogram of their upper halves finds the half in question, a second one of the
 * lower halves within it finds the score. Two passes, and memory for the histograms alone.
 */
export async function cutoff(scores: () => AsyncIterable<Float32Array>, count: number): Promise<Cutoff> {
  const upper = new Float64Array(HALF);
  for await (const some of scores())
    for (const bits of bitsOf(some)) upper[bits >>> 16] = (upper[bits >>> 16] ?? 0) + 1;
  const high = rank(upper, count);
  const lower = new Float64Array(HALF);
  for await (const some of scores()) {
    for (const bits of bitsOf(some)) {
      if (bits >>> 16 === high.bin) lower[bits & (HALF - 1)] = (lower[bits & (HALF - 1)] ?? 0) + 1;
    }
  }
  const low = rank(lower, high.left);
  const bits = new Uint32Array([high.bin * HALF + low.bin]);
  return { score: new Float32Array(bits.buffer)[0] as number, ties: low.left };
}

const HALF = 2 ** 16;

const bitsOf = (scores: Float32Array): Uint32Array => new Uint32Array(scores.buffer, scores.byteOffset, scores.length);

/** The bin that holds number `count` from below, and how many of it remain to be taken. */
function rank(histogram: Float64Array, count: number): { readonly bin: number; readonly left: number } {
  let left = count;
  for (let bin = 0; bin < histogram.length; bin++) {
    const here = histogram[bin] as number;
    if (left <= here) return { bin, left };
    left -= here;
  }
  return { bin: histogram.length - 1, left: 0 };
}

/** The same of a few scores at once. */
export function cutoffOf(scores: Float32Array, count: number): Cutoff {
  if (count === 0) return { score: 0, ties: 0 };
  const score = scores.slice().sort()[count - 1] as number;
  let below = 0;
  for (const s of scores) if (s < score) below++;
  return { score, ties: count - below };
}

/** The mask of `scores` that a cutoff leaves: 1 for what stays. */
export function cut(scores: Float32Array, { score, ties }: Cutoff): Uint8Array {
  const mask = new Uint8Array(scores.length);
  let left = ties;
  for (let i = 0; i < scores.length; i++) {
    const s = scores[i] as number;
    mask[i] = s < score || (s === score && left-- > 0) ? 0 : 1;
  }
  return mask;
}

/** Each output loses the same number of weights, as nearly as `pruned` divides. */
export function cutRows(view: WeightView, scores: Float32Array, pruned: number): Uint8Array {
  const { bases, offsets } = rowsOf(view);
  const mask = new Uint8Array(scores.length);
  const row = new Float32Array(offsets.length);
  for (const [r, base] of bases.entries()) {
    const count = Math.floor(((r + 1) * pruned) / bases.length) - Math.floor((r * pruned) / bases.length);
    for (const [k, offset] of offsets.entries()) row[k] = scores[base + offset] as number;
    const kept = cut(row, cutoffOf(row, count));
    for (const [k, offset] of offsets.entries()) mask[base + offset] = kept[k] as number;
  }
  return mask;
}
