import { fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import golden from '../../test/golden/codec.json' with { type: 'json' };
import { descriptorOf } from '../../test/protobuf-oracle.js';
import { decode } from './decode.js';
import { encode } from './encode.js';
import { AnyMessage, amend, createMessage, type PackedChunk } from './message.js';
import { allTables, type Field, type MessageName, type Table, tableOf } from './schema.js';
import { blobSource, bytesLength, loadBytes, memorySource } from './source.js';
import { readUtf8, writeVarint } from './wire.js';

async function encodeAll(message: AnyMessage): Promise<Uint8Array> {
  const { byteLength, parts } = encode(message);
  const whole = Buffer.concat(await Promise.all(parts.map(loadBytes)));
  expect(whole.byteLength).toBe(byteLength);
  return new Uint8Array(whole);
}

const fieldsOf = (message: AnyMessage) => message as unknown as Record<string, unknown>;

/** `message` as if it had been made by hand: nothing remembers the form in which it was read. */
function forget(message: AnyMessage): AnyMessage {
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

// ---- against Python: the schema ----

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

// ---- against protobuf-es: the wire format, in every form that it allows ----

/** Wire bytes of a random message, canonical or not. `wild` allows every liberty that Protocol Buffers grants a writer. */
class RandomMessage {
  private budget: number;

  constructor(
    private readonly random: () => number,
    private readonly wild: boolean,
  ) {
    this.budget = 60;
  }

  private below(n: number): number {
    return Math.floor(this.random() * n);
  }

  private chance(p: number): boolean {
    return this.random() < p;
  }

  message(table: Table, depth: number): number[] {
    const fields: number[][] = [];
    const taken = new Set<string>();
    for (const field of table.fields) {
      if (this.chance(0.4) || field.rivals.some((rival) => taken.has(rival))) continue;
      taken.add(field.name);
      fields.push(...this.field(field, depth));
    }
    if (this.chance(0.2)) fields.push(this.unknown());
    if (this.wild) {
      if (this.chance(0.3) && table.fields[0]) fields.push(...this.field(table.fields[0], depth));
      if (this.chance(0.3)) fields.sort(() => this.random() - 0.5);
    }
    return fields.flat();
  }

  /** Each element as its own piece, so that pieces of several fields may mix. */
  private field(field: Field, depth: number): number[][] {
    if (field.kind === 'message') {
      const count = field.repeated ? this.below(3) : this.wild && this.chance(0.2) ? 2 : 1;
      const pieces: number[][] = [];
      for (let i = 0; i < count && depth > 0 && this.budget-- > 0; i++) {
        pieces.push(this.delimited(field.number, this.message(field.table as Table, depth - 1)));
      }
      return pieces;
    }
    const packed = field.kind.startsWith('packed');
    if (!field.repeated && !packed) return [this.element(field, true)];
    const elements = Array.from({ length: 1 + this.below(4) }, () => this.element(field, false));
    const numeric = packed || field.wireType !== 2;
    const asPacked = numeric && (this.wild && this.chance(0.3) ? !packed : packed);
    if (asPacked) {
      const cut = this.wild && this.chance(0.3) ? this.below(elements.length + 1) : elements.length;
      const pieces = [this.delimited(field.number, elements.slice(0, cut).flat())];
      if (cut < elements.length) pieces.push(this.delimited(field.number, elements.slice(cut).flat()));
      return pieces;
    }
    if (!numeric) return elements.map((element) => [...this.varint(field.number * 8 + 2), ...element]);
    return elements.map((element) => [...this.varint(field.number * 8 + field.wireType), ...element]);
  }

  private element(field: Field, tagged: boolean): number[] {
    const tag = tagged ? this.varint(field.tag) : [];
    switch (field.kind.replace('packed ', '')) {
      case 'float':
        return [...tag, ...this.bytes(4, 0x7e)];
      case 'double':
        return [...tag, ...this.bytes(8, 0x7e)];
      case 'int32':
        return [...tag, ...this.varint(this.below(2) ? this.below(1000) : -this.below(1000) - 1)];
      case 'int64':
      case 'uint64':
        return [...tag, ...this.varint(BigInt.asIntN(64, BigInt(this.below(2 ** 32)) << BigInt(this.below(40))))];
      case 'string': {
        const text = [
          ...new TextEncoder().encode(['', 'x', 'näme', '層/1:0', 'a'.repeat(40)][this.below(5)] as string),
        ];
        return [...tag, ...this.varint(text.length), ...text];
      }
      default: {
        const bytes = this.bytes(this.chance(0.05) ? 1500 : this.below(5), 255);
        return [...tag, ...this.varint(bytes.length), ...bytes];
      }
    }
  }

  private unknown(): number[] {
    const number = 900 + this.below(3);
    const kinds = [
      () => [...this.varint(number * 8), ...this.varint(this.below(1000))],
      () => [...this.varint(number * 8 + 1), ...this.bytes(8, 255)],
      () => this.delimited(number, this.bytes(this.chance(0.1) ? 1500 : 3, 255)),
      () => [...this.varint(number * 8 + 3), ...this.varint(8), 1, ...this.varint(number * 8 + 4)],
      () => [...this.varint(number * 8 + 5), ...this.bytes(4, 255)],
    ];
    return (kinds[this.below(kinds.length)] as () => number[])();
  }

  private delimited(number: number, content: number[]): number[] {
    return [...this.varint(number * 8 + 2), ...this.varint(content.length), ...content];
  }

  private bytes(length: number, max: number): number[] {
    return Array.from({ length }, () => this.below(max + 1));
  }

  private varint(value: number | bigint): number[] {
    const target = new Uint8Array(10);
    const length = writeVarint(target, 0, value);
    const bytes = [...target.subarray(0, length)];
    if (this.wild && length < 9 && this.chance(0.03)) {
      bytes[length - 1] = (bytes[length - 1] as number) | 128;
      bytes.push(0);
    }
    return bytes;
  }
}

function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

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

const delimited = (number: number, content: Uint8Array | number[]): Uint8Array => {
  const head = new Uint8Array(20);
  const at = writeVarint(head, writeVarint(head, 0, number * 8 + 2), content.length);
  return Uint8Array.from([...head.subarray(0, at), ...content]);
};

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

// ---- hostile files ----

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

test('a small file of very many tiny elements is refused before it fills the memory', async () => {
  const bytes = new Uint8Array(10_000_000);
  // GraphProto.node (1), empty: two bytes each.
  for (let i = 0; i < bytes.length; i += 2) bytes[i] = 10;
  await expect(decode('GraphProto', memorySource(bytes))).rejects.toThrow(/more than \d+ elements/);
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

test('text that is not UTF-8 comes back as the same bytes', async () => {
  const bytes = delimited(3, [0x61, 0xff, 0xc3]);
  const node = await decode('NodeProto', memorySource(bytes));
  expect(node.name).toBe(readUtf8(new Uint8Array([0x61, 0xff, 0xc3])));
  expect(await encodeAll(forget(node))).toEqual(bytes);
});

test('the tables are keyed by full names', () => {
  expect(tableOf('TypeProto.Tensor').fields.map((f) => f.name)).toEqual(['elem_type', 'shape']);
  expect(tableOf('TensorProto').fields).toHaveLength(15);
});
