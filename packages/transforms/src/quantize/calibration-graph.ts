import { type Graph, type Model, type Node, Tensor, tensorType, type Value } from '@pare/core';

/** What an observing model computes about one activation. */
export interface Observation {
  readonly tensor: string;
  /** Its range is wanted (not only that of its channels). */
  readonly ranged: boolean;
  /** Per-channel numbers as well: how many channels, and whether they lie on axis 1 (Conv) or on the last axis. */
  readonly channels?: { readonly count: number; readonly axis: 'second' | 'last'; readonly rank: number } | undefined;
}

/** Name of the one output that an observing model has beside those of the original. */
export const OBSERVED = 'pare_observed';

/** What an observing model gives for one activation, in this order (for each channel, where asked), and then its size. */
export const REDUCTIONS = ['ReduceMin', 'ReduceMax', 'ReduceMean', 'ReduceSumSquare'] as const;

/** How many numbers `observation` fills in the output. */
export const widthOf = ({ channels }: Observation): number => (channels?.count ?? 1) * REDUCTIONS.length + 1;

/**
 * A copy of `model` that also reduces activations inside the graph, so that they never leave the runtime: one float32 output
 * `OBSERVED` with, for each observation in turn, the minima, maxima, means and sums of squares (of each channel, or one of
 * each), and the number of elements. Means and squares are there for NaN too: ONNX Runtime's ReduceMin and ReduceMax pass over it.
 */
export function withReductions(model: Model, observations: readonly Observation[]): Model {
  const copy = model.clone();
  const reducer = new Reducer(copy);
  const parts = observations.flatMap((observation) => reducer.reduce(observation));
  const all = copy.graph.addNode('Concat', parts, { attributes: { axis: 0 }, outputs: [OBSERVED] }).output;
  all.type = tensorType('float32', [observations.reduce((sum, o) => sum + widthOf(o), 0)]);
  copy.graph.addOutput(all);
  return copy;
}

/** A copy of `model` with `tensors` among its outputs. */
export function withOutputs(model: Model, tensors: readonly string[]): Model {
  const copy = model.clone();
  for (const name of tensors) {
    const value = copy.graph.value(name) as Value;
    value.type ??= tensorType('float32');
    if (!value.isGraphOutput) copy.graph.addOutput(value);
  }
  return copy;
}

class Reducer {
  readonly #graph: Graph;
  readonly #constants = new Map<string, Value>();

  constructor(private readonly model: Model) {
    this.#graph = model.graph;
  }

  reduce({ tensor, channels }: Observation): Value[] {
    const value = this.#graph.value(tensor) as Value;
    const size = this.#graph.addNode('Cast', [this.#graph.addNode('Size', [value]).output], { attributes: { to: 1 } });
    const { source, axes } = this.#axes(value, channels);
    return [...REDUCTIONS.map((op) => this.#reduction(op, source, axes)), size.output].map((v) => this.#flat(v));
  }

  /** The axes to reduce, and the value to reduce them of. */
  #axes(value: Value, channels: Observation['channels']): { source: Value; axes: readonly number[] | undefined } {
    if (!channels) return { source: value, axes: undefined };
    const { axis, count, rank } = channels;
    if (axis === 'second')
      return { source: value, axes: Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 1) };
    return { source: this.#graph.addNode('Reshape', [value, this.#shape([-1, count])]).output, axes: [0] };
  }

  /** `axes` undefined: all of them. They are an attribute before opset 18 and an input from there on. */
  #reduction(op: string, value: Value, axes: readonly number[] | undefined): Value {
    const asInput = this.model.opset >= 18;
    const inputs = axes && asInput ? [value, this.#shape(axes)] : [value];
    const attributes = axes && !asInput ? { keepdims: 0, axes } : { keepdims: 0 };
    return this.#graph.addNode(op, inputs, { attributes }).output;
  }

  #flat(value: Value): Value {
    return this.#graph.addNode('Reshape', [value, this.#shape([-1])]).output;
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

/** The per-channel view of the activation that `node` multiplies with a weight of `depth` factors. */
export function channelsOf(node: Node, dims: readonly number[], depth: number): Observation['channels'] {
  if (!node.is('Conv')) return { count: depth, axis: 'last', rank: 2 };
  return { count: (dims[1] ?? 1) * node.int('group', 1), axis: 'second', rank: dims.length };
}
