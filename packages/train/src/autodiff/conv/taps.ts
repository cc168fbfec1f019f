import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { ConvGeometry } from './geometry.js';

/**
 * [batch, channels, spatial...] as [channels, spatial..., batch]. With the batch last, shifts along the spatial axes copy long
 * runs, and each channel is one row of a matrix.
 */
export function batchLast(e: Emitter, value: Value): Value {
  const [batch, ...rest] = e.shape(value) as [number, ...number[]];
  return e.reshape(turned(e, value, batch), [...rest, batch]);
}

/**
 * The elements of `value` as a matrix of `rows` rows, transposed. The axis of one in front keeps ONNX Runtime from joining the
 * reshapes with the transposition into one of many axes, which takes four times as long.
 */
export function turned(e: Emitter, value: Value, rows: number): Value {
  const columns = e.size(value) / Math.max(rows, 1);
  return e.transpose(e.reshape(value, [1, rows, columns]), [0, 2, 1]);
}

/** `x`, whose spatial axes begin at `first`, with the zeros of the padding around it, and without what no window reaches. */
export function padded(e: Emitter, c: ConvGeometry, x: Value, first: number): Value {
  const rank = e.rank(x);
  const around = (pads: readonly number[]): number[] => {
    const all = new Array<number>(rank).fill(0);
    for (const [i, n] of pads.entries()) all[first + i] = n;
    return all;
  };
  return e.pad(x, around(c.begin), around(c.end));
}

/** What kernel position `t` multiplies: for each output, one element of `source`, which is padded. */
export function tap(e: Emitter, c: ConvGeometry, source: Value, t: readonly number[], first: number): Value {
  const dims = e.shape(source);
  const starts = t.map((n, i) => n * (c.dilations[i] as number));
  const ends = starts.map((s, i) => s + ((c.outputs[i] as number) - 1) * (c.strides[i] as number) + 1);
  const axes = t.map((_, i) => first + i);
  const whole = axes.every((a, i) => starts[i] === 0 && ends[i] === dims[a] && c.strides[i] === 1);
  return whole ? source : e.slice(source, axes, starts, ends, c.strides);
}
