import type { Value } from '@pare/core';
import type { Emitter } from './emitter.js';

/** A tensor as blocks of rows. */
export type Rows = readonly [outer: number, extent: number, inner: number];

/**
 * Zeros of [outer, extent, inner] to which the rows of `values`, of [outer, count, inner] elements, are added at the rows `at`,
 * int64 [outer or 1, count], none negative; an index may repeat. One dimension: reshape it.
 *
 * By ScatterElements, which ONNX Runtime runs in one thread, on flat tensors, which takes half the time of a scatter over an
 * axis. ScatterND with `add` is quicker, but from two threads on it loses additions where an index repeats (ONNX Runtime
 * 1.30), as those of embeddings do.
 */
export function addRows(e: Emitter, [outer, extent, inner]: Rows, at: Value, values: Value): Value {
  let places = e.mul(e.reshape(at, [...e.shape(at), 1]), e.ints([inner]));
  places = e.add(places, e.ints([...Array(inner).keys()]));
  if (outer > 1) {
    const first = Array.from({ length: outer }, (_, i) => i * extent * inner);
    places = e.add(places, e.constant('int64', [outer, 1, 1], first));
  }
  const flat = (x: Value): Value => e.reshape(x, [e.size(x)]);
  const zeros = e.fill([outer * extent * inner], 0, values);
  return e.op('ScatterElements', [zeros, flat(places), flat(values)], { reduction: 'add' });
}
