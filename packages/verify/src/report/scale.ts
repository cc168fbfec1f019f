/** Maps numbers of a domain to 0..1, linearly or by their logarithm, and knows round numbers in it. */
export interface Scale {
  (value: number): number;
  readonly domain: readonly [number, number];
  readonly ticks: readonly number[];
}

/** A linear scale whose domain is widened to round numbers. */
export function linearScale(
  values: readonly number[],
  options: { zero?: boolean; max?: number; count?: number } = {},
): Scale {
  let [low, high] = extent(values);
  if (options.zero) low = Math.min(0, low);
  // No difference, or none that doubles can divide into steps.
  if (!(high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high), 1e-280))) {
    const pad = Math.abs(high) > 1e-12 ? Math.abs(high) * 0.1 : 1;
    low -= options.zero && low === 0 ? 0 : pad;
    high += pad;
  }
  const step = niceStep((high - low) / (options.count ?? 5));
  low = Math.floor(low / step + 1e-9) * step;
  high = Math.ceil(high / step - 1e-9) * step;
  if (options.max !== undefined && high > options.max) high = Math.max(options.max, extent(values)[1]);
  const ticks: number[] = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) ticks.push(round(i * step));
  return Object.assign((v: number) => (v - low) / (high - low), { domain: [low, high] as const, ticks });
}

/** Multiples of powers of ten to put ticks at: the coarsest that gives three is taken. */
const LOG_STEPS = [
  [1],
  [1, 2, 5],
  [1, 1.5, 2, 3, 5, 7],
  [1, 1.1, 1.2, 1.35, 1.5, 1.75, 2, 2.25, 2.5, 3, 3.5, 4, 4.5, 5, 5.5, 6, 7, 8, 9],
];

/** A logarithmic scale (for ratios) with ticks at round numbers. All values must be positive. */
export function logScale(values: readonly number[], pad = 0.08): Scale {
  let [low, high] = extent(values).map(Math.log) as [number, number];
  if (high === low) {
    low -= 0.5;
    high += 0.5;
  }
  const margin = (high - low) * pad;
  low -= margin;
  high += margin;
  const ticksOf = (steps: readonly number[]): number[] => {
    const ticks: number[] = [];
    for (let power = Math.floor(low / Math.LN10); power <= high / Math.LN10; power++)
      for (const step of steps) ticks.push(round(step * 10 ** power));
    return ticks.filter((t) => Math.log(t) >= low && Math.log(t) <= high);
  };
  const sets = LOG_STEPS.map(ticksOf);
  const ticks = sets.find((t) => t.length >= 3) ?? (sets.at(-1) as number[]);
  return Object.assign((v: number) => (Math.log(v) - low) / (high - low), {
    domain: [Math.exp(low), Math.exp(high)] as const,
    ticks,
  });
}

/** Smallest and largest finite value; 0 and 1 when there is none. */
export function extent(values: readonly number[]): [number, number] {
  let low = Number.POSITIVE_INFINITY;
  let high = Number.NEGATIVE_INFINITY;
  for (const v of values) {
    if (!Number.isFinite(v)) continue;
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** The next of 1, 2, 2.5, 5, 10 times a power of ten. */
function niceStep(rough: number): number {
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 2.5, 5, 10].find((f) => f * power >= rough * (1 - 1e-9)) ?? 10;
  return factor * power;
}

/** Without the tail of binary fractions: 0.30000000000000004 is 0.3. */
function round(value: number): number {
  return Number(value.toPrecision(12));
}
