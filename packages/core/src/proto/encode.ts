import { PareError } from '../errors.js';
import type { AnyMessage, PackedChunk } from './message.js';
import type { Field } from './schema.js';
import { type Bytes, bytesLength } from './source.js';
import { utf8Length, varintLength, writeUtf8, writeVarint } from './wire.js';

/** Bytes in memory of at least this length are passed on rather than copied. */
const PASS_BYTES = 64 * 1024;
const BLOCK_BYTES = 256 * 1024;

/** A message in its encoded form: everything but weights as blocks in memory, weights as references. */
export interface Encoded {
  readonly byteLength: number;
  readonly parts: readonly Bytes[];
}

/**
 * Encodes `message`: fields in ascending number, unknown ones last, which is what the C++ serializer of Protocol Buffers writes.
 * A message that was read in another form, and not changed, is written as it was read. Two passes: lengths, then bytes.
 */
export function encode(message: AnyMessage): Encoded {
  const byteLength = sizeOf(message);
  const writer = new Writer(byteLength);
  writeMessage(writer, message);
  return { byteLength, parts: writer.finish() };
}

/** Encoded bytes of `message`, without a tag or length. */
export function sizeOf(message: AnyMessage): number {
  if (message.$verbatim) return message.$verbatim.length;
  if (message.$size !== undefined) return message.$size;
  let size = 0;
  for (const field of message.$table.fields) {
    const value = (message as unknown as Record<string, unknown>)[field.name];
    if (value !== undefined) size += fieldSize(field, value);
  }
  for (const unknown of message.$unknown ?? []) size += unknown.length;
  message.$size = size;
  return size;
}

function fieldSize(field: Field, value: unknown): number {
  if (field.packed) {
    let size = 0;
    for (const chunk of value as readonly PackedChunk[]) {
      const length = bytesLength(chunk.bytes);
      size += chunk.tagged ? length : field.tagLength + varintLength(length) + length;
    }
    return size;
  }
  if (!field.repeated) return field.tagLength + elementSize(field, value);
  let size = 0;
  for (const element of value as readonly unknown[]) size += field.tagLength + elementSize(field, element);
  return size;
}

function elementSize(field: Field, value: unknown): number {
  switch (field.kind) {
    case 'float':
      return 4;
    case 'double':
      return 8;
    case 'int32':
    case 'int64':
    case 'uint64':
      return varintLength(value as number | bigint);
    default: {
      const length = contentLength(field, value);
      return varintLength(length) + length;
    }
  }
}

function contentLength(field: Field, value: unknown): number {
  if (field.kind === 'string') return utf8Length(value as string);
  return field.kind === 'message' ? sizeOf(value as AnyMessage) : bytesLength(value as Bytes);
}

function writeMessage(writer: Writer, message: AnyMessage): void {
  if (message.$verbatim) {
    writer.bytes(message.$verbatim);
    return;
  }
  for (const field of message.$table.fields) {
    const value = (message as unknown as Record<string, unknown>)[field.name];
    if (value === undefined) continue;
    if (field.packed) writePacked(writer, field, value as readonly PackedChunk[]);
    else if (!field.repeated) writeElement(writer, field, value);
    else for (const element of value as readonly unknown[]) writeElement(writer, field, element);
  }
  for (const unknown of message.$unknown ?? []) writer.bytes(unknown);
}

function writePacked(writer: Writer, field: Field, chunks: readonly PackedChunk[]): void {
  for (const chunk of chunks) {
    if (!chunk.tagged) {
      writer.varint(field.tag);
      writer.varint(bytesLength(chunk.bytes));
    }
    writer.bytes(chunk.bytes);
  }
}

function writeElement(writer: Writer, field: Field, value: unknown): void {
  writer.varint(field.tag);
  switch (field.kind) {
    case 'float':
      writer.float(value as number, 4);
      return;
    case 'double':
      writer.float(value as number, 8);
      return;
    case 'int32':
    case 'int64':
    case 'uint64':
      writer.varint(value as number | bigint);
      return;
  }
  writer.varint(contentLength(field, value));
  if (field.kind === 'string') writer.text(value as string);
  else if (field.kind === 'message') writeMessage(writer, value as AnyMessage);
  else writer.bytes(value as Bytes);
}

/** Fills blocks and collects them, and what is passed on, in order. */
class Writer {
  private readonly parts: Bytes[] = [];
  private block = new Uint8Array(0);
  private view = new DataView(this.block.buffer);
  private at = 0;
  private begun = 0;
  private total = 0;

  constructor(private readonly expected: number) {}

  varint(value: number | bigint): void {
    this.reserve(10);
    this.at = writeVarint(this.block, this.at, value);
  }

  float(value: number, width: 4 | 8): void {
    this.reserve(width);
    if (width === 4) this.view.setFloat32(this.at, value, true);
    else this.view.setFloat64(this.at, value, true);
    this.at += width;
  }

  text(value: string): void {
    this.reserve(value.length * 3);
    this.at = writeUtf8(value, this.block, this.at);
  }

  bytes(bytes: Bytes): void {
    const length = bytesLength(bytes);
    if (bytes instanceof Uint8Array && length < PASS_BYTES) {
      this.reserve(length);
      this.block.set(bytes, this.at);
      this.at += length;
      return;
    }
    this.flush();
    this.total += length;
    if (length > 0) this.parts.push(bytes);
  }

  /** The parts. @throws PareError when the two passes disagree, which would be a bug: no wrong file may leave. */
  finish(): readonly Bytes[] {
    this.flush();
    if (this.total !== this.expected) {
      throw new PareError(
        'bad-model',
        `The encoded model has ${this.total} bytes where ${this.expected} were counted.`,
      );
    }
    return this.parts;
  }

  private reserve(length: number): void {
    if (this.at + length <= this.block.byteLength) return;
    this.flush();
    const left = this.expected - this.total;
    this.block = new Uint8Array(Math.max(length, Math.min(BLOCK_BYTES, left + 10)));
    this.view = new DataView(this.block.buffer);
    this.at = this.begun = 0;
  }

  private flush(): void {
    if (this.at === this.begun) return;
    this.total += this.at - this.begun;
    this.parts.push(this.block.subarray(this.begun, this.at));
    this.begun = this.at;
  }
}
