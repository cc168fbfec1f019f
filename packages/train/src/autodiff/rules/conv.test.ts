import { GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** In float32, the only type that the runtime convolves; the output is linear in each input, so a large step is exact. */
async function check(
  operator: 'Conv' | 'ConvTranspose',
  x: readonly number[],
  w: readonly number[],
  attributes: Readonly<Record<string, number | string | readonly number[]>>,
): Promise<number> {
  const b = new GraphBuilder();
  const filters = operator === 'Conv' ? (w[0] as number) : (w[1] as number) * Number(attributes.group ?? 1);
  const options = { dtype: 'float32' as const };
  const model = expression(
    b,
    { x, w, b: [filters] },
    (v) => b.op(operator, [v.x!, v.w!, v.b!], attributes as never),
    options,
  );
  return checkGradient(engine, model);
}

describe('Conv', () => {
  it.each([
    ['3x3', [2, 3, 6, 5], [4, 3, 3, 3], { pads: [1, 1, 1, 1] }],
    ['one side padded', [2, 3, 6, 5], [4, 3, 3, 2], { pads: [0, 1, 2, 0] }],
    ['SAME_UPPER', [2, 3, 7, 6], [4, 3, 3, 2], { auto_pad: 'SAME_UPPER', strides: [2, 2] }],
    ['SAME_LOWER', [2, 3, 7, 6], [4, 3, 4, 2], { auto_pad: 'SAME_LOWER', strides: [3, 1] }],
    ['VALID', [2, 3, 7, 6], [4, 3, 3, 2], { auto_pad: 'VALID', strides: [2, 2] }],
    ['dilated', [2, 3, 9, 8], [4, 3, 3, 3], { dilations: [2, 3], pads: [2, 3, 1, 0], strides: [2, 1] }],
    ['groups', [2, 6, 5, 5], [4, 3, 3, 3], { group: 2, pads: [1, 1, 1, 1] }],
    ['depthwise', [2, 4, 5, 5], [4, 1, 3, 3], { group: 4, pads: [1, 1, 1, 1], strides: [2, 2] }],
    ['depthwise, two filters a channel', [2, 3, 5, 5], [6, 1, 3, 3], { group: 3, pads: [1, 1, 1, 1] }],
    ['1-D', [2, 3, 9], [4, 3, 4], { strides: [2], pads: [1, 2] }],
    ['3-D', [2, 2, 4, 3, 4], [3, 2, 2, 2, 3], { pads: [1, 0, 1, 0, 1, 1] }],
    ['one pixel, one image', [1, 1, 1, 1], [1, 1, 1, 1], {}],
    ['no image', [0, 3, 6, 5], [4, 3, 3, 3], { pads: [1, 1, 1, 1] }],
    ['no image, wide', [0, 12, 30, 30], [4, 12, 3, 3], {}],
    ['no image, depthwise', [0, 4, 5, 5], [4, 1, 3, 3], { group: 4 }],
  ] as const)('%s', async (_, x, w, attributes) => {
    expect(await check('Conv', x, w, attributes)).toBeLessThan(1e-3);
  });
});

describe('ConvTranspose', () => {
  it.each([
    ['stride 1', [2, 3, 4, 4], [3, 4, 3, 3], { pads: [1, 1, 1, 1] }],
    ['stride 2', [2, 3, 4, 3], [3, 4, 3, 3], { strides: [2, 2], pads: [1, 0, 1, 2], output_padding: [1, 0] }],
    ['groups', [2, 6, 4, 3], [6, 2, 3, 3], { strides: [2, 2], group: 3 }],
    ['dilated', [2, 3, 4, 3], [3, 2, 3, 2], { strides: [2, 1], dilations: [2, 2], pads: [1, 0, 2, 1] }],
    ['output_shape', [2, 3, 4, 3], [3, 2, 3, 3], { strides: [2, 2], output_shape: [8, 6] }],
    ['SAME_UPPER', [2, 3, 4, 3], [3, 2, 4, 3], { strides: [2, 2], auto_pad: 'SAME_UPPER' }],
    ['SAME_LOWER', [2, 3, 4, 3], [3, 2, 4, 3], { strides: [2, 2], auto_pad: 'SAME_LOWER' }],
    ['1-D', [2, 3, 5], [3, 2, 4], { strides: [3], pads: [1, 0] }],
    ['3-D', [2, 2, 2, 3, 2], [2, 3, 2, 2, 3], { strides: [1, 2, 1] }],
  ] as const)('%s', async (_, x, w, attributes) => {
    expect(await check('ConvTranspose', x, w, attributes)).toBeLessThan(1e-3);
  });
});
