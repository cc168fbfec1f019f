import { type Feeds, GraphBuilder, type Model, type Node, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { calibrate } from './calibrate.js';
import { type QuantizeStaticOptions, quantizeStatic } from './static.js';

const engine = nodeEngine();
afterAll(() => engine.close());

function uniform(count: number, seed: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 31 - 1;
  });
}
const samples: Feeds[] = Array.from({ length: 6 }, (_, i) => ({
  x: { dtype: 'float32', dims: [1, 3, 8, 8], data: uniform(192, i + 1) },
}));

const conv = (b: GraphBuilder, x: Value, inputs: number, outputs: number, name = ''): Value =>
  b.node(
    'Conv',
    [x, b.random([outputs, inputs, 3, 3], { scale: 0.3 }), b.random([outputs])],
    { pads: [1, 1, 1, 1] },
    { name },
  ).output;

/** Every operator with integer inputs of its own, and some that move elements. */
function network(opset = 17): Model {
  const b = new GraphBuilder({ seed: 11 });
  const a = b.op('Relu', [conv(b, b.input('x', 'float32', ['n', 3, 8, 8]), 3, 4)]);
  const c = b.op('MaxPool', [conv(b, a, 4, 4)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
  const d = b.op('Add', [conv(b, a, 4, 4), c]);
  const gate = b.op('Sigmoid', [conv(b, d, 4, 4)]);
  const e = b.op('Concat', [b.op('Mul', [conv(b, d, 4, 4), gate]), a], { axis: 1 });
  const f = b.op('Flatten', [b.op('GlobalAveragePool', [conv(b, e, 8, 6)])]);
  const g = b.op('Gemm', [f, b.random([6, 5]), b.random([5])]);
  const y = b.op('MatMul', [g, b.random([5, 3])]);
  return b.output('y', y, 'float32', ['n', 3]).model({ opset });
}

const types = (model: Model): string[] => [...model.graph.nodes()].map((n: Node) => n.opType);

async function answers(model: Model): Promise<number[]> {
  const session = await engine.open(model, { optimization: 'disabled' });
  const all: number[] = [];
  for (const feeds of samples) {
    for (const { data } of Object.values(await session.run(feeds))) all.push(...(data as Float32Array));
  }
  await session.close();
  return all;
}

async function both(model: Model, options: Partial<QuantizeStaticOptions> = {}) {
  const calibration = await calibrate(model, samples, { engine, method: 'min-max' });
  const [qdq, qoperator] = [model.clone(), model.clone()];
  await qdq.transform(quantizeStatic({ calibration, ...options }), { engine });
  const [result] = await qoperator.transform(quantizeStatic({ calibration, ...options, format: 'qoperator' }), {
    engine,
  });
  return { qdq, qoperator, notes: result?.notes ?? [] };
}

function relativeError(expected: readonly number[], got: readonly number[]): number {
  const noise = expected.reduce((sum, v, i) => sum + (v - (got[i] as number)) ** 2, 0);
  return Math.sqrt(noise / expected.reduce((sum, v) => sum + v * v, 0));
}

describe('format qoperator', () => {
  it.each([
    { guard: 'pairs' },
    { guard: 'reduced', perChannel: false },
    { weights: 'uint8' },
    { activations: 'int8', guard: 'reduced' },
  ] as const)('computes what the pairs of the QDQ form say: %j', async (options) => {
    const { qdq, qoperator, notes } = await both(network(), options);
    const found = new Set(types(qoperator));
    const integer = ['QLinearConv', 'QLinearAdd', 'QLinearMul', 'QLinearSigmoid', 'QLinearConcat'];
    for (const opType of [...integer, 'QLinearGlobalAveragePool', 'QGemm', 'MaxPool', 'Flatten']) {
      expect(found, opType).toContain(opType);
    }
    for (const opType of ['Conv', 'Gemm', 'MatMul', 'Add', 'Mul', 'Relu']) expect(found).not.toContain(opType);
    expect(notes.filter((note) => note.includes('keeps its pairs'))).toEqual([]);
    expect(relativeError(await answers(qdq), await answers(qoperator))).toBeLessThan(0.02);
  });

  it('gives floats only at the inputs and outputs of the graph', async () => {
    const { qoperator } = await both(network());
    const quantize = [...qoperator.graph.nodes()].filter((n) => n.opType === 'QuantizeLinear');
    expect(quantize.map((n) => n.inputs[0]?.name)).toEqual(['x']);
    expect(types(qoperator)).not.toContain('DequantizeLinear');
    expect(qoperator.graph.inputs.map((v) => [v.name, v.dtype])).toEqual([['x', 'float32']]);
    expect(qoperator.graph.outputs.map((v) => [v.name, v.dtype])).toEqual([['y', 'float32']]);
    // Neither a weight nor a parameter in float is left behind for nothing.
    for (const value of qoperator.graph.initializers) expect(value.uses.size, value.name).toBeGreaterThan(0);
  });

  it('keeps the pairs of a convolution whose own result is read as float, and says so', async () => {
    const b = new GraphBuilder({ seed: 4 });
    const a = conv(b, b.input('x', 'float32', ['n', 3, 8, 8]), 3, 4, 'first');
    const model = b.output('y', b.op('Softmax', [b.op('Relu', [a])]), 'float32').model();
    // An activation of int8 around zero reaches below it: the Relu stays, between the convolution and its QuantizeLinear.
    const { qdq, qoperator, notes } = await both(model, { activations: 'int8', symmetric: true, guard: 'reduced' });
    expect(types(qoperator)).toContain('Conv');
    expect(types(qoperator)).toContain('Relu');
    expect(notes.join('\n')).toMatch(/Conv "first" keeps its pairs/);
    expect(relativeError(await answers(qdq), await answers(qoperator))).toBeLessThan(1e-6);
  });
});
