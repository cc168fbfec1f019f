import { type DType, type HostTensor, isFloat, PareError } from '@pare/core';
import { kernels } from '../kernels/index.js';

/** How far two tensors are apart. */
export interface Difference {
  /** Largest absolute difference; Infinity when one is NaN or infinite where the other is not, or the shapes differ. */
  readonly maxAbs: number;
  /** The same, relative to the largest magnitude of the first tensor (absolute, when that is all zeros). */
  readonly maxRel: number;
  /** Largest number of representable values of the type between two elements; of integers, their difference. */
  readonly maxUlp: number;
  /** Elements that are not equal; NaN equals NaN. */
  readonly unequal: number;
}

export const NO_DIFFERENCE: Difference = { maxAbs: 0, maxRel: 0, maxUlp: 0, unequal: 0 };
const INCOMPARABLE = { maxAbs: Infinity, maxRel: Infinity, maxUlp: Infinity };

/** The larger of two differences in every respect. */
export function larger(a: Difference, b: Difference): Difference {
  return {
    maxAbs: Math.max(a.maxAbs, b.maxAbs),
    maxRel: Math.max(a.maxRel, b.maxRel),
    maxUlp: Math.max(a.maxUlp, b.maxUlp),
    unequal: a.unequal + b.unequal,
  };
}

/** How far `b` is from `a`. */
export function difference(a: HostTensor, b: HostTensor): Difference {
  const size = a.data.length;
  if (a.dtype !== b.dtype || `${a.dims}` !== `${b.dims}`) return { ...INCOMPARABLE, unequal: size };
  if (a.dtype === 'string') {
    const unequal = (a.data as readonly string[]).filter((text, i) => text !== b.data[i]).length;
    return unequal > 0 ? { ...INCOMPARABLE, unequal } : NO_DIFFERENCE;
  }
  const x = toNumbers(a);
  const y = toNumbers(b);
  let scale = 0;
  for (let i = 0; i < size; i++) if (Number.isFinite(x[i])) scale = Math.max(scale, Math.abs(x[i] as number));
  let maxAbs = 0;
  let maxUlp = 0;
  let unequal = 0;
  for (let i = 0; i < size; i++) {
    const [p, q] = [x[i] as number, y[i] as number];
    if (Object.is(p, q) || p === q) continue;
    unequal++;
    const apart = Math.abs(p - q);
    maxAbs = Math.max(maxAbs, Number.isNaN(apart) ? Infinity : apart);
    maxUlp = Math.max(maxUlp, ulps(p, q, a.dtype));
  }
  return { maxAbs, maxRel: scale > 0 ? maxAbs / scale : maxAbs, maxUlp, unequal };
}

/** Elements as numbers, the 16-bit floats decoded. Integers beyond 2^53 lose their last bits. */
export function toNumbers({ dtype, data }: HostTensor): ArrayLike<number> {
  if (dtype === 'float16') return kernels().fromFloat16(data as Uint16Array);
  if (dtype === 'bfloat16') return kernels().fromBfloat16(data as Uint16Array);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Array.from(data, Number);
  if (ArrayBuffer.isView(data)) return data as ArrayLike<number>;
  throw new PareError('unsupported', `A ${dtype} tensor holds no numbers.`);
}

const MANTISSA_BITS: Partial<Record<DType, number>> = { float16: 10, bfloat16: 7, float32: 23, float64: 52 };
const MIN_EXPONENT: Partial<Record<DType, number>> = { float16: -14, bfloat16: -126, float32: -126, float64: -1022 };

/** Distance in units of the last place of the larger of the two. */
function ulps(p: number, q: number, dtype: DType): number {
  const apart = Math.abs(p - q);
  if (!isFloat(dtype)) return apart;
  if (!Number.isFinite(apart)) return Infinity;
  const bits = MANTISSA_BITS[dtype] ?? 23;
  const exponent = Math.max(Math.floor(Math.log2(Math.max(Math.abs(p), Math.abs(q)))), MIN_EXPONENT[dtype] ?? -126);
  return Math.round(apart / 2 ** (exponent - bits));
}
