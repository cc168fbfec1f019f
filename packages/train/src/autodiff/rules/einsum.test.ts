import { GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, expression } from '../../../test/check-gradient.js';
import { gradient } from '../gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('Einsum', () => {
  it.each<[string, number[][]]>([
    [
      'ij,jk->ik',
      [
        [2, 3],
        [3, 4],
      ],
    ],
    [
      'ij,jk',
      [
        [2, 3],
        [3, 4],
      ],
    ],
    [
      'ba,ca',
      [
        [2, 3],
        [4, 3],
      ],
    ],
    [
      'bhqd,bhkd->bhqk',
      [
        [2, 2, 3, 4],
        [2, 2, 5, 4],
      ],
    ],
    [
      'bqhd , hde -> bqe',
      [
        [2, 3, 2, 4],
        [2, 4, 5],
      ],
    ],
    ['i,j->ij', [[3], [4]]],
    ['i,i->', [[3], [3]]],
    ['ij->ji', [[2, 3]]],
    ['ij->j', [[2, 3]]],
    ['ij->', [[2, 3]]],
    [
      'ij,jk->k',
      [
        [2, 3],
        [3, 4],
      ],
    ],
    ['a,ab,abc->abc', [[2], [2, 3], [2, 3, 4]]],
    [
      'ij,jk,kl->il',
      [
        [2, 3],
        [3, 2],
        [2, 4],
      ],
    ],
    [
      '...ij,...jk->...ik',
      [
        [5, 1, 2, 3],
        [1, 2, 3, 4],
      ],
    ],
    ['...i,i->...', [[2, 3, 4], [4]]],
    [
      '...i,...i',
      [
        [2, 3],
        [2, 3],
      ],
    ],
    ['...ij->...ji', [[2, 3, 4]]],
    ['...ij->...', [[2, 3, 4]]],
    ['...i->i...', [[2, 3, 4]]],
    [
      '...i,...j->...ij',
      [
        [1, 3, 2],
        [4, 1, 2],
      ],
    ],
    [
      'ij,jk->ik',
      [
        [1, 1],
        [1, 4],
      ],
    ],
    [
      'ij,jk->ik',
      [
        [0, 3],
        [3, 4],
      ],
    ],
  ])('%s of %j', async (equation, shapes) => {
    const inputs = Object.fromEntries(shapes.map((dims, i) => [`x${i}`, dims]));
    await checkExpression(engine, inputs, (b, values) => b.op('Einsum', Object.values(values), { equation }));
  });

  it('refuses a diagonal', async () => {
    const b = new GraphBuilder();
    const trace = expression(b, { x: [3, 3] }, ({ x }) => b.op('Einsum', [x!], { equation: 'ii->' }));
    await expect(gradient(trace, { loss: 'y0', wrt: ['x'] })).rejects.toThrow(/Einsum .*diagonal \("ii->"\)/);
  });
});
