import { type Feeds, GraphBuilder, type HostTensor, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { type QuantizeDynamicOptions, quantizeDynamic } from './dynamic.js';

const engine = nodeEngine();
afterAll(() => engine.close());

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

  it('says why it leaves a node in float', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 4]);
    b.output('y', b.node('MatMul', [x, x], {}, { name: 'self' }).output, 'float32', [4, 4]);
    const { notes, model } = await quantized(b.model(), { x: normal([4, 4]) });
    expect(operators(model)).toEqual(['MatMul']);
    expect(notes).toEqual(['MatMul "self" stays in float: its weight is not constant.']);
  });
});
