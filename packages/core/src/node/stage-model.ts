import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PareError, throwIfAborted } from '../errors.js';
import { Model } from '../ir/model.js';
import { type SerializedFile, serializeModel } from '../write.js';
import { readModel } from './read-model.js';
import type { DataFile } from './runtime.js';
import { writeModel } from './write-model.js';

/** A model in the form in which ONNX Runtime opens it. */
export interface StagedModel {
  /** Bytes, or the path of a file. */
  readonly model: Uint8Array | string;
  /** Weights that go with bytes. */
  readonly dataFiles: readonly DataFile[];
  /** Memory that the runtime's thread may take over: nobody else uses it. */
  readonly owned: readonly ArrayBuffer[];
  /** Removes temporary files. */
  remove(): Promise<void>;
}

const inMemory = (
  model: Uint8Array | string,
  dataFiles: readonly DataFile[] = [],
  owned: readonly ArrayBuffer[] = [],
) => ({ model, dataFiles, owned, remove: async () => undefined }) satisfies StagedModel;

/** Up to this size a model is handed over in memory; a larger one through a file, streamed. */
const IN_MEMORY_BYTES = 32 * 2 ** 20;

/**
 * Paths and bytes as they are; a Model in memory when it is small, else in a temporary file.
 * @throws PareError `io` when the temporary folder cannot hold it; `aborted`.
 */
export async function stageForNative(model: Model | Uint8Array | string, signal?: AbortSignal): Promise<StagedModel> {
  if (!(model instanceof Model)) return inMemory(model);
  const { file, dataFiles } = serializeModel(model, { externalData: fitsInline(model) ? false : undefined });
  if (dataFiles.length === 0 && file.byteLength <= IN_MEMORY_BYTES) {
    const bytes = (await file.bytes()) as Uint8Array<ArrayBuffer>;
    return inMemory(bytes, [], [bytes.buffer]);
  }
  const folder = await mkdtemp(join(tmpdir(), 'pare-')).catch((cause) => {
    throw new PareError('io', `No temporary folder can be made in ${tmpdir()}: ${cause.message}`, { cause });
  });
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'model.onnx');
    await writeModel(path, model, { signal });
    return { model: path, dataFiles: [], owned: [], remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** What WebAssembly with 32-bit addresses holds. */
const WASM_BYTES = 2 ** 32;

/**
 * Everything in memory: WebAssembly reads no files.
 * @throws PareError `engine` when the model is too large; what `readModel` throws for a path; `aborted`.
 */
export async function stageForWasm(model: Model | Uint8Array | string, signal?: AbortSignal): Promise<StagedModel> {
  if (model instanceof Uint8Array) return inMemory(model);
  const { file, dataFiles } = serializeModel(typeof model === 'string' ? await readModel(model, { signal }) : model);
  const files = [file, ...dataFiles];
  const total = files.reduce((sum, f) => sum + f.byteLength, 0);
  if (total >= WASM_BYTES) {
    const size = `${(total / 1e9).toFixed(1)} GB`;
    throw new PareError('engine', `The model has ${size}, and WebAssembly no more than 4.3 GB for all that it does.`);
  }
  const contents: Uint8Array<ArrayBuffer>[] = [];
  for (const f of files) {
    throwIfAborted(signal);
    contents.push((await f.bytes()) as Uint8Array<ArrayBuffer>);
  }
  const [first, ...rest] = contents;
  return inMemory(
    first as Uint8Array,
    rest.map((data, i) => ({ path: (dataFiles[i] as SerializedFile).name, data })),
    contents.map((c) => c.buffer),
  );
}

/** Weights that lie in data files can be put into the one file that is handed over in memory. */
function fitsInline(model: Model): boolean {
  let total = 0;
  for (const graph of model.graph.graphs()) for (const v of graph.initializers) total += v.initializer?.byteLength ?? 0;
  return total <= IN_MEMORY_BYTES;
}
