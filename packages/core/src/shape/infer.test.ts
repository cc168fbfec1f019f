import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import { typeText } from '../ir/type.js';
import { inferTypes } from './infer.js';

describe('inferTypes', () => {
  it('follows names and their arithmetic through a small network', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 'H', 'W']);
    const conv = b.op('Conv', [x, b.random([8, 3, 3, 3])], { strides: [2, 2], pads: [1, 1, 1, 1] });
    const pooled = b.op('MaxPool', [b.op('Relu', [conv])], { kernel_shape: [2, 2], strides: [2, 2] });
    const flat = b.op('Flatten', [b.op('GlobalAveragePool', [pooled])]);
    const y = b.op('Gemm', [flat, b.random([10, 8])], { transB: 1 });
    const model = b.output('y', y).model();
    const types = inferTypes(model);
    expect(typeText(types.typeOf(conv))).toBe('float32[batch, 8, floor((H + 1)/2), floor((W + 1)/2)]');
    expect(typeText(types.typeOf(pooled))).toBe('float32[batch, 8, floor((H + 1)/4), floor((W + 1)/4)]');
    expect(typeText(types.typeOf(y))).toBe('float32[batch, 10]');
    expect(types.problems).toEqual([]);
  });

  it('follows shapes as data', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 'seq', 768]);
    const shape = b.op('Shape', [x]);
    const batch = b.op('Unsqueeze', [b.op('Gather', [shape, b.constant([0])]), b.constant([0])]);
    const target = b.op('Concat', [b.op('Squeeze', [batch, [1]]), b.op('Slice', [shape, [1], [2]]), [12, -1]], {
      axis: 0,
    });
    const heads = b.op('Transpose', [b.op('Reshape', [x, target])], { perm: [0, 2, 1, 3] });
    const types = inferTypes(b.output('y', heads).model());
    expect(types.valuesOf(target)).toEqual(['batch', 'seq', 12, -1]);
    expect(typeText(types.typeOf(heads))).toBe('float32[batch, 12, seq, 64]');
  });
});
