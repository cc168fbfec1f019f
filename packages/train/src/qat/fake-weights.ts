import type { Node, Use, Value } from '@pare/core';
import { channelLayout, kernels, matrixOf, type PlacedNode, weightParameters } from '@pare/transforms';
import type { PlannedWeight } from './plan.js';
import type { Planner } from './planner.js';
import type { Bits } from './precision.js';

/** A weight, and the nodes that read it at the same number of bits. */
export interface WeightGroup {
  readonly placed: PlacedNode;
  readonly bits: Bits;
  /** Largest integer. */
  readonly limit: number;
  /** Bits of what is multiplied with it; undefined: float. */
  readonly inputBits: Bits | undefined;
  readonly users: Node[];
}

/**
 * The weights of `layers` by what is read of them: what nodes share stays shared.
 *
 * With 8-bit activations, 8-bit weights stop at 64: x64 processors without VNNI add pairs of their products in 16 bits, and
 * 2 * 255 * 64 is the most that fits. Training makes up for the bit, and the model then gives the same answers everywhere. Fewer bits fit
 * anyway.
 */
export function weightGroups(
  layers: readonly PlacedNode[],
  bitsOf: (node: Node) => Bits,
  inputBitsOf: (node: Node) => Bits | undefined,
): WeightGroup[] {
  const groups = new Map<string, WeightGroup>();
  for (const placed of layers) {
    const { node } = placed;
    const bits = bitsOf(node);
    const inputBits = inputBitsOf(node);
    const limit = bits === 8 && inputBits === 8 ? 64 : 2 ** (bits - 1) - 1;
    const key = [node.inputs[1]?.name, matrixOf(placed)?.axis, bits, inputBits].join();
    const group = groups.get(key) ?? { placed, bits, limit, inputBits, users: [] };
    groups.set(key, group);
    group.users.push(node);
  }
  return [...groups.values()];
}

/** Puts fake quantization in front of a weight: one step a channel, of least squared error at the start. */
export async function fakeQuantizeWeight(
  planner: Planner,
  { placed, bits, limit, users }: WeightGroup,
): Promise<PlannedWeight> {
  const { node, weight } = placed;
  const matrix = matrixOf(placed);
  if (!weight || !matrix) return node.fail('has no weight to quantize');
  const operand = node.inputs[1] as Value;
  const { tensor, transposed } = weight;
  const values = (await tensor.toArray()) as Float32Array;
  const target = { qmin: -limit, qmax: limit, symmetric: true };
  const layout = channelLayout(tensor.dims, matrix.axis);
  const { scale: steps } = weightParameters(kernels(), values, layout, target, { search: true });
  const axis = transposed ? tensor.dims.length - 1 - matrix.axis : matrix.axis;
  const scale = planner.writer.scale(
    operand.name,
    tensor.dims.map((_, i) => (i === axis ? matrix.channels : 1)),
    steps,
  );
  planner.trainScale(scale, matrix.depth, limit, steps);
  const uses: Use[] = users.map((user) => ({ node: user, index: 1 }));
  return {
    operand: operand.name,
    rounded: planner.writer.weight(operand, scale, limit, uses).name,
    scale: scale.name,
    bits,
    limit,
    users: users.map((user) => planner.name(user)),
  };
}
