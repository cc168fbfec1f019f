import { type Random, seededRandom } from '@pare/core';

/**
 * Where k-means begins.
 *
 * - `optimal`: at the least squared error, found by dynamic programming over the sorted values.
 * - `linear`: evenly from the smallest value to the largest, so that the large ones, which are few, get entries of their own.
 * - `k-means++`: at values drawn by squared distance from those before (Arthur and Vassilvitskii, 2007).
 */
export type CodebookStart = 'optimal' | 'linear' | 'k-means++';

/** What `codebookOf` is to find. */
export interface CodebookOptions {
  /** Most entries. */
  readonly size: number;
  readonly start: CodebookStart;
  /** For `k-means++`, and for the choice among very many values. */
  readonly seed: number;
}

/** More values than this are represented by a seeded sample of as many. */
const SAMPLE = 2 ** 20;
/** The dynamic programming chooses among at most this many places to cut. */
const PLACES = 4096;
const MOST_ITERATIONS = 200;

/**
 * At most `size` numbers, ascending, with small squared error when each of `values` (finite) is replaced by the nearest: k-means in one
 * dimension. Up to 4096 distinct values the start `optimal` gives the least error there is; of more it considers as many places to
 * cut, and Lloyd's iterations over all values follow. Values few enough are their own codebook. Where more than their share of
 * the values are 0, one entry is 0, so that pruned weights stay pruned.
 */
export function codebookOf(values: Float32Array, { size, start, seed }: CodebookOptions): Float64Array {
  const random = seededRandom(seed);
  const some = values.length > SAMPLE ? Float32Array.from({ length: SAMPLE }, () => draw(values, random)) : values;
  const other = some.filter((v) => v !== 0);
  const isSparse = (some.length - other.length) * size > some.length;
  const points = pointsOf(isSparse ? other : some);
  const entries = isSparse ? size - 1 : size;
  const centers = points.x.length <= entries ? points.x : lloyd(points, STARTS[start](points, entries, random));
  return isSparse ? Float64Array.of(...centers, 0).sort() : centers;
}

const draw = (values: Float32Array, random: Random): number => values[random.integer(values.length)] as number;

/** The entry of `codebook` (ascending) nearest to each value, by number. */
export function nearest(values: Float32Array, codebook: ArrayLike<number>): Uint8Array {
  const middles = middlesOf(codebook);
  const codes = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) codes[i] = firstAbove(middles, values[i] as number);
  return codes;
}

/** Distinct values, ascending; and over the first i of them, how many values, their sum, and the sum of their squares. */
interface Points {
  readonly x: Float64Array;
  readonly count: Float64Array;
  readonly sum: Float64Array;
  readonly squares: Float64Array;
}

function pointsOf(values: Float32Array): Points {
  const sorted = values.slice().sort();
  const x = Float64Array.from(sorted.filter((v, i) => i === 0 || v !== sorted[i - 1]));
  const [count, sum, squares] = Array.from({ length: 3 }, () => new Float64Array(x.length + 1)) as Triple;
  let at = 0;
  for (let i = 0; i < x.length; i++) {
    const v = x[i] as number;
    const from = at;
    while (sorted[at] === v) at++;
    count[i + 1] = at;
    sum[i + 1] = (sum[i] as number) + (at - from) * v;
    squares[i + 1] = (squares[i] as number) + (at - from) * v * v;
  }
  return { x, count, sum, squares };
}

type Triple = [Float64Array, Float64Array, Float64Array];

const between = (prefix: Float64Array, from: number, to: number): number =>
  (prefix[to] as number) - (prefix[from] as number);

const mean = ({ count, sum }: Points, from: number, to: number): number =>
  between(sum, from, to) / between(count, from, to);

/** Squared error of points `from` to `to` (exclusive) as one cluster. */
const cost = (points: Points, from: number, to: number): number =>
  between(points.squares, from, to) - between(points.sum, from, to) * mean(points, from, to);

/** Assigns each point to the nearest center and moves the centers to the means, until nothing changes. */
function lloyd(points: Points, start: Float64Array): Float64Array {
  let centers = start;
  for (let iteration = 0; iteration < MOST_ITERATIONS; iteration++) {
    const cuts = [0, ...middlesOf(centers).map((middle) => firstAbove(points.x, middle)), points.x.length];
    const moved = centers.map((center, c) => {
      const [from, to] = [cuts[c] as number, cuts[c + 1] as number];
      return from === to ? center : mean(points, from, to);
    });
    if (moved.every((center, c) => center === centers[c])) break;
    centers = moved;
  }
  return centers;
}

const middlesOf = (centers: ArrayLike<number>): Float64Array =>
  Float64Array.from(
    { length: centers.length - 1 },
    (_, i) => ((centers[i] as number) + (centers[i + 1] as number)) / 2,
  );

/** Index of the first element of `sorted` above `value`. */
function firstAbove(sorted: Float64Array, value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as number) > value) high = middle;
    else low = middle + 1;
  }
  return low;
}

const STARTS: Readonly<Record<CodebookStart, (points: Points, size: number, random: Random) => Float64Array>> = {
  optimal: (points, size) => {
    const places = placesToCut(points);
    const cuts = bestCuts(
      (from, to) => cost(points, places[from] as number, places[to] as number),
      places.length - 1,
      size,
    );
    return Float64Array.from(cuts.slice(1), (to, c) =>
      mean(points, places[cuts[c] as number] as number, places[to] as number),
    );
  },
  linear: ({ x }, size) => {
    const [low, high] = [x[0] as number, x[x.length - 1] as number];
    return Float64Array.from({ length: size }, (_, i) => low + ((high - low) * i) / Math.max(1, size - 1));
  },
  'k-means++': ({ x, count }, size, random) => {
    const distance = new Float64Array(x.length).fill(1);
    const centers = new Float64Array(size);
    for (let c = 0; c < size; c++) {
      const center = x[drawn(distance, (i) => between(count, i, i + 1), random)] as number;
      centers[c] = center;
      for (const [i, v] of x.entries()) {
        const d = (v - center) ** 2;
        if (c === 0 || d < (distance[i] as number)) distance[i] = d;
      }
    }
    return centers.sort();
  },
};

/** An index, drawn with probability in proportion to `distance[i] * weight(i)`; the last one where rounding leaves none. */
function drawn(distance: Float64Array, weight: (i: number) => number, random: Random): number {
  let left = random.uniform() * distance.reduce((sum, d, i) => sum + d * weight(i), 0);
  for (const [i, d] of distance.entries()) {
    left -= d * weight(i);
    if (left < 0) return i;
  }
  return distance.length - 1;
}

/**
 * Between which points a cluster may end: all, or as many as the dynamic programming can take, half of them evenly among the
 * values and half evenly along the line, where the few large ones are.
 */
function placesToCut({ x, count }: Points): number[] {
  const n = x.length;
  if (n <= PLACES) return Array.from({ length: n + 1 }, (_, i) => i);
  const half = PLACES / 2;
  const total = count[n] as number;
  const [low, high] = [x[0] as number, x[n - 1] as number];
  const places = new Set([0, n]);
  for (let i = 1; i < half; i++) {
    places.add(Math.min(n, firstAbove(count, (total * i) / half)));
    places.add(firstAbove(x, low + ((high - low) * i) / half));
  }
  return [...places].sort((a, b) => a - b);
}

/**
 * Where to cut [0, n) into `size` ranges of least total `cost`: size + 1 numbers from 0 to n. Best ends move to the right with the
 * range (the quadrangle inequality holds), so each row of the table is filled by halves: O(size n log n) (Wang and Song,
 * "Ckmeans.1d.dp", 2011; Grønlund et al., "Fast exact k-means in 1D", 2017).
 */
function bestCuts(cost: (from: number, to: number) => number, n: number, size: number): number[] {
  const last = Array.from({ length: size }, () => new Int32Array(n + 1));
  let best = Float64Array.from({ length: n + 1 }, (_, to) => (to === 0 ? 0 : cost(0, to)));
  for (let c = 1; c < size; c++) {
    const before = best;
    const own = new Float64Array(n + 1).fill(Number.POSITIVE_INFINITY);
    const from = last[c] as Int32Array;
    const fill = (low: number, high: number, first: number, final: number): void => {
      if (low > high) return;
      const to = (low + high) >> 1;
      for (let at = Math.max(first, c); at <= Math.min(final, to - 1); at++) {
        const total = (before[at] as number) + cost(at, to);
        if (total < (own[to] as number)) {
          own[to] = total;
          from[to] = at;
        }
      }
      const at = from[to] as number;
      fill(low, to - 1, first, at);
      fill(to + 1, high, at, final);
    };
    fill(c + 1, n, c, n);
    best = own;
  }
  const cuts = [n];
  for (let c = size - 1; c >= 0; c--) cuts.unshift((last[c] as Int32Array)[cuts[0] as number] as number);
  return cuts;
}
