import type { Dataset, Sample } from '@pare/core';
import { type ByteSource, elementCount, type HostTensor, PareError, sliceTensor } from '@pare/core';
import { zipSync } from 'fflate';
import { decodeNpyElements, encodeNpy, type NpyHeader, npyDataLength, parseNpyHeader } from './npy.js';
import { readZipEntries, readZipEntry, type ZipEntry, zipEntryOffset } from './zip.js';

/** Array names that hold the labels, the first that is there. */
export const LABEL_ARRAYS: readonly string[] = ['labels', 'label'];

/** One array of which single samples can be read. */
interface Column {
  readonly name: string;
  readonly header: NpyHeader;
  at(index: number): Promise<HostTensor>;
}

/**
 * A dataset from an `.npz` archive: one array a model input, the first axis runs over the samples, and optionally `labels`.
 * Arrays that are stored (`numpy.savez`) are read sample by sample, without looking at their checksum; compressed ones are
 * inflated whole, once, and checked.
 * @throws PareError `bad-file` when it is damaged, `bad-data` when the arrays do not fit together.
 */
export async function npzDataset(source: ByteSource): Promise<Dataset> {
  const entries = (await readZipEntries(source)).filter((e) => e.name.endsWith('.npy'));
  if (entries.length === 0) {
    throw new PareError('bad-file', `${source.name} is a zip archive without arrays (.npy): is it an .npz file?`);
  }
  const columns: Column[] = [];
  for (const entry of entries) columns.push(await openColumn(source, entry));
  return columnsDataset(source.name, columns);
}

/** A dataset from one `.npy` array, whose first axis runs over the samples. */
export async function npyDataset(source: ByteSource): Promise<Dataset> {
  return columnsDataset(source.name, [await storedColumn(source, 'array', 0, source.size)]);
}

/** A dataset from arrays in memory; the first axis of each runs over the samples. `labels` is the labels. */
export function arraysDataset(arrays: Readonly<Record<string, HostTensor>>, name = 'arrays'): Dataset {
  return columnsDataset(
    name,
    Object.entries(arrays).map(([key, tensor]) => ({
      name: key,
      header: { dims: tensor.dims } as NpyHeader,
      at: async (i) => sliceTensor(tensor, i),
    })),
  );
}

/** Arrays as an uncompressed `.npz` archive. */
export function encodeNpz(arrays: Readonly<Record<string, HostTensor>>): Uint8Array {
  const files = Object.entries(arrays).map(([name, tensor]) => [`${name}.npy`, encodeNpy(tensor)] as const);
  return zipSync(Object.fromEntries(files), { level: 0 });
}

function columnsDataset(name: string, columns: readonly Column[]): Dataset {
  const label = LABEL_ARRAYS.map((key) => columns.find((c) => c.name === key)).find((c) => c);
  const inputs = columns.filter((c) => c !== label);
  if (inputs.length === 0) {
    throw new PareError('bad-data', `${name} holds only "${label?.name}": there is no array for the model's inputs.`);
  }
  for (const { name: array, header } of columns) {
    if (header.dims.length === 0) {
      throw new PareError(
        'bad-data',
        `Array "${array}" of ${name} is a single number; its first axis must run over the samples. Repeat it once a sample.`,
      );
    }
  }
  const size = inputs[0]?.header.dims[0] as number;
  const odd = columns.find((c) => c.header.dims[0] !== size);
  if (odd) {
    throw new PareError(
      'bad-data',
      `Array "${odd.name}" of ${name} has ${odd.header.dims[0]} samples, but "${inputs[0]?.name}" has ${size}. ` +
        'The first axis of every array must run over the same samples.',
    );
  }
  const at = async (index: number): Promise<Sample> => {
    const tensors: Record<string, HostTensor> = {};
    for (const column of inputs) tensors[column.name] = await column.at(index);
    return {
      inputs: tensors,
      id: `sample ${index}`,
      ...(label ? { label: labelOf(await label.at(index)) } : {}),
    };
  };
  return {
    name,
    size,
    at,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < size; i++) yield await at(i);
    },
  };
}

/** Single numbers and texts become JavaScript values; larger labels (masks, embeddings) stay tensors. */
function labelOf(tensor: HostTensor): unknown {
  if (tensor.dims.length > 0 || tensor.dtype === 'float16') return tensor;
  const value = tensor.data[0];
  return typeof value === 'bigint' ? Number(value) : value;
}

async function openColumn(source: ByteSource, entry: ZipEntry): Promise<Column> {
  const name = entry.name.slice(0, -'.npy'.length);
  if (entry.method === 0) return storedColumn(source, name, await zipEntryOffset(source, entry), entry.size);
  const bytes = await readZipEntry(source, entry);
  return column(name, `"${entry.name}" in ${source.name}`, bytes, bytes.length, async (offset, length) =>
    bytes.subarray(offset, offset + length),
  );
}

async function storedColumn(source: ByteSource, name: string, start: number, size: number): Promise<Column> {
  const head = await source.read(start, Math.min(size, 1 << 17));
  const file = name === 'array' ? source.name : `"${name}.npy" in ${source.name}`;
  return column(name, file, head, size, (offset, length) => source.read(start + offset, length));
}

async function column(
  name: string,
  file: string,
  head: Uint8Array,
  size: number,
  read: (offset: number, length: number) => Promise<Uint8Array>,
): Promise<Column> {
  const header = parseNpyHeader(head, file);
  const length = npyDataLength(header, file);
  if (header.offset + length > size) {
    throw new PareError(
      'bad-file',
      `${file} is cut off: its header promises ${length} bytes of elements, there are ${size - header.offset}.`,
    );
  }
  const dims = header.dims.slice(1);
  if (header.dims.length > 0 && elementCount(dims) * header.itemSize === 0) {
    throw new PareError('bad-data', `${file} has the shape (${header.dims.join(', ')}): its samples are empty.`);
  }
  if (header.fortranOrder && header.dims.length > 1) {
    // A sample is spread over the whole array: turn it around once.
    let whole: Promise<HostTensor> | undefined;
    const load = async (): Promise<HostTensor> =>
      decodeNpyElements(header, await read(header.offset, length), header.dims);
    return {
      name,
      header,
      at: async (i) => {
        whole ??= load();
        return sliceTensor(await whole, i);
      },
    };
  }
  const step = elementCount(dims) * header.itemSize;
  return {
    name,
    header,
    at: async (i) => decodeNpyElements(header, await read(header.offset + i * step, step), dims),
  };
}
