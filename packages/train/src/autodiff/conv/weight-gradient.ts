import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import {
  type ConvGeometry,
  inputChannels,
  isPointwise,
  isStrided,
  outputChannels,
  positions,
  product,
  weightDims,
} from './geometry.js';
import { rowForm } from './row-form.js';
import { batchLast, padded, tap } from './taps.js';

/** One way to compute dw of y = Conv(x, w) from x and g = dL/dy. */
export interface WeightForm {
  /** Whether it is right for this geometry. */
  fits(c: ConvGeometry): boolean;
  emit(e: Emitter, c: ConvGeometry, x: Value, g: Value): Value;
}

export type DenseFormName = 'conv' | 'taps' | 'columns' | 'images' | 'rows' | 'rows-batch-last';

/**
 * The forms of the weight gradient that take any number of channels: dw[f, c, t] = sum over images n and positions p of
 * g[n, f, p] x[n, c, p * stride + t * dilation - begin]. All are exact; which one is quickest depends on the shape.
 */
export const DENSE_FORMS: Readonly<Record<DenseFormName, WeightForm>> = {
  // A convolution in which images and channels, strides and dilations swap roles, and g is the kernel.
  conv: {
    fits: (c) => c.begin.every((b) => b >= 0),
    emit: (e, c, x, g) => {
      const { batch, groups, channels, kernel } = c;
      const space = kernel.map((_, i) => i);
      const apart = e.reshape(x, [batch, groups, channels, ...c.inputs]);
      const images = e.transpose(apart, [2, 1, 0, ...space.map((i) => i + 3)]);
      const result = e.op(
        'Conv',
        [
          e.reshape(images, [channels, groups * batch, ...c.inputs]),
          e.transpose(g, [1, 0, ...space.map((i) => i + 2)]),
        ],
        {
          group: groups,
          kernel_shape: c.outputs,
          strides: c.dilations,
          dilations: c.strides,
          // What no window reaches at the end would be windows too many.
          pads: [...c.begin, ...c.end.map((n) => Math.max(0, n))],
        },
      );
      const excess = e
        .shape(result)
        .slice(2)
        .map((n, i) => n - (kernel[i] as number));
      const enough = e.pad(result, [0, 0, ...space.map(() => 0)], [0, 0, ...excess.map((n) => -n)]);
      return e.transpose(enough, [1, 0, ...space.map((i) => i + 2)]);
    },
  },
  // One matrix product a kernel position.
  taps: {
    fits: () => true,
    emit: (e, c, x, g) => {
      const rows = flat(e, c, batchLast(e, g), c.filters);
      const source = padded(e, c, batchLast(e, x), 1);
      const parts = positions(c.kernel).map((t) => {
        const columns = flat(e, c, tap(e, c, source, t, 1), c.channels);
        return e.reshape(productOf(e, c, rows, columns), [outputChannels(c), c.channels, 1]);
      });
      return e.reshape(e.concat(parts, 2), weightDims(c));
    },
  },
  // One matrix product with the shifted copies of x side by side (im2col).
  columns: {
    fits: () => true,
    emit: (e, c, x, g) => {
      const rows = flat(e, c, batchLast(e, g), c.filters);
      const source = padded(e, c, batchLast(e, x), 1);
      const length = c.batch * product(c.outputs);
      const parts = positions(c.kernel).map((t) => e.reshape(tap(e, c, source, t, 1), [inputChannels(c), 1, length]));
      const columns = flat(e, c, e.concat(parts, 1), c.channels * product(c.kernel));
      return e.reshape(productOf(e, c, rows, columns), weightDims(c));
    },
  },
  // One matrix product a kernel position on all axes but the last (`rowForm`).
  rows: { fits: () => true, emit: (e, c, x, g) => rowForm(e, c, x, g, true) },
  'rows-batch-last': {
    fits: () => true,
    emit: (e, c, x, g) => rowForm(e, c, batchLast(e, x), batchLast(e, g), false),
  },
  // One matrix product an image, summed over the images: nothing changes places, which suits kernels of one.
  images: {
    fits: () => true,
    emit: (e, c, x, g) => {
      const { batch, groups } = c;
      const length = product(c.outputs);
      const taps = product(c.kernel);
      const whole = isPointwise(c) && !isStrided(c) && c.end.every((n) => n === 0);
      const source = padded(e, c, x, 2);
      const parts = whole
        ? [x]
        : positions(c.kernel).map((t) => e.reshape(tap(e, c, source, t, 2), [batch, inputChannels(c), 1, length]));
      const columns = e.reshape(e.concat(parts, 2), [batch, groups, c.channels * taps, length]);
      const rows = e.reshape(g, [batch, groups, c.filters, length]);
      return e.reshape(e.sum(e.op('MatMul', [rows, e.swap(columns)]), [0], false), weightDims(c));
    },
  },
};

/** [all channels, ...] as matrices of `height` rows, one a group. */
function flat(e: Emitter, c: ConvGeometry, value: Value, height: number): Value {
  const width = c.batch * product(c.outputs);
  return e.reshape(value, c.groups === 1 ? [height, width] : [c.groups, height, width]);
}

/** rows columnsᵀ, for each group. */
function productOf(e: Emitter, c: ConvGeometry, rows: Value, columns: Value): Value {
  if (c.groups === 1) return e.op('Gemm', [rows, columns], { transB: 1 });
  return e.op('MatMul', [rows, e.swap(columns)]);
}
