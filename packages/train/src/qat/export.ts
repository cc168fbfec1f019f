import { type Model, type Node, PareError, type Use, type Value } from '@pare/core';
import { type Affine, clipBounds, QdqWriter, roundHalfEven } from '@pare/transforms';
import { removeDead } from '../training-graph.js';
import type { PlannedActivation, PlannedWeight, QuantizationPlan } from './plan.js';
import { removeRounding } from './rounding.js';
import { writeWeight } from './write-weights.js';

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
  const grids = new Map<PlannedActivation, Affine>();
  for (const planned of plan.activations) grids.set(planned, await gridOf(model, planned));
  const steps = new Map<PlannedWeight, Float32Array>();
  for (const planned of plan.weights) steps.set(planned, (await trained(model, planned.scale)).map(Math.exp));
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

async function trained({ graph }: Model, name: string): Promise<Float32Array> {
  const tensor = graph.value(name)?.initializer ?? missing(name);
  return (await tensor.toArray()) as Float32Array;
}

async function gridOf(model: Model, { scale, bits, zeroPoint }: PlannedActivation): Promise<Affine> {
  const qmax = 2 ** bits - 1;
  const [log = 0] = await trained(model, scale);
  const learned = typeof zeroPoint === 'string' ? (await trained(model, zeroPoint))[0] : undefined;
  const share = Math.fround((learned ?? 0) * qmax);
  return {
    dtype: 'uint8',
    scale: Math.fround(Math.exp(log)),
    zeroPoint: typeof zeroPoint === 'number' ? zeroPoint : roundHalfEven(Math.min(qmax, Math.max(0, share))),
    levels: { qmin: 0, qmax },
  };
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
