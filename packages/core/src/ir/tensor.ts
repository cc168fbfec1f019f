import { byteLength, type DType, dtypeInfo, type TypedArray, viewBytes } from '../dtype.js';
import { PareError } from '../errors.js';
import type { ByteSource } from '../proto/source.js';

/**
 * Where the elements of a tensor are. Bytes are always in the form of `raw_data`: row-major, little-endian, sub-byte types
 * packed low bits first.
 */
export type TensorData =
  | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
  /** In a file, unread until someone asks. */
  | {
      readonly kind: 'reference';
      readonly source: ByteSource;
      readonly offset: number;
      readonly length: number;
    }
  /** Computed when written or asked for; never cached, so memory is bounded by one tensor. */
  | {
      readonly kind: 'producer';
      readonly byteLength: number;
      produce(): Uint8Array | Promise<Uint8Array>;
    }
  /** Strings as UTF-8 (ONNX does not promise that they are valid). */
  | { readonly kind: 'strings'; readonly values: readonly Uint8Array[] };

/** A constant of the model: immutable, lazy, freely shared between values and models. */
export class Tensor {
  constructor(
    readonly dtype: DType,
    readonly dims: readonly number[],
    readonly data: TensorData,
    /** The message that this tensor was read from; only the codec looks into it. */
    readonly origin?: object,
  ) {}

  /**
   * A tensor of `values`. Numbers and bigints are converted to `dtype`; a typed array must be of the class that `arrayType`
   * names, and is not copied.
   * @throws PareError `bad-option` when the count does not fit `dims`.
   */
  static of(dtype: DType, dims: readonly number[], values: TypedArray | readonly (number | bigint)[]): Tensor {
    const size = elementCount(dims);
    const array = ArrayBuffer.isView(values) ? values : convert(dtype, size, values);
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    if (bytes.byteLength !== byteLength(dtype, size) || (!ArrayBuffer.isView(values) && values.length !== size)) {
      throw new PareError(
        'bad-option',
        `${values.length} values do not fit a ${dtype} tensor of shape [${dims.join(', ')}].`,
      );
    }
    return new Tensor(dtype, dims, { kind: 'bytes', bytes });
  }

  /** A tensor of strings. */
  static strings(dims: readonly number[], values: readonly string[]): Tensor {
    const encoder = new TextEncoder();
    return new Tensor('string', dims, {
      kind: 'strings',
      values: values.map((v) => encoder.encode(v)),
    });
  }

  /** Number of elements. */
  get size(): number {
    return elementCount(this.dims);
  }

  /** Bytes of the elements in `raw_data` form (for strings: the sum of their lengths). */
  get byteLength(): number {
    if (this.data.kind === 'strings') return this.data.values.reduce((sum, v) => sum + v.byteLength, 0);
    return byteLength(this.dtype, this.size);
  }

  /** The raw bytes, when they are in memory already. Do not change them. */
  get bytes(): Uint8Array | undefined {
    return this.data.kind === 'bytes' ? this.data.bytes : undefined;
  }

  /**
   * The raw bytes, read or computed. Do not change them.
   * @throws PareError `bad-file` when the source is shorter than the tensor says.
   */
  async load(): Promise<Uint8Array> {
    switch (this.data.kind) {
      case 'bytes':
        return this.data.bytes;
      case 'reference':
        return this.data.source.read(this.data.offset, this.data.length);
      case 'producer':
        return this.data.produce();
      case 'strings':
        throw new PareError('bad-option', 'A string tensor has no raw bytes; read its `data.values`.');
    }
  }

  /** The elements, read or computed, as the class that `arrayType(dtype)` names. */
  async toArray(): Promise<TypedArray> {
    return viewBytes(this.dtype, await this.load());
  }

  /** The elements as numbers when they are in memory and of a whole-byte numeric type, else undefined. Exact below 2^53. */
  numbers(): number[] | undefined {
    const bytes = this.bytes;
    if (!bytes || !PLAIN.has(this.dtype)) return undefined;
    return Array.from(viewBytes(this.dtype, bytes) as ArrayLike<number | bigint>, Number);
  }

  /** The single element as a number, when `numbers()` knows it. */
  scalar(): number | undefined {
    return this.size === 1 ? this.numbers()?.[0] : undefined;
  }
}

/** Types whose typed array holds plain numbers (not bits of another format). */
const PLAIN: ReadonlySet<DType> = new Set<DType>([
  'float32',
  'float64',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
]);

/** Product of `dims`; 1 for a scalar. */
export function elementCount(dims: readonly number[]): number {
  return dims.reduce((product, d) => product * d, 1);
}

function convert(dtype: DType, size: number, values: readonly (number | bigint)[]): TypedArray {
  if (!PLAIN.has(dtype)) {
    throw new PareError('bad-option', `Give a ${dtype} tensor as its bits in a typed array, not as numbers.`);
  }
  const array = viewBytes(dtype, new Uint8Array((size * dtypeInfo(dtype).bits) / 8));
  const big = array instanceof BigInt64Array || array instanceof BigUint64Array;
  for (let i = 0; i < Math.min(size, values.length); i++) {
    const v = values[i] as number | bigint;
    array[i] = (big ? BigInt(v) : Number(v)) as never;
  }
  return array;
}

/** COO tensor of ONNX: `values` [nnz], `indices` [nnz] (linear) or [nnz, rank], of a dense shape `dims`. */
export interface SparseTensor {
  readonly values: Tensor;
  readonly indices: Tensor;
  readonly dims: readonly number[];
  readonly origin?: object;
}
