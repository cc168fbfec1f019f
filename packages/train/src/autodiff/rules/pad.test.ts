import { GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, expression } from '../../../test/check-gradient.js';
import { gradient } from '../gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('Pad', () => {
  const check = (x: readonly number[], mode: string, pads: number[], axes: number[] | null = null) =>
    checkExpression(engine, { x }, (b, { x }) => b.op('Pad', [x!, pads, null, axes], { mode }));

  it.each(['constant', 'reflect', 'edge', 'wrap'])('in the mode %s', async (mode) => {
    await check([3, 4], mode, [2, 1, 1, 3]);
    await check([3, 4], mode, [0, 2, 0, 0]);
    await check([2, 3, 4, 5], mode, [0, 0, 3, 1, 0, 0, 2, 4]);
    await check([3, 4, 2], mode, [2, 0, 1, 1], [-2, 0]);
    await check([3], mode, [0, 0]);
  });

  it('constant: negative padding cuts', async () => {
    await check([5, 6], 'constant', [-2, 1, 1, -3]);
    await check([5, 6], 'constant', [-5, 0, 0, 0]);
  });

  it('edge of one element, wrap of the whole axis', async () => {
    await check([1, 3], 'edge', [4, 0, 2, 0]);
    await check([2, 3], 'wrap', [2, 3, 2, 3]);
  });

  it('by a value that is trained', async () => {
    await checkExpression(engine, { x: [2, 3], v: [] }, (b, { x, v }) => b.op('Pad', [x!, [1, 0, 2, -1], v!]));
  });

  it('with attributes, as before opset 11', async () => {
    const attributes = { pads: [1, 0, 0, 2], mode: 'reflect' };
    await checkExpression(engine, { x: [2, 3] }, (b, { x }) => b.op('Pad', [x!], attributes), { opset: 10 });
  });

  it('refuses what would copy an element more than once', async () => {
    const b = new GraphBuilder();
    const model = expression(b, { x: [3] }, ({ x }) =>
      b.op('ReduceSum', [b.op('Pad', [x!, [3, 0]], { mode: 'reflect' })], { keepdims: 0 }),
    );
    await expect(gradient(model, { loss: 'y0', wrt: ['x'] })).rejects.toThrow(/length 3 by 3 and 0 .*"reflect".*to 2/);
  });
});
