import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, realpath } from 'node:fs/promises';
import { join, sep } from 'node:path';
import { BundleError } from '../error.js';
import type { FileRef } from '../manifest.js';
import { isMissing } from './system-error.js';

const CHUNK = 1 << 20;

/** SHA-256 of a file's bytes, hex; the file is never held whole. */
export async function hashFile(file: string, options: ReadOptions = {}): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of readChunks(file, options)) hash.update(chunk);
  return hash.digest('hex');
}

export interface ReadOptions {
  readonly signal?: AbortSignal | undefined;
  /** Told after each chunk of at most 1 MiB. */
  readonly onBytes?: ((bytes: number) => void) | undefined;
}

export async function* readChunks(file: string, { signal, onBytes }: ReadOptions): AsyncGenerator<Uint8Array> {
  for await (const chunk of createReadStream(file, { highWaterMark: CHUNK })) {
    throwIfAborted(signal);
    yield chunk as Uint8Array;
    onBytes?.((chunk as Uint8Array).length);
  }
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new BundleError('aborted', 'Stopped on request.', { cause: signal.reason });
}

/** Is the file there, with the size and hash that the manifest gives it? A link counts as changed: its bytes are not the bundle's. */
export async function isUnchanged(folder: string, ref: FileRef, options: ReadOptions = {}): Promise<boolean> {
  const file = join(folder, ref.path);
  try {
    const stat = await lstat(file);
    return stat.isFile() && stat.size === ref.bytes && (await hashFile(file, options)) === ref.sha256;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** The real place of a path, when it lies inside the folder; null when a link leads out of it. */
export async function realPathInside(folder: string, path: string): Promise<string | null> {
  const root = await realpath(folder);
  const real = await realpath(join(folder, path));
  return real.startsWith(root.endsWith(sep) ? root : root + sep) ? real : null;
}
