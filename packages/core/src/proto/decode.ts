import { PareError, throwIfAborted } from '../errors.js';
import { append, type Frame, frameOf, keepUnknown, listOf, pathOf } from './frame.js';
import { Memo } from './memo.js';
import { type AnyMessage, copyForMerge, emptyMessage, type Message, type PackedChunk } from './message.js';
import {
  DELIMITED,
  END_GROUP,
  elementWireType,
  FIXED32,
  FIXED64,
  type Field,
  GROUP,
  type MessageName,
  type Table,
  tableOf,
  VARINT,
} from './schema.js';
import { type ByteSource, bytesLength, type Reference } from './source.js';
import { shrink, toSigned } from './wire.js';

/** Blobs and packed fields up to this many bytes are read at once; longer ones stay in the source. */
const EAGER_BYTES = 1024;
/** Messages of at least this many bytes are copied from the source when they are written unchanged: nothing is encoded. */
const COPIED_BYTES = 64 * 1024;
/** A tag and a length: two varints. What is parsed next is never longer without saying so. */
const HEADER_BYTES = 20;
const FIRST_READ = 4096;
const LARGEST_READ = 256 * 1024;
/** As in every other implementation of Protocol Buffers. */
const MAX_DEPTH = 100;
/**
 * Bounds what a hostile file of many tiny elements can make us hold, in units of about eight bytes: no file comes near that
 * is not made for it.
 */
const MAX_WEIGHT = 2 ** 26;
const NUMBER_WEIGHT = 1;
const TEXT_WEIGHT = 4;
const STRETCH_WEIGHT = 12;
// With what the graph makes of it; some two million messages in all, where the largest exports have a few hundred thousand.
const MESSAGE_WEIGHT = 32;
const BYTES_WEIGHT = 20;
/** A name or text beyond this is no text. */
const MAX_STRING = 2 ** 26;

const NOTHING: Table = { name: 'ModelProto', fields: [], byNumber: [] };

/**
 * Reads a message. Long blobs and packed fields are not read but become references into `source`; everything else is read
 * through a small sliding window, at once where the source can (`readSync`).
 *
 * Read as Protocol Buffers says: packed and unpacked lists are both accepted and joined, a single message that occurs twice is
 * merged, of other single fields and oneofs the last one counts. Unknown fields and explicit defaults are kept.
 *
 * @throws PareError `bad-file` naming the place: truncated, lengths beyond the enclosing message, nesting deeper than 100,
 *   millions of tiny elements; `aborted`; what the source throws.
 */
export async function decode<N extends MessageName>(
  name: N,
  source: ByteSource,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Message<N>> {
  const decoder = new Decoder(tableOf(name), source);
  for (let needed = decoder.run(); needed > 0; needed = decoder.run()) {
    throwIfAborted(options.signal);
    const reading = decoder.fill(needed);
    if (reading) await reading;
  }
  return decoder.root as unknown as Message<N>;
}

/**
 * A state machine with a stack of its own: it stops between two fields whenever the window runs out, so that the same code
 * serves sources that answer at once and sources that answer later, and no file can overflow the stack.
 */
class Decoder {
  readonly root: AnyMessage;
  private frame: Frame | undefined;
  private weight = 0;
  private readonly memo = new Memo();

  /** The window: `window[0]` is byte `base` of the source, `at` the next byte to parse. */
  private window: Uint8Array;
  private view: DataView;
  private base = 0;
  private at = 0;
  private ahead = FIRST_READ;
  private buffer = new Uint8Array(0);
  /** Where in the window the enclosing message, or the window, ends. */
  private limit = 0;

  constructor(
    table: Table,
    private readonly source: ByteSource,
  ) {
    this.root = emptyMessage(table);
    this.frame = frameOf(this.root, table, undefined, undefined, 0, source.size, 0, false);
    this.window = source.bytes ?? this.buffer;
    this.view = viewOf(this.window);
  }

  /** Parses until the end (returns 0) or until the window lacks bytes: then `fill` this many from the current place. */
  run(): number {
    for (let frame = this.frame; frame; frame = this.frame) {
      const place = this.base + this.at;
      if (place >= frame.end && frame.group === 0) {
        this.close(frame);
        continue;
      }
      const present = this.window.byteLength - this.at;
      if (present < HEADER_BYTES && this.base + this.window.byteLength < this.source.size) return HEADER_BYTES;
      this.limit = Math.min(this.window.byteLength, frame.end - this.base);
      const start = this.at;
      const needed = this.readField(frame);
      if (needed > 0) {
        this.at = start;
        return needed;
      }
    }
    return 0;
  }

  /** Moves the window to the current place with at least `needed` bytes, or all that are left. */
  fill(needed: number): Promise<void> | undefined {
    const place = this.base + this.at;
    // After a jump over weights little is read; then ever more, as long as all of it was used.
    const jumped = this.at > this.window.byteLength;
    this.ahead = jumped ? FIRST_READ : Math.min(this.ahead * 2, LARGEST_READ);
    const length = Math.min(Math.max(needed, this.ahead), this.source.size - place);
    const take = (bytes: Uint8Array): void => {
      this.window = bytes;
      this.view = viewOf(bytes);
      this.base = place;
      this.at = 0;
    };
    if (!this.source.readSync) return this.source.read(place, length).then(take);
    if (this.buffer.byteLength < length) this.buffer = new Uint8Array(length);
    const target = this.buffer.subarray(0, length);
    this.source.readSync(place, target);
    take(target);
    return undefined;
  }

  /** Reads one field. Returns 0, or how many bytes from the start of the field the window must hold; then nothing changed. */
  private readField(frame: Frame): number {
    const start = this.at;
    const tag = Number(this.varint(frame));
    const number = Math.floor(tag / 8);
    const wireType = tag % 8;
    if (number === 0 || tag > 0xffffffff) this.fail(frame, `has no valid field at byte ${this.base + start}`);
    const field = frame.table.byNumber[number];
    if (!field || !accepts(field, wireType)) return this.readUnknown(frame, number, wireType, start);

    let length = 0;
    if (wireType === DELIMITED) {
      length = Number(this.varint(frame));
      const left = frame.end - this.base - this.at;
      if (length > left) this.tooLong(frame, field.name, length, left);
      const lazy = isLazy(field, length);
      if (!lazy && field.kind !== 'message' && this.at + length > this.window.byteLength)
        return this.at - start + length;
    }
    if (number < frame.last || frame.unknown || (number === frame.last && !field.repeated)) frame.canonical = false;
    frame.last = number;
    this.weigh(frame, weightOf(field));
    if (field.kind === 'message') this.open(frame, field, length);
    else if (field.packed) this.readPacked(frame, field, wireType, start, length);
    else if (!field.repeated) this.set(frame, field, this.element(frame, field, wireType, length));
    else if (wireType === field.wireType) append(frame, field, this.element(frame, field, wireType, length));
    else this.readList(frame, field, length);
    return 0;
  }

  /** A list of numbers in packed form where the schema says one tag each. */
  private readList(frame: Frame, field: Field, length: number): void {
    frame.canonical = false;
    const list = listOf(frame, field);
    const end = this.at + length;
    this.limit = end;
    while (this.at < end) {
      this.weigh(frame, NUMBER_WEIGHT);
      list.push(this.element(frame, field, field.wireType, 0));
    }
  }

  private readPacked(frame: Frame, field: Field, wireType: number, start: number, length: number): void {
    const list = listOf(frame, field) as PackedChunk[];
    if (wireType === DELIMITED) {
      if (length === 0 || list.length > 0) frame.canonical = false;
      list.push({ bytes: this.bytes(length, true) });
      return;
    }
    frame.canonical = false;
    this.element(frame, field, wireType, 0);
    const offset = this.base + start;
    const stretch = this.at - start;
    const last = list[list.length - 1];
    const joins = last?.tagged && 'source' in last.bytes && last.bytes.offset + bytesLength(last.bytes) === offset;
    if (joins && 'source' in last.bytes) {
      const { source, offset: first, length: before } = last.bytes;
      list[list.length - 1] = { bytes: { source, offset: first, length: before + stretch }, tagged: true };
    } else list.push({ bytes: { source: this.source, offset, length: stretch }, tagged: true });
  }

  /** One element that the window holds. */
  private element(frame: Frame, field: Field, wireType: number, length: number): unknown {
    if (wireType === VARINT) {
      const value = this.varint(frame);
      if (field.kind === 'uint64' || field.kind === 'packed uint64') return value;
      if (field.kind === 'int64' || field.kind === 'packed int64') return toSigned(value);
      if (typeof value === 'number' && value < 0x80000000) return value;
      const low = Number(BigInt.asIntN(32, BigInt(value)));
      if (BigInt.asUintN(64, BigInt(low)) !== BigInt(value)) frame.canonical = false;
      return low;
    }
    if (wireType === DELIMITED) {
      if (field.kind !== 'string') return this.bytes(length, field.kind === 'blob');
      if (length > MAX_STRING) this.fail(frame, `has ${length} bytes of text in ${field.name}, which no model has`);
      this.at += length;
      return this.memo.text(this.window, this.at - length, this.at);
    }
    const width = wireType === FIXED32 ? 4 : 8;
    if (this.at + width > this.limit) this.endOf(frame);
    const value = width === 4 ? this.view.getFloat32(this.at, true) : this.view.getFloat64(this.at, true);
    // A NaN does not keep its payload through a JavaScript number.
    if (Number.isNaN(value)) frame.canonical = false;
    this.at += width;
    return value;
  }

  /** The next `length` bytes: a copy, or a reference when they are many and may stay where they are. */
  private bytes(length: number, lazy: boolean): Uint8Array | Reference {
    const start = this.at;
    this.at += length;
    if (lazy && length > EAGER_BYTES) return { source: this.source, offset: this.base + start, length };
    return this.window.slice(start, start + length);
  }

  private set(frame: Frame, field: Field, value: unknown): void {
    for (const rival of field.rivals) {
      if (frame.message[rival] === undefined) continue;
      frame.message[rival] = undefined;
      frame.canonical = false;
    }
    frame.message[field.name] = value;
  }

  private open(frame: Frame, field: Field, length: number): void {
    const start = this.base + this.at;
    if (frame.depth >= MAX_DEPTH) this.fail(frame, `nests more than ${MAX_DEPTH} messages`);
    const table = field.table as Table;
    const before = field.repeated ? undefined : (frame.message[field.name] as AnyMessage | undefined);
    let message = before ? copyForMerge(before) : emptyMessage(table);
    const end = this.at + length;
    const known =
      !before && end <= this.window.byteLength && this.memo.message(table, this.window, this.at, end, message);
    if (known) {
      message = known;
      this.at = end;
    }
    if (field.repeated) append(frame, field, message);
    else this.set(frame, field, message);
    if (known) return;
    this.frame = frameOf(message, table, frame, field, start, start + length, 0, before !== undefined);
  }

  private close(frame: Frame): void {
    const message = frame.message as unknown as AnyMessage;
    if (frame.unknown) message.$unknown = [...(message.$unknown ?? []), ...frame.unknown];
    if (frame.merged) {
      // The message stands in two places; the one around it is what is written as it was.
      message.$verbatim = undefined;
    } else if (!frame.canonical || frame.end - frame.start >= COPIED_BYTES) {
      message.$verbatim = { source: this.source, offset: frame.start, length: frame.end - frame.start };
    }
    this.frame = frame.parent;
  }

  /** Steps over a field that the schema does not know and keeps where it is. */
  private readUnknown(frame: Frame, number: number, wireType: number, start: number): number {
    const offset = this.base + start;
    if (wireType === END_GROUP && frame.group === number && frame.parent) {
      this.frame = frame.parent;
      keepUnknown(frame.parent, {
        source: this.source,
        offset: frame.start,
        length: this.base + this.at - frame.start,
      });
      return 0;
    }
    if (wireType === GROUP) {
      if (frame.depth >= MAX_DEPTH) this.fail(frame, `nests more than ${MAX_DEPTH} messages`);
      // Nothing in it is known, so nothing is ever stored in the message.
      this.frame = frameOf(frame.message, NOTHING, frame, undefined, offset, frame.end, number, false);
      return 0;
    }
    let length = 0;
    if (wireType === VARINT) this.varint(frame);
    else if (wireType === DELIMITED) length = Number(this.varint(frame));
    else if (wireType === FIXED32) length = 4;
    else if (wireType === FIXED64) length = 8;
    else this.fail(frame, `has no valid field at byte ${offset}`);
    const left = frame.end - this.base - this.at;
    if (length > left) this.tooLong(frame, `unknown field ${number}`, length, left);
    this.at += length;
    if (frame.group === 0) {
      this.weigh(frame, STRETCH_WEIGHT);
      keepUnknown(frame, { source: this.source, offset, length: this.base + this.at - offset });
    }
    return 0;
  }

  /** An unsigned varint of up to 64 bits: a bigint where a number is not exact. */
  private varint(frame: Frame): number | bigint {
    const { window, limit } = this;
    let value = 0;
    let scale = 1;
    for (let i = 0; i < 7; i++) {
      if (this.at >= limit) this.endOf(frame);
      const byte = window[this.at++] as number;
      value += (byte & 127) * scale;
      if (byte < 128) {
        if (byte === 0 && i > 0) frame.canonical = false;
        return value;
      }
      scale *= 128;
    }
    let big = BigInt(value);
    for (let i = 7; i < 10; i++) {
      if (this.at >= limit) this.endOf(frame);
      const byte = window[this.at++] as number;
      big |= BigInt(byte & 127) << BigInt(7 * i);
      if (byte < 128) {
        if (byte === 0 || (i === 9 && byte > 1)) frame.canonical = false;
        return shrink(BigInt.asUintN(64, big));
      }
    }
    return this.fail(frame, `has a number of more than ten bytes before byte ${this.base + this.at}`);
  }

  private weigh(frame: Frame, weight: number): void {
    this.weight += weight;
    if (this.weight > MAX_WEIGHT) this.fail(frame, 'holds more elements than any model does');
  }

  private tooLong(frame: Frame, what: string, length: number, left: number): never {
    const cut = frame.end === this.source.size ? ': the file is truncated or damaged' : '';
    return this.fail(frame, `says that ${what} has ${length} bytes where ${left} are left${cut}`);
  }

  private endOf(frame: Frame): never {
    return this.fail(frame, `breaks off at byte ${this.base + this.at}: the file is truncated or damaged`);
  }

  private fail(frame: Frame, problem: string): never {
    throw new PareError('bad-file', `${this.source.name} is not a whole ONNX file: ${pathOf(frame)} ${problem}.`);
  }
}

function weightOf(field: Field): number {
  if (field.kind === 'message') return MESSAGE_WEIGHT;
  if (field.kind === 'string') return TEXT_WEIGHT;
  if (field.packed) return STRETCH_WEIGHT;
  return field.wireType === DELIMITED ? BYTES_WEIGHT : NUMBER_WEIGHT;
}

/** Lists may come packed or not, whatever the schema says. */
function accepts(field: Field, wireType: number): boolean {
  if (field.packed) return wireType === DELIMITED || wireType === field.wireType;
  return (
    wireType === field.wireType ||
    (field.repeated && wireType === DELIMITED && elementWireType(field.kind) !== DELIMITED)
  );
}

const isLazy = (field: Field, length: number): boolean =>
  length > EAGER_BYTES && (field.kind === 'blob' || field.packed);

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
