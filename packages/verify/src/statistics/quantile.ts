/**
 * Quantile `q` of ascending `sorted`, linear between order statistics (Hyndman and Fan type 7, the default of NumPy and R).
 * NaN when empty.
 */
export function quantileSorted(sorted: ArrayLike<number>, q: number): number {
  const n = sorted.length;
  if (n === 0) return Number.NaN;
  const position = (n - 1) * q;
  const i = Math.floor(position);
  const low = sorted[i] as number;
  const high = sorted[Math.min(i + 1, n - 1)] as number;
  return low + (high - low) * (position - i);
}

export function sortedCopy(values: ArrayLike<number>): Float64Array {
  return Float64Array.from(values).sort();
}

export function median(values: ArrayLike<number>): number {
  return quantileSorted(sortedCopy(values), 0.5);
}

export function mean(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] as number;
  return sum / values.length;
}
