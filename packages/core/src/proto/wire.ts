/** Numbers and text in the Protocol Buffers encoding (https://protobuf.dev/programming-guides/encoding/). */

const TWO_32 = 4294967296;

/** Bytes of `value` as a varint; negative numbers take ten, as 64-bit two's complement. */
export function varintLength(value: number | bigint): number {
  if (typeof value === 'bigint') {
    let length = 1;
    for (let rest = BigInt.asUintN(64, value) >> 7n; rest > 0n; rest >>= 7n) length++;
    return length;
  }
  if (value < 0) return 10;
  let length = 1;
  // Division, not shifts: sizes and offsets go beyond 32 bits.
  for (let rest = value; rest >= 128; rest = Math.floor(rest / 128)) length++;
  return length;
}

/** Writes `value` as a varint at `at` and returns the place behind it. */
export function writeVarint(target: Uint8Array, at: number, value: number | bigint): number {
  if (typeof value === 'bigint' || value < 0) {
    let rest = BigInt.asUintN(64, BigInt(value));
    for (; rest > 127n; rest >>= 7n) target[at++] = Number(rest & 127n) | 128;
    target[at++] = Number(rest);
    return at;
  }
  let rest = value;
  while (rest >= TWO_32) {
    target[at++] = (rest % 128) | 128;
    rest = Math.floor(rest / 128);
  }
  for (; rest > 127; rest >>>= 7) target[at++] = (rest & 127) | 128;
  target[at++] = rest;
  return at;
}

/** `value` (unsigned, up to 64 bits) as the signed integer with the same bits; a bigint only where a number is not exact. */
export function toSigned(value: number | bigint): number | bigint {
  return typeof value === 'bigint' ? shrink(BigInt.asIntN(64, value)) : value;
}

/** `value` as a number where that is exact. */
export function shrink(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Text from UTF-8. Bytes that are not valid UTF-8 become the lone surrogates U+DC80 to U+DCFF (Python's `surrogateescape`,
 * PEP 383), which valid text never contains: `writeUtf8` turns them back, so any name survives and different names stay different.
 */
export function readUtf8(bytes: Uint8Array, start = 0, end = bytes.byteLength): string {
  if (end - start < 24) {
    let text = '';
    let at = start;
    for (; at < end; at++) {
      const byte = bytes[at] as number;
      if (byte > 127) break;
      text += String.fromCharCode(byte);
    }
    if (at === end) return text;
  }
  const view = bytes.subarray(start, end);
  try {
    return utf8.decode(view);
  } catch {
    return escapeInvalid(view);
  }
}

function escapeInvalid(bytes: Uint8Array): string {
  const pieces: string[] = [];
  let valid = 0;
  for (let at = 0; at < bytes.byteLength; ) {
    const length = sequenceLength(bytes, at);
    if (length === 0) {
      pieces.push(utf8.decode(bytes.subarray(valid, at)), String.fromCharCode(0xdc00 + (bytes[at] as number)));
      valid = ++at;
    } else at += length;
  }
  pieces.push(utf8.decode(bytes.subarray(valid)));
  return pieces.join('');
}

/** Bytes of the well-formed UTF-8 sequence at `at` (Unicode 15, table 3-7); 0 when there is none. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] as number;
  if (lead < 0x80) return 1;
  const length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
  if (length === 0 || at + length > bytes.byteLength) return 0;
  const second = bytes[at + 1] as number;
  const low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < low || second > high) return 0;
  for (let i = 2; i < length; i++) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return 0;
  return length;
}

const isHigh = (unit: number): boolean => unit >= 0xd800 && unit < 0xdc00;
const isLow = (unit: number): boolean => unit >= 0xdc00 && unit < 0xe000;
const isEscape = (unit: number): boolean => unit >= 0xdc80 && unit <= 0xdcff;

/** Bytes that `writeUtf8` writes for `text`. */
export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x80) continue;
    if (unit < 0x800) length += 1;
    else if (isHigh(unit) && isLow(text.charCodeAt(i + 1))) {
      length += 2;
      i++;
    } else if (!isEscape(unit)) length += 2;
  }
  return length;
}

/** Writes `text` at `at` and returns the place behind it. Escaped bytes are restored; other lone surrogates become U+FFFD. */
export function writeUtf8(text: string, target: Uint8Array, at: number): number {
  for (let i = 0; i < text.length; i++) {
    let point = text.charCodeAt(i);
    if (point < 0x80) {
      target[at++] = point;
      continue;
    }
    if (point < 0x800) {
      target[at++] = 0xc0 | (point >> 6);
      target[at++] = 0x80 | (point & 63);
      continue;
    }
    if (isHigh(point) && isLow(text.charCodeAt(i + 1))) {
      point = text.codePointAt(i++) as number;
      target[at++] = 0xf0 | (point >> 18);
      target[at++] = 0x80 | ((point >> 12) & 63);
    } else if (isEscape(point)) {
      target[at++] = point - 0xdc00;
      continue;
    } else {
      if (isHigh(point) || isLow(point)) point = 0xfffd;
      target[at++] = 0xe0 | (point >> 12);
    }
    target[at++] = 0x80 | ((point >> 6) & 63);
    target[at++] = 0x80 | (point & 63);
  }
  return at;
}
