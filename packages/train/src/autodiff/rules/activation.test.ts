import { type AttributeLike, float } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, gradientsAt } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;
const SHAPES = [[3, 4], [], [0, 3], [1, 1, 5]];

async function check(type: string, attributes: Attributes, dtype: 'float32' | 'float64', opset = 21): Promise<void> {
  const options = dtype === 'float32' ? { dtype, opset, step: 2 ** -8, tolerance: 2e-4 } : { dtype, opset };
  for (const x of SHAPES) {
    // Wide enough that every piece of the functions is met.
    await checkExpression(engine, { x }, (b, { x }) => b.op(type, [x!], attributes), {
      ...options,
      range: [-4.1, 4.1],
      seed: 3,
    });
  }
}

describe('activations', () => {
  it.each<[string, Attributes]>([
    ['Relu', {}],
    ['LeakyRelu', {}],
    ['LeakyRelu', { alpha: float(0) }],
    ['LeakyRelu', { alpha: float(-0.5) }],
    ['LeakyRelu', { alpha: float(2) }],
    ['ThresholdedRelu', {}],
    ['ThresholdedRelu', { alpha: float(-1.5) }],
    ['Elu', {}],
    ['Elu', { alpha: float(0.5) }],
    ['Selu', {}],
    ['Selu', { alpha: float(1.2), gamma: float(0.7) }],
    ['Celu', {}],
    ['Celu', { alpha: float(2) }],
    ['Shrink', {}],
    ['Shrink', { lambd: float(1.5), bias: float(0.5) }],
    ['Sigmoid', {}],
    ['Tanh', {}],
    ['HardSigmoid', {}],
    ['HardSigmoid', { alpha: float(-0.3), beta: float(0.4) }],
    ['HardSwish', {}],
    ['Softplus', {}],
    ['Softsign', {}],
    ['Mish', {}],
    ['Gelu', {}],
    ['Gelu', { approximate: 'tanh' }],
  ])('%s %j', async (type, attributes) => {
    await check(type, attributes, 'float32');
  });

  it.each(['Relu', 'Sigmoid', 'Tanh'])('%s in double', async (type) => {
    await check(type, {}, 'float64');
  });

  it('Swish, from opset 24', async () => {
    await check('Swish', {}, 'float32', 24);
    await check('Swish', { alpha: float(1.5) }, 'float32', 24);
  });

  it('PRelu with slopes that broadcast', async () => {
    const options = { dtype: 'float32', step: 2 ** -8 } as const;
    for (const [x, slope] of [
      [[2, 3], [3]],
      [[2, 3], []],
      [
        [2, 3, 4],
        [3, 1],
      ],
      [
        [2, 3],
        [2, 3],
      ],
      [[0, 3], [3]],
    ] as const) {
      await checkExpression(engine, { x, slope }, (b, { x, slope }) => b.op('PRelu', [x!, slope!]), options);
    }
  });

  it('Relu stops at 0, and passes the smallest normal number', async () => {
    const { x } = await gradientsAt(engine, { x: [-1, -0, 0, 2 ** -126, 1e30] }, (b, { x }) => {
      return b.op('Cast', [b.op('Relu', [b.op('Cast', [x!], { to: 1 })])], { to: 11 });
    });
    expect(x).toEqual([0, 0, 0, 1, 1]);
  });
});
