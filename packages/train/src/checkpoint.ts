import { PareError } from '@pare/core';
import { crc32 } from './crc32.js';
import type { ParameterState } from './parameters.js';

/** Everything that a training run needs to go on as if it had not been interrupted. */
export interface Checkpoint {
  /** What the run is of: a hash of model, data and options. A run resumes only from its own. */
  readonly run: string;
  /** Steps that were made: orders the checkpoints of a run. */
  readonly step: number;
  readonly parameters: ParameterState;
  /** Running statistics of BatchNormalization, by the names of their initializers. */
  readonly statistics: ReadonlyMap<string, Float32Array>;
  /** The best weights so far: a `ParameterStore.snapshot` and the statistics that go with it. */
  readonly best?: SavedWeights | undefined;
  /**
   * Whatever else the loop must know: epoch, place in the epoch, state of random numbers, history. Plain JSON, but for numbers,
   * which come back exactly, NaN and infinities included.
   */
  readonly progress: unknown;
}

/** What a model can be made of. */
export interface SavedWeights {
  /** In the layout of the ParameterStore. */
  readonly values: Float32Array;
  readonly statistics: ReadonlyMap<string, Float32Array>;
}

// The file, little-endian:
//   0  "PareCkpt"
//   8  uint32 version
//  12  uint32 length of the header
//  16  uint32 CRC-32 of bytes 0 to 15 and the header
//  20  the header: JSON, padded with spaces to a multiple of 8 bytes from the start of the file
//      the arrays, in the order of the header, each padded with zeros to a multiple of 8 bytes, padding under its CRC-32
// Every byte is under a checksum, and the length of the file follows from the header: whatever is damaged is noticed.
const MAGIC = 'PareCkpt';
const VERSION = 1;
const PREFIX = 20;

/** What the header says of one array. `name` is its path in the Checkpoint, such as `buffers/values`. */
interface ArrayHeader {
  readonly name: string;
  readonly type: 'float32' | 'uint8';
  readonly length: number;
  readonly crc: number;
}

interface Header extends Pick<Checkpoint, 'run' | 'step' | 'progress'> {
  readonly parameters: ParameterState['parameters'];
  readonly arrays: readonly ArrayHeader[];
}

const ELEMENT_BYTES = { float32: 4, uint8: 1 } as const;

/**
 * `checkpoint` as a file, in pieces to be written one after another. The arrays are not copied: write them before the next
 * update changes them.
 */
export function encodeCheckpoint({ run, step, parameters, statistics, best, progress }: Checkpoint): Uint8Array[] {
  const data: Uint8Array[] = [];
  const sections = [
    ...under('buffers/', Object.entries(parameters.buffers)),
    ...under('masks/', Object.entries(parameters.masks)),
    ...under('statistics/', statistics),
    ...under('best/', best ? [['values', best.values] as const] : []),
    ...under('best-statistics/', best?.statistics ?? []),
  ];
  const arrays = sections.map(([name, array]): ArrayHeader => {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const padding = new Uint8Array(-bytes.byteLength & 7);
    data.push(bytes, padding);
    const type = array instanceof Float32Array ? 'float32' : 'uint8';
    return { name, type, length: array.length, crc: crc32(padding, crc32(bytes)) };
  });
  const header: Header = { run, step, progress, parameters: parameters.parameters, arrays };
  return [encodeHeader(header), ...data.filter((bytes) => bytes.byteLength > 0)];
}

/**
 * The checkpoint in `bytes`, which `name` names in messages. Its arrays are copies.
 * @throws PareError `bad-file` when it is truncated or damaged, of another version, or no checkpoint at all.
 */
export function decodeCheckpoint(bytes: Uint8Array, name = 'the checkpoint'): Checkpoint {
  const { header, end } = decodeHeader(bytes, name);
  let at = end;
  const arrays = header.arrays.map(({ name: path, type, length, crc }) => {
    const size = length * ELEMENT_BYTES[type];
    const section = bytes.subarray(at, at + size + (-size & 7));
    at += section.byteLength;
    if (crc32(section) !== crc) throw damaged(name, `its part "${path}" is not what was written`);
    const copy = new Uint8Array(size);
    copy.set(section.subarray(0, size));
    return [path, type === 'uint8' ? copy : new Float32Array(copy.buffer)] as const;
  });
  if (at !== bytes.byteLength) throw damaged(name, `it goes on after byte ${at}, where it should end`);
  const entries = <T>(prefix: string): [string, T][] =>
    arrays.flatMap(([path, array]) => (path.startsWith(prefix) ? [[path.slice(prefix.length), array as T]] : []));
  const buffers = Object.fromEntries(entries<Float32Array>('buffers/'));
  const masks = Object.fromEntries(entries<Uint8Array>('masks/'));
  const values = arrays.find(([path]) => path === 'best/values')?.[1] as Float32Array | undefined;
  const { run, step, progress } = header;
  return {
    run,
    step,
    parameters: { parameters: header.parameters, buffers, masks },
    statistics: new Map(entries('statistics/')),
    best: values && { values, statistics: new Map(entries('best-statistics/')) },
    progress,
  };
}

function encodeHeader(header: Header): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header, writeNumber));
  const length = json.byteLength + (-(PREFIX + json.byteLength) & 7);
  const bytes = new Uint8Array(PREFIX + length).fill(0x20);
  bytes.set(new TextEncoder().encode(MAGIC));
  bytes.set(json, PREFIX);
  const view = new DataView(bytes.buffer);
  view.setUint32(8, VERSION, true);
  view.setUint32(12, length, true);
  view.setUint32(16, headerSum(bytes), true);
  return bytes;
}

function decodeHeader(bytes: Uint8Array, name: string): { header: Header; end: number } {
  const magic = String.fromCharCode(...bytes.subarray(0, MAGIC.length));
  if (magic !== MAGIC.slice(0, magic.length)) throw new PareError('bad-file', `${name} is no checkpoint of Pare.`);
  if (bytes.byteLength < PREFIX) throw damaged(name, `it ends at byte ${bytes.byteLength}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = PREFIX + view.getUint32(12, true);
  if (end > bytes.byteLength) throw damaged(name, `it ends at byte ${bytes.byteLength}`);
  if (view.getUint32(16, true) !== headerSum(bytes.subarray(0, end))) {
    throw damaged(name, 'its header is not what was written');
  }
  const version = view.getUint32(8, true);
  if (version !== VERSION) {
    throw new PareError(
      'bad-file',
      `${name} has format ${version} and this Pare reads format ${VERSION}: resume with the Pare that wrote it.`,
    );
  }
  const header = parseJson(bytes.subarray(PREFIX, end));
  if (!isHeader(header)) throw damaged(name, 'its header lacks something');
  const size = header.arrays.reduce(
    (sum, { type, length }) => sum + Math.ceil((length * ELEMENT_BYTES[type]) / 8) * 8,
    end,
  );
  if (size > bytes.byteLength) throw damaged(name, `it ends at byte ${bytes.byteLength} of ${size}`);
  return { header, end };
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes), readNumber);
  } catch {
    return undefined;
  }
}

/** Of all but the sum itself. */
function headerSum(bytes: Uint8Array): number {
  return crc32(bytes.subarray(PREFIX), crc32(bytes.subarray(0, PREFIX - 4)));
}

/** Whoever made the checksums right may still have written anything. */
function isHeader(value: unknown): value is Header {
  const { run, step, parameters, arrays } = (value ?? {}) as Partial<Header>;
  return (
    typeof run === 'string' &&
    isCount(step) &&
    Array.isArray(parameters) &&
    parameters.every((p) => typeof p?.name === 'string' && isCount(p.offset) && Array.isArray(p.dims)) &&
    Array.isArray(arrays) &&
    arrays.every((a) => typeof a?.name === 'string' && Object.hasOwn(ELEMENT_BYTES, a.type) && isCount(a.length))
  );
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

/** JSON knows no NaN, no infinities and no negative zero: they are written as `{ "number": "NaN" }`. */
function writeNumber(_key: string, value: unknown): unknown {
  const plain = typeof value !== 'number' || (Number.isFinite(value) && !Object.is(value, -0));
  return plain ? value : { number: Object.is(value, -0) ? '-0' : String(value) };
}

function readNumber(_key: string, value: unknown): unknown {
  const text = (value as { number?: unknown } | null)?.number;
  return text === 'NaN' || text === 'Infinity' || text === '-Infinity' || text === '-0' ? Number(text) : value;
}

function under<T>(prefix: string, entries: Iterable<readonly [string, T]>): [string, T][] {
  return Array.from(entries, ([name, value]) => [prefix + name, value]);
}

function damaged(name: string, how: string): PareError {
  return new PareError('bad-file', `${name} is a damaged checkpoint: ${how}. Resume from an earlier one.`);
}
