import {
  type AttributeLike,
  type DType,
  GraphBuilder,
  type HostTensor,
  type Model,
  seededRandom,
  shuffle,
  Tensor,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;

function pooled(op: string, dims: readonly number[], attributes: Attributes, dtype: DType = 'float64'): Model {
  const builder = new GraphBuilder();
  return expression(builder, { x: dims }, ({ x }) => builder.op(op, [x!], attributes), { dtype });
}

/** Distinct numbers at least 0.05 apart, so that a small step changes no maximum. */
function distinct(dims: readonly number[], dtype: 'float32' | 'float64'): HostTensor {
  const size = dims.reduce((a, b) => a * b, 1);
  const values = shuffle(
    Array.from({ length: size }, (_, i) => 0.05 * (i - size / 2)),
    seededRandom(5),
  );
  return { dtype, dims, data: dtype === 'float32' ? Float32Array.from(values) : Float64Array.from(values) };
}

describe('MaxPool', () => {
  const cases: [string, number[], Attributes][] = [
    ['2x2', [2, 3, 4, 6], { kernel_shape: [2, 2], strides: [2, 2] }],
    ['3x2 tiles', [1, 2, 6, 4], { kernel_shape: [3, 2], strides: [3, 2] }],
    ['2x2, an odd row left over', [1, 2, 5, 5], { kernel_shape: [2, 2], strides: [2, 2] }],
    ['2x2, ceil_mode', [1, 2, 5, 5], { kernel_shape: [2, 2], strides: [2, 2], ceil_mode: 1 }],
    ['3x3 s2 p1', [2, 2, 7, 7], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }],
    ['3x3 s1, uneven pads', [1, 2, 5, 5], { kernel_shape: [3, 3], pads: [0, 1, 2, 1] }],
    ['dilated', [1, 2, 7, 8], { kernel_shape: [2, 2], dilations: [2, 3] }],
    ['dilated with stride 2', [1, 2, 7, 8], { kernel_shape: [2, 2], strides: [2, 2], dilations: [3, 2] }],
    ['gaps', [1, 1, 7, 7], { kernel_shape: [2, 2], strides: [3, 3] }],
    ['SAME_UPPER', [1, 2, 5, 6], { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_UPPER' }],
    ['1-D', [2, 3, 9], { kernel_shape: [3], strides: [2] }],
    ['1-D tiles', [2, 3, 8], { kernel_shape: [4], strides: [4] }],
    ['3-D', [1, 2, 4, 5, 4], { kernel_shape: [2, 3, 2], strides: [2, 1, 2] }],
    ['3-D tiles', [1, 2, 4, 4, 2], { kernel_shape: [2, 2, 2], strides: [2, 2, 2] }],
    ['1x1', [1, 2, 3, 3], { kernel_shape: [1, 1] }],
  ];
  it.each(cases)('%s', async (_, dims, attributes) => {
    const single = pooled('MaxPool', dims, attributes, 'float32');
    await checkGradient(engine, single, { feeds: { x: distinct(dims, 'float32') }, step: 0.02 });
    const double = pooled('MaxPool', dims, attributes);
    if (!('auto_pad' in attributes)) await checkGradient(engine, double, { feeds: { x: distinct(dims, 'float64') } });
  });

  it('shares the gradient among equal maxima', async () => {
    // Along a direction that moves all of them alike there is a derivative: the parts must add up to it.
    const builder = new GraphBuilder();
    const steps = Tensor.of('float64', [1, 1, 4, 4], [1, 1, 5, 2, 1, 1, 5, 3, 4, 3, 6, 7, 4, 2, 7, 7]);
    const model = expression(builder, { s: [1] }, ({ s }) =>
      builder.op('MaxPool', [builder.op('Mul', [steps, s!])], { kernel_shape: [2, 2], strides: [2, 2] }),
    );
    await checkGradient(engine, model, { feeds: { s: { dtype: 'float64', dims: [1], data: Float64Array.of(1) } } });
  });
});

describe('AveragePool', () => {
  const cases: [string, number[], Attributes][] = [
    ['2x2', [2, 3, 4, 6], { kernel_shape: [2, 2], strides: [2, 2] }],
    ['odd row left over', [1, 2, 5, 7], { kernel_shape: [2, 2], strides: [2, 2] }],
    ['3x3 s2 p1', [2, 2, 7, 7], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1] }],
    ['with padding', [2, 2, 7, 7], { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 1, 1, 1], count_include_pad: 1 }],
    ['uneven pads', [1, 2, 5, 6], { kernel_shape: [3, 4], pads: [2, 0, 1, 3] }],
    ['ceil_mode', [1, 2, 6, 6], { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }],
    [
      'ceil_mode with padding',
      [1, 2, 6, 6],
      { kernel_shape: [3, 3], strides: [2, 2], pads: [1, 0, 0, 1], ceil_mode: 1, count_include_pad: 1 },
    ],
    ['dilated', [1, 2, 8, 7], { kernel_shape: [3, 2], dilations: [2, 3], strides: [1, 2], pads: [1, 1, 1, 1] }],
    ['SAME_LOWER', [1, 2, 5, 6], { kernel_shape: [3, 3], strides: [2, 2], auto_pad: 'SAME_LOWER' }],
    ['1-D', [2, 3, 9], { kernel_shape: [3], strides: [2], pads: [1, 1] }],
    ['3-D', [1, 2, 4, 5, 4], { kernel_shape: [2, 3, 2], strides: [2, 1, 1], pads: [0, 1, 0, 0, 1, 1] }],
    ['3-D tiles', [1, 2, 4, 6, 2], { kernel_shape: [2, 3, 2], strides: [2, 3, 2] }],
  ];
  it.each(cases)('%s', async (_, dims, attributes) => {
    await checkGradient(engine, pooled('AveragePool', dims, attributes, 'float32'));
  });
});

describe('LpPool', () => {
  it.each([1, 2, 3])('p = %i', async (p) => {
    const windows = { kernel_shape: [3, 2], strides: [2, 2], pads: [1, 0, 1, 1], p };
    const model = pooled('LpPool', [1, 2, 5, 5], windows, 'float32');
    await checkGradient(engine, model, { step: 1e-2, tolerance: 5e-3 });
    const global = pooled('GlobalLpPool', [2, 2, 3, 3], { p }, 'float32');
    await checkGradient(engine, global, { step: 1e-2, tolerance: 5e-3 });
  });
});

describe('global pooling', () => {
  it.each([[[2, 3, 4, 5]], [[2, 3, 6]], [[1, 2, 2, 3, 2]], [[2, 3, 1, 1]]])('%j', async (dims) => {
    await checkGradient(engine, pooled('GlobalAveragePool', dims, {}, 'float32'));
    const x = distinct(dims, 'float32');
    await checkGradient(engine, pooled('GlobalMaxPool', dims, {}, 'float32'), { feeds: { x }, step: 0.02 });
  });
});

describe('MaxUnpool', () => {
  it('reads the gradient where it wrote', async () => {
    const builder = new GraphBuilder();
    const model = expression(
      builder,
      { x: [1, 2, 4, 4], v: [1, 2, 2, 2] },
      ({ x, v }) => {
        const indices = builder.node('MaxPool', [x!], { kernel_shape: [2, 2], strides: [2, 2] }, { outputs: 2 });
        return builder.op('MaxUnpool', [v!, indices.outputs[1]!], { kernel_shape: [2, 2], strides: [2, 2] });
      },
      { dtype: 'float32' },
    );
    expect(await checkGradient(engine, model, { wrt: ['v'] })).toBeLessThan(1e-3);
  });
});

describe('an empty batch', () => {
  it.each(['MaxPool', 'AveragePool'])('%s', async (op) => {
    const model = pooled(op, [0, 2, 4, 4], { kernel_shape: [2, 2], strides: [2, 2] }, 'float32');
    expect(await checkGradient(engine, model)).toBe(0);
  });
});
