import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { basename } from 'node:path';
import { readModel } from '@pare/core/node';
import type { ModelInfo, VerifyModel } from '@pare/verify';

/** A model file as `verify` wants it. Its name is the file's; `taken` makes it unique. */
export async function openForVerify(
  path: string,
  taken: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<VerifyModel & { readonly info: ModelInfo }> {
  const graph = await readModel(path, { signal });
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const chunk of createReadStream(path)) {
    hash.update(chunk as Buffer);
    bytes += (chunk as Buffer).byteLength;
  }
  const stem = basename(path).replace(/\.onnx$/i, '');
  let name = stem;
  for (let i = 2; taken.has(name); i++) name = `${stem}-${i}`;
  const sha256 = hash.digest('hex');
  const info = { name: stem, file: basename(path), bytes, sha256, opset: graph.opset, inputs: [], outputs: [] };
  return { name, model: path, graph, bytes, files: [basename(path)], sha256, info };
}
