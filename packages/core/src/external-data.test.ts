import { describe, expect, test } from 'vitest';
import { GraphBuilder } from './builder.js';
import type { Model } from './ir/model.js';
import { Tensor } from './ir/tensor.js';
import { decode } from './proto/decode.js';
import { encode } from './proto/encode.js';
import { amend, createMessage, type Message } from './proto/message.js';
import { loadBytes, memorySource } from './proto/source.js';
import { parseModel } from './read.js';
import { serializeModel } from './write.js';

function weights(count: number, elements: number): Model {
  const b = new GraphBuilder();
  let y = b.input('x', 'float32', [elements]);
  for (let i = 0; i < count; i++) y = b.op('Add', [y, b.random([elements], { name: `w${i}` })]);
  return b.output('y', y).model({ opset: 18 });
}

type Options = Parameters<typeof serializeModel>[1];

async function filesOf(model: Model, options: Options): Promise<Map<string, Uint8Array>> {
  const { file, dataFiles } = serializeModel(model, options);
  const entries = [file, ...dataFiles].map(async (f) => [f.name, await f.bytes()] as const);
  return new Map(await Promise.all(entries));
}

const placesOf = async (bytes: Uint8Array) =>
  ((await decode('ModelProto', memorySource(bytes))).graph?.initializer ?? []).map((tensor) =>
    Object.fromEntries((tensor.external_data ?? []).map((entry) => [entry.key, entry.value])),
  );

async function expectSameWeights(a: Model, b: Model): Promise<void> {
  const values = [...b.graph.initializers];
  for (const [i, value] of [...a.graph.initializers].entries()) {
    expect(values[i]?.name).toBe(value.name);
    const [before, after] = [await value.initializer?.load(), await values[i]?.initializer?.load()];
    expect(Buffer.compare(after ?? new Uint8Array(0), before ?? new Uint8Array(0))).toBe(0);
  }
}

/** Compares bytes as bytes: a matcher that walks them takes minutes. */
const hex = (files: ReadonlyMap<string, Uint8Array>) =>
  [...files].map(([name, bytes]) => [name, Buffer.from(bytes).toString('base64')]);

test('weights go to one file named as Hugging Face has it, large ones at page boundaries, and come back', async () => {
  const model = weights(3, 300_001);
  const files = await filesOf(model, { externalData: true, name: 'model_fp16.onnx' });
  expect([...files.keys()]).toEqual(['model_fp16.onnx', 'model_fp16.onnx_data']);
  const main = files.get('model_fp16.onnx') as Uint8Array;
  expect(main.byteLength).toBeLessThan(1000);
  for (const place of await placesOf(main)) {
    expect(place).toMatchObject({ location: 'model_fp16.onnx_data', length: '1200004' });
    expect(Number(place.offset) % 4096).toBe(0);
  }
  const again = await parseModel(main, { externalFiles: (location) => files.get(location) });
  await expectSameWeights(model, again);
  // External it was read, external it is written: an untouched model gives the same files.
  expect(hex(await filesOf(again, { name: 'model_fp16.onnx' }))).toEqual(hex(files));
  // And inline again: as if it had never been outside.
  const inline = await serializeModel(again, { externalData: false }).file.bytes();
  expect(Buffer.compare(inline, await serializeModel(model).file.bytes())).toBe(0);
});

test('shards close before they grow too large; small tensors and strings stay inside', async () => {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', [1000]);
  const y = b.op('Add', [b.op('Add', [x, b.random([1000], { name: 'w0' })]), b.random([1000], { name: 'w1' })]);
  const z = b.op('Add', [b.op('Add', [y, b.random([5000], { name: 'w2' })]), b.random([10], { name: 'small' })]);
  b.node('Custom', [b.constant(Tensor.strings([1], ['s'.repeat(5000)]), 'text')], {}, { domain: 'test' });
  const model = b.output('y', z).model({ opset: 18 });
  const files = await filesOf(model, { externalData: { shardBytes: 9000 }, name: 'm.onnx' });
  expect([...files].map(([name, bytes]) => [name, bytes.byteLength])).toEqual([
    ['m.onnx', expect.any(Number)],
    ['m.onnx_data', 8032],
    ['m.onnx_data_1', 20_000],
  ]);
  const again = await parseModel(files.get('m.onnx') as Uint8Array, { externalFiles: (name) => files.get(name) });
  expect(again.graph.value('small')?.initializer?.data.kind).toBe('bytes');
  for (const name of ['w0', 'w1', 'w2', 'small']) {
    expect(await again.graph.value(name)?.initializer?.load()).toEqual(
      await model.graph.value(name)?.initializer?.load(),
    );
  }
});

test('tied weights are stored once', async () => {
  const b = new GraphBuilder();
  const shared = Tensor.of('float32', [1000], new Float32Array(1000).fill(3));
  const y = b.op('Add', [b.constant(shared, 'a'), b.constant(shared, 'b')]);
  const files = await filesOf(b.output('y', y).model({ opset: 18 }), { externalData: true });
  expect(files.get('model.onnx_data')?.byteLength).toBe(4000);
  const [first, second] = await placesOf(files.get('model.onnx') as Uint8Array);
  expect(second).toEqual(first);
});

test('file names are the caller’s to choose, but not to misuse', async () => {
  const model = weights(2, 1000);
  const named = (fileName: (i: number) => string) =>
    serializeModel(model, { externalData: { fileName, shardBytes: 4000 } }).dataFiles.map((f) => f.name);
  expect(named((i) => `part-${i}.bin`)).toEqual(['part-0.bin', 'part-1.bin']);
  for (const name of ['../x', 'a/b', '', '..', 'model.onnx', 'same']) {
    expect(() => named(() => name)).toThrow(/is no name for a data file/);
  }
});

describe('references that cannot be followed are refused', () => {
  const model = weights(1, 1000);
  const edited = async (entries: Record<string, string>): Promise<Uint8Array> => {
    const files = await filesOf(model, { externalData: true });
    const proto = await decode('ModelProto', memorySource(files.get('model.onnx') as Uint8Array));
    const tensor = proto.graph?.initializer?.[0] as Message<'TensorProto'>;
    const external_data = Object.entries(entries).map(([key, value]) =>
      createMessage('StringStringEntryProto', { key, value }),
    );
    const graph = amend('GraphProto', proto.graph, { initializer: [amend('TensorProto', tensor, { external_data })] });
    const { parts } = encode(amend('ModelProto', proto, { graph }));
    return new Uint8Array(Buffer.concat(await Promise.all(parts.map(loadBytes))));
  };
  const data = new Uint8Array(5000);
  const parse = async (entries: Record<string, string>) =>
    parseModel(await edited(entries), { externalFiles: (name) => (name.endsWith('.bin') ? data : undefined) });

  test.each([
    '/etc/passwd',
    '../weights.bin',
    'a/../../weights.bin',
    '..\\weights.bin',
    'C:\\weights.bin',
    'c:weights.bin',
    '\\\\host\\weights.bin',
    'a\0.bin',
  ])('%s leads out of the folder', async (location) => {
    await expect(parse({ location })).rejects.toMatchObject({
      code: 'bad-model',
      message: expect.stringMatching(/Initializer "w0" wants to be read from .* outside the model's folder\. Refused/),
    });
  });

  test.each<[Record<string, string>, string, RegExp]>([
    [{ location: 'gone.dat' }, 'io', /"w0" lies in the file "gone\.dat", which is missing/],
    [{ location: 'w.bin', offset: '2000' }, 'bad-file', /bytes 2000 to 6000 of "w\.bin", which has 5000/],
    [{ location: 'w.bin', length: '4004' }, 'bad-model', /needs 4000 bytes, but has 4004/],
    [{ location: 'w.bin', offset: '-1' }, 'bad-model', /offset "-1"/],
    [{ location: 'w.bin', offset: '1e3' }, 'bad-model', /no byte count/],
    [{ location: 'w.bin', length: '99999999999999999999' }, 'bad-model', /no byte count/],
    [{ offset: '0' }, 'bad-model', /names no file/],
  ])('%o', async (entries, code, message) => {
    await expect(parse(entries)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });

  test('offset and length may be left out; names that only look odd are names', async () => {
    for (const location of ['w.bin', 'sub/w.bin', '..w.bin', 'a..b.bin']) {
      const again = await parse({ location });
      expect(await again.graph.value('w0')?.initializer?.load()).toEqual(new Uint8Array(4000));
    }
  });
});
