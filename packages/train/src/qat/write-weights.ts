import { type Node, PareError, Tensor, type Value } from '@pare/core';
import {
  attachWeight,
  channelLayout,
  constantSource,
  followingBatchNorm,
  guardBiasScales,
  kernels,
  matrixOf,
  type Packing,
  type QdqWriter,
  type QuantizedWeight,
  quantizeWeight,
  readBias,
  roundHalfEven,
} from '@pare/transforms';
import { multiplyBlocks, writeBlocks } from './blocks.js';
import { type BatchNormFold, foldBatchNorm } from './fold-batch-norm.js';
import type { PlannedWeight } from './plan.js';

/** A node that multiplies with a weight. */
export interface WeightUser {
  readonly node: Node;
  /** Step of what the node multiplies; undefined: it is float. */
  readonly inputScale: number | undefined;
  readonly inputBits: number | undefined;
}

/**
 * Writes the integers of one weight into the graph, with the step sizes `steps`: once for the nodes that use it as it is, and once for
 * each BatchNormalization, which goes into it.
 */
export async function writeWeight(
  planned: PlannedWeight,
  steps: Float32Array,
  users: readonly WeightUser[],
  writer: QdqWriter,
): Promise<void> {
  const plain = users.filter(({ node }) => !followingBatchNorm(node));
  const normalized = users.filter(({ node }) => followingBatchNorm(node));
  for (const group of [plain, ...normalized.map((user) => [user])]) {
    if (group.length > 0) await writeShared(planned, steps, group, writer);
  }
}

async function writeShared(
  planned: PlannedWeight,
  steps: Float32Array,
  users: readonly WeightUser[],
  writer: QdqWriter,
): Promise<void> {
  const [{ node }] = users as [WeightUser];
  const source = constantSource(node.inputs[1]) ?? unknown(planned);
  const matrix = matrixOf({ node, weight: source }) ?? unknown(planned);
  const fold = await foldBatchNorm(node, matrix.channels);
  if (planned.blockSize) {
    const { tensor, transposed } = source;
    const blocks = writeBlocks(node, { planned, tensor, transposed, matrix, steps, factors: fold?.factors });
    for (const user of users) {
      multiplyBlocks(user.node, blocks, fold ? floatBias(user.node, fold.bias) : (user.node.inputs[2] ?? null));
    }
    return;
  }
  const biases = await Promise.all(
    users.map(async (user) => fold?.bias ?? (await readBias(user.node, matrix.channels))),
  );
  const packing = packingOf(planned, users[0]?.inputBits);
  const before = (fold ? foldedSteps(steps, fold) : steps).map((s) => s / (packing?.multiplier ?? 1));
  let scales: Float32Array = before;
  for (const [i, { inputScale }] of users.entries()) {
    const bias = biases[i];
    if (bias && inputScale) ({ scales } = guardBiasScales(bias, inputScale, scales));
  }
  const weight: QuantizedWeight = {
    source,
    matrix,
    scheme: { dtype: 'int8', perChannel: true, guard: 'none', search: false },
    scales,
    raised: 0,
    packing,
    quantize: async () => {
      const values = (await source.tensor.toArray()) as Float32Array;
      const layout = channelLayout(source.tensor.dims, matrix.axis);
      const { limit } = planned;
      const spec = { scale: steps, zeroPoint: new Int32Array(steps.length), qmin: -limit, qmax: limit };
      const integers = new Int8Array(quantizeWeight(kernels(), values, layout, spec).buffer as ArrayBuffer);
      const factors = scales.map((s, c) => ((before[c] as number) / s) * (fold?.signs[c] ?? 1));
      if (factors.some((f) => f !== 1)) {
        const { channels, inner } = layout;
        for (let i = 0; i < integers.length; i++) {
          integers[i] = roundHalfEven((integers[i] as number) * (factors[Math.floor(i / inner) % channels] as number));
        }
      }
      return new Uint8Array(integers.buffer);
    },
  };
  for (const [i, user] of users.entries()) {
    const bias = biases[i];
    if (user.inputScale === undefined) {
      if (fold) user.node.setInput(2, floatBias(user.node, fold.bias));
      attachWeight({ node: user.node, bias: undefined, inputScale: 1 }, weight, writer);
      makeFoldable(user.node.inputs[1]?.producer);
    } else attachWeight({ node: user.node, bias, inputScale: user.inputScale }, weight, writer);
  }
}

function floatBias(node: Node, bias: Float32Array): Value {
  const name = node.inputs[2]?.name ?? `${node.inputs[1]?.name}_bias`;
  const { graph } = node;
  return (graph ?? node.fail('is in no graph')).addInitializer(name, Tensor.of('float32', [bias.length], bias));
}

const FLOAT = 1;

/**
 * Writes the DequantizeLinear of a weight that is multiplied in float as Cast and Mul: runtimes compute those once, when they load
 * the model, and a DequantizeLinear in every run.
 */
function makeFoldable(dequantize: Node | undefined): void {
  const [integers, scales] = dequantize?.inputs ?? [];
  const graph = dequantize?.graph;
  const rank = integers?.shape?.length;
  if (!dequantize?.is('DequantizeLinear') || !graph || !integers || !scales?.initializer || !rank) return;
  const axis = dequantize.int('axis', 1);
  const dims = Array.from({ length: rank }, (_, i) => (i === axis ? scales.initializer?.size : 1)) as number[];
  const shaped = Tensor.of('float32', dims, scales.initializer.numbers() ?? []);
  const real = graph.addNode('Cast', [integers], { attributes: { to: FLOAT }, before: dequantize }).output;
  const output = dequantize.output;
  dequantize.setOutput(0, null);
  graph.addNode('Mul', [real, graph.addInitializer(scales.name, shaped)], { outputs: [output], before: dequantize });
  graph.remove(dequantize);
}

/** A step that is as good as nothing: the channel is constant, and its bias decides how large it must be at least. */
const NOTHING = 2 ** -100;

/** Steps times the magnitude of what BatchNormalization multiplies with. */
function foldedSteps(steps: Float32Array, { factors }: BatchNormFold): Float32Array {
  return steps.map((s, c) => Math.max(s * Math.abs(factors[c] as number), NOTHING));
}

/** The largest power of two that keeps the integers within int8, and within the 7 bits that 8-bit activations leave. */
function packingOf({ limit }: PlannedWeight, inputBits: number | undefined): Packing | undefined {
  const most = inputBits === 8 ? 64 : 127;
  return limit < 64 ? { limit, multiplier: 2 ** Math.floor(Math.log2(most / limit)) } : undefined;
}

function unknown({ operand }: PlannedWeight): never {
  throw new PareError('bad-model', `"${operand}" is no constant weight: the model is not the one that was planned.`);
}
