import type { ExternalReader, Placement } from './convert/tensor.js';
import { bytesOf } from './convert/tensor.js';
import { PareError } from './errors.js';
import type { Model } from './ir/model.js';
import type { Tensor, TensorData } from './ir/tensor.js';
import { type ByteSource, type Bytes, blobSource, memorySource } from './proto/source.js';

/** The file at `location` (relative to the model's folder, `/` between folders), or undefined when there is none. */
export type ExternalFiles = (location: string) => ByteSource | Uint8Array | Blob | undefined;

export interface ExternalDataOptions {
  /** Tensors of at least this many bytes leave the model file. Default 1024. */
  readonly thresholdBytes?: number | undefined;
  /** Name of data file `index` (from 0). Default, as Hugging Face has it: `<model file>_data`, then `<model file>_data_1`, ... */
  readonly fileName?: ((index: number) => string) | undefined;
  /** A file is closed before it grows beyond this; a tensor larger than this gets a file of its own. Default: one file. */
  readonly shardBytes?: number | undefined;
}

/** Reads tensors that lie outside the model file, through `files`; each file is asked for once. */
export function externalReader(files: ExternalFiles | undefined): ExternalReader {
  const open = new Map<string, ByteSource>();
  return ({ location, offset, length }, byteLength, who) => {
    refuseEscape(location, who);
    let source = open.get(location);
    if (!source) {
      const found = files?.(location);
      if (!found) {
        throw new PareError('io', `${who} lies in the file "${location}", which is missing. Put it beside the model.`);
      }
      source =
        found instanceof Uint8Array ? memorySource(found, location) : 'read' in found ? found : blobSource(found);
      open.set(location, source);
    }
    if (length !== undefined && length !== byteLength) {
      throw new PareError('bad-model', `${who} needs ${byteLength} bytes, but has ${length} in "${location}".`);
    }
    if (offset + byteLength > source.size) {
      throw new PareError(
        'bad-file',
        `${who} needs bytes ${offset} to ${offset + byteLength} of "${location}", which has ${source.size}: it is truncated or of another model.`,
      );
    }
    return { source, offset, length: byteLength };
  };
}

/**
 * Refuses paths that could lead out of the model's folder: a model must not make its reader open other files.
 * @throws PareError `bad-model`.
 */
function refuseEscape(location: string, who: string): void {
  const parts = location.split(/[/\\]/);
  if (parts[0] === '' || /^[a-zA-Z]:/.test(location) || parts.includes('..') || location.includes('\0')) {
    throw new PareError(
      'bad-model',
      `${who} wants to be read from "${location}", outside the model's folder. Refused: a model could read any file this way.`,
    );
  }
}

/** From this size on tensors start at a page, so that runtimes can map them (onnx.proto recommends 4096). */
const PAGE_FROM = 1024 * 1024;
const PAGE = 4096;
/** Smaller ones start where SIMD loads like it. */
const LINE = 64;

/** One file of weights: its pieces with what fills the gaps between them. */
export interface DataFile {
  readonly location: string;
  readonly byteLength: number;
  readonly parts: readonly Bytes[];
}

/**
 * Distributes the initializers of `model`, subgraphs included, over files. Tensors that share their data share the place.
 * Strings stay in the model file.
 * @throws PareError `bad-option` for a file name that leads out of the folder or is given twice.
 */
export function placeExternally(
  model: Model,
  modelName: string,
  options: ExternalDataOptions,
): { readonly place: (tensor: Tensor) => Placement | undefined; readonly files: readonly DataFile[] } {
  const threshold = options.thresholdBytes ?? 1024;
  const shardBytes = options.shardBytes ?? Number.POSITIVE_INFINITY;
  const fileName = options.fileName ?? ((index) => `${modelName}_data${index === 0 ? '' : `_${index}`}`);
  const places = new Map<TensorData, Placement>();
  const files: { location: string; byteLength: number; parts: Bytes[] }[] = [];
  for (const graph of model.graph.graphs()) {
    for (const { initializer: tensor } of graph.initializers) {
      if (!tensor || tensor.data.kind === 'strings' || tensor.byteLength < threshold || places.has(tensor.data))
        continue;
      const length = tensor.byteLength;
      const align = length >= PAGE_FROM ? PAGE : LINE;
      let file = files[files.length - 1];
      if (!file || Math.ceil(file.byteLength / align) * align + length > shardBytes) {
        file = { location: fileName(files.length), byteLength: 0, parts: [] };
        checkName(file.location, [modelName, ...files.map((f) => f.location)]);
        files.push(file);
      }
      const offset = Math.ceil(file.byteLength / align) * align;
      if (offset > file.byteLength) file.parts.push(new Uint8Array(offset - file.byteLength));
      file.parts.push(bytesOf(tensor.data));
      file.byteLength = offset + length;
      places.set(tensor.data, { location: file.location, offset, length });
    }
  }
  return { place: (tensor) => places.get(tensor.data), files };
}

function checkName(name: string, taken: readonly string[]): void {
  if (name === '' || /[/\\\0]/.test(name) || name === '..' || taken.includes(name)) {
    throw new PareError('bad-option', `"${name}" is no name for a data file: give each file its own plain name.`);
  }
}
