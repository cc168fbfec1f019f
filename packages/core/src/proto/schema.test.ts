import { expect, test } from 'vitest';
import golden from '../../test/golden/codec.json' with { type: 'json' };
import { encodeAll, fieldsOf, forget } from '../../test/messages.js';
import { decode } from './decode.js';
import { AnyMessage, type PackedChunk } from './message.js';
import { allTables, type Field, type MessageName, tableOf } from './schema.js';
import { loadBytes, memorySource } from './source.js';

// Against bytes that Python wrote: are numbers, names and types of the fields those of onnx.proto?

/** A message in the notation of codec.json. */
async function notationOf(message: AnyMessage): Promise<unknown> {
  const out: Record<string, unknown> = {};
  for (const field of message.$table.fields) {
    const value = fieldsOf(message)[field.name];
    if (value === undefined) continue;
    if (field.kind.startsWith('packed')) out[field.name] = await unpack(field, value as PackedChunk[]);
    else if (field.repeated) out[field.name] = await Promise.all((value as unknown[]).map((v) => notation(field, v)));
    else out[field.name] = await notation(field, value);
  }
  return out;
}

async function notation(field: Field, value: unknown): Promise<unknown> {
  if (value instanceof AnyMessage) return notationOf(value);
  if (field.kind === 'bytes' || field.kind === 'blob') {
    return { bytes: Buffer.from(await loadBytes(value as Uint8Array)).toString('hex') };
  }
  if (field.kind === 'float' || field.kind === 'double') return { float: value };
  return field.kind === 'string' ? value : { int: String(value) };
}

async function unpack(field: Field, chunks: PackedChunk[]): Promise<unknown[]> {
  const bytes = await loadBytes(chunks[0]?.bytes as Uint8Array);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: unknown[] = [];
  for (let at = 0; at < bytes.byteLength; ) {
    if (field.kind === 'packed float') out.push({ float: view.getFloat32(at, true) });
    if (field.kind === 'packed double') out.push({ float: view.getFloat64(at, true) });
    if (field.kind === 'packed float' || field.kind === 'packed double') {
      at += field.kind === 'packed float' ? 4 : 8;
      continue;
    }
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number;
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) break;
    }
    out.push({ int: String(field.kind === 'packed uint64' ? value : BigInt.asIntN(64, value)) });
  }
  return out;
}

/** Python writes floats as text; here they become numbers again. */
function revive(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(revive);
  if (typeof value !== 'object' || value === null) return value;
  if ('float' in value) return { float: Number(String(value.float).replace('inf', 'Infinity')) };
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, revive(v)]));
}

test.each(golden.everyField.map((sample) => [sample.type, sample] as const))(
  '%s: every field is what Python wrote, and is written back to the same bytes',
  async (type, sample) => {
    const bytes = new Uint8Array(Buffer.from(sample.bytes, 'base64'));
    const message = await decode(type as MessageName, memorySource(bytes));
    expect(await notationOf(message)).toEqual(revive(sample.value));
    expect(message.$verbatim).toBeUndefined();
    expect(await encodeAll(forget(message))).toEqual(bytes);
  },
);

test('the golden file has a sample of every message', () => {
  expect(golden.everyField.map((s) => s.type).sort()).toEqual(allTables.map((t) => t.name).sort());
});

test('the tables are keyed by full names', () => {
  expect(tableOf('TypeProto.Tensor').fields.map((f) => f.name)).toEqual(['elem_type', 'shape']);
  expect(tableOf('TensorProto').fields).toHaveLength(15);
});
