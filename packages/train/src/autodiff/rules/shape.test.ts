import { type AttributeLike, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, it } from 'vitest';
import { checkExpression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Checks one expression of x. */
const check = (x: readonly number[], express: (b: GraphBuilder, x: Value) => Value | readonly Value[], opset = 21) =>
  checkExpression(engine, { x }, (b, { x }) => express(b, x!), { opset });

describe('Reshape, Flatten, Squeeze, Unsqueeze', () => {
  it('give the gradient the shape of the input', async () => {
    await check([4, 6], (b, x) => b.op('Reshape', [x, [2, -1]]));
    await check([4, 6], (b, x) => b.op('Reshape', [x, [0, 3, -1]]));
    await check([0, 6], (b, x) => b.op('Reshape', [x, [3, 0]], { allowzero: 1 }));
    await check([], (b, x) => b.op('Reshape', [x, [1, 1]]));
    for (const axis of [0, 1, 2, -1, 3]) await check([2, 3, 4], (b, x) => b.op('Flatten', [x], { axis }));
    await check([4, 1, 6], (b, x) => b.op('Squeeze', [x, [-2]]));
    await check([1, 6, 1], (b, x) => b.op('Squeeze', [x]));
    await check([4, 6], (b, x) => b.op('Unsqueeze', [x, [0, -1]]));
  });

  it('with axes as attributes, as before opset 13', async () => {
    await check([4, 1, 6], (b, x) => b.op('Squeeze', [x], { axes: [1] }), 11);
    await check([4, 6], (b, x) => b.op('Unsqueeze', [x], { axes: [0, 2] }), 11);
  });

  it('with a shape that follows from lengths', async () => {
    await check([2, 3, 4], (b, x) => {
      const first = b.op('Slice', [b.op('Shape', [x]), [0], [1]]);
      return b.op('Reshape', [x, b.op('Concat', [first, b.constant([-1])], { axis: 0 })]);
    });
  });
});

describe('Transpose', () => {
  it('inverts the permutation', async () => {
    await check([4, 3, 2], (b, x) => b.op('Transpose', [x]));
    await check([4, 3, 2], (b, x) => b.op('Transpose', [x], { perm: [1, 2, 0] }));
    await check([4, 0, 2, 1], (b, x) => b.op('Transpose', [x], { perm: [3, 1, 0, 2] }));
    await check([], (b, x) => b.op('Transpose', [x]));
  });
});

describe('Expand', () => {
  it('sums the copies', async () => {
    await check([4, 1, 2], (b, x) => b.op('Expand', [x, [3, 4, 5, 1]]));
    await check([], (b, x) => b.op('Expand', [x, [2, 3]]));
    await check([2, 3], (b, x) => b.op('Expand', [x, [2, 3]]));
  });
});

describe('Concat', () => {
  it('cuts the gradient up', async () => {
    for (const axis of [1, -2]) {
      const inputs = { x: [4, 1, 2], y: [4, 3, 2], z: [4, 0, 2] };
      await checkExpression(engine, inputs, (b, { x, y, z }) => b.op('Concat', [x!, y!, z!], { axis }));
    }
    await checkExpression(engine, { x: [2], y: [3] }, (b, { x, y }) => b.op('Concat', [x!, y!, x!], { axis: 0 }));
    await check([2, 3], (b, x) => b.op('Concat', [x], { axis: 0 }));
  });
});

describe('Split', () => {
  it('puts the gradients together', async () => {
    const split = (b: GraphBuilder, x: Value, sizes: number[] | null, attributes: Record<string, AttributeLike>) =>
      b.node('Split', [x, sizes], attributes, { outputs: 3 }).outputs as Value[];
    await check([4, 7], (b, x) => split(b, x, null, { axis: -1, num_outputs: 3 }));
    await check([6, 2], (b, x) => split(b, x, null, { num_outputs: 3 }));
    await check([4, 7], (b, x) => split(b, x, [4, 0, 3], { axis: 1 }));
  });

  it('has zeros where an output is not used', async () => {
    await check([4, 7], (b, x) => b.node('Split', [x, [4, 1, 2]], { axis: 1 }, { outputs: 3 }).outputs[1]!);
  });

  it('with the sizes as an attribute, as before opset 13', async () => {
    const split = (b: GraphBuilder, x: Value, attributes: Record<string, AttributeLike>) =>
      b.node('Split', [x], attributes, { outputs: 2 }).outputs as Value[];
    await check([4, 7], (b, x) => split(b, x, { split: [5, 2], axis: 1 }), 11);
    await check([4, 7], (b, x) => split(b, x, {}), 11);
  });
});

describe('Tile', () => {
  it('sums the copies', async () => {
    await check([2, 3], (b, x) => b.op('Tile', [x, [3, 2]]));
    await check([2, 1, 3], (b, x) => b.op('Tile', [x, [1, 4, 1]]));
    await check([2], (b, x) => b.op('Tile', [x, [1]]));
    await check([2, 3], (b, x) => b.op('Tile', [x, [0, 2]]));
  });
});

describe('Trilu', () => {
  it.each([0, 1])('with upper = %i', async (upper) => {
    for (const k of [-1, 0, 2]) {
      await check([2, 3, 4], (b, x) => b.op('Trilu', [x, Tensor.of('int64', [], [k])], { upper }));
    }
    await check([4, 3], (b, x) => b.op('Trilu', [x], { upper }));
  });
});

describe('DepthToSpace and SpaceToDepth', () => {
  it('are the inverse of each other', async () => {
    for (const mode of ['DCR', 'CRD']) {
      await check([2, 8, 2, 3], (b, x) => b.op('DepthToSpace', [x], { blocksize: 2, mode }));
      await check([1, 9, 1, 2], (b, x) => b.op('DepthToSpace', [x], { blocksize: 3, mode }));
    }
    await check([2, 8, 2, 3], (b, x) => b.op('DepthToSpace', [x], { blocksize: 2 }));
    await check([2, 3, 4, 6], (b, x) => b.op('SpaceToDepth', [x], { blocksize: 2 }));
  });
});
