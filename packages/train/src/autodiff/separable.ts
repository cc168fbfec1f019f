import type { Value } from '@pare/core';
import type { Emitter } from './emitter.js';

/**
 * A linear map along one axis, y[o] = sum over i of weights[o * inputs + i] * x[i]: what a pooling or a resizing does on each
 * axis.
 */
export interface AxisMap {
  readonly axis: number;
  readonly outputs: number;
  readonly inputs: number;
  readonly weights: Float64Array;
}

/** An `AxisMap` of zeros, to be filled. */
export function axisMap(axis: number, outputs: number, inputs: number): AxisMap {
  return { axis, outputs, inputs, weights: new Float64Array(outputs * inputs) };
}

/**
 * The gradient of x where y = `maps` applied one after another to x: each transposed, as a matrix product along its axis. Dense
 * matrices are quicker here than a transposed convolution, which knows of no separability, up to about 100 elements an axis.
 */
export function transposeMaps(emit: Emitter, g: Value, maps: readonly AxisMap[]): Value {
  // The last axis first: it is one large product, and pooling has made the others small still.
  return maps.toReversed().reduce((value, map) => transposeMap(emit, value, map), g);
}

function transposeMap(emit: Emitter, g: Value, map: AxisMap): Value {
  const { axis, outputs, inputs, weights } = map;
  const dims = emit.shape(g);
  const dtype = emit.dtype(g);
  const after = dims.slice(axis + 1);
  const result = [...dims.slice(0, axis), inputs, ...after];
  const size = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1);
  if (size(dims) === 0 || size(result) === 0) return emit.fill(result, 0, g);
  if (after.length === 0) return emit.op('MatMul', [g, emit.constant(dtype, [outputs, inputs], [...weights])]);
  const transposed = Array.from({ length: inputs * outputs }, (_, at) => {
    const [i, o] = [Math.floor(at / outputs), at % outputs];
    return weights[o * inputs + i] as number;
  });
  const columns = emit.reshape(g, [...dims.slice(0, axis), outputs, size(after)]);
  return emit.reshape(emit.op('MatMul', [emit.constant(dtype, [inputs, outputs], transposed), columns]), result);
}
