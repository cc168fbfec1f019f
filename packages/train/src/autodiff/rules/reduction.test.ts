import type { AttributeLike } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, gradientsAt } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const OPERATORS = [
  'ReduceSum',
  'ReduceMean',
  'ReduceMax',
  'ReduceMin',
  'ReduceProd',
  'ReduceL1',
  'ReduceL2',
  'ReduceSumSquare',
  'ReduceLogSum',
  'ReduceLogSumExp',
];

describe.each(OPERATORS)('%s', (type) => {
  const options = type === 'ReduceLogSum' ? ({ range: [0.5, 2] } as const) : {};
  const check = (
    x: readonly number[],
    axes: readonly number[] | null,
    attributes: Record<string, AttributeLike> = {},
  ) => checkExpression(engine, { x }, (b, { x }) => b.op(type, [x!, axes], attributes), options);

  it.each<[number[] | null]>([[null], [[]], [[1]], [[-1]], [[0, -2]], [[-1, 0, 1]]])('over %j', async (axes) => {
    await check([2, 3, 4], axes, { keepdims: 0 });
    await check([2, 3, 4], axes, { keepdims: 1 });
    await check([2, 3, 4], axes);
  });

  it('over lengths of one, and to a scalar', async () => {
    await check([1, 3, 1], [0, 2]);
    await check([3], null, { keepdims: 0 });
    await check([1], [0], { keepdims: 0 });
    await check([], null);
  });

  it('over no axes', async () => {
    await check([2, 3], null, { noop_with_empty_axes: 1 });
    await check([2, 3], [], { noop_with_empty_axes: 1, keepdims: 0 });
  });

  it('of nothing', async () => {
    await check([0, 3], [1]);
    if (!/Max|Min|Mean|Log/.test(type)) await check([3, 0], [1]);
  });

  it('with axes as an attribute, as before opset 13 and 18', async () => {
    const attributes = { axes: [-1, 0], keepdims: 0 };
    await checkExpression(engine, { x: [2, 3, 4] }, (b, { x }) => b.op(type, [x!], attributes), {
      ...options,
      opset: 11,
    });
  });
});

describe('where a reduction has no derivative, or a delicate one', () => {
  it('Max and Min share ties evenly', async () => {
    for (const type of ['ReduceMax', 'ReduceMin']) {
      const { x } = await gradientsAt(engine, { x: [2, 2, 2, 2] }, (b, { x }) => b.op(type, [x!]));
      expect(x).toEqual([0.25, 0.25, 0.25, 0.25]);
    }
  });

  it.each([
    [
      [2, 3, 4],
      [12, 8, 6],
    ],
    [
      [2, 0, 4],
      [0, 8, 0],
    ],
    [
      [0, 0, 4],
      [0, 0, 0],
    ],
  ])('Prod of %j', async (at, expected) => {
    const { x } = await gradientsAt(engine, { x: at }, (b, { x }) => b.op('ReduceProd', [x!]));
    for (const [i, v] of expected.entries()) expect(x![i]).toBeCloseTo(v, 12);
  });

  it('L2 has the gradient 0 at 0, L1 too', async () => {
    for (const type of ['ReduceL1', 'ReduceL2']) {
      const { x } = await gradientsAt(engine, { x: [0, 0] }, (b, { x }) => b.op(type, [x!]));
      expect(x).toEqual([0, 0]);
    }
  });
});
