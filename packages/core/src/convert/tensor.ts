import { byteLength, type DType, dtypeInfo, dtypeOfCode } from '../dtype.js';
import { PareError } from '../errors.js';
import { elementCount, type SparseTensor, Tensor, type TensorData } from '../ir/tensor.js';
import { amend, createMessage, type Fields, type Message } from '../proto/message.js';
import { type Bytes, bytesLength, type Reference } from '../proto/source.js';
import { keepText } from './presence.js';
import { decodeTyped, typedField } from './typed-data.js';

type TensorProto = Message<'TensorProto'>;
type SparseTensorProto = Message<'SparseTensorProto'>;

/** Gives the bytes of a tensor that lies in another file; `length` undefined when the model does not say. */
export type ExternalReader = (
  place: { readonly location: string; readonly offset: number; readonly length: number | undefined },
  byteLength: number,
  who: string,
) => Reference;

/** Where a written tensor goes outside the model file. */
export interface Placement {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

const EXTERNAL = 1;

/**
 * The tensor in `proto`. `who` names it in messages.
 * @throws PareError `bad-model` when type, shape and data do not fit; `unsupported` for an element type of the future; what
 *   `external` throws.
 */
export function readTensor(proto: TensorProto, external: ExternalReader, who: string): Tensor {
  proto.$read ??= convertTensor(proto, external, who);
  return proto.$read as Tensor;
}

function convertTensor(proto: TensorProto, external: ExternalReader, who: string): Tensor {
  const code = proto.data_type ?? 0;
  const dtype = dtypeOfCode(code);
  if (code === 0) throw new PareError('bad-model', `${who} has no element type.`);
  if (!dtype) throw new PareError('unsupported', `${who} has element type ${code}, which Pare does not know yet.`);
  const dims = readDims(proto.dims, who);
  return new Tensor(dtype, dims, readData(proto, dtype, dims, external, who), proto);
}

function readDims(dims: readonly (number | bigint)[] | undefined, who: string): number[] {
  const numbers = (dims ?? []).map(Number);
  if (numbers.some((d) => d < 0 || !Number.isSafeInteger(d)) || !Number.isSafeInteger(elementCount(numbers) * 16)) {
    throw new PareError('bad-model', `${who} has the impossible shape [${numbers.join(', ')}].`);
  }
  return numbers;
}

function readData(
  proto: TensorProto,
  dtype: DType,
  dims: readonly number[],
  external: ExternalReader,
  who: string,
): TensorData {
  const count = elementCount(dims);
  if (dtype === 'string') {
    const values = proto.string_data ?? [];
    if (values.length !== count) misfit(who, dtype, dims, `${values.length} strings`, `${count}`);
    return { kind: 'strings', values };
  }
  const expected = byteLength(dtype, count);
  if (proto.data_location === EXTERNAL) return { kind: 'reference', ...external(readPlace(proto, who), expected, who) };
  if (proto.raw_data !== undefined) {
    const length = bytesLength(proto.raw_data);
    if (length !== expected) misfit(who, dtype, dims, `${length} bytes`, `${expected}`);
    return dataFrom(proto.raw_data);
  }
  return readTyped(proto, dtype, dims, expected, who);
}

function readTyped(
  proto: TensorProto,
  dtype: DType,
  dims: readonly number[],
  expected: number,
  who: string,
): TensorData {
  const { field, fixedWidth } = typedField(dtype);
  const chunks = proto[field] ?? [];
  const stored = chunks.reduce((sum, chunk) => sum + bytesLength(chunk.bytes), 0);
  const single = chunks.length === 1 && !chunks[0]?.tagged ? chunks[0]?.bytes : undefined;
  if (fixedWidth && single) {
    // Packed floats are already what raw_data would hold.
    if (stored !== expected) misfit(who, dtype, dims, `${stored} bytes`, `${expected}`);
    return dataFrom(single);
  }
  // An element takes a byte at least: nothing is allocated for a shape that the file cannot fill.
  if (expected > stored * 8) misfit(who, dtype, dims, `at most ${stored} elements`, `${elementCount(dims)}`);
  const wrong = (found: number, needed: number): never =>
    misfit(who, dtype, dims, `${found} elements in ${field}`, `${needed}`);
  if (chunks.every((chunk) => chunk.bytes instanceof Uint8Array)) {
    const parts = chunks.map((chunk) => ({ bytes: chunk.bytes as Uint8Array, tagged: chunk.tagged }));
    return { kind: 'bytes', bytes: decodeTyped(dtype, dims, parts, wrong) };
  }
  const produce = async (): Promise<Uint8Array> => {
    const parts = [];
    for (const chunk of chunks) {
      const bytes = chunk.bytes as Uint8Array | Reference;
      const loaded = bytes instanceof Uint8Array ? bytes : await bytes.source.read(bytes.offset, bytes.length);
      parts.push({ bytes: loaded, tagged: chunk.tagged });
    }
    return decodeTyped(dtype, dims, parts, wrong);
  };
  return { kind: 'producer', byteLength: expected, produce };
}

function misfit(who: string, dtype: DType, dims: readonly number[], has: string, needs: string): never {
  throw new PareError('bad-model', `${who} is ${dtype}[${dims.join(', ')}] and needs ${needs}, but holds ${has}.`);
}

function readPlace(proto: TensorProto, who: string): Parameters<ExternalReader>[0] {
  const entries = new Map((proto.external_data ?? []).map((entry) => [entry.key, entry.value ?? '']));
  const location = entries.get('location');
  if (!location) throw new PareError('bad-model', `${who} is external but names no file.`);
  const number = (key: string): number | undefined => {
    const text = entries.get(key);
    if (text === undefined || text === '') return undefined;
    const value = Number(text);
    if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
    throw new PareError('bad-model', `${who} has the ${key} "${text}" in "${location}", which is no byte count.`);
  };
  return { location, offset: number('offset') ?? 0, length: number('length') };
}

function dataFrom(bytes: Bytes): TensorData {
  if (bytes instanceof Uint8Array) return { kind: 'bytes', bytes };
  if ('source' in bytes) return { kind: 'reference', ...bytes };
  return { kind: 'producer', byteLength: bytes.byteLength, produce: () => bytes.produce() };
}

/**
 * `tensor` as a message named `name`, in the file or at `placement` outside it. Data that was read is written in the field
 * that it was read from; new data as `raw_data` or `string_data`.
 */
export function writeTensor(tensor: Tensor, name: string | undefined, placement?: Placement): TensorProto {
  const origin = tensor.origin as TensorProto | undefined;
  const head = {
    dims: tensor.dims,
    data_type: dtypeInfo(tensor.dtype).code,
    name: name === undefined ? origin?.name : keepText(name, origin?.name),
  };
  const unread = origin?.data_location !== EXTERNAL && !placement;
  const before = origin?.$read as Tensor | undefined;
  if (unread && before?.data === tensor.data && head.data_type === origin?.data_type) {
    return amend('TensorProto', origin, head);
  }
  const nothing: Fields<'TensorProto'> = {
    segment: undefined,
    float_data: undefined,
    int32_data: undefined,
    string_data: undefined,
    int64_data: undefined,
    raw_data: undefined,
    double_data: undefined,
    uint64_data: undefined,
    external_data: undefined,
    data_location: undefined,
  };
  return amend('TensorProto', origin, { ...head, ...nothing, ...writeData(tensor.data, placement) });
}

function writeData(data: TensorData, placement: Placement | undefined): Fields<'TensorProto'> {
  if (data.kind === 'strings') return { string_data: data.values };
  if (!placement) return { raw_data: bytesOf(data) };
  const entry = (key: string, value: string) => createMessage('StringStringEntryProto', { key, value });
  const external_data = [
    entry('location', placement.location),
    entry('offset', String(placement.offset)),
    entry('length', String(placement.length)),
  ];
  return { external_data, data_location: EXTERNAL };
}

/** The raw bytes of `data`, wherever they are. */
export function bytesOf(data: Exclude<TensorData, { kind: 'strings' }>): Bytes {
  return data.kind === 'bytes' ? data.bytes : data;
}

export function readSparse(proto: SparseTensorProto, external: ExternalReader, who: string): SparseTensor {
  if (!proto.values || !proto.indices) throw new PareError('bad-model', `${who} lacks its values or its indices.`);
  return {
    values: readTensor(proto.values, external, who),
    indices: readTensor(proto.indices, external, `${who} (indices)`),
    dims: readDims(proto.dims, who),
    origin: proto,
  };
}

/** `name`, when given, is that of the values, which is how ONNX names a sparse initializer. */
export function writeSparse(sparse: SparseTensor, name?: string): SparseTensorProto {
  return amend('SparseTensorProto', sparse.origin as SparseTensorProto | undefined, {
    values: writeTensor(sparse.values, name),
    indices: writeTensor(sparse.indices, undefined),
    dims: sparse.dims,
  });
}
