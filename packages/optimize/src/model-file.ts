import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { basename } from 'node:path';
import { type Model, throwIfAborted } from '@pare/core';
import type { ModelInfo } from '@pare/verify';

/** What is known of the file at `path`, which `model` was read from: name, size with its external data, hash of the file itself. */
export async function describeModelFile(
  path: string,
  model: Model,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<ModelInfo> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    throwIfAborted(options.signal);
    hash.update(chunk as Buffer);
  }
  return {
    name: basename(path).replace(/\.onnx$/i, ''),
    file: basename(path),
    bytes: await modelBytes(path, model),
    sha256: hash.digest('hex'),
    opset: model.opset,
    inputs: [],
    outputs: [],
  };
}

/** Size of the file at `path`, which `model` was read from, and of the files beside it that hold its weights. */
export const modelBytes = async (path: string, model: Model): Promise<number> =>
  (await stat(path)).size + externalBytes(path, model);

/** Whether weights of `model` lie in files beside the one at `path`. */
export const hasExternalData = (path: string, model: Model): boolean => externalBytes(path, model) > 0;

function externalBytes(path: string, model: Model): number {
  const sizes = new Map<string, number>();
  for (const graph of model.graph.graphs()) {
    for (const { initializer } of graph.initializers) {
      const data = initializer?.data;
      if (data?.kind === 'reference' && data.source.name !== path) sizes.set(data.source.name ?? '', data.source.size);
    }
  }
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
