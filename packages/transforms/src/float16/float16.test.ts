import {
  check,
  type Engine,
  type Feeds,
  GraphBuilder,
  type HostTensor,
  type Model,
  Tensor,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { quantizeDynamic } from '../quantize/dynamic.js';
import { type Float16Options, float16 } from './float16.js';

const engine: Engine = nodeEngine();
afterAll(() => engine.close());

const EXACT = { optimization: 'disabled' } as const;

/**
 * ONNX Runtime's CPU provider computes float16 in float32 and skips the rounding between two such kernels. Two
 * Identities after every float16 value (one alone is moved to float32) make it round, as a GPU does.
 */
function rounding(model: Model): Model {
  const copy = model.clone();
  for (const graph of copy.graph.graphs()) {
    for (const node of [...graph.nodes()]) {
      for (const value of node.outputs) {
        if (value?.dtype !== 'float16' || value.isGraphOutput) continue;
        const uses = [...value.uses];
        const first = graph.addNode('Identity', [value], { before: node._next });
        const rounded = graph.addNode('Identity', [first.output], { before: first._next });
        for (const use of uses) use.node.setInput(use.index, rounded.output);
      }
    }
  }
  return copy;
}

const operators = (model: Model): string[] => [...model.allNodes()].map((node) => node.opType);
const casts = (model: Model): number => operators(model).filter((op) => op === 'Cast').length;
const constants = (model: Model, dtype: string): number =>
  [...model.graph.initializers].filter((v) => v.initializer?.dtype === dtype).length;

interface Converted {
  readonly db: number;
  readonly model: Model;
  readonly notes: string;
  readonly outputs: Record<string, HostTensor>;
}

/** The float16 model against the float32 one, as ONNX Runtime answers. `measure` gives it the feeds as samples. */
async function converted(
  model: Model,
  feeds: Feeds,
  options: Float16Options & { measure?: boolean } = {},
): Promise<Converted> {
  const before = await runModel(engine, model, feeds, EXACT);
  const copy = model.clone();
  const { measure, ...rest } = options;
  const [result] = await copy.transform(float16(measure ? { ...rest, samples: [feeds] } : rest), { engine });
  const outputs = await runModel(engine, rounding(copy), feeds, EXACT);
  const db = Math.min(
    ...Object.entries(before)
      .filter(([, tensor]) => tensor.dtype === 'float32')
      .map(([name, tensor]) => sqnr(tensor, outputs[name])),
  );
  return { db, model: copy, notes: result?.notes.join('\n') ?? '', outputs };
}

/** Conv -> BatchNormalization -> Relu -> GlobalAveragePool -> Flatten -> Gemm. */
function network(): Model {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 3, 12, 12]);
  const ones = Tensor.of('float32', [8], new Float32Array(8).fill(1));
  let y = b.op('Conv', [x, b.random([8, 3, 3, 3]), b.random([8])], { pads: [1, 1, 1, 1] });
  y = b.op('BatchNormalization', [y, ones, b.random([8]), b.random([8]), ones]);
  y = b.op('Flatten', [b.op('GlobalAveragePool', [b.op('Relu', [y])])]);
  return b.output('y', b.op('Gemm', [y, b.random([8, 5]), b.random([5])]), 'float32', ['n', 5]).model();
}

describe('float16', () => {
  it('halves a network and casts at its borders only', async () => {
    const { db, model } = await converted(network(), { x: normal([2, 3, 12, 12]) });
    expect(db).toBeGreaterThan(55);
    expect(casts(model)).toBe(2);
    expect(constants(model, 'float32')).toBe(0);
    expect(model.graph.inputs[0]?.dtype).toBe('float32');
    expect(model.graph.outputs.map((v) => [v.name, v.dtype])).toEqual([['y', 'float32']]);
  });

  it('can change inputs and outputs too', async () => {
    const model = network();
    await model.transform(float16({ keepIo: false }));
    expect(casts(model)).toBe(0);
    const session = await engine.open(model);
    expect(session.inputs.map((p) => p.dtype)).toEqual(['float16']);
    expect(session.outputs.map((p) => p.dtype)).toEqual(['float16']);
    await session.close();
  });

  it('leaves a chain alone that would need more casts than it saves', async () => {
    const b = new GraphBuilder();
    const y = b.op('Tanh', [b.op('Relu', [b.input('x', 'float32', [4, 4])])]);
    const { model } = await converted(b.output('y', y, 'float32', [4, 4]).model(), { x: normal([4, 4]) });
    expect(operators(model)).toEqual(['Relu', 'Tanh']);
  });

  it('keeps in float32 what the samples show to overflow, and only that', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const big = b.op('MatMul', [b.op('MatMul', [x, b.random([32, 32])]), b.random([32, 32], { scale: 1.2e4 })]);
    const small = b.op('Mul', [big, Tensor.of('float32', [], [1e-5])]);
    b.output('y', b.op('MatMul', [small, b.random([32, 8])]), 'float32', [4, 8]);
    const blind = await converted(b.model(), { x: normal([4, 32]) });
    expect(blind.outputs.y?.data as Float32Array).toSatisfy((v: Float32Array) => v.some((e) => !Number.isFinite(e)));
    expect(blind.notes).toMatch(/No ranges were measured/);
    const { db, model, notes } = await converted(b.model(), { x: normal([4, 32]) }, { measure: true });
    expect(db).toBeGreaterThan(50);
    expect(notes).toMatch(/stays float32: it reaches/);
    // x down, up before the big product, down after it, y up.
    expect(casts(model)).toBe(4);
    expect(constants(model, 'float16')).toBe(2);
  });

  it('clamps constants beyond float16 where they are bounds, and says how many and how large', async () => {
    const b = new GraphBuilder();
    const bound = Tensor.of('float32', [], [3.4e38]);
    const y = b.op('MatMul', [b.input('x', 'float32', [4, 32]), b.random([32, 32])]);
    const clipped = b.op('Clip', [y, Tensor.of('float32', [], [-0.5]), b.constant(bound, 'upper')]);
    b.output('y', b.op('MatMul', [clipped, b.random([32, 8])]), 'float32', [4, 8]);
    const { db, notes, model } = await converted(b.model(), { x: normal([4, 32]) });
    expect(db).toBeGreaterThan(50);
    expect(notes).toMatch(/"upper": 1 elements beyond float16 \(up to 3.40e\+38\) became \+-65504/);
    expect(casts(model)).toBe(2);
  });

  it('keeps a weight beyond float16, and an epsilon below it, in float32', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const large = b.op('MatMul', [x, b.random([32, 32], { scale: 5e4 })]);
    const small = b.op('MatMul', [b.op('Mul', [large, Tensor.of('float32', [], [1e-6])]), b.random([32, 32])]);
    const zeros = b.op('Mul', [small, Tensor.of('float32', [], [0])]);
    const safe = b.op('Add', [zeros, b.constant(Tensor.of('float32', [], [1e-12]), 'epsilon')]);
    b.output('y', b.op('Add', [b.op('Div', [zeros, safe]), small]), 'float32', [4, 32]);
    const { db, notes } = await converted(b.model(), { x: normal([4, 32]) });
    expect(db).toBeGreaterThan(50);
    expect(notes).toMatch(/"weight" reaches [-\d.e+]+, beyond float16/);
    expect(notes).toMatch(/"epsilon" \(9.99\d+e-13\) would be 0 in float16/);
  });

  it('gives attention masks a minus infinity that float16 has, also behind measured ranges', async () => {
    for (const infinity of [-1e9, -3.4028234663852886e38]) {
      const b = new GraphBuilder();
      const q = b.op('MatMul', [b.input('x', 'float32', [6, 32]), b.random([32, 32])]);
      const scores = b.op('MatMul', [q, b.op('Transpose', [q], { perm: [1, 0] })]);
      const padding = b.op('Sub', [Tensor.of('float32', [], [1]), b.input('keep', 'float32', [1, 6])]);
      const masked = b.op('Add', [scores, b.op('Mul', [padding, Tensor.of('float32', [], [infinity])])]);
      b.output('y', b.op('MatMul', [b.op('Softmax', [masked]), q]), 'float32', [6, 32]);
      const keep: HostTensor = { dtype: 'float32', dims: [1, 6], data: Float32Array.of(1, 1, 1, 1, 0, 0) };
      for (const measure of [false, true]) {
        const { db, model, notes } = await converted(b.model(), { x: normal([6, 32]), keep }, { measure });
        expect(db).toBeGreaterThan(45);
        expect(notes).toMatch(/1 attention masks now use -30000/);
        expect(casts(model)).toBe(3);
      }
    }
  });

  it('keeps sums that overflow inside in float32: a mean of many large values', async () => {
    const b = new GraphBuilder();
    const y = b.op('MatMul', [b.input('x', 'float32', [4, 256]), b.random([256, 256], { scale: 20 })]);
    const mean = b.op('ReduceMean', [b.op('Abs', [y]), [-1]]);
    b.output('y', b.op('MatMul', [b.op('Div', [y, mean]), b.random([256, 8])]), 'float32', [4, 8]);
    const { db, notes } = await converted(b.model(), { x: normal([4, 256]) }, { measure: true });
    expect(notes).toMatch(/ReduceMean .*: float32, because its sum may overflow/);
    expect(db).toBeGreaterThan(50);
  });

  it('keeps squares in float32 until someone has measured: LayerNorm written out', async () => {
    const b = new GraphBuilder();
    const x = b.op('MatMul', [b.input('x', 'float32', [4, 64]), b.random([64, 64], { scale: 60 })]);
    const centred = b.op('Sub', [x, b.op('ReduceMean', [x, [-1]])]);
    const variance = b.op('ReduceMean', [b.op('Pow', [centred, Tensor.of('float32', [], [2])]), [-1]]);
    const deviation = b.op('Sqrt', [b.op('Add', [variance, Tensor.of('float32', [], [1e-5])])]);
    b.output('y', b.op('MatMul', [b.op('Div', [centred, deviation]), b.random([64, 8])]), 'float32', [4, 8]);
    for (const measure of [false, true]) {
      const { db, model } = await converted(b.model(), { x: normal([4, 64]) }, { measure });
      expect(db).toBeGreaterThan(50);
      // In, out, down before Pow, up after the root (or as near).
      expect(casts(model)).toBeLessThanOrEqual(5);
    }
  });

  it('leaves the statistics of a LayerNormalization in float32', async () => {
    const b = new GraphBuilder();
    const y = b.op('MatMul', [b.input('x', 'float32', [4, 32]), b.random([32, 32])]);
    const norm = b.node('LayerNormalization', [y, b.random([32])], {}, { outputs: ['n', 'mean', 'inverse'] });
    const [n, mean, inverse] = norm.outputs as [Value, Value, Value];
    const shifted = b.op('Mul', [b.op('Add', [n, mean]), inverse]);
    b.output('y', b.op('MatMul', [shifted, b.random([32, 8])]), 'float32', [4, 8]);
    const { db, model } = await converted(b.model(), { x: normal([4, 32]) });
    expect(db).toBeGreaterThan(50);
    expect(model.graph.value('mean')?.dtype).not.toBe('float16');
  });

  it('leaves the float32 inputs of Resize and Upsample, and RoiAlign and its boxes', async () => {
    for (const opset of [9, 13, 19]) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', [1, 3, 8, 8]);
      let y = b.op('Conv', [x, b.random([8, 3, 3, 3])]);
      const scales = Tensor.of('float32', [4], [1, 1, 2, 2]);
      y = opset === 9 ? b.op('Upsample', [y, scales]) : b.op('Resize', [y, null, scales], { mode: 'linear' });
      b.output('y', b.op('Conv', [y, b.random([4, 8, 3, 3])]), 'float32');
      const { db, model } = await converted(b.model({ opset }), { x: normal([1, 3, 8, 8]) });
      expect(db).toBeGreaterThan(50);
      expect(casts(model)).toBe(2);
      expect(constants(model, 'float32')).toBe(1);
    }
    const b = new GraphBuilder();
    const y = b.op('Conv', [b.input('x', 'float32', [1, 3, 12, 12]), b.random([8, 3, 3, 3])]);
    const boxes = b.input('boxes', 'float32', [2, 4]);
    const pooled = b.op('RoiAlign', [y, boxes, [0, 0]], { output_height: 2, output_width: 2 });
    b.output('y', b.op('Conv', [pooled, b.random([4, 8, 1, 1])]), 'float32');
    const rois: HostTensor = { dtype: 'float32', dims: [2, 4], data: Float32Array.of(0, 0, 7, 8, 2, 1, 9, 9) };
    const { db } = await converted(b.model({ opset: 16 }), { x: normal([1, 3, 12, 12]), boxes: rois });
    expect(db).toBeGreaterThan(50);
  });

  it('patches casts of the model and the types that others name', async () => {
    const b = new GraphBuilder();
    const ids = b.input('ids', 'int64', [4]);
    const hot = b.op('Cast', [b.op('Equal', [ids, [2]])], { to: 1 });
    const table = b.op('Gather', [b.random([64, 32]), ids]);
    const filled = b.op('ConstantOfShape', [[32]], { value: Tensor.of('float32', [1], [0.5]) });
    const y = b.op('Add', [b.op('Mul', [table, b.op('Unsqueeze', [hot, [1]])]), filled]);
    b.output('y', b.op('MatMul', [y, b.random([32, 8])]), 'float32', [4, 8]);
    const feeds = { ids: { dtype: 'int64', dims: [4], data: BigInt64Array.of(1n, 2n, 63n, 2n) } } as const;
    const { db, model } = await converted(b.model(), feeds);
    expect(db).toBeGreaterThan(50);
    expect([...model.allNodes()].filter((n) => n.is('Cast')).map((n) => n.int('to'))).toEqual([10, 1]);
  });

  it('counts positions beyond 2048 exactly: sizes, rotary angles', async () => {
    const b = new GraphBuilder();
    const positions = b.input('positions', 'int64', [4]);
    const real = b.op('Cast', [positions], { to: 1 });
    const angles = b.op('MatMul', [
      b.op('Unsqueeze', [real, [1]]),
      Tensor.of('float32', [1, 32], normal([1, 32]).data as Float32Array),
    ]);
    const half = b.op('Floor', [b.op('Mul', [real, Tensor.of('float32', [], [0.5])])]);
    b.output('index', b.op('Cast', [half], { to: 7 }), 'int64', [4]);
    b.output('y', b.op('MatMul', [b.op('Sin', [angles]), b.random([32, 8])]), 'float32', [4, 8]);
    const feeds = {
      positions: { dtype: 'int64', dims: [4], data: BigInt64Array.of(1n, 2049n, 4099n, 9999n) },
    } as const;
    const { db, outputs, notes } = await converted(b.model(), feeds);
    expect(outputs.index?.data).toEqual(BigInt64Array.of(0n, 1024n, 2049n, 4999n));
    expect(db).toBeGreaterThan(50);
    expect(notes).toMatch(/computes positions or lengths/);
  });

  it('converts bodies of If, Loop and Scan together with what crosses their borders', async () => {
    const b = new GraphBuilder();
    const x = b.op('MatMul', [b.input('x', 'float32', [4, 16]), b.random([16, 16])]);
    const w = b.random([16, 16], { scale: 0.3 });
    const loop = new GraphBuilder({ outer: b });
    loop.input('i', 'int64', []);
    const going = loop.input('going', 'bool', []);
    const state = loop.input('state', 'float32', [4, 16]);
    const next = loop.op('Tanh', [loop.op('MatMul', [state, w])]);
    loop.output('going_out', loop.op('Identity', [going]), 'bool', []);
    loop.output('next', next, 'float32', [4, 16]);
    loop.output('seen', loop.op('Add', [next, x]), 'float32', [4, 16]);
    const looped = b.node(
      'Loop',
      [b.constant(Tensor.of('int64', [], [5])), null, x],
      { body: loop.graph },
      { outputs: 2 },
    );
    const scan = new GraphBuilder({ outer: b });
    const sum = scan.op('Add', [scan.input('sum', 'float32', [4, 16]), scan.input('part', 'float32', [4, 16])]);
    scan.output('sum_out', sum, 'float32', [4, 16]);
    scan.output('scaled', scan.op('MatMul', [sum, w]), 'float32', [4, 16]);
    const scanned = b.node(
      'Scan',
      [looped.output, looped.outputs[1] as Value],
      { body: scan.graph, num_scan_inputs: 1 },
      { outputs: 2 },
    );
    const branch = (scale: number): GraphBuilder => {
      const inner = new GraphBuilder({ outer: b, seed: 9 + scale });
      const y = inner.op('MatMul', [scanned.output, inner.random([16, 16])]);
      return inner.output(`branch${scale}`, y, 'float32', [4, 16]);
    };
    const chosen = b.op('If', [b.input('flag', 'bool', [])], {
      then_branch: branch(1).graph,
      else_branch: branch(2).graph,
    });
    b.output('y', b.op('MatMul', [chosen, w]), 'float32', [4, 16]);
    b.output('z', scanned.outputs[1] as Value, 'float32', [5, 4, 16]);
    for (const flag of [0, 1]) {
      const feeds = { x: normal([4, 16]), flag: { dtype: 'bool', dims: [], data: Uint8Array.of(flag) } } as const;
      const { db, model } = await converted(b.model(), feeds);
      expect(db).toBeGreaterThan(45);
      expect(casts(model)).toBe(3);
    }
  });

  it('reads a value in both precisions through one cast, and keeps names of outputs', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const shared = b.node('MatMul', [x, b.random([32, 32])], {}, { name: 'shared' }).output;
    const sides = [0, 1, 2].map((i) => b.node('MatMul', [shared, b.random([32, 32])], {}, { name: `side${i}` }).output);
    b.output('shared_out', shared, 'float32', [4, 32]);
    b.output('x_again', b.op('Identity', [x]), 'float32', [4, 32]);
    b.output('y', b.op('MatMul', [b.op('Sum', sides), b.random([32, 8])]), 'float32', [4, 8]);
    const { db, model } = await converted(b.model(), { x: normal([4, 32]) }, { exclude: ['side0', 'side2'] });
    expect(db).toBeGreaterThan(50);
    expect(model.graph.outputs.map((v) => v.name)).toEqual(['shared_out', 'x_again', 'y']);
    // x, shared, side0 and side2, y.
    expect(casts(model)).toBeLessThanOrEqual(5);
  });

  it('keeps a tied weight that both precisions read one tensor when it is large', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 128]);
    const w = b.random([128, 128]);
    const first = b.node('MatMul', [x, w], {}, { name: 'first' }).output;
    b.output('y', b.node('MatMul', [first, w], {}, { name: 'second' }).output, 'float32', [4, 128]);
    const { db, model } = await converted(b.model(), { x: normal([4, 128]) }, { exclude: ['second'] });
    expect(db).toBeGreaterThan(50);
    expect([...model.graph.initializers].map((v) => v.initializer?.dtype)).toEqual(['float16']);
  });

  it('leaves a float16 model as it is, and quantized regions too', async () => {
    const model = network();
    await model.transform(float16());
    const before = operators(model);
    const [again] = await model.transform(float16());
    expect(operators(model)).toEqual(before);
    expect(again?.changed).toBe(0);

    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 3, 8, 8]);
    const scale = Tensor.of('float32', [], [0.03]);
    const zero = Tensor.of('uint8', [], [128]);
    const qdq = (v: typeof x) => b.op('DequantizeLinear', [b.op('QuantizeLinear', [v, scale, zero]), scale, zero]);
    const codes = Tensor.of(
      'int8',
      [8, 3, 3, 3],
      Array.from({ length: 216 }, (_, i) => ((i * 31) % 255) - 127),
    );
    const weight = b.op('DequantizeLinear', [codes, Tensor.of('float32', [], [0.002])]);
    const y = qdq(b.op('Relu', [b.op('Conv', [qdq(x), weight])]));
    b.output('y', b.op('Conv', [y, b.random([4, 8, 3, 3])]), 'float32');
    const mixed = await converted(b.model(), { x: normal([1, 3, 8, 8]) });
    expect(mixed.notes).toMatch(/part of a quantized region/);
    // Around the last convolution alone, which is float.
    expect(casts(mixed.model)).toBe(2);
    expect(mixed.db).toBeGreaterThan(40);
  });

  it('gives weight-only models float16 scales and activations', async () => {
    const b = new GraphBuilder();
    const codes = Tensor.of(
      'int8',
      [32, 16],
      Array.from({ length: 512 }, (_, i) => ((i * 31) % 255) - 127),
    );
    const scales = Tensor.of('float32', [16], new Float32Array(16).fill(0.002));
    const weight = b.op('DequantizeLinear', [codes, scales], { axis: 1 });
    const y = b.op('MatMul', [b.input('x', 'float32', [4, 32]), weight]);
    const packed = Tensor.of(
      'uint8',
      [8, 1, 16],
      Array.from({ length: 128 }, (_, i) => (i * 37) % 256),
    );
    const nBits = b.op('Reshape', [y, [2, 32]]);
    const attributes = { K: 32, N: 8, bits: 4, block_size: 32 };
    const z = b.op(
      'MatMulNBits',
      [nBits, packed, Tensor.of('float32', [8], new Float32Array(8).fill(0.01))],
      attributes,
      'com.microsoft',
    );
    b.output('y', z, 'float32', [2, 8]);
    const { db, model } = await converted(b.model(), { x: normal([4, 32]) });
    expect(constants(model, 'float16')).toBe(2);
    expect(casts(model)).toBe(2);
    expect(db).toBeGreaterThan(45);
  });

  it('does not touch integer products and what scales their sums', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 64]);
    const first = b.op('MatMul', [x, b.random([64, 64])]);
    b.output('y', b.op('MatMul', [b.op('Relu', [first]), b.random([64, 8])]), 'float32', [4, 8]);
    const model = b.model();
    await model.transform(quantizeDynamic());
    const { db } = await converted(model, { x: normal([4, 64]) });
    expect(db).toBeGreaterThan(60);
  });

  it('converts defaults that a caller may override together with their input', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const w = b.random([32, 8], { name: 'w' });
    b.graph.addInput('w');
    b.output('y', b.op('MatMul', [x, w]), 'float32', [4, 8]);
    const { db, model } = await converted(b.model(), { x: normal([4, 32]) });
    expect(model.graph.value('w')?.dtype).toBe('float32');
    expect(db).toBeGreaterThan(50);
    const open = b.model();
    await open.transform(float16({ keepIo: false }));
    expect(open.graph.value('w')?.initializer?.dtype).toBe('float16');
    await (await engine.open(open)).close();
  });

  it('rounds to bfloat16 as the format says, and needs no ranges', async () => {
    const model = network();
    const [result] = await model.transform(float16({ type: 'bfloat16' }));
    expect(result?.notes.join()).not.toMatch(/ranges/);
    // Convolutions take bfloat16 from opset 22 on.
    expect([...model.allNodes()].filter((n) => n.is('Conv'))[0]?.inputs[1]?.dtype).toBe('float32');
    const weight = [...model.allNodes()].find((n) => n.is('Gemm'))?.inputs[1];
    expect(weight?.dtype).toBe('bfloat16');
    const bits = (await weight?.constant?.toArray()) as Uint16Array;
    const original = (await [...network().allNodes()]
      .find((n) => n.is('Gemm'))
      ?.inputs[1]?.constant?.toArray()) as Float32Array;
    const real = new Float32Array(Uint32Array.from(bits, (v) => v << 16).buffer);
    original.forEach((v, i) => {
      expect(Math.abs((real[i] as number) - v)).toBeLessThanOrEqual(Math.abs(v) * 2 ** -8);
    });
    await expect(network().transform(float16({ type: 'bfloat16', samples: [] }), { engine })).resolves.toBeDefined();
  });

  it('gives no node a name that another may have: ONNX Runtime refuses two of one name', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const inner = b.node('MatMul', [x, b.random([32, 32])], {}, { name: 'y' }).output;
    b.output('y', b.node('MatMul', [inner, b.random([32, 8])], {}, { name: 'x_float16' }).output, 'float32', [4, 8]);
    expect((await converted(b.model(), { x: normal([4, 32]) })).db).toBeGreaterThan(50);
    const quantized = b.model();
    await quantized.transform(quantizeDynamic({ include: ['x_float16'] }));
    await (await engine.open(quantized)).close();
  });

  it('says what it needs', async () => {
    await expect(network().transform(float16({ samples: [] }))).rejects.toThrow(/need an engine/);
    await expect(network().transform(float16({ samples: [] }), { engine })).rejects.toThrow(/no sample/);
  });

  it('makes valid models of random graphs, with any part of them excluded', async () => {
    const kinds = [
      'MatMul',
      'Add',
      'Mul',
      'Relu',
      'Transpose',
      'Concat',
      'Softmax',
      'TopK',
      'Where',
      'Exp',
      'If',
    ] as const;
    const step = fc.record({ kind: fc.constantFrom(...kinds), a: fc.nat(), b: fc.nat(), excluded: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 1, maxLength: 14 }),
        fc.boolean(),
        fc.boolean(),
        async (steps, keepIo, measure) => {
          const b = new GraphBuilder();
          const values = [b.input('x', 'float32', [8, 8]), b.input('w', 'float32', [8, 8])];
          const flag = b.input('flag', 'bool', []);
          const pick = (i: number): Value => values[i % values.length] as Value;
          for (const [i, { kind, a, b: other, excluded }] of steps.entries()) {
            values.push(grow(b, kind, pick(a), pick(other), flag, `${excluded ? 'excluded' : 'node'}${i}`));
          }
          const outputs = [...new Set([pick(steps[0]?.a ?? 0), ...values.slice(-2)])].filter((v) => v.producer);
          for (const [i, value] of outputs.entries()) b.output(`out${i}`, value, 'float32', [8, 8]);
          const model = b.model();
          const feeds = {
            x: normal([8, 8], 1, 0.5),
            w: normal([8, 8], 2, 0.5),
            flag: { dtype: 'bool', dims: [], data: Uint8Array.of(1) },
          } as const;
          const before = await runModel(engine, model, feeds);
          const options = { keepIo, exclude: [/^excluded/], ...(measure ? { samples: [feeds] } : {}) };
          await model.transform(float16(options), { engine });
          expect(check(model)).toEqual([]);
          const session = await engine.open(model, EXACT);
          const after = keepIo ? await session.run(feeds) : undefined;
          await session.close();
          for (const [name, tensor] of Object.entries(before)) {
            const finite = (tensor.data as Float32Array).every((v) => Math.abs(v) < 1000);
            if (after && finite) expect(sqnr(tensor, after[name])).toBeGreaterThan(25);
          }
        },
      ),
      { seed: 7, numRuns: 60 },
    );
  });
});

/** One more node on matrices of 8 x 8. */
function grow(b: GraphBuilder, kind: string, x: Value, y: Value, flag: Value, name: string): Value {
  const scale = Tensor.of('float32', [], [0.3]);
  switch (kind) {
    case 'MatMul':
      return b.node('MatMul', [b.op('Mul', [x, scale]), b.random([8, 8])], {}, { name }).output;
    case 'Concat': {
      const joined = b.node('Concat', [x, y], { axis: 0 }, { name }).output;
      return b.op('Slice', [joined, [3], [11], [0]]);
    }
    case 'TopK':
      return b.node('TopK', [x, [8]], {}, { outputs: 2, name }).output;
    case 'Where':
      return b.node('Where', [b.op('Greater', [x, y]), x, y], {}, { name }).output;
    case 'Exp':
      return b.node('Exp', [b.op('Tanh', [x])], {}, { name }).output;
    case 'If': {
      const branch = (op: string): GraphBuilder => {
        const inner = new GraphBuilder({ outer: b });
        const value = op === 'Identity' ? inner.op(op, [y]) : inner.node(op, [x, y], {}, { name }).output;
        return inner.output(`${name}_${op}`, value, 'float32', [8, 8]);
      };
      return b.node('If', [flag], { then_branch: branch('Add').graph, else_branch: branch('Identity').graph }).output;
    }
    default:
      return b.node(kind, kind === 'Add' || kind === 'Mul' ? [x, y] : [x], {}, { name }).output;
  }
}
