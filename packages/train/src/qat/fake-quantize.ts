import { type Engine, type Feeds, type Model, type Node, PareError } from '@pare/core';
import {
  absorbFactors,
  type Calibration,
  type CalibrationMethod,
  calibrate,
  type NodeSelection,
  place,
  upgradeOpset,
} from '@pare/transforms';
import { GRADIENT_OPSET } from '../autodiff/index.js';
import { trainableParameters } from '../trainable.js';
import { constantsToInitializers } from '../training-graph.js';
import { type ActivationBits, activationBits, firstAndLast } from './bits.js';
import { blockSizeOf, fakeQuantizeBlocks } from './blocks.js';
import { fakeQuantizeActivations } from './fake-activations.js';
import { fakeQuantizeWeight, type WeightGroup, weightGroups } from './fake-weights.js';
import type { QuantizationPlan } from './plan.js';
import { Planner } from './planner.js';
import { type Bits, type Precision, parsePrecision } from './precision.js';

/** Options of `fakeQuantize`. */
export interface FakeQuantizeOptions extends NodeSelection {
  /** What to quantize to: `w8a8`, `w4a8`, `w4a4`, `w2a4`, ..., or `w4` for the weights alone. */
  readonly precision: string | Precision;
  /** Data that the ranges of activations are taken from; not needed for weights alone. */
  readonly samples?: AsyncIterable<Feeds> | Iterable<Feeds> | undefined;
  /** Runs the model over the samples. */
  readonly engine?: Engine | undefined;
  /** How the ranges to start from follow from the samples. Default `mse`. */
  readonly method?: CalibrationMethod | undefined;
  /** Least bits of the layers that see the data itself or give the answer. Default 8. */
  readonly firstAndLast?: Bits | undefined;
  /** Train the zero points of activations with a sign too (the offset of LSQ+). Default false: they stay as calibrated. */
  readonly learnZeroPoints?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Puts fake quantization into `model`, where the integer model that `exportQuantized` makes of it will round: in front of
 * weights and behind activations, in plain arithmetic with step sizes that can be trained (see FakeQuantizer). Evaluated as it is,
 * the result is post-training quantization; train it with `trainingOf(plan)` for quantization-aware training.
 *
 * Weights have one step a channel, of least squared error at the start; matrices whose weights alone are quantized have one a block
 * of 32 (or 16) along the summed axis. BatchNormalization behind a Conv or Gemm stays, so that it
 * can train with the statistics of batches: on export its factor goes into the steps of the channels, which is exact because the
 * integers are symmetric. The model becomes opset 21 or newer; simplify it before, but leave BatchNormalization in.
 * @throws PareError `bad-option` for an unknown precision, or activations without samples and engine; `unsupported` when no node
 *   can compute in integers, or for an opset that cannot be upgraded; those of `calibrate`.
 */
export async function fakeQuantize(model: Model, options: FakeQuantizeOptions): Promise<QuantizationPlan> {
  const precision = typeof options.precision === 'string' ? parsePrecision(options.precision) : options.precision;
  constantsToInitializers(model.graph);
  await model.transform(upgradeOpset({ to: GRADIENT_OPSET }));
  absorbFactors(model);
  const { include, exclude } = options;
  const placement = place(model, { include, exclude, foldsBatchNorm: true });
  const layers = placement.nodes.filter(({ weight }) => weight);
  if (layers.length === 0) {
    const why = ['No node with weights can compute in integers.', ...placement.refusals];
    throw new PareError('unsupported', why.join(' '));
  }
  const ends = firstAndLast(model.graph, placement.nodes);
  const atLeast = (node: Node, bits: Bits): Bits =>
    ends.has(node) ? (Math.max(bits, options.firstAndLast ?? 8) as Bits) : bits;
  const { weights, activations } = precision;
  const rounded = activations ? activationBits(placement, (node) => atLeast(node, activations)) : [];
  const groups = weightGroups(layers, (node) => atLeast(node, weights), inputBitsOf(rounded));
  const calibration = activations ? await rangesOf(model, rounded, options) : undefined;

  const planner = new Planner(model);
  for (const name of trainableParameters(model)) planner.parameters[name] = {};
  const planned = [];
  for (const group of groups) {
    const blockSize = activations ? undefined : blockSizeOf(group.placed);
    planned.push(
      await (blockSize ? fakeQuantizeBlocks(planner, group, blockSize) : fakeQuantizeWeight(planner, group)),
    );
  }
  const learned = options.learnZeroPoints ?? false;
  return {
    precision,
    weights: planned,
    activations: calibration ? fakeQuantizeActivations(planner, rounded, calibration, learned) : [],
    parameters: planner.parameters,
    notes: [...groups.flatMap((group) => describe(group, ends)), ...placement.refusals],
  };
}

function describe({ users, bits, inputBits }: WeightGroup, ends: ReadonlySet<Node>): string[] {
  return users.map((node) => {
    const times = inputBits ? `${inputBits}-bit activations times ` : '';
    return `${node.label}: ${times}${bits}-bit weights${ends.has(node) ? ' (a first or last layer)' : ''}.`;
  });
}

/** The bits that each node reads its first input with. */
function inputBitsOf(rounded: readonly ActivationBits[]): (node: Node) => Bits | undefined {
  return (node) => {
    const own = rounded.find(
      ({ readers }) => readers !== 'all' && readers.some((use) => use.node === node && use.index === 0),
    );
    return (own ?? rounded.find(({ value, readers }) => readers === 'all' && value === node.inputs[0]))?.bits;
  };
}

function rangesOf(
  model: Model,
  rounded: readonly ActivationBits[],
  options: FakeQuantizeOptions,
): Promise<Calibration> {
  const { engine, samples, method = 'mse', signal } = options;
  if (!engine || !samples) {
    throw new PareError(
      'bad-option',
      'Activations are quantized by what samples show: give `samples` and `engine`, or quantize the weights alone (w4).',
    );
  }
  const tensors = [...new Set(rounded.map(({ owner }) => owner.name))];
  return calibrate(model, samples, { engine, method, tensors, channels: false, signal });
}
