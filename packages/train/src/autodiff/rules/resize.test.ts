import { type AttributeLike, floats, GraphBuilder, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { upgradeOpset } from '@pare/transforms';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

interface Case {
  readonly dims: readonly number[];
  readonly scales?: readonly number[];
  readonly sizes?: readonly number[];
  readonly roi?: readonly number[];
  readonly attributes: Readonly<Record<string, AttributeLike>>;
}

function resized({ dims, scales, sizes, roi, attributes }: Case): Model {
  const b = new GraphBuilder();
  const list = (values?: readonly number[]): Tensor | null =>
    values ? Tensor.of('float32', [values.length], values) : null;
  return expression(
    b,
    { x: dims },
    ({ x }) => b.op('Resize', [x!, list(roi), list(scales), sizes ?? null], attributes),
    {
      dtype: 'float32',
    },
  );
}

/** Resizing is linear, so a difference quotient is exact but for rounding, and every element is compared. */
const check = (test: Case): Promise<number> =>
  checkGradient(engine, resized(test), { samples: 100, tolerance: 1e-4, step: 4 });

const COORDINATES = ['half_pixel', 'pytorch_half_pixel', 'asymmetric', 'align_corners', 'half_pixel_symmetric'];
const ROUNDINGS = ['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'];

describe.each(COORDINATES)('Resize, %s', (coordinate_transformation_mode) => {
  it.each(['nearest', 'linear', 'cubic'])('%s', async (mode) => {
    const attributes = { coordinate_transformation_mode, mode };
    for (const scales of [
      [1, 1, 2, 2],
      [1, 1, 0.6, 1.7],
      [1, 1, 1, 3],
    ]) {
      await check({ dims: [2, 2, 5, 4], scales, attributes });
    }
    for (const size of [
      [3, 7],
      [1, 1],
      [10, 5],
    ]) {
      await check({ dims: [1, 2, 5, 4], sizes: [1, 2, ...size], attributes });
    }
  });

  it.each(ROUNDINGS)('nearest, %s', async (nearest_mode) => {
    const attributes = { coordinate_transformation_mode, nearest_mode };
    for (const scales of [
      [1, 1, 0.5, 1.5],
      [1, 1, 3, 0.3],
    ]) {
      await check({ dims: [1, 2, 6, 7], scales, attributes });
    }
  });
});

describe('Resize', () => {
  it('of one axis and of three', async () => {
    await check({ dims: [2, 3, 6], scales: [1, 1, 1.5], attributes: { mode: 'linear' } });
    await check({ dims: [1, 2, 3, 4, 3], scales: [1, 1, 2, 1.5, 2], attributes: { mode: 'linear' } });
    await check({ dims: [1, 2, 3, 4, 2], scales: [1, 1, 2, 1, 3], attributes: {} });
  });

  it('of any axes', async () => {
    await check({ dims: [2, 3, 4], scales: [2, 1.5, 2], attributes: {} });
    await check({ dims: [2, 2, 5, 4], scales: [2, 0.5], attributes: { axes: [2, 3], mode: 'linear' } });
    await check({ dims: [2, 2, 5, 4], scales: [2, 0.5], attributes: { axes: [-1, -2], mode: 'linear' } });
  });

  it.each(['not_larger', 'not_smaller'])('to sizes of one ratio, %s', async (keep_aspect_ratio_policy) => {
    const attributes = { axes: [2, 3], keep_aspect_ratio_policy, mode: 'linear' };
    await check({ dims: [1, 2, 5, 4], sizes: [9, 5], attributes });
  });

  it('of a region', async () => {
    const attributes = { coordinate_transformation_mode: 'tf_crop_and_resize', mode: 'linear' };
    await check({ dims: [1, 1, 6, 5], roi: [0, 0, 0.2, -0.3, 1, 1, 0.7, 1.2], sizes: [1, 1, 4, 6], attributes });
  });

  it.each(['linear', 'cubic'])('%s, against aliasing', async (mode) => {
    for (const exclude_outside of [0, 1]) {
      await check({
        dims: [1, 1, 9, 7],
        scales: [1, 1, 0.4, 0.6],
        attributes: { mode, antialias: 1, exclude_outside },
      });
      await check({ dims: [1, 1, 4, 7], scales: [1, 1, 2, 0.5], attributes: { mode, antialias: 1, exclude_outside } });
    }
  });

  it('cubic, with another coefficient and without what is outside', async () => {
    const attributes = { mode: 'cubic', cubic_coeff_a: { type: 'float', value: -0.5 } as const, exclude_outside: 1 };
    await check({ dims: [1, 2, 4, 5], scales: [1, 1, 2, 1.5], attributes });
  });

  it('as Upsample of opset 8', async () => {
    const b = new GraphBuilder();
    const model = expression(
      b,
      { x: [1, 2, 3, 2] },
      ({ x }) => b.op('Upsample', [x!], { mode: 'linear', scales: floats([1, 1, 2, 3]) }),
      { dtype: 'float32', opset: 8 },
    );
    // The loss of the check is written for newer opsets: the model is upgraded before it.
    await model.transform(upgradeOpset({ to: 21 }));
    expect(await checkGradient(engine, model)).toBeLessThan(1e-3);
  });
});
