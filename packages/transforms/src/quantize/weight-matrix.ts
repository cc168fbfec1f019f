import { elementCount } from '@pare/core';

/**
 * A weight as the integer kernels see it: `channels` columns of `depth` factors, whose products are summed. Factor k of
 * channel c is element `c * stride + offsets[k]` of the tensor. The order of k is that in which ONNX Runtime packs them: for
 * convolutions the input channels of one kernel position lie together.
 */
export interface WeightMatrix {
  readonly channels: number;
  readonly depth: number;
  readonly stride: number;
  readonly offsets: Int32Array;
  /** Input channel, within the group, of each factor. */
  readonly inputs: Int32Array;
  /** Channels are in this many groups, each with input channels of its own. */
  readonly groups: number;
  /** Axis of the channels in the tensor. */
  readonly axis: number;
}

/** Weight of Conv: [channels, input channels of the group, ...kernel]. */
export function convMatrix(dims: readonly number[], groups: number): WeightMatrix {
  const [channels = 1, perGroup = 1, ...kernel] = dims;
  const positions = elementCount(kernel);
  const depth = perGroup * positions;
  return {
    channels,
    depth,
    stride: depth,
    offsets: Int32Array.from({ length: depth }, (_, k) => (k % perGroup) * positions + Math.floor(k / perGroup)),
    inputs: Int32Array.from({ length: depth }, (_, k) => k % perGroup),
    groups,
    axis: 0,
  };
}

/** Weight of MatMul or Gemm, stored as [depth, channels], or as [channels, depth] when `transposed`. */
export function productMatrix(dims: readonly number[], transposed: boolean): WeightMatrix {
  const [rows = 1, columns = 1] = dims;
  const [depth, channels] = transposed ? [columns, rows] : [rows, columns];
  const step = transposed ? 1 : columns;
  return {
    channels,
    depth,
    stride: transposed ? columns : 1,
    offsets: Int32Array.from({ length: depth }, (_, k) => k * step),
    inputs: Int32Array.from({ length: depth }, (_, k) => k),
    groups: 1,
    axis: transposed ? 0 : 1,
  };
}

/**
 * A number for each factor of each group from one for each input channel of the operator: [group][k]. `fallback` where there
 * is none, and once more at the end.
 */
export function perFactor(
  { groups, depth, inputs }: WeightMatrix,
  perInput: ArrayLike<number> | undefined,
  fallback: number,
): Float64Array[] {
  const perGroup = perInput ? perInput.length / groups : 0;
  const factors = (group: number): Float64Array => {
    const of = new Float64Array(depth + 1).fill(fallback);
    if (perInput) for (let k = 0; k < depth; k++) of[k] = perInput[group * perGroup + (inputs[k] as number)] as number;
    return of;
  };
  if (perInput) return Array.from({ length: groups }, (_, group) => factors(group));
  return new Array<Float64Array>(groups).fill(factors(0));
}
