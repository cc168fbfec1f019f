import type { AnyMessage } from './message.js';
import type { Table } from './schema.js';
import { readUtf8 } from './wire.js';

/** Longer texts and messages than these hardly ever occur twice. */
const LONGEST_TEXT = 256;
const LONGEST_MESSAGE = 128;
const MESSAGES = 2048;
/** Places for texts: at first, and at most. */
const FEWEST_TEXTS = 2 ** 10;
const MOST_TEXTS = 2 ** 19;

/**
 * What has been decoded before. In a model the name of a value stands in the node that computes it, in those that read it and
 * in its type; the same few types and attributes stand thousands of times. Each is decoded once: messages do not change, so
 * that one may stand in many places. Both tables forget what collides: their size is bounded whatever the file.
 */
export class Memo {
  private texts: (string | undefined)[] = new Array(FEWEST_TEXTS);
  private filled = 0;
  private readonly messages: (AnyMessage | undefined)[] = [];
  private readonly lengths = new Uint8Array(MESSAGES);
  private readonly arena = new Uint8Array(MESSAGES * LONGEST_MESSAGE);

  /** `readUtf8`. */
  text(bytes: Uint8Array, start: number, end: number): string {
    const length = end - start;
    if (length > LONGEST_TEXT) return readUtf8(bytes, start, end);
    let hash = length;
    let all = 0;
    for (let i = start; i < end; i++) {
      const byte = bytes[i] as number;
      hash = step(hash, byte);
      all |= byte;
    }
    if (all > 127) return readUtf8(bytes, start, end);
    const place = fold(hash, this.texts.length);
    const known = this.texts[place];
    if (known !== undefined && equalsText(known, bytes, start, length)) return known;
    const text = readUtf8(bytes, start, end);
    this.texts[place] = text;
    if (known === undefined && ++this.filled * 2 > this.texts.length && this.texts.length < MOST_TEXTS) this.grow();
    return text;
  }

  private grow(): void {
    const before = this.texts;
    this.texts = new Array(before.length * 8);
    this.filled = 0;
    for (const text of before) {
      if (text === undefined) continue;
      let hash = text.length;
      for (let i = 0; i < text.length; i++) hash = step(hash, text.charCodeAt(i));
      this.texts[fold(hash, this.texts.length)] = text;
      this.filled++;
    }
  }

  /** The message of type `table` that these bytes gave before, else undefined: then `message` is what they will give. */
  message(table: Table, bytes: Uint8Array, start: number, end: number, message: AnyMessage): AnyMessage | undefined {
    const length = end - start;
    if (length > LONGEST_MESSAGE) return undefined;
    let hash = table.fields.length;
    for (let i = start; i < end; i++) hash = step(hash, bytes[i] as number);
    const place = fold(hash, MESSAGES);
    const at = place * LONGEST_MESSAGE;
    const known = this.messages[place];
    if (known?.$table === table && this.lengths[place] === length && this.holds(at, bytes, start, length)) return known;
    this.messages[place] = message;
    this.lengths[place] = length;
    for (let i = 0; i < length; i++) this.arena[at + i] = bytes[start + i] as number;
    return undefined;
  }

  private holds(at: number, bytes: Uint8Array, start: number, length: number): boolean {
    for (let i = 0; i < length; i++) if (this.arena[at + i] !== bytes[start + i]) return false;
    return true;
  }
}

/** FNV-1a (Fowler, Noll, Vo), one byte on. */
const step = (hash: number, byte: number): number => Math.imul(hash ^ byte, 0x01000193);

/** A place among `places`, a power of two. */
const fold = (hash: number, places: number): number => (hash ^ (hash >>> 15)) & (places - 1);

function equalsText(text: string, bytes: Uint8Array, start: number, length: number): boolean {
  if (text.length !== length) return false;
  for (let i = 0; i < length; i++) if (text.charCodeAt(i) !== bytes[start + i]) return false;
  return true;
}
