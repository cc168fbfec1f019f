import { GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('arithmetic', () => {
  it.each(['Add', 'Sub', 'Mul', 'Div', 'Sum', 'Mean'])('%s broadcasts', async (type) => {
    for (const [a, b] of [
      [
        [2, 3],
        [2, 3],
      ],
      [[2, 3], [3]],
      [
        [1, 3],
        [2, 1],
      ],
      [[], [2, 3]],
      [
        [4, 1, 3],
        [2, 1],
      ],
      [
        [0, 3],
        [1, 3],
      ],
      [[1], [1, 1]],
    ] as const) {
      const b1 = new GraphBuilder();
      const model = expression(b1, { a, b }, ({ a, b }) => b1.op(type, [a!, b!]));
      expect(await checkGradient(engine, model)).toBeLessThan(1e-6);
    }
  });
});
