import { access, constants, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Model, PareError } from '@pare/core';
import { readModel, writeModel } from '@pare/core/node';
import { describeModelFile, explainFailure, modelBytes, refuseOpset } from '@pare/optimize';
import type { ModelInfo, VerifyModel } from '@pare/verify';

/** A model file, in numbers. */
export interface FileSummary {
  readonly file: string;
  /** With external data. */
  readonly bytes: number;
  /** Subgraphs included. */
  readonly nodes: number;
}

/**
 * Reads the model at `path` and counts it as it is now.
 * @throws PareError also for an opset that the runtime does not know.
 */
export async function openModel(
  path: string,
  signal: AbortSignal,
): Promise<{ readonly model: Model; readonly summary: FileSummary }> {
  const model = await readModel(path, { signal });
  refuseOpset(model);
  return { model, summary: { file: path, bytes: await modelBytes(path, model), nodes: countNodes(model) } };
}

/** `work` that runs `model`; when the runtime refuses, what the model has that it cannot run is named. */
export async function running<T>(model: Model, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw explainFailure(error, model);
  }
}

/** Writes `model` to `path`. */
export async function saveModel(path: string, model: Model, signal: AbortSignal): Promise<FileSummary> {
  const files = await writeModel(path, model, { signal });
  return { file: path, bytes: files.reduce((sum, file) => sum + file.byteLength, 0), nodes: countNodes(model) };
}

const countNodes = (model: Model): number => [...model.allNodes()].length;

/**
 * Refuses a place where no model can be written, before the work is done.
 * @throws PareError `io`.
 */
export async function checkOutput(path: string): Promise<void> {
  const fail = (why: string, cause?: unknown): never => {
    throw new PareError('io', `"${path}" cannot be written: ${why}.`, { cause });
  };
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) fail('it is a folder; give the name of a file');
  const folder = dirname(path);
  const parent = await stat(folder).catch(() => undefined);
  if (!parent) fail(`there is no folder "${folder}"`);
  if (!parent?.isDirectory()) fail(`"${folder}" is no folder`);
  await access(folder, constants.W_OK | constants.X_OK).catch((cause) => fail('permission is denied', cause));
}

/** A model file as `verify` wants it. Its name is the file's; `taken` makes it unique. */
export async function openForVerify(
  path: string,
  taken: ReadonlySet<string>,
  signal: AbortSignal,
): Promise<VerifyModel & { readonly graph: Model; readonly info: ModelInfo }> {
  const graph = await readModel(path, { signal });
  refuseOpset(graph);
  const info = await describeModelFile(path, graph, { signal });
  let name = info.name;
  for (let i = 2; taken.has(name); i++) name = `${info.name}-${i}`;
  return { name, model: path, graph, bytes: info.bytes, files: [path], sha256: info.sha256, info };
}
