import { randomBytes } from 'node:crypto';
import fs from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PareError, throwIfAborted } from '../errors.js';
import { type Bytes, loadBytes } from '../proto/source.js';
import { ioError } from './file.js';

const fsync = promisify(fs.fsync);
const fdatasync = promisify(fs.fdatasync);

/** Measured: larger pieces leave the processor's cache between being read and being written. */
const COPY_BYTES = 1024 * 1024;
/** After this many bytes other work gets its turn: progress, Ctrl-C. */
const TURN_BYTES = 16 * 1024 * 1024;

/** Temporary files that exist now; a process that leaves in an orderly way takes them with it. */
const living = new Set<string>();
let watching = false;

/**
 * A file being written beside its final place. It appears there whole, with `commit`, or not at all: a failure, an abort or a
 * killed process leaves what was there before. (A process that is killed outright leaves a hidden `.tmp` file as well.)
 */
export class StagedFile {
  /** Where it will be: `path`, or the file that a symbolic link at `path` leads to. */
  readonly target: string;
  readonly #temporary: string;
  #descriptor: number | undefined;

  /** @throws PareError `io` when the folder is missing or not writable. */
  constructor(readonly path: string) {
    this.target = followLink(path);
    const token = `${process.pid}-${randomBytes(4).toString('hex')}`;
    this.#temporary = join(dirname(this.target), `.${basename(this.target).slice(0, 200)}.${token}.tmp`);
    try {
      const before = fs.statSync(this.target, { throwIfNoEntry: false });
      // A rename would replace a write-protected file without asking.
      if (before) fs.accessSync(this.target, fs.constants.W_OK);
      if (before?.isDirectory()) {
        throw new PareError('io', `"${path}" cannot be written: it is a folder. Nothing was changed.`);
      }
      this.#descriptor = fs.openSync(this.#temporary, 'wx');
    } catch (cause) {
      throw ioError(cause, path, 'written');
    }
    living.add(this.#temporary);
    if (!watching) process.on('exit', () => living.forEach(removeQuietly));
    watching = true;
  }

  /**
   * Writes `parts` in order, at most 1 MiB of them in memory at a time (a computed part as a whole), then waits for the disk.
   * @throws PareError `io`, `aborted`; what the parts throw. The temporary file is then gone.
   */
  async write(parts: readonly Bytes[], signal?: AbortSignal): Promise<void> {
    // The disk works along with the copying: left to the end, the system lets pages pile up and then stops the writer.
    let syncing: Promise<unknown> | undefined;
    let failure: unknown;
    const syncAlong = (): void => {
      syncing ??= fdatasync(this.#descriptor as number)
        .catch((cause) => {
          failure ??= cause;
        })
        .finally(() => {
          syncing = undefined;
        });
    };
    try {
      const buffer = new Uint8Array(COPY_BYTES);
      let sinceTurn = 0;
      for (const part of parts) {
        for (const piece of pieces(part, buffer)) {
          const bytes = piece instanceof Uint8Array ? piece : await piece;
          this.#append(bytes);
          sinceTurn += bytes.byteLength;
          if (sinceTurn < TURN_BYTES) continue;
          sinceTurn = 0;
          syncAlong();
          await setImmediate();
          throwIfAborted(signal);
          if (failure) throw failure;
        }
      }
      throwIfAborted(signal);
      await syncing;
      if (failure) throw failure;
      await fsync(this.#descriptor as number);
      this.#close();
    } catch (cause) {
      await syncing;
      this.discard();
      // Only what the system refused is told as such; the rest is what a tensor or a source threw.
      throw cause instanceof Error && 'code' in cause ? ioError(cause, this.path, 'written') : cause;
    }
  }

  #append(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.byteLength; ) {
      at += fs.writeSync(this.#descriptor as number, bytes, at, Math.min(bytes.byteLength - at, 2 ** 30));
    }
  }

  /** Puts the file in its place, at once. @throws PareError `io`. */
  commit(): void {
    try {
      const before = fs.statSync(this.target, { throwIfNoEntry: false });
      if (before) fs.chmodSync(this.#temporary, before.mode);
      fs.renameSync(this.#temporary, this.target);
      living.delete(this.#temporary);
      syncFolder(dirname(this.target));
    } catch (cause) {
      this.discard();
      throw ioError(cause, this.path, 'written');
    }
  }

  /** Forgets the file; harmless after `commit`. */
  discard(): void {
    this.#close();
    if (living.delete(this.#temporary)) removeQuietly(this.#temporary);
  }

  #close(): void {
    if (this.#descriptor !== undefined) fs.closeSync(this.#descriptor);
    this.#descriptor = undefined;
  }
}

/** `part` in pieces; those of a source that answers at once share `buffer`. */
function* pieces(part: Bytes, buffer: Uint8Array): Generator<Uint8Array | Promise<Uint8Array>> {
  if (part instanceof Uint8Array || !('source' in part)) {
    yield part instanceof Uint8Array ? part : loadBytes(part);
    return;
  }
  const { source, offset, length } = part;
  for (let at = 0; at < length; at += COPY_BYTES) {
    const count = Math.min(COPY_BYTES, length - at);
    if (source.bytes) yield source.bytes.subarray(offset + at, offset + at + count);
    else if (source.readSync) {
      const piece = buffer.subarray(0, count);
      source.readSync(offset + at, piece);
      yield piece;
    } else yield source.read(offset + at, count);
  }
}

function followLink(path: string): string {
  try {
    return fs.realpathSync(path);
  } catch {
    return path;
  }
}

/** Makes a rename last through a power failure, where the platform can. */
function syncFolder(folder: string): void {
  let descriptor: number | undefined;
  try {
    descriptor = fs.openSync(folder, 'r');
    fs.fsyncSync(descriptor);
  } catch {
    // Windows and some network file systems cannot; the rename itself is done.
  } finally {
    if (descriptor !== undefined) fs.closeSync(descriptor);
  }
}

function removeQuietly(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch {
    // Gone already, or not ours to remove: nothing more can be done.
  }
}
