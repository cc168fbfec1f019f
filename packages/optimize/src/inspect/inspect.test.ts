import { GraphBuilder, inferTypes } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { inspectModel } from './inspect.js';
import { peakActivations } from './memory.js';

describe('inspectModel', () => {
  it('counts multiply-accumulates as one multiplies by hand', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 32, 32]);
    // 16 x 3 x 3 x 3 filters at 32 x 32 places; depthwise 16 x 3 x 3 at 16 x 16; 16 x 10 at the end.
    let v = b.op('Conv', [x, b.random([16, 3, 3, 3])], { pads: [1, 1, 1, 1] });
    v = b.op('Conv', [v, b.random([16, 1, 3, 3])], { pads: [1, 1, 1, 1], strides: [2, 2], group: 16 });
    v = b.op('Flatten', [b.op('GlobalAveragePool', [v])]);
    const model = b.output('y', b.op('Gemm', [v, b.random([10, 16])], { transB: 1 })).model();
    const one = 16 * 27 * 1024 + 16 * 9 * 256 + 16 * 10;
    const inspection = inspectModel(model);
    expect(inspection.macs).toBe(one);
    expect(inspection.assumedOne).toEqual(['batch']);
    expect(inspection.parameters).toBe(16 * 27 + 16 * 9 + 160);
    expect(inspection.weightBytes).toBe(4 * inspection.parameters);
    expect(inspectModel(model, { dims: { batch: 8 } }).macs).toBe(8 * one);
    expect(inspectModel(model, { dims: { batch: 8 } }).assumedOne).toEqual([]);
    expect(inspection.operators.find((o) => o.operator === 'Conv')).toMatchObject({ nodes: 2, weightBytes: 4 * 576 });
  });

  it('counts an LSTM by its gates and steps', () => {
    const b = new GraphBuilder();
    const lstm = b.node('LSTM', [b.input('x', 'float32', [7, 2, 5]), b.random([1, 12, 5]), b.random([1, 12, 3])], {
      hidden_size: 3,
    });
    const model = b.output('y', lstm.output).model();
    expect(inspectModel(model).macs).toBe(7 * 2 * (12 * 5 + 12 * 3));
  });

  it('counts a shared weight once, and one in a Constant node like any other', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 4]);
    const w = b.random([4, 4]);
    const constant = b.op('Constant', [], { value: b.random([4, 4]).initializer as never });
    b.graph.removeValue([...b.graph.initializers].at(-1) as never);
    const y = b.op('MatMul', [b.op('MatMul', [b.op('MatMul', [x, w]), w]), constant]);
    const inspection = inspectModel(b.output('y', y).model());
    expect(inspection.weightBytes).toBe(2 * 64);
    expect(inspection.macs).toBe(3 * 64);
    expect(inspection.dtypes).toEqual({ float32: 128 });
  });
});

describe('peakActivations', () => {
  it('frees a tensor after its last reader', () => {
    const b = new GraphBuilder();
    // 4 kB each; in a chain two are alive at once, the skip connection keeps a third.
    const x = b.input('x', 'float32', [1024]);
    const a = b.op('Relu', [x]);
    const chain = b.op('Neg', [b.op('Abs', [b.op('Neg', [a])])]);
    const model = b.output('y', b.op('Add', [chain, a]), 'float32', [1024]).model();
    expect(peakActivations(model.graph, inferTypes(model))).toEqual({
      bytes: 3 * 4096,
      node: expect.stringMatching(/^(Abs|Neg|Add)/),
      unknown: 0,
    });
  });
});
