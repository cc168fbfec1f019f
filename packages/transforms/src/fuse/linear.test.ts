import { float, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { fuseAffineAfterWeights } from './absorb.js';
import { fuseGemm } from './gemm.js';
import { fusePad } from './pad.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);
const row = (n: number): Tensor =>
  f32(
    [n],
    Array.from({ length: n }, (_, i) => i - 1),
  );

describe('fuseGemm', () => {
  it('makes a Gemm of MatMul and Add of matrices', async () => {
    for (const bias of [row(5), f32([1, 5], [1, 2, 3, 4, 5]), f32([], [2])]) {
      const model = modelOf(['n', 4], (b, x) => b.op('Add', [bias, b.op('MatMul', [x, b.random([4, 5])])]));
      expect((await rewritten(engine, model, [fuseGemm()])).ops).toEqual(['Gemm']);
    }
  });

  it('leaves products of higher rank, and says why', async () => {
    const model = modelOf([2, 'n', 4], (b, x) => b.op('Add', [b.op('MatMul', [x, b.random([4, 5])]), row(5)]));
    const result = await rewritten(engine, model, [fuseGemm()]);
    expect(result.ops).toEqual(['MatMul', 'Add']);
    expect(result.notes.join()).toMatch(/this product has rank 3/);
  });

  it('leaves a bias that broadcasts the other way, one that is computed, and a product that others read', async () => {
    const wide = modelOf([1, 4], (b, x) => b.op('Add', [b.op('MatMul', [x, b.random([4, 1])]), row(5)]));
    expect((await rewritten(engine, wide, [fuseGemm()])).ops).toEqual(['MatMul', 'Add']);
    const computed = modelOf([4, 4], (b, x) => b.op('Add', [b.op('MatMul', [x, b.random([4, 4])]), x]));
    expect((await rewritten(engine, computed, [fuseGemm()])).ops).toEqual(['MatMul', 'Add']);
    const read = modelOf([4, 4], (b, x) => {
      const product = b.op('MatMul', [x, b.random([4, 4])]);
      return b.op('Mul', [product, b.op('Add', [product, row(4)])]);
    });
    const result = await rewritten(engine, read, [fuseGemm()]);
    expect(result.ops).toEqual(['MatMul', 'Add', 'Mul']);
    expect(result.notes.join()).toMatch(/others read/);
  });

  it('leaves products that runtimes compute in integers', async () => {
    const model = modelOf(['n', 4], (b, x) => {
      const [scale, zero] = [f32([], [0.05]), Tensor.of('uint8', [], [128])];
      const quantized = b.op('DequantizeLinear', [b.op('QuantizeLinear', [x, scale, zero]), scale, zero]);
      const weight = b.op('DequantizeLinear', [Tensor.of('int8', [4, 2], [1, 2, 3, 4, 5, 6, 7, 8]), f32([], [0.1])]);
      return b.op('Add', [b.op('MatMul', [quantized, weight]), row(2)]);
    });
    const result = await rewritten(engine, model, [fuseGemm()]);
    expect(result.ops).toEqual(opsOf(model));
    expect(result.notes.join()).toMatch(/runs in integers/);
  });

  it('leaves integers, for which runtimes have no Gemm', async () => {
    const model = modelOf([2, 3], (b, x) => {
      const integers = b.op('Cast', [x], { to: 6 });
      const product = b.op('MatMul', [integers, Tensor.of('int32', [3, 2], [1, 2, 3, 4, 5, 6])]);
      return b.op('Cast', [b.op('Add', [product, Tensor.of('int32', [2], [1, 2])])], { to: 1 });
    });
    expect((await rewritten(engine, model, [fuseGemm()])).ops).toEqual(opsOf(model));
  });

  it.each([8, 21])('makes flags of Transposes (opset %i)', async (opset) => {
    const model = modelOf(
      [4, 3],
      (b, x) => {
        const product = b.op('MatMul', [b.op('Transpose', [x], { perm: [1, 0] }), b.random([4, 5])]);
        const other = b.op('Transpose', [b.op('Relu', [product])], { perm: [1, 0] });
        return b.op('Gemm', [b.op('Exp', [product]), other, row(1)], { alpha: float(0.5) });
      },
      { opset },
    );
    const result = await rewritten(engine, model, [fuseGemm(), fuseGemm()]);
    expect(result.ops).toEqual(['Gemm', 'Relu', 'Exp', 'Gemm']);
  });

  it('leaves Transposes of more axes, and those that others read', async () => {
    const model = modelOf([2, 4, 3], (b, x) =>
      b.op('MatMul', [b.op('Transpose', [x], { perm: [0, 2, 1] }), b.random([4, 5])]),
    );
    expect((await rewritten(engine, model, [fuseGemm()])).ops).toEqual(['Transpose', 'MatMul']);
    const read = modelOf([4, 4], (b, x) => {
      const turned = b.op('Transpose', [x], { perm: [1, 0] });
      return b.op('Gemm', [b.op('Gemm', [turned, x]), turned]);
    });
    expect((await rewritten(engine, read, [fuseGemm()])).ops).toEqual(['Transpose', 'Gemm', 'Gemm']);
  });

  it('prepares MatMul for a BatchNormalization', async () => {
    const model = modelOf(['n', 4], (b, x) => {
      const one = f32([5], [1, 2, 3, 4, 5]);
      return b.op('BatchNormalization', [b.op('MatMul', [x, b.random([4, 5])]), one, row(5), one, one]);
    });
    expect((await rewritten(engine, model, [fuseGemm(), fuseAffineAfterWeights()])).ops).toEqual(['Gemm']);
  });
});

describe('fusePad', () => {
  const pad = (b: GraphBuilder, x: Value, pads: number[], value?: number, attributes = {}): Value =>
    b.op('Pad', [x, pads, ...(value === undefined ? [] : [f32([], [value])])], attributes);
  const around = (n: number): number[] => [0, 0, n, n, 0, 0, n, n];

  const fused: Record<string, (b: GraphBuilder, x: Value) => Value> = {
    Conv: (b, x) => b.op('Conv', [pad(b, x, [0, 0, 1, 0, 0, 0, 2, 3]), b.random([2, 3, 3, 3])], { pads: [1, 1, 0, 0] }),
    'Conv with VALID padding': (b, x) =>
      b.op('Conv', [pad(b, x, around(1), 0), b.random([2, 3, 3, 3])], { auto_pad: 'VALID', strides: [2, 2] }),
    AveragePool: (b, x) => b.op('AveragePool', [pad(b, x, around(1))], { kernel_shape: [3, 3] }),
    'AveragePool that counts its own padding': (b, x) =>
      b.op('AveragePool', [pad(b, x, around(1))], { kernel_shape: [3, 3], pads: [1, 0, 0, 1], count_include_pad: 1 }),
    MaxPool: (b, x) => b.op('MaxPool', [pad(b, x, around(1), Number.NEGATIVE_INFINITY)], { kernel_shape: [3, 3] }),
    'MaxPool after Relu': (b, x) => b.op('MaxPool', [pad(b, b.op('Relu', [x]), around(1))], { kernel_shape: [2, 2] }),
  };

  it.each(Object.keys(fused))('goes into %s', async (name) => {
    const { ops } = await rewritten(engine, modelOf([2, 3, 7, 7], fused[name] as (typeof fused)[string]), [fusePad()]);
    expect(ops).not.toContain('Pad');
  });

  it('goes into Conv with axes as an input, and with attributes of old opsets', async () => {
    const axes = modelOf([2, 3, 7, 7], (b, x) =>
      b.op('Conv', [b.op('Pad', [x, [1, 2, 2, 1], null, [3, -2]]), b.random([2, 3, 3, 3])]),
    );
    expect((await rewritten(engine, axes, [fusePad()])).ops).toEqual(['Conv']);
    const old = modelOf(
      [2, 3, 7, 7],
      (b, x) => b.op('Conv', [b.op('Pad', [x], { pads: around(2), value: float(0) }), b.random([2, 3, 3, 3])]),
      { opset: 10 },
    );
    expect((await rewritten(engine, old, [fusePad()])).ops).toEqual(['Conv']);
  });

  const kept: Record<string, [(b: GraphBuilder, x: Value) => Value, RegExp?]> = {
    'another value': [(b, x) => b.op('Conv', [pad(b, x, around(1), 1), b.random([2, 3, 3, 3])]), /different values/],
    'another mode': [(b, x) => b.op('Conv', [pad(b, x, around(1), 0, { mode: 'reflect' }), b.random([2, 3, 3, 3])])],
    'channels that are padded': [
      (b, x) => b.op('Conv', [pad(b, x, [0, 1, 1, 1, 0, 0, 1, 1]), b.random([2, 4, 3, 3])]),
      /not only around the spatial axes/,
    ],
    'a border that is cut': [(b, x) => b.op('Conv', [pad(b, x, around(-1)), b.random([2, 3, 3, 3])]), /cut off/],
    'SAME padding': [
      (b, x) => b.op('Conv', [pad(b, x, around(1)), b.random([2, 3, 3, 3])], { auto_pad: 'SAME_LOWER' }),
    ],
    'zeros before MaxPool': [(b, x) => b.op('MaxPool', [pad(b, x, around(1))], { kernel_shape: [3, 3] }), /different/],
    'an average that leaves its own padding out': [
      (b, x) => b.op('AveragePool', [pad(b, x, around(1))], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }),
      /different/,
    ],
    'a window that hangs over': [
      (b, x) => b.op('AveragePool', [pad(b, x, around(1))], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }),
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [build, reason] = kept[name] as (typeof kept)[string];
    const model = modelOf([2, 3, 7, 7], build);
    const result = await rewritten(engine, model, [fusePad()]);
    expect(result.ops).toEqual(opsOf(model));
    if (reason) expect(result.notes.join()).toMatch(reason);
  });
});
