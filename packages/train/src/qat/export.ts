import { type Model, type Node, PareError, Tensor, type Use, type Value } from '@pare/core';
import {
  type Affine,
  attachWeight,
  channelLayout,
  clipBounds,
  constantSource,
  followingBatchNorm,
  guardBiasScales,
  kernels,
  matrixOf,
  type Packing,
  QdqWriter,
  type QuantizedWeight,
  quantizeWeight,
  readBias,
  roundHalfEven,
} from '@pare/transforms';
import { removeDead } from '../training-graph.js';
import { writeBlocks } from './blocks.js';
import { type BatchNormFold, foldBatchNorm } from './fold-batch-norm.js';
import type { PlannedActivation, PlannedWeight, QuantizationPlan } from './plan.js';
import { removeRounding } from './rounding.js';

/**
 * Turns a model that `fakeQuantize` has prepared, trained or not, into the one that runs: fake quantization becomes QuantizeLinear
 * and DequantizeLinear with the step sizes as they are now, weights become integers of 8, 4 or 1.6 bits in the file, biases int32,
 * and BatchNormalization goes into the weights' step sizes and the biases. ONNX Runtime computes with its 8-bit integer kernels:
 * fewer bits make the file smaller, not the computation faster. Its answers are those of the model before, up to what float
 * arithmetic rounds. `model` is changed in place.
 * @throws PareError `bad-model` when `plan` is of another model.
 */
export async function exportQuantized(model: Model, plan: QuantizationPlan): Promise<void> {
  const { graph } = model;
  const grids = new Map(plan.activations.map((planned) => [planned, gridOf(model, planned)]));
  const steps = new Map(plan.weights.map((planned) => [planned, stepsOf(model, planned.scale)]));
  for (const { rounded, value } of plan.activations.toReversed()) if (rounded) removeRounding(graph, rounded, value);
  for (const { rounded, operand } of plan.weights) removeRounding(graph, rounded, operand);
  removeDead(graph);
  prepareVersion(model);

  const nodes = new Map([...graph.nodes()].map((node) => [node.outputs.find((v) => v)?.name, node]));
  const find = (name: string): Node => nodes.get(name) ?? missing(name);
  const inputOf = (name: string, value: Value): PlannedActivation | undefined => {
    const own = plan.activations.find(
      ({ readers }) => readers !== 'all' && readers.some((r) => r.node === name && r.index === 0),
    );
    return own ?? plan.activations.find((p) => p.readers === 'all' && p.value === value.name);
  };
  const writer = new QdqWriter(model, '');
  if (plan.weights.some(({ blockSize }) => blockSize)) model.ensureOpset('com.microsoft', 1);
  for (const planned of plan.weights) {
    const users = planned.users.map((name) => {
      const node = find(name);
      const input = inputOf(name, node.inputs[0] as Value);
      return { node, inputScale: input && grids.get(input)?.scale, inputBits: input?.bits };
    });
    await writeWeight(planned, steps.get(planned) as Float32Array, users, writer);
  }
  for (const planned of plan.activations) {
    const value = graph.value(planned.value) ?? missing(planned.value);
    const readers: readonly Use[] | 'all' =
      planned.readers === 'all' ? 'all' : planned.readers.map(({ node, index }) => ({ node: find(node), index }));
    const name = planned.scale.replace(/_log_scale.*$/, '');
    writer.quantizeActivation(value, name, withinTail(value, grids.get(planned) as Affine), readers);
  }
  removeDead(graph);
}

function missing(name: string): never {
  throw new PareError('bad-model', `The model has no "${name}": it is not the one that was planned.`);
}

/** Initializers need not be inputs from IR version 4 on; opset 21 needs version 10. */
function prepareVersion(model: Model): void {
  if (model.irVersion < 4) for (const value of model.graph.initializers) model.graph.removeInput(value);
  model.irVersion = Math.max(model.irVersion, 10);
}

function stepsOf({ graph }: Model, name: string): Float32Array {
  const logs = graph.value(name)?.initializer?.numbers();
  return Float32Array.from(logs ?? missing(name), Math.exp);
}

function gridOf(model: Model, { scale, bits, zeroPoint }: PlannedActivation): Affine {
  const qmax = 2 ** bits - 1;
  const [step = 1] = stepsOf(model, scale);
  const share =
    typeof zeroPoint === 'string' ? (model.graph.value(zeroPoint)?.initializer?.scalar() ?? missing(zeroPoint)) : 0;
  const zero =
    typeof zeroPoint === 'number' ? zeroPoint : roundHalfEven(Math.min(qmax, Math.max(0, Math.fround(share * qmax))));
  return { dtype: 'uint8', scale: step, zeroPoint: zero, levels: { qmin: 0, qmax } };
}

/** `affine` without the integers that the Relu or Clip above `value` never lets through: saturating then does its work. */
function withinTail({ producer }: Value, affine: Affine): Affine {
  const bounds = producer && (producer.is('Relu') || producer.is('Clip')) ? clipBounds(producer) : undefined;
  const { levels, scale, zeroPoint } = affine;
  if (!bounds || !levels) return affine;
  const integer = (bound: number): number => roundHalfEven(bound / scale) + zeroPoint;
  return {
    ...affine,
    levels: { qmin: Math.max(levels.qmin, integer(bounds.low)), qmax: Math.min(levels.qmax, integer(bounds.high)) },
  };
}

interface User {
  readonly node: Node;
  /** Step of what the node multiplies; undefined: it is float. */
  readonly inputScale: number | undefined;
  readonly inputBits: number | undefined;
}

/** Writes one weight: once for the nodes that use it as it is, and once for each BatchNormalization that goes into it. */
async function writeWeight(
  planned: PlannedWeight,
  steps: Float32Array,
  users: readonly User[],
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
  users: readonly User[],
  writer: QdqWriter,
): Promise<void> {
  const [{ node }] = users as [User];
  const source = constantSource(node.inputs[1]) ?? missing(planned.operand);
  const matrix = matrixOf({ node, weight: source }) ?? missing(planned.operand);
  const fold = await foldBatchNorm(node, matrix.channels);
  if (planned.blockSize) {
    for (const user of users) {
      const bias = fold ? floatBias(user.node, fold.bias) : (user.node.inputs[2] ?? null);
      const channelsFirst = (matrix.axis === 0) !== source.transposed;
      const about = { planned, tensor: source.tensor, matrix, steps, channelsFirst, factors: fold?.factors, bias };
      writeBlocks(user.node, about);
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
