import {
  type DType,
  hasMacs,
  type Inference,
  inferTypes,
  type Model,
  type Node,
  nodeMacs,
  nodeShapes,
  PareError,
  type Shape,
  type Tensor,
  type Value,
} from '@pare/core';
import type { ChannelAnalysis } from './analyze.js';
import type { Place } from './channel-op.js';
import type { Cut } from './cut.js';

/** Lengths of what a model leaves open, for counting. */
export interface CountOptions {
  /** Numbers for named dimensions of the inputs. Default: 1 along the first axis, 64 along others. */
  readonly dims?: Readonly<Record<string, number>> | undefined;
  /** Shapes of inputs, by name. Default: those of the first sample, or the declared ones. */
  readonly inputShapes?: Readonly<Record<string, Shape>> | undefined;
}

/** Elements of all constants of the main graph, each once; shapes and indices (int32, int64, bool, strings) are none. */
export function countParameters(model: Model): number {
  let sum = 0;
  for (const { initializer } of model.graph.initializers) sum += sizeOf(initializer);
  for (const node of model.graph.nodes()) if (node.is('Constant')) sum += sizeOf(node.tensor('value'));
  return sum;
}

const sizeOf = (tensor: Tensor | undefined): number => (tensor && !BOOKKEEPING.has(tensor.dtype) ? tensor.size : 0);

const BOOKKEEPING: ReadonlySet<DType> = new Set<DType>(['int32', 'int64', 'bool', 'string']);

/**
 * Multiply-accumulates of one run.
 * @throws PareError `bad-option` when no shape is known where it matters.
 */
export function countMacs(model: Model, options: CountOptions): number {
  const sum = [...macsByNode(model, options).values()].reduce((a, b) => a + b, 0);
  if (sum > 0) return sum;
  throw new PareError(
    'bad-option',
    'No multiply-accumulates can be counted: give the shapes of the inputs (inputShapes), or prune by parameters.',
  );
}

/** Multiply-accumulates of every node that does some and whose shapes are known. */
export function macsByNode(model: Model, options: CountOptions): Map<Node, number> {
  const types = concreteTypes(model, options);
  const layers = [...model.graph.nodes()].filter(hasMacs);
  return new Map(layers.map((node) => [node, nodeMacs(node, nodeShapes(node, types)) ?? 0]));
}

/** Types with a number for every dimension that the inputs leave open. */
function concreteTypes(model: Model, { dims = {}, inputShapes = {} }: CountOptions): Inference {
  const shapes: Record<string, Shape> = {};
  for (const input of model.graph.inputs) {
    const shape = inputShapes[input.name] ?? input.shape;
    if (input.constant || !shape) continue;
    shapes[input.name] = shape.map((dim, axis) => {
      if (typeof dim === 'number') return dim;
      return dims[dim ?? ''] ?? (axis === 0 ? 1 : ASSUMED);
    });
  }
  return inferTypes(model, { inputShapes: shapes });
}

const ASSUMED = 64;

/** Numbers that one cut gives, of the channels that were counted already. */
type Counts = Map<Int32Array, number>;

/** What a model will cost without some of its channels, by its shapes alone: nothing is cut. */
export class Forecast {
  readonly #types: Inference;
  readonly #nodes: readonly Node[];
  /** Channels of constants, by the node that reads them and input. */
  readonly #places = new Map<Node, Place[]>();

  constructor(
    private readonly model: Model,
    private readonly analysis: ChannelAnalysis,
    options: CountOptions,
  ) {
    this.#types = concreteTypes(model, options);
    this.#nodes = [...model.graph.nodes()].filter(hasMacs);
    for (const place of analysis.places) {
      this.#places.set(place.node, [...(this.#places.get(place.node) ?? []), place]);
    }
  }

  /** As `countParameters`; a vector that parts in two (see `removeChannels`) counts once. */
  parameters(cut: Cut): number {
    const counts: Counts = new Map();
    const shares = new Map<Value, Map<number, number>>();
    for (const { value, axis, channels } of this.analysis.places) {
      const axes = shares.get(value) ?? new Map<number, number>();
      shares.set(value, axes.set(axis, axes.get(axis) ?? count(channels, cut, counts) / channels.length));
    }
    let sum = countParameters(this.model);
    for (const [value, axes] of shares) {
      const share = [...axes.values()].reduce((a, b) => a * b, 1);
      sum -= sizeOf(value.constant) * (1 - share);
    }
    return sum;
  }

  /** As `countMacs`. */
  macs(cut: Cut): number {
    const counts: Counts = new Map();
    const { axes } = this.analysis;
    return this.#nodes.reduce((sum, node) => {
      const { inputs, outputs } = nodeShapes(node, this.#types);
      const shorter = (dims: readonly number[] | undefined, value: Value | null | undefined, input?: number) =>
        dims?.map((length, axis) => {
          const place = this.#places.get(node)?.find((p) => p.input === input && p.axis === axis);
          const channels = place?.channels ?? (value && axes.get(value)?.[axis]);
          return channels ? count(channels, cut, counts) : length;
        });
      const shapes = {
        inputs: inputs.map((dims, i) => shorter(dims, node.inputs[i], i)),
        outputs: outputs.map((dims, i) => shorter(dims, node.outputs[i])),
      };
      return sum + (nodeMacs(node, shapes) ?? 0);
    }, 0);
  }
}

function count(channels: Int32Array, cut: Cut, counts: Counts): number {
  const known = counts.get(channels) ?? cut.kept(channels).length;
  counts.set(channels, known);
  return known;
}
