import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, positions, product, weightDims } from './geometry.js';

/**
 * The copies of x shifted along the last axis lie above each other; for each kernel position on the axes before it they are
 * multiplied with g, shifted the other way. So 2 k copies do for a kernel of k x k instead of k², and the products are k times
 * as high.
 *
 * `x` and `g` have the channels first and the batch last, or (`batchFirst`) are as they were. In the first case long runs make
 * it cheap to crop g; in the second x is padded on all axes instead, and g only put at an offset.
 */
export function rowForm(e: Emitter, c: ConvGeometry, x: Value, g: Value, batchFirst: boolean): Value {
  const { groups, channels, filters } = c;
  const last = c.kernel.length - 1;
  const [outer, width] = [c.kernel.slice(0, last), c.kernel[last] as number];
  const lead = batchFirst ? 1 : 0;
  /** Where the spatial axes begin, when groups and channels are axes of their own. */
  const space = lead + 2;
  const split = (v: Value, each: number): Value => {
    const dims = e.shape(v);
    return e.reshape(v, [...dims.slice(0, lead), groups, each, ...dims.slice(lead + 1)]);
  };
  const matrix = (v: Value, rows: number): Value => {
    const batches = batchFirst ? [c.batch, groups] : groups > 1 ? [groups] : [];
    return e.reshape(v, [...batches, rows, e.size(v) / (product(batches) * rows)]);
  };
  const around = (pads: readonly number[]): number[] => {
    const all = new Array<number>(c.kernel.length + 3).fill(0);
    for (const [i, n] of pads.entries()) all[space + i] = n;
    return all;
  };

  // Where g moves, x needs no copy for each position; a stride would spread g over zeros.
  const movesG = outer.every((_, i) => c.strides[i] === 1);
  const frame = (pads: readonly number[]): number[] =>
    pads.map((n, i) => (i === last || batchFirst || !movesG ? n : 0));
  const [before, after] = [frame(c.begin), frame(c.end)];
  const whole = e.pad(split(x, channels), around(before), around(after));
  const copies = Array.from({ length: width }, (_, t) => window(e, c, whole, last, t, space + last));
  const stack = e.concat(copies, lead + 1);
  const parted = split(g, filters);
  const parts = positions(outer).map((t) => {
    let [left, right] = [stack, parted];
    if (movesG) {
      const starts = t.map((n, i) => n * (c.dilations[i] as number) - (c.begin[i] as number) + (before[i] as number));
      const room = outer.map((_, i) => (before[i] as number) + (c.inputs[i] as number) + (after[i] as number));
      const ends = starts.map((n, i) => (room[i] as number) - (c.outputs[i] as number) - n);
      right = e.pad(parted, around(starts), around(ends));
    } else left = t.reduce((v, n, i) => window(e, c, v, i, n, space + i), stack);
    const part = multiply(e, matrix(left, width * channels), matrix(right, filters), batchFirst);
    return e.reshape(part, [groups, 1, width, channels, filters]);
  });
  return e.reshape(e.transpose(e.concat(parts, 1), [0, 4, 3, 1, 2]), weightDims(c));
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
function multiply(e: Emitter, a: Value, b: Value, overImages: boolean): Value {
  if (e.rank(a) === 2) return e.op('Gemm', [a, b], { transB: 1 });
  const products = e.op('MatMul', [a, e.swap(b)]);
  return overImages ? e.sum(products, [0], false) : products;
}
