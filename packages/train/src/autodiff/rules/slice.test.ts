import { Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, it } from 'vitest';
import { checkExpression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('Slice', () => {
  it.each<[string, number[], number[], number[], number[]]>([
    ['[:, 1:3]', [1], [3], [1], [1]],
    ['[:, -3:]', [-3], [1000], [1], [1]],
    ['[::-1] of the last axis', [-1], [-1000], [1], [-1]],
    ['every second', [0], [1000], [1], [2]],
    ['every third from 1', [1], [1000], [-1], [3]],
    ['every fifth, one in all', [1], [5], [1], [5]],
    ['backwards by 2 from beyond the end', [1000], [0], [1], [-2]],
    ['backwards from far before the beginning', [-1000], [-2000], [1], [-1]],
    ['two axes', [4, 1], [0, 5], [0, -1], [-3, 2]],
    ['two axes backwards', [5, 6], [-1000, -1000], [1, 0], [-4, -2]],
    ['nothing', [2], [2], [0], [1]],
    ['all but the last', [-1000], [-1], [0], [1]],
    ['one', [3], [4], [1], [1]],
  ])('%s', async (_, starts, ends, axes, steps) => {
    await checkExpression(engine, { x: [5, 7] }, (b, { x }) => b.op('Slice', [x!, starts, ends, axes, steps]));
  });

  it('to the greatest and the least integer', async () => {
    const last = Tensor.of('int64', [1], [2n ** 63n - 1n]);
    const first = Tensor.of('int64', [1], [-(2n ** 63n)]);
    await checkExpression(engine, { x: [5, 3] }, (b, { x }) => b.op('Slice', [x!, [2], last]));
    await checkExpression(engine, { x: [5, 3] }, (b, { x }) => b.op('Slice', [x!, [-1], first, [0], [-2]]));
    await checkExpression(engine, { x: [5, 3] }, (b, { x }) => b.op('Slice', [x!, last, first, [0], [-1]]));
  });

  it('of axes of length 0 and 1', async () => {
    await checkExpression(engine, { x: [0, 7] }, (b, { x }) => b.op('Slice', [x!, [0, 1], [5, 3]]));
    await checkExpression(engine, { x: [1, 7] }, (b, { x }) => b.op('Slice', [x!, [-1], [-5], [0], [-1]]));
  });

  it('with attributes, as before opset 10', async () => {
    const attributes = { starts: [1, -3], ends: [4, 1000], axes: [0, 1] };
    await checkExpression(engine, { x: [5, 7] }, (b, { x }) => b.op('Slice', [x!], attributes), { opset: 9 });
  });
});
