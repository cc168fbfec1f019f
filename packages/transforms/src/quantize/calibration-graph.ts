import { type Graph, type Model, type Node, Tensor, tensorType, type Value } from '@pare/core';
import { clipBounds } from './placement.js';

/** What an observing model computes about one activation. */
export interface Observation {
  readonly tensor: string;
  /** Its range is wanted (not only that of its channels). */
  readonly ranged: boolean;
  /** Nothing in it is below zero: the minimum need not be computed. */
  readonly nonNegative: boolean;
  /** Per-channel numbers as well: how many channels, and whether they lie on axis 1 (Conv) or on the last axis. */
  readonly channels?: { readonly count: number; readonly axis: 'second' | 'last'; readonly rank: number } | undefined;
}

/** Name of the one output that an observing model has beside those of the original. */
export const OBSERVED = 'pare_observed';

/** The numbers that an observing model gives for `observation`, in this order, one of each or one for each channel. */
export function reductionsOf({ nonNegative }: Observation): readonly ('ReduceMax' | 'ReduceMean' | 'ReduceMin')[] {
  return nonNegative ? ['ReduceMax', 'ReduceMean'] : ['ReduceMax', 'ReduceMean', 'ReduceMin'];
}

/**
 * A copy of `model` that gives the activations `tensors` and, reduced inside the graph, so that they never leave the runtime, those
 * of `observations`: one float32 output `OBSERVED` with the numbers of each in turn. The mean is among them for NaN too, over
 * which ONNX Runtime's ReduceMin and ReduceMax pass. Outputs of the original go: what only they need is not computed.
 */
export function observing(model: Model, tensors: readonly string[], observations: readonly Observation[]): Model {
  const copy = model.clone();
  while (copy.graph.outputs.length > 0) copy.graph.removeOutput(0);
  for (const name of tensors) {
    const value = copy.graph.value(name) as Value;
    value.type ??= tensorType('float32');
    copy.graph.addOutput(value);
  }
  if (observations.length === 0) return copy;
  const reducer = new Reducer(copy);
  // ONNX Runtime runs first what comes last: written from the last activation to the first, each is reduced as soon as it is
  // there, and not all of them wait for the end of the network in memory.
  const parts = observations.toReversed().map((observation) => reducer.reduce(observation));
  const all = copy.graph.addNode('Concat', parts.reverse().flat(), {
    attributes: { axis: 0 },
    outputs: [OBSERVED],
  }).output;
  const width = (o: Observation): number => (o.channels?.count ?? 1) * reductionsOf(o).length;
  all.type = tensorType('float32', [observations.reduce((sum, o) => sum + width(o), 0)]);
  copy.graph.addOutput(all);
  return copy;
}

class Reducer {
  readonly #graph: Graph;
  readonly #constants = new Map<string, Value>();

  constructor(private readonly model: Model) {
    this.#graph = model.graph;
  }

  /** Vectors, one for each reduction. */
  reduce(observation: Observation): Value[] {
    const { tensor, channels } = observation;
    const value = this.#graph.value(tensor) as Value;
    const ops = reductionsOf(observation);
    if (!channels) return ops.map((op) => this.#reshape(this.#reduction(op, value, undefined), [1]));
    const { axis, count, rank } = channels;
    if (axis === 'last') {
      const rows = this.#reshape(value, [-1, count]);
      return ops.map((op) => this.#reduction(op, rows, [0]));
    }
    const axes = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 1);
    return ops.map((op) => this.#reduction(op, value, axes));
  }

  /** `axes` undefined: all of them. They are an attribute before opset 18 and an input from there on. */
  #reduction(op: string, value: Value, axes: readonly number[] | undefined): Value {
    const asInput = this.model.opset >= 18;
    const inputs = axes && asInput ? [value, this.#shape(axes)] : [value];
    const attributes = axes && !asInput ? { keepdims: 0, axes } : { keepdims: 0 };
    return this.#graph.addNode(op, inputs, { attributes }).output;
  }

  #reshape(value: Value, dims: readonly number[]): Value {
    return this.#graph.addNode('Reshape', [value, this.#shape(dims)]).output;
  }

  #shape(dims: readonly number[]): Value {
    const key = dims.join();
    const present = this.#constants.get(key);
    if (present) return present;
    const made = this.#graph.addInitializer('pare_dims', Tensor.of('int64', [dims.length], dims));
    this.#constants.set(key, made);
    return made;
  }
}

/** The per-channel view of the activation that `node` multiplies with a weight of shape `dims` and `depth` factors. */
export function channelsOf(node: Node, dims: readonly number[], depth: number): Observation['channels'] {
  if (!node.is('Conv')) return { count: depth, axis: 'last', rank: 2 };
  return { count: (dims[1] ?? 1) * node.int('group', 1), axis: 'second', rank: dims.length };
}

/** Operators whose result has no sign when their first input has none. */
const KEEPS_SIGN: ReadonlySet<string> = new Set(
  'MaxPool AveragePool GlobalAveragePool Flatten Reshape Squeeze Unsqueeze Transpose Slice Identity'.split(' '),
);

/** Whether `value` can be seen to hold nothing below zero. */
export function isNonNegative(value: Value | null | undefined): boolean {
  const node = value?.producer;
  if (node?.domain !== '') return false;
  if (KEEPS_SIGN.has(node.opType)) return isNonNegative(node.inputs[0]);
  if (node.is('Relu') || node.is('Clip')) return (clipBounds(node)?.low ?? -1) >= 0;
  return node.is('Sigmoid') || node.is('HardSigmoid') || node.is('Softmax');
}
