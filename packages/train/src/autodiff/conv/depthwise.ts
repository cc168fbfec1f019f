import { isDepthwise, positions, product, weightDims } from './geometry.js';
import { batchLast, padded, tap } from './taps.js';
import type { WeightForm } from './weight-gradient.js';

export type DepthwiseFormName = 'depthwise-sums' | 'depthwise-columns' | 'depthwise-rows';

/** Forms of the weight gradient of convolutions with one channel a group, which are no matrix products. */
export const DEPTHWISE_FORMS: Readonly<Record<DepthwiseFormName, WeightForm>> = {
  // For each kernel position the sum over images and positions of x g.
  'depthwise-sums': {
    fits: isDepthwise,
    emit: (e, c, x, g) => {
      const source = padded(e, c, x, 2);
      const axes = [0, ...c.kernel.map((_, i) => i + 2)];
      const parts = positions(c.kernel).map((t) =>
        e.reshape(e.sum(e.mul(tap(e, c, source, t, 2), g), axes, false), [c.groups, 1]),
      );
      return e.reshape(e.concat(parts, 1), weightDims(c));
    },
  },
  // For each channel the product of a matrix of shifted copies of x with g as a vector.
  'depthwise-columns': {
    fits: isDepthwise,
    emit: (e, c, x, g) => {
      const source = padded(e, c, batchLast(e, x), 1);
      const length = c.batch * product(c.outputs);
      const parts = positions(c.kernel).map((t) => e.reshape(tap(e, c, source, t, 1), [c.groups, 1, length]));
      const vector = e.reshape(batchLast(e, g), [c.groups, length, 1]);
      return e.reshape(e.op('MatMul', [e.concat(parts, 1), vector]), weightDims(c));
    },
  },
  // For each channel and each shift along the later axes, the product of all rows of g with all rows of x: the sums along
  // diagonals of it are wanted. More arithmetic than needed, but of the kind that is quick, and few passes over x.
  'depthwise-rows': {
    fits: (c) => isDepthwise(c) && c.kernel.length >= 2,
    emit: (e, c, x, g) => {
      const source = padded(e, c, batchLast(e, x), 1);
      const [outputs, ...rest] = c.outputs as [number, ...number[]];
      const [, height] = e.shape(source) as [number, number];
      const [kernel, ...inner] = c.kernel as [number, ...number[]];
      const [stride] = c.strides as [number];
      const [dilation] = c.dilations as [number];
      const width = product(rest) * c.batch;
      const rows = e.reshape(batchLast(e, g), [c.groups, outputs, width]);
      const later = { ...c, outputs: rest, strides: c.strides.slice(1), dilations: c.dilations.slice(1) };
      const products = positions(inner).map((t) => {
        const shifted = e.reshape(tap(e, later, source, t, 2), [c.groups, height, width]);
        return e.reshape(e.op('MatMul', [rows, e.swap(shifted)]), [c.groups, 1, outputs * height]);
      });
      const all = e.concat(products, 1);
      const parts = Array.from({ length: kernel }, (_, t) => {
        const first = t * dilation;
        const step = height + stride;
        const diagonal = e.slice(all, [2], [first], [first + (outputs - 1) * step + 1], [step]);
        return e.reshape(e.sum(diagonal, [2], false), [c.groups, 1, product(inner)]);
      });
      return e.reshape(e.concat(parts, 1), weightDims(c));
    },
  },
};
