import { rowsOf, type WeightView } from './weight-view.js';

/** What goes when the lowest scores go: all below `score`, and of those equal to it the first `ties`. */
export interface Cutoff {
  readonly score: number;
  readonly ties: number;
}

/**
 * The cutoff that removes exactly `removed` of `scores`, whole arrays at a time; they are not negative and hold no NaN. The bits of
 * such floats are ordered as the floats are: a histogram of their upper halves finds the half in question, a second one of the
 * lower halves within it finds the score. Two passes, and memory for the histograms alone.
 */
export async function cutoff(scores: () => AsyncIterable<Float32Array>, removed: number): Promise<Cutoff> {
  const upper = new Float64Array(HALF);
  for await (const some of scores()) {
    const bits = bitsOf(some);
    for (let i = 0; i < bits.length; i++) count(upper, (bits[i] as number) >>> 16);
  }
  const high = rank(upper, removed);
  const lower = new Float64Array(HALF);
  for await (const some of scores()) {
    const bits = bitsOf(some);
    for (let i = 0; i < bits.length; i++) {
      const b = bits[i] as number;
      if (b >>> 16 === high.bin) count(lower, b & (HALF - 1));
    }
  }
  const low = rank(lower, high.left);
  const bits = new Uint32Array([high.bin * HALF + low.bin]);
  return { score: new Float32Array(bits.buffer)[0] as number, ties: low.left };
}

const HALF = 2 ** 16;

function count(histogram: Float64Array, bin: number): void {
  histogram[bin] = (histogram[bin] as number) + 1;
}

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

/** Sorts `scores` in place, ascending, by their bits: a radix sort of three digits, several times as fast as `sort`. */
export function sortScores(scores: Float32Array): Float32Array {
  let from: Uint32Array = bitsOf(scores);
  let to: Uint32Array = new Uint32Array(from.length);
  for (const shift of [0, 11, 22]) {
    const next = new Uint32Array(DIGIT + 1);
    for (let i = 0; i < from.length; i++) {
      const digit = ((from[i] as number) >>> shift) & (DIGIT - 1);
      next[digit + 1] = (next[digit + 1] as number) + 1;
    }
    for (let digit = 0; digit < DIGIT; digit++) next[digit + 1] = (next[digit + 1] as number) + (next[digit] as number);
    for (let i = 0; i < from.length; i++) {
      const bits = from[i] as number;
      const digit = (bits >>> shift) & (DIGIT - 1);
      to[next[digit] as number] = bits;
      next[digit] = (next[digit] as number) + 1;
    }
    [from, to] = [to, from];
  }
  // Three passes end in the other array.
  to.set(from);
  return scores;
}

const DIGIT = 2 ** 11;

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
