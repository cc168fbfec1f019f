/** Element types of ONNX tensors, by the name that the ONNX specification gives them in lower case. */
export type DType = keyof typeof TABLE;

/** What is known of one element type. */
export interface DTypeInfo {
  readonly name: DType;
  /** TensorProto.DataType (onnx.proto). */
  readonly code: number;
  /** Bits of one element in `raw_data`; 0 for strings, which are never raw. */
  readonly bits: number;
}

const TABLE = {
  float32: [1, 32],
  uint8: [2, 8],
  int8: [3, 8],
  uint16: [4, 16],
  int16: [5, 16],
  int32: [6, 32],
  int64: [7, 64],
  string: [8, 0],
  bool: [9, 8],
  float16: [10, 16],
  float64: [11, 64],
  uint32: [12, 32],
  uint64: [13, 64],
  complex64: [14, 64],
  complex128: [15, 128],
  bfloat16: [16, 16],
  float8e4m3fn: [17, 8],
  float8e4m3fnuz: [18, 8],
  float8e5m2: [19, 8],
  float8e5m2fnuz: [20, 8],
  uint4: [21, 4],
  int4: [22, 4],
  float4e2m1: [23, 4],
  float8e8m0: [24, 8],
  uint2: [25, 2],
  int2: [26, 2],
  float6e2m3: [27, 6],
  float6e3m2: [28, 6],
} as const;

const byName = new Map<DType, DTypeInfo>();
const byCode = new Map<number, DTypeInfo>();
for (const [name, [code, bits]] of Object.entries(TABLE) as [DType, readonly [number, number]][]) {
  const info = { name, code, bits };
  byName.set(name, info);
  byCode.set(code, info);
}

/** The row of `name` in the table. */
export function dtypeInfo(name: DType): DTypeInfo {
  return byName.get(name) as DTypeInfo;
}

/** The element type with TensorProto code `code`, or undefined for UNDEFINED (0) and codes of the future. */
export function dtypeOfCode(code: number): DType | undefined {
  return byCode.get(code)?.name;
}

/** Bytes of `count` packed elements: sub-byte types share bytes, low bits first, the last byte padded with zeros. */
export function byteLength(dtype: DType, count: number): number {
  return Math.ceil((count * dtypeInfo(dtype).bits) / 8);
}

export const isFloat = (dtype: DType): boolean => dtype.startsWith('float') || dtype === 'bfloat16';
export const isInteger = (dtype: DType): boolean => dtype.startsWith('int') || dtype.startsWith('uint');

/**
 * How elements lie in JavaScript. Types without a typed array of their own travel as their bits: float16 and bfloat16 as
 * Uint16Array, bool and float8 as Uint8Array, 4- and 2-bit types packed in a Uint8Array, complex as interleaved floats.
 */
export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

type TypedArrayConstructor = {
  new (length: number): TypedArray;
  new (buffer: ArrayBufferLike, offset?: number, length?: number): TypedArray;
  readonly BYTES_PER_ELEMENT: number;
};

const ARRAYS: Partial<Record<DType, TypedArrayConstructor>> = {
  float32: Float32Array,
  float64: Float64Array,
  int8: Int8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  complex64: Float32Array,
  complex128: Float64Array,
};

/** The typed array class whose elements are those of `dtype` (see TypedArray for the types that travel as bits). */
export function arrayType(dtype: DType): TypedArrayConstructor {
  return ARRAYS[dtype] ?? Uint8Array;
}

/** `bytes` as elements of `dtype`; shares memory where the alignment allows it, else copies. */
export function viewBytes(dtype: DType, bytes: Uint8Array): TypedArray {
  const array = arrayType(dtype);
  const size = array.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.byteLength / size));
}
