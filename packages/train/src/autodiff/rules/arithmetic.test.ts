import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, it } from 'vitest';
import { checkExpression } from '../../../test/check-gradient.js';

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
      // Mean has no kernel for float64; it is linear, so that a wide step is exact to rounding.
      const dtype = type === 'Mean' ? 'float32' : 'float64';
      await checkExpression(engine, { a, b }, (g, { a, b }) => g.op(type, [a!, b!]), { dtype });
    }
  });
});
