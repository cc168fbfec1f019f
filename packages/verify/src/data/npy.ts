import {
  arrayType,
  byteLength,
  type DType,
  dtypeInfo,
  elementCount,
  type HostTensor,
  PareError,
  viewBytes,
} from '@pare/core';

/** What the header of an `.npy` array says. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Columns first: the axes lie in the file in reverse order. */
  readonly fortranOrder: boolean;
  readonly bigEndian: boolean;
  /** Bytes of one element in the file. */
  readonly itemSize: number;
  /** For text: characters an element (`U`, four bytes each) or bytes an element (`S`). */
  readonly text: 'U' | 'S' | undefined;
  /** Where the elements start. */
  readonly offset: number;
}

/** NumPy type characters (kind and size) that have an ONNX type. */
const DTYPES: Readonly<Record<string, DType>> = {
  b1: 'bool',
  i1: 'int8',
  i2: 'int16',
  i4: 'int32',
  i8: 'int64',
  u1: 'uint8',
  u2: 'uint16',
  u4: 'uint32',
  u8: 'uint64',
  f2: 'float16',
  f4: 'float32',
  f8: 'float64',
  c8: 'complex64',
  c16: 'complex128',
};

/** A header longer than this is hostile: NumPy itself refuses 10 000 characters by default. */
const MAX_HEADER = 1 << 16;

/**
 * Reads the header of an array in NumPy's format, versions 1 to 3 (numpy.lib.format). `bytes` may be cut after the header.
 * @throws PareError `bad-file` naming `file`.
 */
export function parseNpyHeader(bytes: Uint8Array, file: string): NpyHeader {
  const fail = (what: string): never => {
    throw new PareError('bad-file', `${file} ${what}`);
  };
  const magic = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];
  if (bytes.length < 10 || magic.some((b, i) => bytes[i] !== b)) fail('is not a NumPy .npy array.');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const major = bytes[6] as number;
  if (major < 1 || major > 3) fail(`is a NumPy array of format version ${major}; Pare reads versions 1 to 3.`);
  if (major > 1 && bytes.length < 12) fail('ends inside its header.');
  const start = major === 1 ? 10 : 12;
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER) fail(`has a header of ${length} bytes, which no NumPy array needs.`);
  if (start + length > bytes.length) fail('ends inside its header.');
  const text = new TextDecoder().decode(bytes.subarray(start, start + length));
  const descr = /['"]descr['"]\s*:\s*['"]([^'"]*)['"]/.exec(text)?.[1];
  const order = /['"]fortran_order['"]\s*:\s*(True|False)/.exec(text)?.[1];
  const shape = /['"]shape['"]\s*:\s*\(([^)]*)\)/.exec(text)?.[1];
  if (descr === undefined && /['"]descr['"]\s*:\s*\[/.test(text)) {
    fail('is a structured array; save each field as an array of its own.');
  }
  if (descr === undefined || order === undefined || shape === undefined) {
    return fail('has a header that Pare cannot read.');
  }
  const dims = shape
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '')
    .map((s) => (/^\d{1,15}L?$/.test(s) ? Number.parseInt(s, 10) : fail(`has a bad shape (${shape}).`)));
  const type = /^([<>|=])?([a-zA-Z])(\d{0,9})$/.exec(descr);
  if (!type) return fail(`has elements of type "${descr}", which Pare does not know.`);
  const [, endian, kind, digits] = type as unknown as [string, string | undefined, string, string];
  const common = { dims, fortranOrder: order === 'True', bigEndian: endian === '>', offset: start + length };
  if (kind === 'O') fail('holds Python objects (pickle), which Pare does not read. Save numbers or text.');
  if (kind === 'U' || kind === 'S') {
    const size = Number(digits) * (kind === 'U' ? 4 : 1);
    return { ...common, dtype: 'string', itemSize: size, text: kind };
  }
  const dtype = DTYPES[kind + digits];
  if (!dtype) return fail(`has elements of type "${descr}", which no ONNX type holds.`);
  return { ...common, dtype, itemSize: dtypeInfo(dtype).bits / 8, text: undefined };
}

/** Bytes of all elements. @throws PareError `bad-file` when the shape is larger than any file. */
export function npyDataLength(header: NpyHeader, file: string): number {
  const bytes = header.dims.reduce((product, d) => product * d, header.itemSize);
  if (!Number.isSafeInteger(bytes)) {
    throw new PareError(
      'bad-file',
      `${file} says that it has the shape (${header.dims.join(', ')}), larger than any file.`,
    );
  }
  return bytes;
}

/**
 * Elements with the bytes `bytes` (as they lie in the file) as a tensor of `dims`; row-major, native byte order. Does not
 * copy where the file has that order already.
 */
export function decodeNpyElements(header: NpyHeader, bytes: Uint8Array, dims: readonly number[]): HostTensor {
  const count = elementCount(dims);
  if (header.text) return { dtype: 'string', dims, data: decodeText(header, bytes, count, dims) };
  const unit = header.dtype.startsWith('complex') ? header.itemSize / 2 : header.itemSize;
  let data = viewBytes(header.dtype, header.bigEndian && unit > 1 ? swapBytes(bytes, unit) : bytes);
  if (header.fortranOrder && dims.length > 1 && count > 0) {
    if (unit !== header.itemSize) {
      throw new PareError('unsupported', 'Pare does not read complex arrays in Fortran order.');
    }
    const out = new (arrayType(header.dtype))(count);
    toRowMajor(dims, (from, to) => {
      out[to] = data[from] as never;
    });
    data = out;
  }
  return { dtype: header.dtype, dims, data };
}

/**
 * Reads a whole `.npy` array.
 * @throws PareError `bad-file` for anything that is not one, naming `file`; `unsupported` for complex Fortran arrays.
 */
export function parseNpy(bytes: Uint8Array, file = 'array'): HostTensor {
  const header = parseNpyHeader(bytes, file);
  const length = npyDataLength(header, file);
  if (header.offset + length > bytes.length) {
    throw new PareError(
      'bad-file',
      `${file} is cut off: its header promises ${length} bytes of elements, there are ${bytes.length - header.offset}.`,
    );
  }
  return decodeNpyElements(header, bytes.subarray(header.offset, header.offset + length), header.dims);
}

/** `tensor` as an `.npy` file, version 1, row-major, little-endian. Strings become fixed-width text (`U`). */
export function encodeNpy(tensor: HostTensor): Uint8Array {
  let body: Uint8Array;
  let descr: string;
  if (tensor.dtype === 'string') {
    const values = (tensor.data as readonly string[]).map((s) => Array.from(s, (c) => c.codePointAt(0) as number));
    const width = Math.max(1, ...values.map((v) => v.length));
    const codes = new Uint32Array(width * values.length);
    for (const [i, v] of values.entries()) codes.set(v, i * width);
    body = new Uint8Array(codes.buffer);
    descr = `<U${width}`;
  } else {
    const found = Object.entries(DTYPES).find(([, dtype]) => dtype === tensor.dtype);
    if (!found) throw new PareError('unsupported', `NumPy has no ${tensor.dtype} type; cast the array first.`);
    const data = tensor.data as Uint8Array;
    body = new Uint8Array(data.buffer, data.byteOffset, byteLength(tensor.dtype, elementCount(tensor.dims)));
    descr = `${/1$/.test(found[0]) && found[0] !== 'c1' ? '|' : '<'}${found[0]}`;
  }
  const shape = tensor.dims.length === 1 ? `${tensor.dims[0]},` : tensor.dims.join(', ');
  const header = `{'descr': '${descr}', 'fortran_order': False, 'shape': (${shape}), }`;
  // The elements start at a multiple of 64 and the header ends with a newline, as NumPy writes it.
  const start = Math.ceil((10 + header.length + 1) / 64) * 64;
  const out = new Uint8Array(start + body.byteLength).fill(0x20, 0, start);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0]);
  new DataView(out.buffer).setUint16(8, start - 10, true);
  out.set(new TextEncoder().encode(header), 10);
  out[start - 1] = 0x0a;
  out.set(body, start);
  return out;
}

function swapBytes(bytes: Uint8Array, unit: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < bytes.length; i++) out[i] = bytes[i - (i % unit) + unit - 1 - (i % unit)] as number;
  return out;
}

/** Calls `move` with the place in column-major order and the place in row-major order of every element. */
function toRowMajor(dims: readonly number[], move: (from: number, to: number) => void): void {
  const strides: number[] = [];
  for (let stride = 1, i = 0; i < dims.length; stride *= dims[i++] as number) strides.push(stride);
  const index = new Array<number>(dims.length).fill(0);
  const count = elementCount(dims);
  for (let to = 0, from = 0; to < count; to++) {
    move(from, to);
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      from += strides[axis] as number;
      index[axis] = (index[axis] as number) + 1;
      if ((index[axis] as number) < (dims[axis] as number)) break;
      from -= (strides[axis] as number) * (dims[axis] as number);
      index[axis] = 0;
    }
  }
}

function decodeText(header: NpyHeader, bytes: Uint8Array, count: number, dims: readonly number[]): string[] {
  const values: string[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const decoder = new TextDecoder();
  for (let i = 0; i < count; i++) {
    const start = i * header.itemSize;
    if (header.text === 'S') {
      values.push(decoder.decode(bytes.subarray(start, start + header.itemSize)).replace(/\0+$/, ''));
      continue;
    }
    let text = '';
    for (let at = start; at < start + header.itemSize; at += 4) {
      const code = view.getUint32(at, !header.bigEndian);
      if (code !== 0) text += code <= 0x10ffff ? String.fromCodePoint(code) : '\ufffd';
    }
    values.push(text);
  }
  if (!header.fortranOrder || dims.length < 2) return values;
  const out = new Array<string>(count);
  toRowMajor(dims, (from, to) => {
    out[to] = values[from] as string;
  });
  return out;
}
