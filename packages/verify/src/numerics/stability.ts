import {
  arrayType,
  castTensor,
  countNonFinite,
  elementCount,
  type Feeds,
  type HostTensor,
  isNumeric,
  PareError,
  type Session,
  toNumbers,
} from '@pare/core';
import type { ExtremeInput } from '../evidence.js';

/** Smallest and largest value of each input over the data. */
export type InputRanges = Readonly<Record<string, readonly [number, number]>>;

/** Ranges of the inputs in `feeds`. */
export function inputRanges(feeds: readonly Feeds[]): InputRanges {
  const ranges: Record<string, [number, number]> = {};
  for (const feed of feeds) {
    for (const [name, tensor] of Object.entries(feed)) {
      if (!isNumeric(tensor.dtype)) continue;
      const range = ranges[name] ?? [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
      for (const v of toNumbers(tensor)) {
        if (v < range[0]) range[0] = v;
        if (v > range[1]) range[1] = v;
      }
      ranges[name] = range;
    }
  }
  return ranges;
}

type Extreme = Pick<ExtremeInput, 'name' | 'input'> & {
  /** The number that fills the whole input, or undefined to leave it as it is in the data. */
  readonly fill: (tensor: HostTensor, range: readonly [number, number]) => number | undefined;
};

const isFloat = (t: HostTensor): boolean => t.dtype.includes('float');
/** Half of the smallest normal number: a denormal of the type. */
const DENORMAL: Readonly<Record<string, number>> = { float16: 2 ** -15, float64: 2 ** -1023 };
const INTEGER_LIMIT: Readonly<Record<string, number>> = { uint8: 255, int8: 127, uint16: 65535, int16: 32767, bool: 1 };

/** What is fed. Integers that index tables (wide types) keep values that the data has: others only say "out of range". */
const EXTREMES: readonly Extreme[] = [
  { name: 'zeros', input: 'every input zero', fill: (t) => (isFloat(t) || t.dtype in INTEGER_LIMIT ? 0 : undefined) },
  { name: 'data minimum', input: 'every input at the smallest value in the data', fill: (_, [low]) => low },
  { name: 'data maximum', input: 'every input at the largest value in the data', fill: (_, [, high]) => high },
  {
    name: 'denormals',
    input: 'float inputs below the smallest normal number',
    fill: (t) => (isFloat(t) ? (DENORMAL[t.dtype] ?? 2 ** -127) : undefined),
  },
  {
    name: 'large',
    input: 'float inputs 1000 times the largest magnitude in the data',
    fill: (t, [low, high]) => {
      if (!isFloat(t)) return undefined;
      const magnitude = 1000 * Math.max(Math.abs(low), Math.abs(high), 1e-3);
      return t.dtype === 'float16' ? Math.min(magnitude, 65504) : magnitude;
    },
  },
  {
    name: 'integer limits',
    input: '8- and 16-bit integer inputs at the end of their type',
    fill: (t) => INTEGER_LIMIT[t.dtype],
  },
];

/** What one model did with one extreme input. */
export type ExtremeRun = Pick<ExtremeInput, 'name' | 'input' | 'nan' | 'infinite' | 'error'>;

/**
 * Runs `session` on hostile inputs built from `feeds` (one run of real data) and counts what is not finite. Extremes that
 * change no input of this model are left out.
 */
export async function runExtremes(session: Session, feeds: Feeds, ranges: InputRanges): Promise<ExtremeRun[]> {
  const runs: ExtremeRun[] = [];
  for (const { name, input, fill } of EXTREMES) {
    let changed = false;
    const extreme: Record<string, HostTensor> = {};
    for (const [key, tensor] of Object.entries(feeds)) {
      const range = ranges[key];
      const value = range && isNumeric(tensor.dtype) ? fill(tensor, range) : undefined;
      if (value !== undefined) changed = true;
      extreme[key] = value === undefined ? tensor : filled(tensor, value);
    }
    if (!changed) continue;
    try {
      let nan = 0;
      let infinite = 0;
      for (const output of Object.values(await session.run(extreme))) {
        const count = countNonFinite(output);
        nan += count.nan;
        infinite += count.infinite;
      }
      runs.push({ name, input, nan, infinite, error: null });
    } catch (error) {
      if (!(error instanceof PareError) || error.code !== 'engine') throw error;
      runs.push({ name, input, nan: null, infinite: null, error: error.message });
    }
  }
  return runs;
}

/** Judges the runs of a variant against the original's (for the original: against itself). */
export function judgeExtremes(variant: readonly ExtremeRun[], original: readonly ExtremeRun[]): ExtremeInput[] {
  return variant.map((run) => {
    const twin = original.find((o) => o.name === run.name);
    const isSelf = variant === original;
    if (run.error !== null) {
      return { ...run, verdict: !isSelf && twin && twin.error !== null ? 'failed, like the original' : 'failed' };
    }
    if (run.nan === 0 && run.infinite === 0) return { ...run, verdict: 'finite' };
    const alike = !isSelf && twin && ((twin.nan ?? 0) > 0 || (twin.infinite ?? 0) > 0);
    return { ...run, verdict: alike ? 'not finite, like the original' : 'not finite' };
  });
}

function filled(tensor: HostTensor, value: number): HostTensor {
  const { dtype, dims } = tensor;
  const size = elementCount(dims);
  if (dtype === 'int64' || dtype === 'uint64') {
    const data = new (arrayType(dtype))(size) as BigInt64Array;
    return { dtype, dims, data: data.fill(BigInt(value)) };
  }
  return castTensor({ dtype: 'float64', dims, data: new Float64Array(size).fill(value) }, dtype);
}
