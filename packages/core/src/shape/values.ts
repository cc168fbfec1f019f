import { type DType, isFloat, isInteger } from '../dtype.js';
import { elementCount, type Tensor } from '../ir/tensor.js';
import { type Dim, type Shape, staticShape } from '../ir/type.js';
import {
  addDim,
  ceilDim,
  ceilDivDim,
  dimBounds,
  equalDims,
  floorDim,
  floorDivDim,
  lessDims,
  maxDim,
  minDim,
  modDim,
  mulDim,
  subDim,
} from './dim.js';
import { type Known, MAX_VALUES } from './op.js';

/*
 * Arithmetic on the contents of small tensors. Numbers follow the runtime (float32 rounds, integers that would overflow
 * become unknown); symbolic elements follow the exact arithmetic of dimensions, also in float tensors: lengths are far
 * below 2^24, where float32 stops to be exact on integers.
 */

/** A function of one element, computed in `dtype`. */
export type UnaryFunction = (a: Dim, dtype: DType) => Dim;
export type BinaryFunction = (a: Dim, b: Dim, dtype: DType) => Dim;

/** The elements of a constant, when it is small, in memory and numeric. */
export function tensorValues(tensor: Tensor): readonly number[] | undefined {
  return tensor.size <= MAX_VALUES ? tensor.numbers() : undefined;
}

/** `shape` when all of it is known and its elements are few enough to be followed. */
export function smallShape(shape: Shape | undefined): number[] | undefined {
  const dims = staticShape(shape);
  return dims?.every((d) => d >= 0) && elementCount(dims) <= MAX_VALUES ? dims : undefined;
}

/** `fn` of each element. */
export function mapValues(input: Known | undefined, fn: (a: Dim) => Dim): Dim[] | undefined {
  return input?.values?.map(fn);
}

/** Where in the elements of a tensor of shape `from` each element of its broadcast to `to` comes from, row-major. */
function broadcastIndices(from: readonly number[], to: readonly number[]): number[] {
  if (to.includes(0)) return [];
  const skip = to.length - from.length;
  let indices = [0];
  for (const [axis, length] of to.entries()) {
    const own = axis < skip ? 1 : (from[axis - skip] as number);
    indices = indices.flatMap((base) => Array.from({ length }, (_, i) => base * own + (own === 1 ? 0 : i)));
  }
  return indices;
}

/** The elements of `known` broadcast to `shape`. */
export function broadcastValues(known: Known | undefined, shape: Shape | undefined): Dim[] | undefined {
  const from = known?.type?.kind === 'tensor' ? smallShape(known.type.shape) : undefined;
  const to = smallShape(shape);
  const values = known?.values;
  if (!values || !from || !to || from.length > to.length) return undefined;
  return broadcastIndices(from, to).map((i) => values[i] ?? null);
}

/** `fn` of the elements of several inputs, broadcast to `shape`. */
export function zipValues(
  inputs: readonly (Known | undefined)[],
  shape: Shape | undefined,
  fn: (...elements: Dim[]) => Dim,
): Dim[] | undefined {
  const to = smallShape(shape);
  // A partly known result is worth having, but not one of which nothing is known.
  if (!to || inputs.every((i) => !i?.values)) return undefined;
  const columns = inputs.map((input) => broadcastValues(input, to));
  return Array.from({ length: elementCount(to) }, (_, i) => fn(...columns.map((c) => c?.[i] ?? null)));
}

/** Types whose elements are followed. */
const hasValues = (dtype: DType): boolean => isFloat(dtype) || isInteger(dtype) || dtype === 'bool';

const RANGES: Partial<Record<DType, readonly [number, number]>> = {
  bool: [0, 1],
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
  int32: [-(2 ** 31), 2 ** 31 - 1],
  uint32: [0, 2 ** 32 - 1],
  int64: [-(2 ** 53), 2 ** 53],
  uint64: [0, 2 ** 53],
  float16: [-2048, 2048],
  bfloat16: [-256, 256],
};

/** Types that hold any length exactly. */
const WIDE: ReadonlySet<DType> = new Set<DType>(['int32', 'int64', 'uint32', 'uint64', 'float32', 'float64']);

/** `value` as an element of `dtype`: rounded when that is float32, unknown when it does not fit, or may not. */
export function fit(value: Dim, dtype: DType): Dim {
  if (typeof value === 'string') {
    const fits = WIDE.has(dtype) && (!dtype.startsWith('u') || dimBounds(value)[0] >= 0);
    return fits ? value : null;
  }
  if (value === null || dtype === 'float64') return value;
  if (dtype === 'float32') return Math.fround(value);
  const range = RANGES[dtype];
  return range && Number.isInteger(value) && value >= range[0] && value <= range[1] ? value : null;
}

/** A function on numbers as they are in `dtype`, and on symbols where `symbols` can say it. */
function binary(numbers: (a: number, b: number) => number, symbols: (a: Dim, b: Dim) => Dim): BinaryFunction {
  return (a, b, dtype) => {
    if (isFloat(dtype) && typeof a === 'number' && typeof b === 'number') return fit(numbers(a, b), dtype);
    return fit(symbols(a, b), dtype);
  };
}

export const add = binary((a, b) => a + b, addDim);
export const sub = binary((a, b) => a - b, subDim);
export const mul = binary((a, b) => a * b, mulDim);
export const min = binary(Math.min, minDim);
export const max = binary(Math.max, maxDim);

/** Division; of integers it truncates towards zero. */
export const div: BinaryFunction = (a, b, dtype) => {
  if (b === 0 || a === null || b === null) return null;
  if (typeof a === 'number' && typeof b === 'number') return fit(isFloat(dtype) ? a / b : Math.trunc(a / b), dtype);
  if (isFloat(dtype)) return typeof b === 'number' && Number.isInteger(Math.log2(b)) ? mulDim(a, 1 / b) : null;
  if (dimBounds(a)[0] >= 0 && dimBounds(b)[0] >= 0) return floorDivDim(a, b);
  // The floor of what is not negative, the ceiling of what is.
  return typeof b === 'number' && b > 0 ? maxDim(floorDivDim(a, b), minDim(ceilDivDim(a, b), 0)) : null;
};

/** Remainder with the sign of the divisor. */
export const mod: BinaryFunction = (a, b, dtype) => (isFloat(dtype) ? null : fit(modDim(a, b), dtype));
/** Remainder with the sign of the dividend, as C has it. */
export const fmod: BinaryFunction = (a, b, dtype) => {
  if (typeof a === 'number' && typeof b === 'number') return b === 0 ? null : fit(a % b, dtype);
  return dimBounds(a)[0] >= 0 ? mod(a, b, dtype) : null;
};

/** Powers of integers only: those of floats are not rounded the same everywhere. */
export const pow: BinaryFunction = (a, b, dtype) => {
  if (b === 1) return a;
  if (typeof a !== 'number' || typeof b !== 'number' || b < 0 || !Number.isInteger(a) || !Number.isInteger(b))
    return null;
  const value = a ** b;
  return Number.isSafeInteger(value) ? fit(value, dtype) : null;
};

const truth = (value: boolean | undefined): Dim => (value === undefined ? null : value ? 1 : 0);
/** Integers beyond 2^53 lost digits when they became numbers: nothing can be said of two that look alike. */
const exact = (a: Dim): boolean => typeof a !== 'number' || Math.abs(a) < 2 ** 53;

export const equal: BinaryFunction = (a, b) => (exact(a) && exact(b) ? truth(equalDims(a, b)) : null);
export const less: BinaryFunction = (a, b) => (exact(a) || exact(b) ? truth(lessDims(a, b)) : null);
export const greater: BinaryFunction = (a, b, dtype) => less(b, a, dtype);
export const lessOrEqual: BinaryFunction = (a, b, dtype) => not(greater(a, b, dtype), 'bool');
export const greaterOrEqual: BinaryFunction = (a, b, dtype) => not(less(a, b, dtype), 'bool');

export const not: UnaryFunction = (a) => (a === null ? null : a === 0 ? 1 : a === 1 ? 0 : null);
export const and: BinaryFunction = (a, b) => (a === 0 || b === 0 ? 0 : a === 1 && b === 1 ? 1 : null);
export const or: BinaryFunction = (a, b) => (a === 1 || b === 1 ? 1 : a === 0 && b === 0 ? 0 : null);
export const xor: BinaryFunction = (a, b) =>
  typeof a === 'number' && typeof b === 'number' ? (a === b ? 0 : 1) : null;

export const neg: UnaryFunction = (a, dtype) => fit(typeof a === 'number' ? -a : subDim(0, a), dtype);
export const abs: UnaryFunction = (a, dtype) => {
  if (typeof a === 'number') return fit(Math.abs(a), dtype);
  return dimBounds(a)[0] >= 0 ? a : null;
};
export const floor: UnaryFunction = (a) => (typeof a === 'number' ? Math.floor(a) : floorDim(a));
export const ceil: UnaryFunction = (a) => (typeof a === 'number' ? Math.ceil(a) : ceilDim(a));
/** Half to even. */
export const round: UnaryFunction = (a) => {
  if (typeof a !== 'number') return floorDim(a) === a ? a : null;
  const nearest = Math.round(a);
  return nearest - a === 0.5 && nearest % 2 !== 0 ? nearest - 1 : nearest;
};
export const sqrt: UnaryFunction = (a, dtype) => (typeof a === 'number' && a >= 0 ? fit(Math.sqrt(a), dtype) : null);
export const reciprocal: UnaryFunction = (a, dtype) => (typeof a === 'number' && a !== 0 ? fit(1 / a, dtype) : null);
export const sign: UnaryFunction = (a) => {
  if (typeof a === 'number') return Math.sign(a);
  const [low, high] = dimBounds(a);
  return low > 0 ? 1 : high < 0 ? -1 : low === 0 && high === 0 ? 0 : null;
};

/** `value` of type `from` cast to `to`. */
export function cast(value: Dim, from: DType, to: DType): Dim {
  if (from === to) return value;
  if (value === null || !hasValues(to)) return null;
  if (to === 'bool') {
    if (typeof value === 'number') return value === 0 ? 0 : 1;
    return dimBounds(value)[0] > 0 ? 1 : null;
  }
  if (typeof value === 'number') {
    if (isInteger(to) && !Number.isFinite(value)) return null;
    return fit(isInteger(to) ? Math.trunc(value) : value, to);
  }
  // Truncation is the floor of what is not negative.
  if (isFloat(from) && isInteger(to)) {
    const whole = floorDim(value);
    return dimBounds(value)[0] >= 0 || whole === value ? fit(whole, to) : null;
  }
  return fit(value, to);
}
