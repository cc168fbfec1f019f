import fs from 'node:fs';
import { promisify } from 'node:util';
import { PareError } from '../errors.js';
import { type ByteSource, endsEarly } from '../proto/source.js';

const readAsync = promisify(fs.read);

/** `read` wraps around beyond 2^31 bytes. */
const LARGEST_READ = 2 ** 30;
/** Up to this a read at once is quicker than a thread, and nobody notices. */
const AT_ONCE = 2 ** 18;

/** Closes what nothing refers to any more. */
const forgotten = new FinalizationRegistry<number>((descriptor) => fs.closeSync(descriptor));

/**
 * A file that stays open for as long as something refers to it: a model whose weights are in it still finds them after the
 * path was written anew or removed. A file that is changed in place is noticed and refused.
 */
export class FileSource implements ByteSource {
  readonly size: number;
  readonly #descriptor: number;
  readonly #modified: number;

  /** @throws PareError `io` when there is no such file or it may not be read. */
  constructor(readonly name: string) {
    let stat: fs.Stats;
    try {
      // Non-blocking: opening a pipe must not wait for its other end.
      this.#descriptor = fs.openSync(name, fs.constants.O_RDONLY | (fs.constants.O_NONBLOCK ?? 0));
      stat = fs.fstatSync(this.#descriptor);
    } catch (cause) {
      throw ioError(cause, name, 'read');
    }
    forgotten.register(this, this.#descriptor);
    if (!stat.isFile())
      throw new PareError('io', `"${name}" is ${stat.isDirectory() ? 'a folder' : 'no file'}. Give a file.`);
    this.size = stat.size;
    this.#modified = stat.mtimeMs;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.#check(offset + length);
    const bytes = new Uint8Array(length);
    if (length <= AT_ONCE) {
      this.readSync(offset, bytes);
      return bytes;
    }
    for (let at = 0; at < length; ) {
      const wanted = Math.min(length - at, LARGEST_READ);
      let bytesRead: number;
      try {
        ({ bytesRead } = await readAsync(this.#descriptor, bytes, at, wanted, offset + at));
      } catch (cause) {
        throw ioError(cause, this.name, 'read');
      }
      if (bytesRead === 0) endsEarly(this.name, offset + at, offset + length);
      at += bytesRead;
    }
    return bytes;
  }

  readSync(offset: number, target: Uint8Array): void {
    this.#check(offset + target.byteLength);
    for (let at = 0; at < target.byteLength; ) {
      const wanted = Math.min(target.byteLength - at, LARGEST_READ);
      let bytesRead: number;
      try {
        bytesRead = fs.readSync(this.#descriptor, target, at, wanted, offset + at);
      } catch (cause) {
        throw ioError(cause, this.name, 'read');
      }
      if (bytesRead === 0) endsEarly(this.name, offset + at, offset + target.byteLength);
      at += bytesRead;
    }
  }

  #check(end: number): void {
    if (end > this.size) endsEarly(this.name, this.size, end);
    const { size, mtimeMs } = fs.fstatSync(this.#descriptor);
    if (size !== this.size || mtimeMs !== this.#modified) {
      throw new PareError('io', `"${this.name}" was changed while it was in use. Read the model again.`);
    }
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or folder',
  ENOTDIR: 'part of the path is no folder',
  EACCES: 'permission is denied',
  EPERM: 'permission is denied',
  EROFS: 'the file system is read-only',
  EISDIR: 'it is a folder',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'the file system takes no file that large',
  EMFILE: 'too many files are open',
  ENAMETOOLONG: 'the name is too long',
  EIO: 'the device fails',
};

/** A failure of the operating system as one sentence. */
export function ioError(cause: unknown, path: string, doing: 'read' | 'written'): PareError {
  if (cause instanceof PareError) return cause;
  const { code = '', message = '' } = cause as NodeJS.ErrnoException;
  const kept = doing === 'written' ? ' Nothing was changed.' : '';
  return new PareError('io', `"${path}" cannot be ${doing}: ${REASONS[code] ?? message}.${kept}`, { cause });
}
