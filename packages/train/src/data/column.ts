import { arrayType, type DType, elementCount, type HostTensor, type TypedArray } from '@pare/core';

/** One array that every sample has. */
export interface Layout {
  readonly name: string;
  readonly dtype: DType;
  /** Shape of one sample. */
  readonly dims: readonly number[];
}

/** The elements of that array for many samples. Plain data, over shared memory where there is any: workers get it uncopied. */
export interface Column extends Layout {
  readonly data: TypedArray;
}

/** A column for `count` samples. */
export function allocate({ name, dtype, dims }: Layout, count: number): Column {
  const array = arrayType(dtype);
  const bytes = elementCount(dims) * count * array.BYTES_PER_ELEMENT;
  // Browsers have shared memory only on isolated pages.
  const buffer = typeof SharedArrayBuffer === 'function' ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes);
  return { name, dtype, dims, data: new array(buffer) };
}

/** The first `count` samples of `column` in a column for `capacity` of them. */
export function resize(column: Column, count: number, capacity: number): Column {
  const resized = allocate(column, capacity);
  resized.data.set(column.data.subarray(0, count * elementCount(column.dims)) as never);
  return resized;
}

/** Sample `index` of `column`; shares memory. */
export function row({ dims, data }: Column, index: number): TypedArray {
  const size = elementCount(dims);
  return data.subarray(index * size, (index + 1) * size);
}

/** Copies of the samples at `indices` along a new first axis, in memory of their own. */
export function gather(column: Column, indices: ArrayLike<number>): HostTensor {
  const size = elementCount(column.dims);
  const data = new (arrayType(column.dtype))(size * indices.length);
  for (let i = 0; i < indices.length; i++) data.set(row(column, indices[i] as number) as never, i * size);
  return { dtype: column.dtype, dims: [indices.length, ...column.dims], data };
}
