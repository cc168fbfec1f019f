import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, it } from 'vitest';
import { checkExpression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe.each(['Softmax', 'LogSoftmax'])('%s', (type) => {
  it.each([0, 1, -1, -3])('over axis %i', async (axis) => {
    for (const x of [
      [2, 3, 4],
      [1, 1, 1],
      [0, 3, 2],
      [2, 0, 3],
    ]) {
      await checkExpression(engine, { x }, (b, { x }) => b.op(type, [x!], { axis }));
    }
  });

  it('over the last axis by default', async () => {
    await checkExpression(engine, { x: [2, 3, 4] }, (b, { x }) => b.op(type, [x!]));
  });

  it('over all axes from one on, as before opset 13', async () => {
    await checkExpression(engine, { x: [2, 3, 4] }, (b, { x }) => b.op(type, [x!], { axis: 1 }), { opset: 11 });
    await checkExpression(engine, { x: [2, 3, 4] }, (b, { x }) => b.op(type, [x!]), { opset: 11 });
  });
});
