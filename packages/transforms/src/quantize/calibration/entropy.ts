import type { QuantizationTarget, RealRange } from '../params.js';
import type { Histogram } from './histogram.js';

/** Bins of a histogram in a row with the prefix sums that give the divergence of any window quickly. */
interface Row {
  readonly counts: Float64Array;
  /** Sums over the bins before each: of counts h, of [h > 0], and of h ln h. */
  readonly mass: Float64Array;
  readonly filled: Float64Array;
  readonly entropy: Float64Array;
}

/** Prefix sums for `windowDivergence`. */
export function entropyRow(counts: Float64Array): Row {
  const n = counts.length;
  const row = {
    counts,
    mass: new Float64Array(n + 1),
    filled: new Float64Array(n + 1),
    entropy: new Float64Array(n + 1),
  };
  for (let i = 0; i < n; i++) {
    const h = counts[i] as number;
    row.mass[i + 1] = (row.mass[i] as number) + h;
    row.filled[i + 1] = (row.filled[i] as number) + (h > 0 ? 1 : 0);
    row.entropy[i + 1] = (row.entropy[i] as number) + xlogx(h);
  }
  return row;
}

const xlogx = (x: number): number => (x > 0 ? x * Math.log(x) : 0);

/**
 * Kullback-Leibler divergence of the clipped distribution P from its quantization Q, after the calibration of TensorRT
 * (S. Migacz, "8-bit inference with TensorRT", GTC 2017). P is the window [from, to) of the bins with the mass outside added
 * to its edge bins. Q divides the window into `levels` groups and spreads what each group holds, without the mass from
 * outside, evenly over its bins that are not empty. Infinity when Q is empty where P is not.
 *
 *   KL = 1/S_P sum_g [ sum_j P_j ln P_j - (sum_j P_j) ln(m_g / n_g) ] + ln(S_Q / S_P)
 *
 * Prefix sums give each group in constant time, so a window costs O(levels) whatever its size.
 */
export function windowDivergence(row: Row, from: number, to: number, levels: number): number {
  const { counts, mass, filled, entropy } = row;
  const bins = to - from;
  const total = mass[mass.length - 1] as number;
  const inside = (mass[to] as number) - (mass[from] as number);
  const before = mass[from] as number;
  const after = total - (mass[to] as number);
  if (inside <= 0) return Number.POSITIVE_INFINITY;
  const groups = Math.min(levels, bins);
  let sum = 0;
  let start = from;
  for (let g = 1; g <= groups; g++) {
    const end = from + Math.floor((g * bins) / groups);
    const m = (mass[end] as number) - (mass[start] as number);
    let p = m;
    let n = (filled[end] as number) - (filled[start] as number);
    let plogp = (entropy[end] as number) - (entropy[start] as number);
    // An edge bin takes the mass outside; if it was empty, it is not any more. One bin may be both edges.
    const low = start === from ? before : 0;
    const high = end === to ? after : 0;
    if (low > 0 && high > 0 && bins === 1) {
      p += low + high;
      plogp = xlogx(p);
    } else {
      if (low > 0) {
        const h = counts[from] as number;
        p += low;
        plogp += xlogx(h + low) - xlogx(h);
        if (h === 0) n++;
      }
      if (high > 0) {
        const h = counts[to - 1] as number;
        p += high;
        plogp += xlogx(h + high) - xlogx(h);
        if (h === 0) n++;
      }
    }
    if (p > 0) {
      if (m <= 0) return Number.POSITIVE_INFINITY;
      sum += plogp - p * Math.log(m / n);
    }
    start = end;
  }
  return sum / total + Math.log(inside / total);
}

/**
 * The range whose quantization keeps most of the information: the window of least divergence. Of the magnitudes for a
 * symmetric target, one-sided for values of one sign, else coarse to fine over both ends.
 */
export function entropyRange(histogram: Histogram, target: QuantizationTarget): RealRange {
  const { width } = histogram;
  const { counts, first } = histogram.bins();
  const zero = -first;
  const above = counts.length - zero;
  const levels = target.qmax - target.qmin + 1;
  // A window that reaches the last bin ends at the true extreme.
  const lo = (below: number) => (below === zero ? Math.min(0, histogram.min) : -below * width);
  const hi = (over: number) => (over === above ? Math.max(0, histogram.max) : over * width);
  if (counts.length === 0) return { lo: 0, hi: 0 };
  if (target.symmetric) {
    const magnitudes = histogram.positive.map((n, i) => n + (histogram.negative[i] as number));
    const reach = Math.max(zero, above);
    const w = leastEnd(magnitudes.subarray(0, reach), Math.ceil(levels / 2));
    const most = w === reach ? Math.max(-histogram.min, histogram.max) : w * width;
    return { lo: -most, hi: most };
  }
  if (zero === 0) return { lo: 0, hi: hi(leastEnd(counts, levels)) };
  if (above === 0) return { lo: lo(leastEnd(counts.reverse(), levels)), hi: 0 };
  const { below, over } = leastWindow(entropyRow(counts), zero, levels);
  return { lo: lo(below), hi: hi(over) };
}

/** The end of the best window [0, w) with at least `levels` bins; the largest of equals, to clip no more than pays. */
function leastEnd(counts: Float64Array, levels: number): number {
  const row = entropyRow(counts);
  let best = counts.length;
  let least = windowDivergence(row, 0, best, levels);
  for (let w = best - 1; w >= levels; w--) {
    const divergence = windowDivergence(row, 0, w, levels);
    if (divergence < least) {
      best = w;
      least = divergence;
    }
  }
  return best;
}

/**
 * The best window [from, to) around `zero`: a grid over both ends, geometric because a few outliers can leave everything
 * else in a few bins, then ever finer steps around its best point. Ends move inwards to bins that are not empty: between
 * outliers the divergence would be infinite.
 */
function leastWindow(row: Row, zero: number, levels: number): { below: number; over: number } {
  const { counts } = row;
  const above = counts.length - zero;
  let best = {
    below: zero,
    over: above,
    from: 0,
    to: counts.length,
    cost: windowDivergence(row, 0, counts.length, levels),
  };
  const visit = (below: number, over: number) => {
    if (below < 1 || over < 1 || below > zero || over > above || below + over < levels) return false;
    let from = zero - below;
    let to = zero + over;
    while (counts[from] === 0 && from < zero) from++;
    while (counts[to - 1] === 0 && to > zero) to--;
    const cost = windowDivergence(row, from, to, levels);
    if (cost >= best.cost) return false;
    best = { below, over, from, to, cost };
    return true;
  };
  for (const below of ends(zero)) for (const over of ends(above)) visit(below, over);
  for (let step = 0.08; step * Math.max(best.below, best.over) >= 0.5; step /= 2) {
    for (let moved = true; moved; ) {
      moved = false;
      const { below, over } = best;
      const a = Math.round(below * step);
      const b = Math.round(over * step);
      for (const [i, j] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
        [1, 1],
        [-1, -1],
      ] as const) {
        moved = visit(below + i * a, over + j * b) || moved;
      }
    }
  }
  return { below: zero - best.from, over: best.to - zero };
}

/** n, 0.85 n, 0.85^2 n ... */
function ends(n: number): number[] {
  const list: number[] = [];
  for (let end = n; end >= 1; end = Math.floor(end * 0.85)) list.push(end);
  return list;
}
