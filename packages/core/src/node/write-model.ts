import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { throwIfAborted } from '../errors.js';
import type { ExternalDataOptions } from '../external-data.js';
import type { Model } from '../ir/model.js';
import { decode } from '../proto/decode.js';
import { encode } from '../proto/encode.js';
import { type AnyMessage, amend, type Message } from '../proto/message.js';
import { serializeModel } from '../write.js';
import { StagedFile } from './atomic.js';
import { FileSource, ioError } from './file.js';

export interface WriteOptions {
  /** Weights in files of their own beside the model. Default: when the model has such already, or would exceed 2 GiB. */
  readonly externalData?: boolean | ExternalDataOptions | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A file that was written. */
export interface WrittenFile {
  readonly path: string;
  readonly byteLength: number;
}

/**
 * Writes `model` to `path`, and its data files (if any) beside it; returns them, the model first. The folder must exist. What
 * stood at `path` is replaced at the very end and at once: until then, and whenever the writing fails, is aborted or the
 * process is killed, the old model is whole, its external data included. `path` may be the file that the model was read from.
 *
 * Memory is bounded by one computed tensor, or 1 MiB.
 * @throws PareError `io` (not writable, disk full), `aborted`, `unsupported`, `bad-option` as `serializeModel`; what computed
 *   tensors throw.
 */
export async function writeModel(path: string, model: Model, options: WriteOptions = {}): Promise<WrittenFile[]> {
  throwIfAborted(options.signal);
  const folder = dirname(path);
  const { file, dataFiles } = serializeModel(model, { externalData: options.externalData, name: basename(path) });
  const files = [...dataFiles, file].map((contents) => ({ contents, path: join(folder, contents.name) }));
  const staged: StagedFile[] = [];
  let spared: string[] = [];
  try {
    for (const { contents, path: place } of files) {
      const stage = new StagedFile(place);
      staged.push(stage);
      await stage.write(contents.parts, options.signal);
    }
    spared = await spareOldData(
      path,
      dataFiles.map((data) => data.name),
    );
    // From here on nothing waits: the data files first, then the model that refers to them.
    for (const stage of staged) stage.commit();
    for (const old of spared) fs.unlinkSync(old);
  } finally {
    for (const stage of staged) stage.discard();
  }
  return [file, ...dataFiles].map(({ name, byteLength }) => ({ path: join(folder, name), byteLength }));
}

/**
 * Two files cannot be replaced in one step. When the model at `path` has its weights in files named as the new ones, they get
 * a second name, and that model is rewritten to use it: between the replacements the old model stays whole.
 * Returns the second names, to be removed at the end, with those that a killed process left.
 */
async function spareOldData(path: string, replaced: readonly string[]): Promise<string[]> {
  if (replaced.length === 0 || !fs.existsSync(path)) return [];
  const old = await decode('ModelProto', new FileSource(path)).catch(() => undefined);
  if (!old) return [];
  const used = new Set<string>();
  relocate(old, (location) => {
    used.add(location);
    return location;
  });
  const place = (name: string): string => join(dirname(path), name);
  const exists = (name: string): boolean => fs.existsSync(place(name));
  const left = [...used].filter((name) => SECOND_NAME.test(name) && exists(name)).map(place);
  const second = new Map(
    replaced.filter((name) => used.has(name) && exists(name)).map((name) => [name, secondName(name)]),
  );
  if (second.size === 0) return left;
  const spared = [...second.values()].map(place);
  const stage = new StagedFile(path);
  try {
    for (const [name, other] of second) linkOrCopy(place(name), place(other));
    await stage.write(encode(relocate(old, (location) => second.get(location) ?? location)).parts);
    stage.commit();
  } catch (error) {
    stage.discard();
    for (const file of spared) fs.rmSync(file, { force: true });
    throw error;
  }
  return [...spared, ...left];
}

const secondName = (name: string): string => `${name}.${randomBytes(4).toString('hex')}.old`;
const SECOND_NAME = /^[^/\\]+\.[0-9a-f]{8}\.old$/;

function linkOrCopy(from: string, to: string): void {
  try {
    fs.linkSync(fs.realpathSync(from), to);
  } catch {
    try {
      fs.copyFileSync(from, to, fs.constants.COPYFILE_FICLONE);
    } catch (cause) {
      throw ioError(cause, to, 'written');
    }
  }
}

/** `message` with every location of external data below it passed through `change`. */
function relocate<M extends AnyMessage>(message: M, change: (location: string) => string): M {
  if (message.$table.name === 'TensorProto') {
    const tensor = message as unknown as Message<'TensorProto'>;
    const external_data = tensor.external_data?.map((entry) =>
      entry.key === 'location' ? amend('StringStringEntryProto', entry, { value: change(entry.value ?? '') }) : entry,
    );
    return amend('TensorProto', tensor, { external_data }) as unknown as M;
  }
  const fields: Record<string, unknown> = {};
  for (const { name, kind, repeated } of message.$table.fields) {
    const value = (message as unknown as Record<string, unknown>)[name];
    if (kind !== 'message' || value === undefined) continue;
    fields[name] = repeated
      ? (value as AnyMessage[]).map((element) => relocate(element, change))
      : relocate(value as AnyMessage, change);
  }
  return amend(message.$table.name, message as never, fields) as unknown as M;
}
