import { type Node, Tensor, type Use, type Value } from '@pare/core';
import {
  kernels,
  matrixOf,
  type PlacedNode,
  quantizeWeight,
  removeDeadConstant,
  type WeightMatrix,
  weightParameters,
} from '@pare/transforms';
import type { WeightGroup } from './fake-weights.js';
import type { PlannedWeight } from './plan.js';
import type { Planner } from './planner.js';

// Weights alone, in blocks along the summed axis: what MatMulNBits of ONNX Runtime reads.

/** The block size for the weight of `placed`: the largest up to 32 that divides the summed axis; undefined: a step a channel. */
export function blockSizeOf({ node, weight }: Pick<PlacedNode, 'node' | 'weight'>): number | undefined {
  const depth = node.is('Conv') ? undefined : matrixOf({ node, weight })?.depth;
  return depth === undefined ? undefined : [32, 16].find((size) => depth % size === 0);
}

/** Puts fake quantization in front of a matrix: one step a block of `size`, of least squared error at the start. */
export async function fakeQuantizeBlocks(planner: Planner, group: WeightGroup, size: number): Promise<PlannedWeight> {
  const { placed, bits, limit, users } = group;
  const { node, weight } = placed;
  const matrix = matrixOf(placed);
  if (!weight || !matrix) return node.fail('has no weight to quantize');
  const operand = node.inputs[1] as Value;
  const rows = channelRows((await weight.tensor.toArray()) as Float32Array, matrix);
  const { channels, depth } = matrix;
  const perChannel = depth / size;
  const layout = { outer: 1, channels: channels * perChannel, inner: size };
  const target = { qmin: -limit, qmax: limit, symmetric: true };
  const { scale: steps } = weightParameters(kernels(), rows, layout, target, { search: true });
  // As the node reads it: [depth, channels] or [channels, depth], the summed axis cut into blocks.
  const channelsFirst = (matrix.axis === 0) !== weight.transposed;
  const [dims, stepDims] = channelsFirst
    ? [
        [channels, perChannel, size],
        [channels, perChannel, 1],
      ]
    : [
        [perChannel, size, channels],
        [perChannel, 1, channels],
      ];
  const ordered = channelsFirst ? steps : turned(steps, channels, perChannel);
  const scale = planner.writer.scale(operand.name, stepDims, ordered);
  planner.trainScale(scale, size, limit, steps);
  const uses: Use[] = users.map((user) => ({ node: user, index: 1 }));
  const shape = channelsFirst ? [channels, depth] : [depth, channels];
  return {
    operand: operand.name,
    rounded: planner.writer.blocks(operand, scale, limit, uses, { blocks: dims, whole: shape }).name,
    scale: scale.name,
    bits,
    limit,
    blockSize: size,
    users: users.map((user) => planner.name(user)),
  };
}

/** What is known of a matrix when it is written. */
export interface BlockWeight {
  readonly planned: PlannedWeight;
  readonly tensor: Tensor;
  readonly transposed: boolean;
  readonly matrix: WeightMatrix;
  /** In the order of the scale parameter. */
  readonly steps: Float32Array;
  /** What a folded BatchNormalization multiplies each channel with. */
  readonly factors: Float64Array | undefined;
}

/** A matrix as MatMulNBits reads it: codes, steps, and its attributes. */
export interface WrittenBlocks {
  readonly codes: Value;
  readonly scales: Value;
  readonly attributes: Readonly<Record<string, number>>;
}

/** Writes the integers of a matrix in blocks, for `node` and others that multiply with it. */
export function writeBlocks(node: Node, weight: BlockWeight): WrittenBlocks {
  const { planned, tensor, transposed, matrix, steps, factors } = weight;
  const { limit, blockSize: size = 32 } = planned;
  const graph = node.graph ?? node.fail('is in no graph');
  const { channels, depth } = matrix;
  const perChannel = depth / size;
  const bits = planned.bits === 3 ? 4 : planned.bits;
  const channelsFirst = (matrix.axis === 0) !== transposed;
  const byChannel = channelsFirst ? steps : turned(steps, perChannel, channels);
  const scales = byChannel.map((s, i) => s * Math.abs(factors?.[Math.floor(i / perChannel)] ?? 1));
  const bytes = (channels * depth * bits) / 8;
  const pack = async (): Promise<Uint8Array> => {
    const rows = channelRows((await tensor.toArray()) as Float32Array, matrix);
    const layout = { outer: 1, channels: channels * perChannel, inner: size };
    const spec = { scale: byChannel, zeroPoint: new Int32Array(byChannel.length), qmin: -limit, qmax: limit };
    const integers = new Int8Array(quantizeWeight(kernels(), rows, layout, spec).buffer as ArrayBuffer);
    const packed = new Uint8Array(bytes);
    const middle = 2 ** (bits - 1);
    integers.forEach((q, i) => {
      const sign = (factors?.[Math.floor(i / depth)] ?? 1) < 0 ? -1 : 1;
      packed[Math.floor((i * bits) / 8)]! |= (q * sign + middle) << ((i * bits) % 8);
    });
    return packed;
  };
  const name = node.inputs[1]?.name ?? 'weight';
  const dims = [channels, perChannel, (size * bits) / 8];
  return {
    codes: graph.addInitializer(
      `${name}_Q${bits}`,
      new Tensor('uint8', dims, { kind: 'producer', byteLength: bytes, produce: pack }),
    ),
    scales: graph.addInitializer(`${name}_scales`, Tensor.of('float32', [scales.length], scales)),
    attributes: { K: depth, N: channels, bits, block_size: size },
  };
}

/** Replaces a MatMul or Gemm by MatMulNBits, and an Add for the bias. */
export function multiplyBlocks(node: Node, { codes, scales, attributes }: WrittenBlocks, bias: Value | null): void {
  const graph = node.graph ?? node.fail('is in no graph');
  const [input, old] = node.inputs;
  const output = node.output;
  node.setOutput(0, null);
  const product = graph.addNode('MatMulNBits', [input as Value, codes, scales], {
    domain: 'com.microsoft',
    attributes,
    outputs: bias ? [graph.freshName(`${output.name}_product`)] : [output],
    before: node,
  });
  if (bias) graph.addNode('Add', [product.output, bias], { outputs: [output], before: node });
  node.setInputs([]);
  graph.remove(node);
  removeDeadConstant(old);
}

/** The weights channel by channel: [channels, depth]. */
function channelRows(values: Float32Array, { channels, depth, stride, offsets }: WeightMatrix): Float32Array {
  const rows = new Float32Array(values.length);
  for (let c = 0, i = 0; c < channels; c++) {
    for (let k = 0; k < depth; k++) rows[i++] = values[c * stride + (offsets[k] as number)] as number;
  }
  return rows;
}

/** The transpose of a [rows, columns] matrix. */
function turned(values: Float32Array, rows: number, columns: number): Float32Array {
  return values.map((_, i) => values[(i % rows) * columns + Math.floor(i / rows)] as number);
}
