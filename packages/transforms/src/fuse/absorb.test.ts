import { float, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { constantOf, modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { fuseAffineAfterWeights, fuseAffineBeforeWeights } from './absorb.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);
const ramp = (n: number, from = 0.5, step = 0.25): number[] => Array.from({ length: n }, (_, i) => from + i * step);
const vector = (n: number, from?: number, step?: number): Tensor => f32([n], ramp(n, from, step));
const channels = (n: number, rank: number, from?: number): Tensor =>
  f32([n, ...new Array<number>(rank).fill(1)], ramp(n, from));

function batchNorm(b: GraphBuilder, x: Value, c: number, attributes = {}): Value {
  return b.op('BatchNormalization', [x, vector(c, 0.5), vector(c, -1), vector(c, 0.1), vector(c, 0.2)], {
    epsilon: float(1e-3),
    ...attributes,
  });
}

describe('fuseAffineAfterWeights', () => {
  const fused: Record<string, [number[], (b: GraphBuilder, x: Value) => Value]> = {
    'Conv+BN': [[2, 4, 6, 6], (b, x) => batchNorm(b, b.op('Conv', [x, b.random([6, 4, 3, 3])]), 6)],
    'Conv with bias+BN': [
      [2, 4, 6, 6],
      (b, x) => batchNorm(b, b.op('Conv', [x, b.random([6, 4, 3, 3]), vector(6)], { pads: [1, 1, 1, 1] }), 6),
    ],
    'grouped Conv+BN': [
      [2, 4, 6, 6],
      (b, x) => batchNorm(b, b.op('Conv', [x, b.random([6, 2, 3, 3])], { group: 2 }), 6),
    ],
    '1-D Conv+BN': [[2, 4, 9], (b, x) => batchNorm(b, b.op('Conv', [x, b.random([6, 4, 3])]), 6)],
    'ConvTranspose+BN': [
      [2, 4, 5, 5],
      (b, x) => batchNorm(b, b.op('ConvTranspose', [x, b.random([4, 6, 2, 2]), vector(6)], { strides: [2, 2] }), 6),
    ],
    'grouped ConvTranspose+BN': [
      [2, 4, 5, 5],
      (b, x) => batchNorm(b, b.op('ConvTranspose', [x, b.random([4, 3, 2, 2])], { group: 2 }), 6),
    ],
    'Conv+Mul': [[2, 4, 6, 6], (b, x) => b.op('Mul', [channels(6, 2), b.op('Conv', [x, b.random([6, 4, 3, 3])])])],
    'Conv+Add': [[2, 4, 6, 6], (b, x) => b.op('Add', [b.op('Conv', [x, b.random([6, 4, 3, 3])]), channels(6, 2)])],
    'Conv+Sub': [[2, 4, 6, 6], (b, x) => b.op('Sub', [channels(6, 2), b.op('Conv', [x, b.random([6, 4, 3, 3])])])],
    'Conv+Div': [[2, 4, 6, 6], (b, x) => b.op('Div', [b.op('Conv', [x, b.random([6, 4, 1, 1])]), f32([], [3])])],
    'Conv+Mul+Add': [
      [2, 4, 6, 6],
      (b, x) => b.op('Add', [b.op('Mul', [b.op('Conv', [x, b.random([6, 4, 1, 1])]), channels(6, 2)]), f32([1], [2])]),
    ],
    'Gemm+BN': [
      [3, 4],
      (b, x) => batchNorm(b, b.op('Gemm', [x, b.random([4, 6]), vector(6)], { alpha: float(0.5) }), 6),
    ],
    'Gemm of a transposed weight+Mul': [
      [3, 4],
      (b, x) => b.op('Mul', [b.op('Gemm', [x, b.random([6, 4]), f32([], [2])], { transB: 1 }), vector(6)]),
    ],
    'MatMul+Mul': [[2, 3, 4], (b, x) => b.op('Mul', [b.op('MatMul', [x, b.random([4, 6])]), vector(6)])],
    'MatMul of a stack+Div': [
      [2, 3, 4],
      (b, x) => b.op('Div', [b.op('MatMul', [x, b.random([2, 4, 6])]), f32([1, 1, 1], [4])]),
    ],
    'BN+Mul': [[2, 4, 3], (b, x) => b.op('Mul', [batchNorm(b, x, 4), channels(4, 1)])],
  };

  it.each(Object.keys(fused))('fuses %s', async (name) => {
    const [shape, build] = fused[name] as [number[], (b: GraphBuilder, x: Value) => Value];
    const result = await rewritten(engine, modelOf(shape, build), [fuseAffineAfterWeights()]);
    expect(result.ops).toHaveLength(1);
  });

  it('rounds once: the weight is the double product, rounded', async () => {
    const model = modelOf([1, 1, 2, 2], (b, x) => batchNorm(b, b.op('Conv', [x, f32([1, 1, 1, 1], [0.3])]), 1));
    const { model: after } = await rewritten(engine, model, [fuseAffineAfterWeights()]);
    const scale = 0.5 / Math.sqrt(Math.fround(0.2) + Math.fround(1e-3));
    expect(constantOf(after, 'Conv', 1)?.numbers()).toEqual([Math.fround(Math.fround(0.3) * scale)]);
    expect(constantOf(after, 'Conv', 2)?.numbers()).toEqual([Math.fround(-1 - scale * Math.fround(0.1))]);
  });

  it('keeps the weights of half precision models in half precision', async () => {
    const bits = (values: number[]): Uint16Array => Uint16Array.from(values);
    const half = (dims: number[], values: number[]): Tensor => Tensor.of('float16', dims, bits(values));
    const model = modelOf([1, 1, 2, 2], (b, x) => {
      const conv = b.op('Conv', [b.op('Cast', [x], { to: 10 }), half([1, 1, 1, 1], [0x3c00])]);
      return b.op('Cast', [b.op('Mul', [conv, half([], [0x4200])])], { to: 1 });
    });
    const { model: after, ops } = await rewritten(engine, model, [fuseAffineAfterWeights()]);
    expect(ops).toEqual(['Cast', 'Conv', 'Cast']);
    expect([...(constantOf(after, 'Conv', 1)?.bytes ?? [])]).toEqual([0x00, 0x42]);
  });

  const kept: Record<string, [number[], (b: GraphBuilder, x: Value) => Value, RegExp?]> = {
    'a convolution that others read': [
      [1, 4, 6, 6],
      (b, x) => {
        const conv = b.op('Conv', [x, b.random([4, 4, 1, 1])]);
        return b.op('Add', [conv, batchNorm(b, conv, 4)]);
      },
      /others read what comes between/,
    ],
    'constants along another axis': [
      [1, 4, 6, 6],
      (b, x) => b.op('Mul', [b.op('Conv', [x, b.random([6, 4, 1, 1])]), f32([6], ramp(6))]),
    ],
    'constants along two axes': [
      [1, 4, 2, 2],
      (b, x) => b.op('Mul', [b.op('Conv', [x, b.random([2, 4, 1, 1])]), f32([2, 2, 1], ramp(4))]),
    ],
    'constants that broadcast': [
      [1, 4, 2, 2],
      (b, x) => b.op('Mul', [b.op('Conv', [x, b.random([1, 4, 1, 1])]), channels(3, 2)]),
    ],
    'a number over the convolution': [
      [1, 4, 2, 2],
      (b, x) => b.op('Div', [f32([], [2]), b.op('Conv', [x, b.random([1, 4, 1, 1])])]),
    ],
    'a product without a bias': [[2, 3, 4], (b, x) => b.op('Add', [b.op('MatMul', [x, b.random([4, 6])]), vector(6)])],
    'a BatchNormalization that trains': [
      [2, 4, 6, 6],
      (b, x) => {
        const conv = b.op('Conv', [x, b.random([4, 4, 1, 1])]);
        const parameters = [vector(4), vector(4), vector(4), vector(4)];
        return b.node('BatchNormalization', [conv, ...parameters], { training_mode: 1 }, { outputs: 3 }).output;
      },
    ],
    'a weight that is computed': [
      [2, 4, 6, 6],
      (b, x) => batchNorm(b, b.op('Conv', [x, b.op('Abs', [b.random([4, 4, 1, 1])])]), 4),
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [shape, build, reason] = kept[name] as (typeof kept)[string];
    const model = modelOf(shape, build);
    const result = await rewritten(engine, model, [fuseAffineAfterWeights()]);
    expect(result.ops).toEqual(opsOf(model));
    if (reason) expect(result.notes.join()).toMatch(reason);
  });

  /** One weight of 64 KiB, read by two convolutions that `after` follows. */
  const shared = (after: (b: GraphBuilder, x: Value, i: number) => Value) =>
    modelOf([1, 64, 4, 4], (b, x) => {
      const w = b.random([64, 64, 2, 2]);
      return b.op(
        'Concat',
        [0, 1].map((i) => after(b, b.op('Conv', [b.op(i ? 'Abs' : 'Neg', [x]), w]), i)),
        { axis: 1 },
      );
    });

  it('does not change a shared weight for one of its users', async () => {
    const model = shared((b, x, i) => (i ? x : b.op('Mul', [x, f32([], [3])])));
    const result = await rewritten(engine, model, [fuseAffineAfterWeights()]);
    expect(result.ops).toEqual(opsOf(model));
    expect(result.notes.join()).toMatch(/others share the weight/);
  });

  it('changes a shared weight once when all its users are followed by the same', async () => {
    let parameters: Tensor[] | undefined;
    let values: Value[] = [];
    const model = shared((b, x) => {
      if (!parameters) {
        parameters = [vector(64), vector(64), vector(64), vector(64)];
        values = parameters.map((t) => b.constant(t));
      }
      return b.op('BatchNormalization', [x, ...values]);
    });
    const { model: after, ops } = await rewritten(engine, model, [fuseAffineAfterWeights()]);
    expect(ops).toEqual(['Neg', 'Conv', 'Abs', 'Conv', 'Concat']);
    expect(after.graph.initializers.size).toBe(2);
  });
});

describe('fuseAffineBeforeWeights', () => {
  const fused: Record<string, [number[], (b: GraphBuilder, x: Value) => Value]> = {
    'BN+Conv': [[2, 4, 6, 6], (b, x) => b.op('Conv', [batchNorm(b, x, 4), b.random([6, 4, 3, 3]), vector(6)])],
    'BN+grouped Conv': [
      [2, 4, 6, 6],
      (b, x) => b.op('Conv', [batchNorm(b, x, 4), b.random([6, 2, 3, 3])], { group: 2 }),
    ],
    'Mul+padded Conv': [
      [2, 4, 6, 6],
      (b, x) => b.op('Conv', [b.op('Mul', [x, channels(4, 2)]), b.random([6, 4, 3, 3])], { pads: [1, 1, 1, 1] }),
    ],
    'Add+Conv': [[2, 4, 6, 6], (b, x) => b.op('Conv', [b.op('Add', [x, f32([], [2])]), b.random([6, 4, 1, 1])])],
    'BN+Gemm': [[3, 4], (b, x) => b.op('Gemm', [batchNorm(b, x, 4), b.random([6, 4]), vector(6)], { transB: 1 })],
    'Sub+Gemm': [[3, 4], (b, x) => b.op('Gemm', [b.op('Sub', [x, vector(4)]), b.random([4, 6])])],
    'Mul+MatMul': [[2, 3, 4], (b, x) => b.op('MatMul', [b.op('Mul', [x, vector(4)]), b.random([4, 6])])],
  };

  it.each(Object.keys(fused))('fuses %s', async (name) => {
    const [shape, build] = fused[name] as [number[], (b: GraphBuilder, x: Value) => Value];
    const result = await rewritten(engine, modelOf(shape, build), [fuseAffineBeforeWeights()]);
    expect(result.ops).toHaveLength(1);
  });

  const kept: Record<string, [number[], (b: GraphBuilder, x: Value) => Value, RegExp?]> = {
    'BN before a padded Conv': [
      [2, 4, 6, 6],
      (b, x) => b.op('Conv', [batchNorm(b, x, 4), b.random([6, 4, 3, 3])], { pads: [1, 1, 1, 1] }),
      /the border that Conv adds would have to be shifted/,
    ],
    'BN before a Conv with SAME padding': [
      [2, 4, 6, 6],
      (b, x) => b.op('Conv', [batchNorm(b, x, 4), b.random([6, 4, 3, 3])], { auto_pad: 'SAME_UPPER' }),
      /border/,
    ],
    'a shift before MatMul': [[3, 4], (b, x) => b.op('MatMul', [b.op('Add', [x, vector(4)]), b.random([4, 6])])],
    'BN over another axis': [[2, 4, 4], (b, x) => b.op('MatMul', [batchNorm(b, x, 4), b.random([4, 6])])],
    'what others read': [
      [2, 4, 6, 6],
      (b, x) => {
        const scaled = b.op('Mul', [x, channels(4, 2)]);
        return b.op('Add', [scaled, b.op('Conv', [scaled, b.random([4, 4, 1, 1])])]);
      },
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [shape, build, reason] = kept[name] as (typeof kept)[string];
    const model = modelOf(shape, build);
    const result = await rewritten(engine, model, [fuseAffineBeforeWeights()]);
    expect(result.ops).toEqual(opsOf(model));
    if (reason) expect(result.notes.join()).toMatch(reason);
  });
});
