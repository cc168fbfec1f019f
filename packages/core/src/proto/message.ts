import { allTables, type MessageName, type Messages, type Table, tableOf } from './schema.js';
import type { Bytes, Reference } from './source.js';

/**
 * One stretch of a packed field. A field usually has one; several when a file repeats it, which Protocol Buffers allows and
 * reads as one list.
 */
export interface PackedChunk {
  readonly bytes: Bytes;
  /** The stretch is not packed: each element carries its tag, and the bytes include the tags. */
  readonly tagged?: boolean;
}

interface Scalars {
  int32: number;
  /** A bigint only beyond 2^53. */
  int64: number | bigint;
  uint64: number | bigint;
  float: number;
  double: number;
  /** See `readUtf8` for text that is not UTF-8. */
  string: string;
  bytes: Uint8Array;
  blob: Bytes;
  'packed float': readonly PackedChunk[];
  'packed double': readonly PackedChunk[];
  'packed int32': readonly PackedChunk[];
  'packed int64': readonly PackedChunk[];
  'packed uint64': readonly PackedChunk[];
}

type Element<K> = K extends keyof Scalars ? Scalars[K] : K extends MessageName ? Message<K> : never;
type FieldValue<K extends string> = K extends `${infer E}*` ? readonly Element<E>[] : Element<K>;

/** The fields of message `N`. Absent is undefined; an empty or zero field that is there is there, and is written. */
export type Fields<N extends MessageName> = {
  readonly [F in keyof Messages[N]]?: Messages[N][F] extends readonly [number, infer K extends string, ...unknown[]]
    ? FieldValue<K> | undefined
    : never;
};

/** What every message carries beside its fields. */
export class AnyMessage {
  /** Fields that the schema does not know, tags included, in the order of the file; written at the end. */
  declare $unknown?: readonly Reference[] | undefined;
  /**
   * Where the message stands in its file, when writing it anew would give other bytes (fields out of order, padded varints,
   * a list in two parts, NaN with a payload) or would be a waste because it is long: written from there as it is.
   */
  declare $verbatim?: Reference | undefined;
  /** Encoded length, once known: messages do not change. */
  declare $size?: number | undefined;
  /** What the message was converted to, where that is immutable too: nothing is converted twice, or back. */
  declare $read?: object | undefined;
  declare readonly $table: Table;
}

/** A class for each message type: engines then keep the fields inside the object, which saves time and memory. */
const classes = new Map(allTables.map((table) => [table, classOf(table)]));

function classOf(table: Table): new () => AnyMessage {
  const made = class extends AnyMessage {};
  Object.defineProperty(made.prototype, '$table', { value: table });
  return made;
}

/** An empty message, for `decode` to fill. */
export function emptyMessage(table: Table): AnyMessage {
  return new (classes.get(table) as new () => AnyMessage)();
}

/**
 * A message of onnx.proto; the names of its fields are those of the schema. Messages are immutable: an edit makes a new one
 * with `amend`, so whatever was not edited is still the object that was read and is written back byte for byte.
 */
export type Message<N extends MessageName> = AnyMessage & Fields<N>;

/** A new message. Fields that are undefined are absent. */
export function createMessage<N extends MessageName>(name: N, fields: Fields<N>): Message<N> {
  return Object.assign(emptyMessage(tableOf(name)), fields) as Message<N>;
}

/**
 * `origin` with `fields` in place of its own: `origin` itself when they are equal already, else a copy that keeps every
 * other field, unknown ones included. No origin: a new message. Lists without elements are absent.
 */
export function amend<N extends MessageName>(name: N, origin: Message<N> | undefined, fields: Fields<N>): Message<N> {
  const present = (origin ?? {}) as Record<string, unknown>;
  const wanted = fields as Record<string, unknown>;
  let copy: Record<string, unknown> | undefined;
  for (const key in wanted) {
    const value = isEmptyList(wanted[key]) ? undefined : wanted[key];
    if (same(present[key], value)) continue;
    copy ??= copyOf(name, origin);
    copy[key] = value;
  }
  return (copy as Message<N> | undefined) ?? origin ?? createMessage(name, {} as Fields<N>);
}

/** A copy to be changed: it no longer stands in the file. */
function copyOf<N extends MessageName>(name: N, origin: Message<N> | undefined): Record<string, unknown> {
  const copy = emptyMessage(tableOf(name));
  const fields = copy as unknown as Record<string, unknown>;
  if (!origin) return fields;
  for (const field of copy.$table.fields) {
    const value = (origin as unknown as Record<string, unknown>)[field.name];
    if (value !== undefined) fields[field.name] = value;
  }
  if (origin.$unknown) copy.$unknown = origin.$unknown;
  return fields;
}

/** A copy with lists of its own, to take up a further part of the message. */
export function copyForMerge(message: AnyMessage): AnyMessage {
  const copy = copyOf(message.$table.name, message as never);
  for (const [key, value] of Object.entries(copy)) if (Array.isArray(value)) copy[key] = [...value];
  return copy as unknown as AnyMessage;
}

const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Equal scalars, the same message, equal bytes in memory, or lists of these. */
function same(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (a instanceof Uint8Array && b instanceof Uint8Array) {
    return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
  }
  if (!Array.isArray(a) || !Array.isArray(b) || a.length !== b.length) return false;
  return a.every((element, i) => same(element, b[i]));
}
