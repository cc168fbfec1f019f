import { type ByteSource, PareError } from '@pare/core';
import { Inflate } from 'fflate';

/** One file inside a zip archive. */
export interface ZipEntry {
  readonly name: string;
  /** 0 stored, 8 deflated. */
  readonly method: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly crc32: number;
  /** Where its local header lies. */
  readonly headerOffset: number;
}

const END = 0x06054b50;
const END64 = 0x06064b50;
const LOCATOR64 = 0x07064b50;
const CENTRAL = 0x02014b50;
const LOCAL = 0x04034b50;
/** The end record with its longest comment. */
const MAX_END = 22 + 65535;
/** Deflate cannot shrink by more than this factor (258 bytes from two bits, and some): more is a lie. */
const MAX_RATIO = 1032;

/**
 * The entries of a zip archive, from its central directory (PKWARE APPNOTE 6.3), with 64-bit sizes. Bytes of entries stay
 * in the source.
 * @throws PareError `bad-file` naming the source.
 */
export async function readZipEntries(source: ByteSource): Promise<ZipEntry[]> {
  const fail = (what: string): never => {
    throw new PareError('bad-file', `${source.name} ${what}`);
  };
  if (source.size < 22) fail('is not a zip archive (an .npz file is one): it is too short.');
  const tailStart = Math.max(0, source.size - MAX_END);
  const tail = viewOf(await source.read(tailStart, source.size - tailStart));
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at--;
  if (at < 0) fail('is not a zip archive (an .npz file is one), or it is cut off: its directory is missing.');

  let count = tail.getUint16(at + 10, true);
  let size = tail.getUint32(at + 12, true);
  let offset = tail.getUint32(at + 16, true);
  const end = tailStart + at;
  if (end >= 20 && (count === 0xffff || size === 0xffffffff || offset === 0xffffffff)) {
    const locator = viewOf(await source.read(end - 20, 20));
    if (locator.getUint32(0, true) === LOCATOR64) {
      const at64 = uint64(locator, 8);
      if (at64 === undefined || at64 + 56 > source.size) return fail('has a damaged 64-bit directory.');
      const record = viewOf(await source.read(at64, 56));
      const [count64, size64, offset64] = [uint64(record, 32), uint64(record, 40), uint64(record, 48)];
      if (
        record.getUint32(0, true) !== END64 ||
        count64 === undefined ||
        size64 === undefined ||
        offset64 === undefined
      ) {
        return fail('has a damaged 64-bit directory.');
      }
      [count, size, offset] = [count64, size64, offset64];
    }
  }
  if (offset + size > source.size || count * 46 > size) fail('has a damaged directory.');

  const directory = await source.read(offset, size);
  const view = viewOf(directory);
  const entries: ZipEntry[] = [];
  for (let i = 0, p = 0; i < count; i++) {
    if (p + 46 > size || view.getUint32(p, true) !== CENTRAL) fail('has a damaged directory.');
    const nameLength = view.getUint16(p + 28, true);
    const extraLength = view.getUint16(p + 30, true);
    const next = p + 46 + nameLength + extraLength + view.getUint16(p + 32, true);
    if (next > size) fail('has a damaged directory.');
    const name = new TextDecoder().decode(directory.subarray(p + 46, p + 46 + nameLength));
    if (view.getUint16(p + 8, true) & 1) fail(`holds "${name}" encrypted, which Pare does not read.`);
    const wide = wideFields(view, p, p + 46 + nameLength, extraLength);
    if (!wide) return fail(`has damaged 64-bit sizes for "${name}".`);
    entries.push({ name, method: view.getUint16(p + 10, true), crc32: view.getUint32(p + 16, true), ...wide });
    p = next;
  }
  return entries;
}

/** Sizes and offset of a directory entry at `p`; the ones that are all ones are in the extra field 0x0001, in this order. */
function wideFields(
  view: DataView,
  p: number,
  extra: number,
  extraLength: number,
): Pick<ZipEntry, 'size' | 'compressedSize' | 'headerOffset'> | undefined {
  let field = extra;
  const end = extra + extraLength;
  while (field + 4 <= end && view.getUint16(field, true) !== 1) field += 4 + view.getUint16(field + 2, true);
  const limit = field + 4 <= end ? Math.min(end, field + 4 + view.getUint16(field + 2, true)) : 0;
  let at = field + 4;
  const read = (offset: number): number | undefined => {
    const narrow = view.getUint32(p + offset, true);
    if (narrow !== 0xffffffff) return narrow;
    if (at + 8 > limit) return undefined;
    at += 8;
    return uint64(view, at - 8);
  };
  const size = read(24);
  const compressedSize = read(20);
  const headerOffset = read(42);
  if (size === undefined || compressedSize === undefined || headerOffset === undefined) return undefined;
  return { size, compressedSize, headerOffset };
}

/**
 * Where the bytes of `entry` start in the archive.
 * @throws PareError `bad-file`.
 */
export async function zipEntryOffset(source: ByteSource, entry: ZipEntry): Promise<number> {
  const damaged = new PareError(
    'bad-file',
    `${source.name} is damaged: "${entry.name}" is not where its directory says.`,
  );
  if (entry.headerOffset + 30 > source.size) throw damaged;
  const header = viewOf(await source.read(entry.headerOffset, 30));
  if (header.getUint32(0, true) !== LOCAL) throw damaged;
  const start = entry.headerOffset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  if (start + entry.compressedSize > source.size) throw damaged;
  return start;
}

/**
 * The bytes of `entry`, inflated and checked against their CRC-32.
 * @throws PareError `bad-file` when they are damaged; `unsupported` for methods other than stored and deflated.
 */
export async function readZipEntry(source: ByteSource, entry: ZipEntry): Promise<Uint8Array> {
  const start = await zipEntryOffset(source, entry);
  const damaged = new PareError('bad-file', `${source.name} is damaged: "${entry.name}" does not match its checksum.`);
  if (entry.method !== 0 && entry.method !== 8) {
    throw new PareError('unsupported', `${source.name} holds "${entry.name}" compressed with method ${entry.method}.`);
  }
  let bytes: Uint8Array;
  if (entry.method === 0) {
    if (entry.size !== entry.compressedSize) throw damaged;
    bytes = await source.read(start, entry.size);
  } else {
    if (entry.size > entry.compressedSize * MAX_RATIO + 64) throw damaged;
    const inflated = await inflate(source, start, entry);
    if (!inflated) throw damaged;
    bytes = inflated;
  }
  if (crc32(bytes) !== entry.crc32) throw damaged;
  return bytes;
}

/** Inflates piece by piece, so that the compressed bytes are never held whole; undefined when they are not what they say. */
async function inflate(source: ByteSource, start: number, entry: ZipEntry): Promise<Uint8Array | undefined> {
  let out: Uint8Array;
  try {
    out = new Uint8Array(entry.size);
  } catch (cause) {
    throw new PareError(
      'unsupported',
      `"${entry.name}" in ${source.name} is too large to inflate; save it uncompressed.`,
      {
        cause,
      },
    );
  }
  let filled = 0;
  let overflow = false;
  const stream = new Inflate((chunk) => {
    if (filled + chunk.length > out.length) overflow = true;
    else out.set(chunk, filled);
    filled += chunk.length;
  });
  const step = 1 << 20;
  try {
    for (let at = 0; at < entry.compressedSize && !overflow; at += step) {
      const length = Math.min(step, entry.compressedSize - at);
      stream.push((await source.read(start + at, length)).slice(), at + length === entry.compressedSize);
    }
  } catch (error) {
    if (error instanceof PareError) throw error;
    return undefined;
  }
  return filled === out.length && !overflow ? out : undefined;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** CRC-32 of ISO 3309, as zip uses it. */
export function crc32(bytes: Uint8Array): number {
  let crc = ~0;
  for (let i = 0; i < bytes.length; i++) crc = (crcTable[(crc ^ (bytes[i] as number)) & 0xff] as number) ^ (crc >>> 8);
  return ~crc >>> 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function uint64(view: DataView, at: number): number | undefined {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
  return Number.isSafeInteger(value) ? value : undefined;
}
