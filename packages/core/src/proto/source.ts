/** Bytes that can be read at any place without holding them all: a file, a Blob, a buffer. */
export interface ByteSource {
  /** For messages: the file's path, or a word such as `buffer`. */
  readonly name: string;
  /** Total bytes. */
  readonly size: number;
  /**
   * `length` bytes from `offset`.
   * @throws PareError `bad-file` when the source ends before, `io` when it cannot be read.
   */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** The same at once, filling `target`; only where the platform can (files in Node, memory). */
  readSync?(offset: number, target: Uint8Array): void;
}
