import type { RealRange } from '../params.js';
import type { Histogram } from './histogram.js';

/**
 * The range that holds `percentile` percent of all values. Symmetric: of the magnitudes, the same on both sides; else the
 * rest is cut off in equal parts at both ends. Values lie evenly within a bin; the result never exceeds the true extremes.
 */
export function percentileRange(histogram: Histogram, percentile: number, symmetric: boolean): RealRange {
  const rest = (1 - percentile / 100) * histogram.count;
  const { positive, negative, width } = histogram;
  if (symmetric) {
    const most = Math.max(-histogram.min, histogram.max);
    const reach = Math.min(
      most,
      cut((i) => (positive[i] as number) + (negative[i] as number), positive.length, rest) * width,
    );
    return { lo: -reach, hi: reach };
  }
  // A tail that would reach past zero ends at zero, which the range always holds.
  const below = cut((i) => negative[i] as number, negative.length, rest / 2) * width;
  const above = cut((i) => positive[i] as number, positive.length, rest / 2) * width;
  return { lo: -Math.min(below, Math.max(0, -histogram.min)), hi: Math.min(above, Math.max(0, histogram.max)) };
}

/** Where, in bins from zero, the outermost `mass` of the counts begins. */
function cut(count: (i: number) => number, bins: number, mass: number): number {
  let left = mass;
  for (let i = bins - 1; i >= 0; i--) {
    const here = count(i);
    if (here > left) return i + 1 - left / here;
    left -= here;
  }
  return 0;
}
