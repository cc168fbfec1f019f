import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ioError } from '@pare/core/node';
import type { RowStore } from '../distill/index.js';

/**
 * Rows of bytes in the file at `path`, which is made when it is missing: row `i` lies at `i` times the length of a row. Rows that
 * were never written, or are of another length, count as missing. Close it at the end.
 */
export function rowFile(path: string): RowStore & { close(): Promise<void> } {
  let opening: Promise<FileHandle> | undefined;
  const file = async (): Promise<FileHandle> => {
    opening ??= openFile(path);
    return opening;
  };
  return {
    async read(index, bytes) {
      const row = new Uint8Array(bytes);
      const { bytesRead } = await (await file()).read(row, 0, bytes, index * bytes);
      // A hole reads as zeros, which the hash of no row is.
      return bytesRead === bytes && row.some((byte) => byte !== 0) ? row : undefined;
    },
    async write(index, row) {
      try {
        await (await file()).write(row, 0, row.byteLength, index * row.byteLength);
      } catch (cause) {
        throw ioError(cause, path, 'written');
      }
    },
    async close() {
      await (await opening)?.close();
      opening = undefined;
    },
  };
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    await mkdir(dirname(path), { recursive: true });
    // Made when it is missing, never emptied; appending handles cannot write in the middle.
    await (await open(path, 'a')).close();
    return await open(path, 'r+');
  } catch (cause) {
    throw ioError(cause, path, 'written');
  }
}
