import { encode } from '../src/proto/encode.js';
import { type AnyMessage, createMessage } from '../src/proto/message.js';
import { loadBytes } from '../src/proto/source.js';
import { writeVarint } from '../src/proto/wire.js';

/** `message` in its encoded form. */
export async function encodeAll(message: AnyMessage): Promise<Uint8Array> {
  const { byteLength, parts } = encode(message);
  const whole = Buffer.concat(await Promise.all(parts.map(loadBytes)));
  if (whole.byteLength !== byteLength) throw new Error(`${whole.byteLength} bytes where ${byteLength} were announced`);
  return new Uint8Array(whole);
}

/** The fields of any message, by name. */
export const fieldsOf = (message: AnyMessage) => message as unknown as Record<string, unknown>;

/** `message` as if it had been made by hand: nothing remembers the form in which it was read. */
export function forget(message: AnyMessage): AnyMessage {
  const copy = createMessage(message.$table.name, {});
  for (const { name, kind, repeated } of message.$table.fields) {
    const value = fieldsOf(message)[name];
    if (value === undefined) continue;
    const nested = kind === 'message';
    const one = (v: unknown) => (nested ? forget(v as AnyMessage) : v);
    Object.assign(copy, { [name]: repeated ? (value as unknown[]).map(one) : one(value) });
  }
  if (message.$unknown) copy.$unknown = message.$unknown;
  return copy;
}

/** Field `number` with `content`, as bytes of the wire. */
export const delimited = (number: number, content: Uint8Array | number[]): Uint8Array => {
  const head = new Uint8Array(20);
  const at = writeVarint(head, writeVarint(head, 0, number * 8 + 2), content.length);
  return Uint8Array.from([...head.subarray(0, at), ...content]);
};
