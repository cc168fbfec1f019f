import type { SampleBatch } from '../data/index.js';

/**
 * Remembers a teacher's answers by sample. `layout` says how many float32 numbers each answer has for one sample; `read` gives
 * them for the whole batch, or undefined unless all of its samples are known with exactly these inputs.
 */
export interface AnswerCache {
  read(batch: SampleBatch, layout: readonly number[]): Promise<Float32Array[] | undefined>;
  write(batch: SampleBatch, layout: readonly number[], answers: readonly Float32Array[]): Promise<void>;
}

/** A place for rows of bytes by number: memory or a file. */
export interface RowStore {
  /** Row `index` of `bytes` bytes; undefined where nothing was written. */
  read(index: number, bytes: number): Promise<Uint8Array | undefined>;
  write(index: number, row: Uint8Array): Promise<void>;
}

/** Bytes before the numbers of a row: the hash of the sample's inputs, so that another sample's answer is never taken. */
const HEAD = 8;

/** A cache over `rows`; `key` (the teacher's hash) tells one teacher's answers from another's. */
export function answerCache(rows: RowStore, key: string): AnswerCache {
  return {
    async read(batch, layout) {
      const size = layout.reduce((a, b) => a + b, 0);
      const answers = layout.map((n) => new Float32Array(n * batch.indices.length));
      for (const [row, index] of batch.indices.entries()) {
        const bytes = await rows.read(index, HEAD + 4 * size);
        if (!bytes) return undefined;
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
        if (view.getBigUint64(0, true) !== hashRow(batch, row, key)) return undefined;
        let at = HEAD;
        for (const [i, n] of layout.entries()) {
          const answer = answers[i] as Float32Array;
          for (let j = 0; j < n; j++, at += 4) answer[row * n + j] = view.getFloat32(at, true);
        }
      }
      return answers;
    },
    async write(batch, layout, answers) {
      const size = layout.reduce((a, b) => a + b, 0);
      for (const [row, index] of batch.indices.entries()) {
        const view = new DataView(new ArrayBuffer(HEAD + 4 * size));
        view.setBigUint64(0, hashRow(batch, row, key), true);
        let at = HEAD;
        for (const [i, n] of layout.entries()) {
          for (let j = 0; j < n; j++, at += 4)
            view.setFloat32(at, (answers[i] as Float32Array)[row * n + j] as number, true);
        }
        await rows.write(index, new Uint8Array(view.buffer));
      }
    },
  };
}

/** Rows in memory. */
export function memoryRows(): RowStore {
  const rows = new Map<number, Uint8Array>();
  return {
    read: async (index, bytes) => {
      const row = rows.get(index);
      return row?.byteLength === bytes ? row : undefined;
    },
    write: async (index, row) => {
      rows.set(index, row);
    },
  };
}

/** FNV-1a over 64 bits, in two halves of 32 with different offsets, of the inputs of one sample and the key. Never 0. */
function hashRow(batch: SampleBatch, row: number, key: string): bigint {
  let [a, b] = [0x811c9dc5, 0x9747b28c];
  const take = (byte: number): void => {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x01000193) ^ (b >>> 15);
  };
  for (let i = 0; i < key.length; i++) take(key.charCodeAt(i));
  for (const { dims, data } of Object.values(batch.inputs)) {
    if (!ArrayBuffer.isView(data)) continue;
    const bytes = data.byteLength / (dims[0] ?? 1);
    const view = new Uint8Array(data.buffer, data.byteOffset + row * bytes, bytes);
    for (const byte of view) take(byte);
  }
  return (BigInt(a >>> 0) << 32n) | BigInt(b >>> 0) || 1n;
}
