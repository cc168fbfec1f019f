import { type AttributeLike, GraphBuilder, type HostTensor, type Model, seededRandom } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;

function sampled(x: readonly number[], grid: readonly number[], attributes: Attributes): Model {
  const b = new GraphBuilder();
  return expression(b, { x, grid }, (v) => b.op('GridSample', [v.x!, v.grid!], attributes));
}

/** Points of which some lie outside. */
function points(dims: readonly number[], reach = 1.4): HostTensor {
  const random = seededRandom(4);
  const size = dims.reduce((a, b) => a * b, 1);
  return {
    dtype: 'float64',
    dims,
    data: Float64Array.from({ length: size }, () => reach * (2 * random.uniform() - 1)),
  };
}

describe('GridSample', () => {
  const modes = ['zeros', 'border'].flatMap((padding_mode) =>
    [0, 1].map((align_corners) => ({ padding_mode, align_corners })),
  );
  it.each(modes)('%j', async (attributes) => {
    const grid = points([2, 3, 4, 2]);
    await checkGradient(engine, sampled([2, 3, 5, 6], grid.dims, attributes), { feeds: { grid } });
    const nearest = sampled([2, 3, 5, 6], grid.dims, { ...attributes, mode: 'nearest' });
    await checkGradient(engine, nearest, { feeds: { grid }, wrt: ['x'] });
  });

  it('of volumes', async () => {
    const grid = points([1, 2, 2, 3, 3]);
    await checkGradient(engine, sampled([1, 2, 3, 4, 5], grid.dims, {}), { feeds: { grid } });
  });

  it('of one pixel', async () => {
    const grid = points([1, 2, 2, 2]);
    await checkGradient(engine, sampled([1, 2, 1, 1], grid.dims, {}), { feeds: { grid } });
  });

  it('refuses what it does not cover', async () => {
    const cubic = sampled([1, 1, 4, 4], [1, 2, 2, 2], { mode: 'cubic' });
    await expect(checkGradient(engine, cubic)).rejects.toThrow(/no gradient with mode "cubic"/);
  });
});
