import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PareError } from '../errors.js';
import type { Model } from '../ir/model.js';
import { serializeModel } from '../write.js';
import { writeModel } from './write-model.js';

/** A model in the form in which ONNX Runtime opens it: bytes, or the path of a temporary file. */
export interface StagedModel {
  readonly model: Uint8Array<ArrayBuffer> | string;
  remove(): Promise<void>;
}

/** Up to this size a model is handed over in memory; a larger one through a file, streamed. */
const IN_MEMORY_BYTES = 32 * 2 ** 20;

/** @throws PareError `io` when the temporary folder cannot hold it; `aborted`. */
export async function stageModel(model: Model, signal?: AbortSignal): Promise<StagedModel> {
  const { file, dataFiles } = serializeModel(model, { externalData: fitsInline(model) ? false : undefined });
  if (dataFiles.length === 0 && file.byteLength <= IN_MEMORY_BYTES) {
    const bytes = (await file.bytes()) as Uint8Array<ArrayBuffer>;
    return { model: bytes, remove: async () => undefined };
  }
  const folder = await mkdtemp(join(tmpdir(), 'pare-')).catch((cause) => {
    throw new PareError('io', `No temporary folder can be made in ${tmpdir()}: ${cause.message}`, { cause });
  });
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const path = join(folder, 'model.onnx');
    await writeModel(path, model, { signal });
    return { model: path, remove };
  } catch (error) {
    await remove();
    throw error;
  }
}

/** Weights that lie in data files can be put into the one file that is handed over in memory. */
function fitsInline(model: Model): boolean {
  let total = 0;
  for (const graph of model.graph.graphs()) for (const v of graph.initializers) total += v.initializer?.byteLength ?? 0;
  return total <= IN_MEMORY_BYTES;
}
