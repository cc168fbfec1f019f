import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, isDepthwise, positions, product, weightDims } from './geometry.js';
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
      const [outputs, ...rest] = c.outputs as [number, ...number[]];
      const [inputs] = c.inputs as [number];
      const [kernel, ...inner] = c.kernel as [number, ...number[]];
      const width = product(rest) * c.batch;
      const later = (list: readonly number[]): number[] => [0, 0, ...list.slice(1), 0];
      const source = e.pad(batchLast(e, x), later(c.begin), later(c.end));
      const rows = e.reshape(batchLast(e, g), [c.groups, outputs, width]);
      const behind = { ...c, outputs: rest, strides: c.strides.slice(1), dilations: c.dilations.slice(1) };
      const products = positions(inner).map((t) => {
        const shifted = e.reshape(tap(e, behind, source, t, 2), [c.groups, inputs, width]);
        return e.reshape(e.op('MatMul', [rows, e.swap(shifted)]), [c.groups, 1, outputs * inputs]);
      });
      const all = e.concat(products, 1);
      const parts = Array.from({ length: kernel }, (_, t) =>
        e.reshape(diagonal(e, c, all, t), [c.groups, 1, product(inner)]),
      );
      return e.reshape(e.concat(parts, 1), weightDims(c));
    },
  },
};

/** Sum of the elements (o, o * stride + t * dilation - begin) of the matrices [outputs, inputs] in `all` [C, n, both]. */
function diagonal(e: Emitter, c: ConvGeometry, all: Value, t: number): Value {
  const [stride, dilation, begin, outputs, inputs] = [c.strides, c.dilations, c.begin, c.outputs, c.inputs].map(
    (list) => list[0],
  ) as [number, number, number, number, number];
  const offset = t * dilation - begin;
  const first = Math.max(0, Math.ceil(-offset / stride));
  const last = Math.min(outputs - 1, Math.floor((inputs - 1 - offset) / stride));
  const [channels, shifts] = e.shape(all) as [number, number];
  if (last < first) return e.fill([channels, shifts], 0, all);
  const step = inputs + stride;
  const elements = e.slice(all, [2], [first * step + offset], [last * step + offset + 1], [step]);
  return e.sum(elements, [2], false);
}
