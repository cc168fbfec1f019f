import { fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import golden from '../../test/golden/codec.json' with { type: 'json' };
import { delimited, encodeAll, fieldsOf, forget } from '../../test/messages.js';
import { descriptorOf } from '../../test/protobuf-oracle.js';
import { decode } from './decode.js';
import type { AnyMessage } from './message.js';
import { memorySource } from './source.js';
import { writeVarint } from './wire.js';

test('a message cut anywhere is refused, or is a shorter whole message', async () => {
  const bytes = new Uint8Array(Buffer.from(golden.models.controlFlow, 'base64'));
  let refused = 0;
  for (let length = 0; length < bytes.byteLength; length++) {
    const cut = bytes.subarray(0, length);
    try {
      expect(await encodeAll(await decode('ModelProto', memorySource(cut)))).toEqual(new Uint8Array(cut));
    } catch (error) {
      expect(error).toMatchObject({ name: 'PareError', code: 'bad-file' });
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(bytes.byteLength * 0.9);
});

test('errors name the place', async () => {
  const bytes = new Uint8Array(Buffer.from(golden.models.controlFlow, 'base64')).subarray(0, 300);
  await expect(decode('ModelProto', memorySource(bytes, 'm.onnx'))).rejects.toThrow(
    /^m\.onnx is not a whole ONNX file: it says that graph has \d+ bytes where \d+ are left: the file is truncated/,
  );
  const inner = delimited(7, delimited(1, delimited(5, [10, 100])));
  await expect(decode('ModelProto', memorySource(inner))).rejects.toThrow(
    /graph\.node\[0\]\.attribute\[0\] says that name has 100/,
  );
});

test('nesting is bounded', async () => {
  await expect(decode('NodeProto', memorySource(nestFrom(1000)))).rejects.toThrow(/nests more than 100/);
  const fits = await decode('NodeProto', memorySource(nestFrom(100)));
  expect(await encodeAll(forget(fits))).toEqual(nestFrom(100));
  await expect(decode('NodeProto', memorySource(nestFrom(101)))).rejects.toThrow(/nests more than 100/);
  const groups = new Uint8Array(5000).fill(0x7b);
  await expect(decode('ModelProto', memorySource(groups))).rejects.toThrow(/nests more than 100/);
});

/** A NodeProto with `levels` messages inside one another. */
function nestFrom(levels: number): Uint8Array {
  const path = Array.from({ length: levels }, (_, i) => [5, 6, 1][i % 3] as number);
  return path.reduceRight<Uint8Array>((content, number) => delimited(number, content), new Uint8Array(0));
}

test.each([
  ['GraphProto', 'empty nodes', [0x0a, 0]],
  ['AttributeProto', 'empty strings', [0x4a, 0]],
  ['StringStringEntryProto', 'unknown fields between known ones', [0x0a, 0, 0x78, 1]],
] as const)('a %s of millions of %s is refused before it fills the memory', async (name, _, element) => {
  const bytes = new Uint8Array(32_000_000);
  for (let i = 0; i < bytes.length; i++) bytes[i] = element[i % element.length] as number;
  const before = process.memoryUsage().heapUsed;
  await expect(decode(name, memorySource(bytes))).rejects.toThrow(/more elements than any model/);
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(1.5e9);
});

test('lengths beyond the file allocate nothing', async () => {
  for (const length of [2 ** 31, 2 ** 40, 2n ** 62n, 2n ** 64n - 1n]) {
    for (const tag of [18, 58]) {
      const bytes = new Uint8Array(20);
      bytes[0] = tag;
      const end = writeVarint(bytes, 1, length);
      await expect(decode('ModelProto', memorySource(bytes.subarray(0, end)))).rejects.toMatchObject({
        code: 'bad-file',
      });
    }
  }
});

test('mutated models are refused with a typed error, or read as protobuf-es reads them', async () => {
  const originals = Object.values(golden.models).map((text) => new Uint8Array(Buffer.from(text, 'base64')));
  const mutation = fc.record({ at: fc.nat(), byte: fc.nat(255), kind: fc.constantFrom('set', 'drop', 'insert') });
  const descriptor = descriptorOf('ModelProto');
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...originals),
      fc.array(mutation, { minLength: 1, maxLength: 4 }),
      async (original, edits) => {
        const list = [...original];
        for (const { at, byte, kind } of edits) {
          if (kind === 'set') list[at % list.length] = byte;
          else list.splice(at % list.length, kind === 'drop' ? 1 : 0, ...(kind === 'insert' ? [byte] : []));
        }
        const bytes = Uint8Array.from(list);
        let message: AnyMessage;
        try {
          message = await decode('ModelProto', memorySource(bytes));
        } catch (error) {
          expect(error).toMatchObject({ name: 'PareError', code: 'bad-file' });
          return;
        }
        expect(await encodeAll(message)).toEqual(bytes);
        // protobuf-es reads a known field whatever its wire type; Protocol Buffers makes it an unknown one, and so do we.
        if (hasUnknown(message)) return;
        compared++;
        let truth: Uint8Array;
        try {
          truth = toBinary(descriptor, fromBinary(descriptor, bytes));
        } catch {
          return; // protobuf-es is stricter about text.
        }
        const anew = toBinary(descriptor, fromBinary(descriptor, await encodeAll(forget(message))));
        expect(anew).toEqual(truth);
      },
    ),
    { seed: 13, numRuns: 4000 },
  );
  expect(compared).toBeGreaterThan(100);
});

function hasUnknown(message: AnyMessage): boolean {
  if (message.$unknown) return true;
  return message.$table.fields.some(({ name, kind }) => {
    const value = fieldsOf(message)[name];
    return kind === 'message' && value !== undefined && [value as AnyMessage].flat().some(hasUnknown);
  });
}
