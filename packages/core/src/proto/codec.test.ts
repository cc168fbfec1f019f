import { fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { delimited, encodeAll, forget } from '../../test/messages.js';
import { descriptorOf } from '../../test/protobuf-oracle.js';
import { RandomMessage, seeded } from '../../test/random-message.js';
import { decode } from './decode.js';
import { encode } from './encode.js';
import { amend, createMessage } from './message.js';
import { allTables } from './schema.js';
import { blobSource, bytesLength, memorySource } from './source.js';
import { readUtf8 } from './wire.js';

// ---- against protobuf-es: the wire format, in every form that it allows ----

const cases = fc.record({
  seed: fc.nat({ max: 2 ** 31 }),
  table: fc.constantFrom(...allTables),
  wild: fc.boolean(),
});

test('whatever a writer may write is read as protobuf-es reads it, and written back to the same bytes', async () => {
  let canonical = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ seed, table, wild }) => {
      const bytes = new Uint8Array(new RandomMessage(seeded(seed), wild).message(table, 4));
      const descriptor = descriptorOf(table.name);
      const truth = toBinary(descriptor, fromBinary(descriptor, bytes));
      const message = await decode(table.name, memorySource(bytes));
      // Untouched: the same bytes, in whatever form they were.
      expect(await encodeAll(message)).toEqual(bytes);
      // Encoded anew: what protobuf-es makes of it.
      const anew = await encodeAll(forget(message));
      expect(toBinary(descriptor, fromBinary(descriptor, anew))).toEqual(truth);
      if (!wild) expect(anew).toEqual(truth);
      if (Buffer.compare(anew, bytes) === 0) canonical++;
    }),
    { seed: 11, numRuns: 1500 },
  );
  // Both sorts were there.
  expect(canonical).toBeGreaterThan(500);
  expect(canonical).toBeLessThan(1490);
});

test('a source that answers later, and one read through small windows, give the same messages', async () => {
  await fc.assert(
    fc.asyncProperty(cases, async ({ seed, table, wild }) => {
      const bytes = new Uint8Array(new RandomMessage(seeded(seed), wild).message(table, 4));
      const later = await decode(table.name, blobSource(new Blob([bytes])));
      expect(await encodeAll(later)).toEqual(bytes);
      const reads: number[] = [];
      const memory = memorySource(bytes);
      const slow = {
        name: 'slow',
        size: bytes.byteLength,
        read: memory.read,
        readSync: (offset: number, target: Uint8Array) => {
          reads.push(target.byteLength);
          memory.readSync?.(offset, target);
        },
      };
      const windowed = await decode(table.name, slow);
      expect(reads.length > 0).toBe(bytes.length > 0);
      expect(await encodeAll(forget(windowed))).toEqual(await encodeAll(forget(later)));
    }),
    { seed: 12, numRuns: 300 },
  );
});

// ---- laziness, presence, edits ----

test('blobs and packed fields over 1024 bytes stay in the source, and the bytes in between are never read', async () => {
  const big = new Uint8Array(3_000_000).fill(1);
  const tensor = Buffer.concat([
    delimited(4, new Uint8Array(4096)),
    delimited(9, new Uint8Array(1024)),
    delimited(8, [0x77]),
  ]);
  const other = delimited(9, big);
  const file = Buffer.concat([delimited(5, tensor), delimited(5, other), delimited(5, other), delimited(10, [0x64])]);
  let read = 0;
  const memory = memorySource(new Uint8Array(file));
  const graph = await decode('GraphProto', {
    name: 'counting',
    size: file.byteLength,
    read: async (offset, length) => {
      read += length;
      return memory.read(offset, length);
    },
  });
  expect(read).toBeLessThan(100_000);
  const [first, second] = graph.initializer ?? [];
  expect(first?.raw_data).toBeInstanceOf(Uint8Array);
  expect(first?.float_data?.[0]?.bytes).toMatchObject({ length: 4096 });
  expect(second?.raw_data).toMatchObject({ length: 3_000_000 });
  expect(graph.doc_string).toBe('d');
});

test('an explicit default is kept apart from an absent field', async () => {
  const bytes = new Uint8Array([8, 0, 18, 0, 58, 0]);
  const model = await decode('ModelProto', memorySource(bytes));
  expect([model.ir_version, model.producer_name, model.producer_version]).toEqual([0, '', undefined]);
  expect(await encodeAll(forget(model))).toEqual(bytes);
});

test('NaN keeps its payload, padded numbers their padding, until the message is edited', async () => {
  const bytes = new Uint8Array([10, 1, 0x61, 21, 1, 0, 0x80, 0x7f, 0xa0, 1, 0x81, 0]);
  const attribute = await decode('AttributeProto', memorySource(bytes));
  expect(attribute.f).toBeNaN();
  expect(await encodeAll(attribute)).toEqual(bytes);
  const edited = await encodeAll(amend('AttributeProto', attribute, { name: 'b' }));
  expect([...edited.subarray(0, 3)]).toEqual([10, 1, 0x62]);
  expect([...edited.subarray(8)]).toEqual([0xa0, 1, 1]);
});

test('an edit deep inside an oddly written file leaves the rest as it was', async () => {
  // Two nodes whose fields are out of order, in a graph whose name comes first.
  const node = (name: number) => delimited(1, [34, 1, 0x4f, 26, 1, name]);
  const bytes = Uint8Array.from([...delimited(2, [0x67]), ...node(0x61), ...node(0x62)]);
  const graph = await decode('GraphProto', memorySource(bytes));
  const [a, b] = graph.node ?? [];
  const edited = amend('GraphProto', graph, { node: [a as never, amend('NodeProto', b, { op_type: 'X' })] });
  expect([...(await encodeAll(edited))]).toEqual([
    ...node(0x61),
    ...delimited(1, [26, 1, 0x62, 34, 1, 0x58]),
    ...delimited(2, [0x67]),
  ]);
});

test('amend keeps unknown fields and gives the message itself when nothing changes', async () => {
  const bytes = Uint8Array.from([...delimited(1, [0x6b]), ...delimited(2, [0x76]), 0xfa, 0x3f, 1, 7]);
  const entry = await decode('StringStringEntryProto', memorySource(bytes));
  expect(amend('StringStringEntryProto', entry, { key: 'k', value: 'v' })).toBe(entry);
  const edited = await encodeAll(amend('StringStringEntryProto', entry, { value: 'w' }));
  expect([...edited]).toEqual([...delimited(1, [0x6b]), ...delimited(2, [0x77]), 0xfa, 0x3f, 1, 7]);
});

test('sizes beyond 2^32 add up', () => {
  const piece = (byteLength: number) => ({ byteLength, produce: () => new Uint8Array(0) });
  const tensor = createMessage('TensorProto', { raw_data: piece(3 * 2 ** 31) });
  const graph = createMessage('GraphProto', { initializer: [tensor, tensor] });
  const { byteLength, parts } = encode(graph);
  expect(byteLength).toBe(2 * (3 * 2 ** 31 + 6 + 6));
  expect(parts.reduce((sum, part) => sum + bytesLength(part), 0)).toBe(byteLength);
});

test('a producer that makes another number of bytes than it said is refused', async () => {
  const tensor = createMessage('TensorProto', { raw_data: { byteLength: 4, produce: () => new Uint8Array(3) } });
  await expect(encodeAll(tensor)).rejects.toMatchObject({ code: 'bad-data' });
});

test('text that is not UTF-8 comes back as the same bytes', async () => {
  const bytes = delimited(3, [0x61, 0xff, 0xc3]);
  const node = await decode('NodeProto', memorySource(bytes));
  expect(node.name).toBe(readUtf8(new Uint8Array([0x61, 0xff, 0xc3])));
  expect(await encodeAll(forget(node))).toEqual(bytes);
});
