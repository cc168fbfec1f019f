import { type AttributeLike, GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('Col2Im', () => {
  const cases: [string, number[], number[], number[], Readonly<Record<string, AttributeLike>>][] = [
    ['blocks side by side', [2, 8, 4], [4, 4], [2, 2], { strides: [2, 2] }],
    ['blocks that overlap', [1, 12, 9], [4, 5], [2, 3], {}],
    [
      'pads, strides and dilations',
      [2, 6, 6],
      [5, 4],
      [3, 2],
      { pads: [1, 0, 2, 1], strides: [2, 1], dilations: [2, 2] },
    ],
    ['one axis', [2, 6, 4], [6], [3], {}],
  ];
  it.each(cases)('%s', async (_, dims, image, block, attributes) => {
    const b = new GraphBuilder();
    const model = expression(b, { x: dims }, ({ x }) => b.op('Col2Im', [x!, image, block], attributes), {
      dtype: 'float32',
    });
    await checkGradient(engine, model, { tolerance: 1e-5, step: 4 });
  });
});
