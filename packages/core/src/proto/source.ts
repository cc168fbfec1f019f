import { PareError } from '../errors.js';

/** Bytes that can be read at any place without holding them all: a file, a Blob, a buffer. */
export interface ByteSource {
  /** For messages: the file's path, or a word such as `buffer`. */
  readonly name: string;
  /** Total bytes. */
  readonly size: number;
  /** All of the bytes, when they are in memory anyway. */
  readonly bytes?: Uint8Array;
  /**
   * `length` bytes from `offset`.
   * @throws PareError `bad-file` when the source ends before, `io` when it cannot be read.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The same at once, filling `target`; only where the platform can (files in Node, memory). */
  readSync?(offset: number, target: Uint8Array): void;
}

/** A stretch of a source, unread. */
export interface Reference {
  readonly source: ByteSource;
  readonly offset: number;
  readonly length: number;
}

/** Bytes computed when they are written. */
export interface Producer {
  readonly byteLength: number;
  produce(): Uint8Array | Promise<Uint8Array>;
}

/** Bytes in memory, or a promise of them. */
export type Bytes = Uint8Array | Reference | Producer;

export function bytesLength(bytes: Bytes): number {
  return 'source' in bytes ? bytes.length : bytes.byteLength;
}

/**
 * The bytes themselves. Do not change them: they may be the source's own memory.
 * @throws PareError `bad-file`, `io` as ByteSource.read; `bad-data` when a producer makes another number of bytes than it said.
 */
export async function loadBytes(bytes: Bytes): Promise<Uint8Array> {
  if (bytes instanceof Uint8Array) return bytes;
  if ('source' in bytes) return bytes.source.read(bytes.offset, bytes.length);
  const made = await bytes.produce();
  if (made.byteLength !== bytes.byteLength) {
    throw new PareError(
      'bad-data',
      `A computed tensor has ${made.byteLength} bytes where its shape needs ${bytes.byteLength}.`,
    );
  }
  return made;
}

/** A source over memory. The bytes are not copied; leave them as they are while a model refers to them. */
export function memorySource(bytes: Uint8Array, name = 'buffer'): ByteSource {
  const slice = (offset: number, length: number): Uint8Array => {
    if (offset + length > bytes.byteLength) endsEarly(name, bytes.byteLength, offset + length);
    return bytes.subarray(offset, offset + length);
  };
  return {
    name,
    size: bytes.byteLength,
    bytes,
    read: async (offset, length) => slice(offset, length),
    readSync: (offset, target) => target.set(slice(offset, target.byteLength)),
  };
}

/** A source over a Blob or File of the browser (or of Node). Nothing is read before it is asked for. */
export function blobSource(blob: Blob, name = 'name' in blob ? String(blob.name) : 'blob'): ByteSource {
  return {
    name,
    size: blob.size,
    read: async (offset, length) => {
      if (offset + length > blob.size) endsEarly(name, blob.size, offset + length);
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        throw new PareError('io', `${name} cannot be read any more; open it again.`, { cause });
      }
    },
  };
}

/** Throws the error of a source that is shorter than its reader was told. */
export function endsEarly(name: string, size: number, needed: number): never {
  throw new PareError(
    'bad-file',
    `${name} ends at byte ${size}, but its contents go on to byte ${needed}: it is truncated. Fetch it again.`,
  );
}
