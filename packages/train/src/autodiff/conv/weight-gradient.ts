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
      const enough = e
        .shape(result)
        .slice(2)
        .every((n, i) => n === kernel[i])
        ? result
        : e.slice(
            result,
            space.map((i) => i + 2),
            space.map(() => 0),
            kernel,
          );
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
  rows: { fits: () => true, emit: (e, c, x, g) => rowForm(e, c, x, g, BATCH_FIRST) },
  'rows-batch-last': {
    fits: () => true,
    emit: (e, c, x, g) => rowForm(e, c, batchLast(e, x), batchLast(e, g), BATCH_LAST),
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

/** Where the axes are in what `rowForm` works on. */
interface Layout {
  /** Axes before the groups: 1 where the batch comes first, else 0. */
  readonly lead: 0 | 1;
  /**
   * Whether x gets the padding of the axes before the last, in which g is then put at an offset, or g is cropped: more
   * arithmetic against slower copies.
   */
  readonly padsOuter: boolean;
}
const BATCH_FIRST: Layout = { lead: 1, padsOuter: true };
const BATCH_LAST: Layout = { lead: 0, padsOuter: false };

/**
 * The copies of x shifted along the last axis lie above each other; for each kernel position on the axes before it they are
 * multiplied with g, shifted the other way. So 2 k copies do for a kernel of k x k instead of k², and the products are k times
 * as high.
 */
function rowForm(e: Emitter, c: ConvGeometry, x: Value, g: Value, layout: Layout): Value {
  const { groups, channels, filters } = c;
  const { lead } = layout;
  const last = c.kernel.length - 1;
  const [outer, [width]] = [c.kernel.slice(0, last), c.kernel.slice(last) as [number]];
  const space = lead + 2;
  const split = (v: Value, each: number): Value => {
    const dims = e.shape(v);
    return e.reshape(v, [...dims.slice(0, lead), groups, each, ...dims.slice(lead + 1)]);
  };
  const matrix = (v: Value, rows: number): Value => {
    const images = lead ? [c.batch] : [];
    const columns = e.size(v) / Math.max(1, product(images) * groups * rows);
    return e.reshape(v, [...images, ...(groups === 1 && !lead ? [] : [groups]), rows, columns]);
  };

  // Where g moves, x needs no copy a position; a stride would spread it over zeros.
  const movesG = outer.every((_, i) => c.strides[i] === 1);
  const frame = (pads: readonly number[]): number[] =>
    pads.map((n, i) => (i === last || !movesG || layout.padsOuter ? n : 0));
  const around = (pads: readonly number[]): number[] => {
    const all = new Array<number>(space + last + 1 + (1 - lead)).fill(0);
    for (const [i, n] of pads.entries()) all[space + i] = n;
    return all;
  };
  const [before, after] = [frame(c.begin), frame(c.end)];
  const whole = e.pad(split(x, channels), around(before), around(after));
  const shifted = Array.from({ length: width }, (_, t) => window(e, c, whole, last, t, space + last));
  const stack = e.concat(shifted, lead + 1);
  const rows = width * channels;
  const parted = split(g, filters);
  const parts = positions(outer).map((t) => {
    if (!movesG) {
      const part = t.reduce((v, n, i) => window(e, c, v, i, n, space + i), stack);
      return multiply(e, matrix(part, rows), matrix(parted, filters), lead);
    }
    const starts = t.map((n, i) => n * (c.dilations[i] as number) - (c.begin[i] as number) + (before[i] as number));
    const room = outer.map((_, i) => (before[i] as number) + (c.inputs[i] as number) + (after[i] as number));
    const ends = starts.map((n, i) => (room[i] as number) - (c.outputs[i] as number) - n);
    return multiply(e, matrix(stack, rows), matrix(e.pad(parted, around(starts), around(ends)), filters), lead);
  });
  // [groups, positions on the outer axes, last axis, channels, filters]
  const all = e.concat(
    parts.map((p) => e.reshape(p, [groups, 1, width, channels, filters])),
    1,
  );
  return e.reshape(e.transpose(all, [0, 4, 3, 1, 2]), weightDims(c));
}

/** What position `t` of the kernel on spatial axis `i` multiplies, along `axis` of `source`, which is padded. */
function window(e: Emitter, c: ConvGeometry, source: Value, i: number, t: number, axis: number): Value {
  const stride = c.strides[i] as number;
  const start = t * (c.dilations[i] as number);
  const stop = start + ((c.outputs[i] as number) - 1) * stride + 1;
  if (stride === 1 && start === 0 && stop === e.shape(source)[axis]) return source;
  return e.slice(source, [axis], [start], [stop], [stride]);
}

/** a bᵀ of the last two axes; summed over the images, where there are some. */
function multiply(e: Emitter, a: Value, b: Value, lead: number): Value {
  if (e.rank(a) === 2) return e.op('Gemm', [a, b], { transB: 1 });
  const products = e.op('MatMul', [a, e.swap(b)]);
  return lead ? e.sum(products, [0], false) : products;
}

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
