import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feeds, GraphBuilder, type HostTensor, type Model, serializeModel, Tensor } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { type QuantizeDynamicOptions, quantizeDynamic } from './dynamic.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Operator types after ONNX Runtime's own graph optimisation. */
async function optimizedOperators(model: Model): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'pare-dynamic-'));
  try {
    const path = join(folder, 'optimized.onnx');
    const session = await InferenceSession.create(await serializeModel(model).file.bytes(), {
      optimizedModelFilePath: path,
      logSeverityLevel: 4,
    });
    await session.release();
    return operators(await readModel(path));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const operators = (model: Model): string[] => [...model.allNodes()].map((node) => node.opType);
const count = (model: Model, op: string): number => operators(model).filter((o) => o === op).length;

/** SQNR of the quantized model against the float one on `feeds`, and what was left to look at. */
async function quantized(
  model: Model,
  feeds: Feeds,
  options: QuantizeDynamicOptions = {},
): Promise<{ db: number; model: Model; notes: readonly string[]; outputs: Record<string, HostTensor> }> {
  const before = await runModel(engine, model, feeds);
  const copy = model.clone();
  const [result] = await copy.transform(quantizeDynamic(options));
  const outputs = await runModel(engine, copy, feeds);
  const db = Math.min(...Object.keys(before).map((name) => sqnr(before[name], outputs[name])));
  return { db, model: copy, notes: result?.notes ?? [], outputs };
}

const VARIANTS: readonly QuantizeDynamicOptions[] = [
  { weights: 'int8', perChannel: true },
  { weights: 'int8', perChannel: false },
  { weights: 'uint8', perChannel: true },
  { weights: 'uint8', perChannel: false },
  { weights: 'int8', perChannel: true, reduceRange: true },
  { weights: 'uint8', perChannel: true, reduceRange: true },
];

describe.each(VARIANTS)('quantizeDynamic(%o)', (options) => {
  const floor = options.reduceRange ? 32 : 34;

  it('MatMul, also with a stack of matrices', async () => {
    for (const dims of [
      [64, 48],
      [3, 64, 48],
    ]) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', ['n', 3, 5, 64]);
      b.output('y', b.op('MatMul', [x, b.random(dims, { scale: 0.1 })]), 'float32', ['n', 3, 5, 48]);
      const { db, model } = await quantized(b.model(), { x: normal([2, 3, 5, 64]) }, options);
      expect(operators(model)).toEqual(['DynamicQuantizeLinear', 'MatMulInteger', 'Mul', 'Cast', 'Mul']);
      expect(db).toBeGreaterThan(floor);
    }
  });

  it('Gemm with every attribute', async () => {
    for (const [transA, transB] of [
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ] as const) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', transA ? [32, 6] : [6, 32]);
      const w = b.random(transB ? [10, 32] : [32, 10]);
      const attributes = {
        transA,
        transB,
        alpha: { type: 'float', value: -0.5 },
        beta: { type: 'float', value: 2 },
      } as const;
      b.output('y', b.op('Gemm', [x, w, b.random([10])], attributes), 'float32', [6, 10]);
      const { db } = await quantized(b.model(), { x: normal(transA ? [32, 6] : [6, 32]) }, options);
      expect(db).toBeGreaterThan(floor);
    }
  });

  it('Conv with padding, strides, groups, in one, two and three dimensions', async () => {
    for (const spatial of [[20], [9, 7], [5, 6, 4]]) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', [2, 4, ...spatial]);
      const w = b.random([6, 2, ...spatial.map(() => 3)]);
      const y = b.op('Conv', [x, w, b.random([6], { scale: 1 })], {
        group: 2,
        pads: spatial.flatMap(() => [1, 1]),
        strides: spatial.map(() => 2),
      });
      b.output('y', y, 'float32');
      // Shifted, so that the zero point of the activation is not the middle and padding with it shows.
      const data = normal([2, 4, ...spatial]);
      (data.data as Float32Array).forEach((v, i) => {
        (data.data as Float32Array)[i] = v + 2;
      });
      const { db, model } = await quantized(b.model(), { x: data }, options);
      expect(count(model, 'ConvInteger')).toBe(1);
      expect(db).toBeGreaterThan(floor - 4);
    }
  });
});

describe('quantizeDynamic', () => {
  it('quantizes an activation once for all its readers, and a tied weight once', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const w = b.random([32, 32]);
    b.output('a', b.op('MatMul', [x, w]), 'float32', [4, 32]);
    b.output('b', b.op('Gemm', [x, w, b.random([32])]), 'float32', [4, 32]);
    b.output('c', b.op('MatMul', [x, b.op('Identity', [w])]), 'float32', [4, 32]);
    const { db, model } = await quantized(b.model(), { x: normal([4, 32]) });
    expect(count(model, 'DynamicQuantizeLinear')).toBe(1);
    expect([...model.graph.initializers].filter((v) => v.initializer?.dtype === 'int8')).toHaveLength(1);
    expect([...model.graph.initializers].filter((v) => (v.initializer?.size ?? 0) >= 1024)).toHaveLength(1);
    expect(db).toBeGreaterThan(34);
  });

  it('takes weights from Constant nodes and leaves no float copy behind', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const w = b.op('Constant', [], { value: Tensor.of('float32', [32, 16], normal([32, 16]).data as Float32Array) });
    b.output('y', b.op('MatMul', [x, w]), 'float32', [4, 16]);
    const { db, model } = await quantized(b.model(), { x: normal([4, 32]) });
    expect(count(model, 'Constant')).toBe(0);
    expect(db).toBeGreaterThan(34);
  });

  it('keeps a tied embedding one tensor: looked up by Gather, multiplied by its transpose', async () => {
    const b = new GraphBuilder();
    const ids = b.input('ids', 'int64', ['n']);
    const table = b.random([64, 32]);
    const x = b.op('Gather', [table, ids]);
    b.output('y', b.op('MatMul', [x, b.op('Transpose', [table], { perm: [1, 0] })]), 'float32', ['n', 64]);
    b.output('z', b.op('Gemm', [x, table], { transB: 1 }), 'float32', ['n', 64]);
    const feeds = { ids: { dtype: 'int64', dims: [5], data: BigInt64Array.from([3n, 0n, 63n, 7n, 7n]) } } as const;
    for (const options of VARIANTS) {
      const { db, model } = await quantized(b.model(), feeds, options);
      const large = [...model.graph.initializers].filter((v) => (v.initializer?.size ?? 0) >= 1024);
      if (options.perChannel) expect(large.map((v) => v.initializer?.dtype)).toEqual([options.weights]);
      else expect(large.every((v) => v.initializer?.dtype === options.weights)).toBe(true);
      expect(db).toBeGreaterThan(options.reduceRange ? 32 : 34);
    }
  });

  it('Gather along any axis, the row of its own scale', async () => {
    for (const axis of [0, 1, -1]) {
      const b = new GraphBuilder();
      // Rows of very different size: one scale for all would lose the small ones.
      const data = normal([16, 16, 16]);
      (data.data as Float32Array).forEach((v, i) => {
        (data.data as Float32Array)[i] = v * 10 ** ((i >> 8) % 4);
      });
      const table = b.constant(Tensor.of('float32', [16, 16, 16], data.data as Float32Array));
      const y = b.op('Gather', [table, b.input('ids', 'int64', [2, 2])], { axis });
      b.output('y', y, 'float32');
      const feeds = { ids: { dtype: 'int64', dims: [2, 2], data: BigInt64Array.from([3n, 0n, 15n, 7n]) } } as const;
      const { db, model, outputs } = await quantized(b.model(), feeds);
      expect(count(model, 'DequantizeLinear')).toBe(1);
      expect(db).toBeGreaterThan(36);
      if (axis !== 0) continue;
      const small = (values: Float32Array): HostTensor => ({ dtype: 'float32', dims: [256], data: values });
      const truth = (data.data as Float32Array).slice(0, 256);
      const looked = outputs.y?.data as Float32Array;
      expect(sqnr(small(truth), small(looked.slice(256, 512)))).toBeGreaterThan(36);
    }
  });

  it('LSTM in both directions with every optional input', async () => {
    for (const direction of ['forward', 'bidirectional']) {
      const directions = direction === 'forward' ? 1 : 2;
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', [7, 2, 24]);
      const hidden = 16;
      const state = (): ReturnType<typeof b.random> => b.random([directions, 2, hidden], { scale: 0.5 });
      const inputs = [
        x,
        b.random([directions, 4 * hidden, 24], { scale: 0.2 }),
        b.random([directions, 4 * hidden, hidden], { scale: 0.2 }),
        b.random([directions, 8 * hidden], { scale: 0.2 }),
        b.constant(Tensor.of('int32', [2], [7, 5])),
        state(),
        state(),
      ];
      const node = b.node('LSTM', inputs, { hidden_size: hidden, direction }, { outputs: ['y', 'h', 'c'] });
      for (const output of node.outputs) if (output) b.output(output.name, output, 'float32');
      const feeds = { x: normal([7, 2, 24]) };
      for (const options of VARIANTS) {
        const { db, model } = await quantized(b.model(), feeds, options);
        expect(operators(model)).toEqual(['DynamicQuantizeLSTM']);
        expect(
          [...model.graph.initializers].some((v) => v.initializer?.dtype === 'float32' && v.initializer.size > 999),
        ).toBe(false);
        expect(db).toBeGreaterThan(options.reduceRange ? 26 : 30);
      }
    }
  });

  it('Attention, with and without a mask', async () => {
    for (const masked of [false, true]) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', [2, 5, 16]);
      const mask = masked ? b.constant(Tensor.of('int32', [2, 5], [1, 1, 1, 1, 1, 1, 1, 1, 0, 0])) : null;
      const y = b.op('Attention', [x, b.random([16, 48]), b.random([48]), mask], { num_heads: 4 }, 'com.microsoft');
      b.output('y', y, 'float32', [2, 5, 16]);
      for (const options of VARIANTS) {
        const { db, model } = await quantized(b.model(), { x: normal([2, 5, 16]) }, options);
        expect(operators(model)).toEqual(['DynamicQuantizeLinear', 'QAttention']);
        expect(db).toBeGreaterThan(options.reduceRange ? 24 : 28);
      }
    }
  });

  it('reaches into subgraphs and finds captured weights and activations', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const w = b.random([32, 32]);
    const branch = (bias: number): GraphBuilder => {
      const inner = new GraphBuilder({ outer: b });
      const y = inner.op('Add', [inner.op('MatMul', [x, w]), Tensor.of('float32', [], [bias])]);
      return inner.output(`y${bias}`, y, 'float32', [4, 32]);
    };
    const chosen = b.op('If', [b.input('flag', 'bool', [])], {
      then_branch: branch(1).graph,
      else_branch: branch(2).graph,
    });
    b.output('y', chosen, 'float32', [4, 32]);
    for (const flag of [0, 1]) {
      const feeds = { x: normal([4, 32]), flag: { dtype: 'bool', dims: [], data: Uint8Array.of(flag) } } as const;
      const { db, model } = await quantized(b.model(), feeds);
      expect(count(model, 'MatMulInteger')).toBe(2);
      expect([...model.graph.initializers].filter((v) => (v.initializer?.size ?? 0) >= 1024)).toHaveLength(1);
      expect(db).toBeGreaterThan(34);
    }
  });

  it('is fused by ONNX Runtime into one operator a MatMul', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 32]);
    const y = b.op('MatMul', [x, b.random([32, 32])]);
    b.output('y', b.op('Gemm', [b.op('Relu', [y]), b.random([32, 8]), b.random([8])]), 'float32', [4, 8]);
    const model = b.model();
    await model.transform(quantizeDynamic());
    expect(await optimizedOperators(model)).toEqual(['DynamicQuantizeMatMul', 'Relu', 'DynamicQuantizeMatMul']);
  });

  it('can be told which nodes', async () => {
    const build = (): Model => {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', [4, 32]);
      const first = b.node('MatMul', [x, b.random([32, 32])], {}, { name: 'encoder/first' }).output;
      const second = b.node('MatMul', [first, b.random([32, 32])], {}, { name: 'head/second' }).output;
      b.output('y', b.node('Gemm', [second, b.random([32, 8])], {}, { name: 'head/last' }).output, 'float32', [4, 8]);
      return b.model();
    };
    const left = async (options: QuantizeDynamicOptions): Promise<string[]> => {
      const model = build();
      await model.transform(quantizeDynamic(options));
      return [...model.allNodes()].filter((n) => n.opType === 'MatMul' || n.opType === 'Gemm').map((n) => n.name);
    };
    expect(await left({ include: ['Gemm'] })).toEqual(['encoder/first', 'head/second']);
    expect(await left({ exclude: [/^head\//] })).toEqual(['head/second', 'head/last']);
    expect(await left({ include: ['MatMul'], exclude: ['head/second'] })).toEqual(['head/second', 'head/last']);
  });

  it('refuses weights that are not finite, by name, and opsets that cannot be raised', async () => {
    const b = new GraphBuilder();
    const w = b.constant(Tensor.of('float32', [2, 2], [1, Number.NaN, 3, 4]), 'broken');
    b.output('y', b.op('MatMul', [b.input('x', 'float32', [1, 2]), w]));
    await expect(b.model().transform(quantizeDynamic())).rejects.toThrow(/"broken" holds 1 NaN/);
    await expect(b.model({ opset: 6 }).transform(quantizeDynamic())).rejects.toThrow(/opset 6/);
  });

  it('says why it leaves a node in float', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 4]);
    b.output('y', b.node('MatMul', [x, x], {}, { name: 'self' }).output, 'float32', [4, 4]);
    const { notes, model } = await quantized(b.model(), { x: normal([4, 4]) });
    expect(operators(model)).toEqual(['MatMul']);
    expect(notes).toEqual(['MatMul "self" stays in float: its weight is not constant.']);
  });
});
