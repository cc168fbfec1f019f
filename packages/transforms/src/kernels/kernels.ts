import { PareError } from '@pare/core';
import type { BlockSpec, Blocks } from './blocks.js';

/**
 * float32 values: an array, or their little-endian bytes as they lie in a file, at any alignment.
 */
export type Floats = Float32Array | Uint8Array;

/** float32 values that are elsewhere, in a file: `read` fills `target` with their bytes from element `index` on. */
export interface FloatReader {
  readonly length: number;
  read(index: number, target: Uint8Array): void;
}

/** What the kernels for weights take: a reader is read piece by piece, straight into the kernels' memory. */
export type FloatInput = Floats | FloatReader;

/** float16 or bfloat16 values as bits: an array, or their little-endian bytes at any alignment. */
export type Halves = Uint16Array | Uint8Array;

/** Smallest and largest finite value (min > max when there is none), and how many were not finite. */
export interface Extremes {
  min: number;
  max: number;
  nan: number;
  inf: number;
}

/** The same of each row or column; the counts are of the whole input. */
export interface ChannelExtremes {
  min: Float32Array;
  max: Float32Array;
  nan: number;
  inf: number;
}

/** One scale and zero point a row or column, and the integer range to saturate to (within -128..255). */
export interface AffineSpec {
  scale: Float32Array;
  zeroPoint: Int32Array;
  qmin: number;
  qmax: number;
}

/** A trial quantization a row or column: v = x * inverse, rounded and clamped to [lo, hi]. */
export interface TrialSpec {
  inverse: Float32Array;
  lo: Float32Array;
  hi: Float32Array;
}

/**
 * Of each row or column, in units of its scale, with a = clamp(round(v), lo, hi) and d = v - a: the sums of d*d, a*d and
 * a*a. The least-squares scale for the same integers is s * (1 + ad / aa); its squared error is s^2 * (dd - ad^2 / aa).
 */
export interface TrialErrors {
  dd: Float64Array;
  ad: Float64Array;
  aa: Float64Array;
}

/** Sums of x*x, x*y and (x-y)*(x-y) in float64: signal, correlation and noise. */
export interface Products {
  xx: number;
  xy: number;
  dd: number;
}

/**
 * The inner loops of quantization. `kernels()` gives them in WebAssembly SIMD; reference.ts in plain TypeScript, equal bit
 * for bit. Matrices are row-major; every result is a fresh array of the caller.
 */
export interface Kernels {
  /** Range of all of x. */
  range(x: Floats): Extremes;
  /** Range of each row of x[rows, cols]. */
  rangeRows(x: FloatInput, rows: number, cols: number): ChannelExtremes;
  /** Range of each column of x[rows, cols]. */
  rangeColumns(x: FloatInput, rows: number, cols: number): ChannelExtremes;
  /**
   * q = clamp(round(x / scale) + zeroPoint, qmin, qmax) with ties to even, as ONNX QuantizeLinear; one scale a row. Bytes
   * are uint8 or the two's complement of int8. NaN becomes qmin: look at the range first.
   */
  quantizeRows(x: FloatInput, rows: number, cols: number, spec: AffineSpec): Uint8Array;
  /** The same with one scale a column. */
  quantizeColumns(x: FloatInput, rows: number, cols: number, spec: AffineSpec): Uint8Array;
  /** What a trial quantization of each row would cost. */
  errorRows(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors;
  /** The same of each column. */
  errorColumns(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors;
  /** Sums over x and y of equal length. */
  products(x: Floats, y: Floats): Products;
  /**
   * float16 bits, to nearest even; NaN becomes the quiet NaN of its sign. With `saturate`, finite values beyond +-65504
   * become +-65504 instead of infinite.
   */
  toFloat16(x: Floats, saturate?: boolean): Uint16Array;
  fromFloat16(bits: Halves): Float32Array;
  /** bfloat16 bits, to nearest even; NaN becomes the quiet NaN of its sign. */
  toBfloat16(x: Floats): Uint16Array;
  fromBfloat16(bits: Halves): Float32Array;
  /**
   * Adds x to bins of width 2^exponent on both sides of zero: x > 0 to positive[floor(x / width)], x < 0 to
   * negative[floor(-x / width)]. Magnitudes beyond the last bin fall into it; zeros, NaN and infinities are left out.
   * Both arrays have the same length; the exponent is at least -126. Returns how many values it counted.
   */
  histogram(x: Floats, exponent: number, positive: Float64Array, negative: Float64Array): number;
  /**
   * Blockwise 2, 4 or 8 bit weights. When the signal of the result is NaN, x holds NaN or infinite values, and the result is
   * worth nothing.
   */
  quantizeBlocks(x: FloatInput, spec: BlockSpec): Blocks;
}

/** The bytes of `x`, sharing memory. */
export function bytesOf(x: Floats | Halves): Uint8Array {
  return x instanceof Uint8Array ? x : new Uint8Array(x.buffer, x.byteOffset, x.byteLength);
}

/**
 * A reader of the `count` values of `x`.
 * @throws PareError `bad-option` when it holds another number of values.
 */
export function readerOf(x: FloatInput, count: number): FloatReader {
  const length = 'read' in x ? x.length : bytesOf(x).byteLength / 4;
  if (length !== count)
    throw new PareError('bad-option', `There are ${length} float32 values where ${count} are needed.`);
  if ('read' in x) return x;
  const bytes = bytesOf(x);
  return { length, read: (index, target) => target.set(bytes.subarray(index * 4, index * 4 + target.byteLength)) };
}
