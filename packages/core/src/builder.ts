import type { DType } from './dtype.js';
import type { AttributeLike } from './ir/attribute.js';
import { Graph } from './ir/graph.js';
import { Model } from './ir/model.js';
import type { Node } from './ir/node.js';
import { Tensor } from './ir/tensor.js';
import { type Shape, tensorType } from './ir/type.js';
import type { Value } from './ir/value.js';

/** What the builder takes as an input: a value, null for one left out, a tensor or a list of int64 to become a constant. */
export type Operand = Value | Tensor | readonly number[] | null;

/**
 * Writes graphs in a few readable lines:
 *
 * ```ts
 * const b = new GraphBuilder();
 * const x = b.input('x', 'float32', ['batch', 3, 8, 8]);
 * const y = b.op('Relu', [b.op('Conv', [x, b.random([4, 3, 3, 3])], { pads: [1, 1, 1, 1] })]);
 * const model = b.output('y', y).model({ opset: 18 });
 * ```
 */
export class GraphBuilder {
  readonly graph: Graph;
  #seed: number;

  /** `outer` is the builder of the graph around, for subgraphs. `seed` feeds `random`. */
  constructor(
    options: {
      readonly name?: string;
      readonly outer?: GraphBuilder;
      readonly seed?: number;
    } = {},
  ) {
    this.graph = new Graph(options.name ?? 'graph', options.outer?.graph.root);
    this.#seed = options.seed ?? 1;
  }

  input(name: string, dtype: DType, shape?: Shape): Value {
    return this.graph.addInput(name, tensorType(dtype, shape));
  }

  /** A constant as an initializer. */
  constant(tensor: Tensor | readonly number[], name = 'const'): Value {
    const value = tensor instanceof Tensor ? tensor : Tensor.of('int64', [tensor.length], tensor);
    return this.graph.addInitializer(name, value);
  }

  /** A float32 initializer of seeded normal values times `scale` (default 1/sqrt of all but the first dimension). */
  random(dims: readonly number[], options: { readonly scale?: number; readonly name?: string } = {}): Value {
    const fan = dims.slice(1).reduce((a, b) => a * b, 1);
    return this.constant(
      Tensor.of('float32', dims, seededNormal(dims, this.#seed++, options.scale ?? 1 / Math.sqrt(fan))),
      options.name ?? 'weight',
    );
  }

  /** Adds a node with one output and returns it. */
  op(
    opType: string,
    inputs: readonly Operand[],
    attributes?: Readonly<Record<string, AttributeLike>>,
    domain = '',
  ): Value {
    return this.node(opType, inputs, attributes, { domain }).output;
  }

  /** Adds a node with `outputs` outputs (a count, or names) and returns it. */
  node(
    opType: string,
    inputs: readonly Operand[],
    attributes: Readonly<Record<string, AttributeLike>> = {},
    options: {
      readonly outputs?: number | readonly string[];
      readonly domain?: string;
      readonly name?: string;
    } = {},
  ): Node {
    const outputs = options.outputs ?? 1;
    const names =
      typeof outputs === 'number'
        ? Array.from({ length: outputs }, () => this.graph.addValue(this.graph.freshName(`${opType}_out`)))
        : outputs;
    const values = inputs.map((i) =>
      i instanceof Tensor || Array.isArray(i) ? this.constant(i) : (i as Value | null),
    );
    return this.graph.addNode(opType, values, {
      attributes,
      outputs: names,
      domain: options.domain ?? '',
      name: options.name ?? '',
    });
  }

  /** Makes `value` the output `name` of the graph; declare the type where a checker needs it. */
  output(name: string, value: Value, dtype?: DType, shape?: Shape): this {
    if (value.graph === this.graph && value.producer && value.name !== name) this.graph.rename(value, name);
    if (dtype) value.type = tensorType(dtype, shape);
    this.graph.addOutput(value);
    return this;
  }

  /** The model. Default opset 21 and IR version 10; `com.microsoft` is imported when a node needs it. */
  model(options: { readonly opset?: number; readonly irVersion?: number } = {}): Model {
    const model = new Model(this.graph, new Map([['', options.opset ?? 21]]));
    model.irVersion = options.irVersion ?? 10;
    model.producerName = 'pare';
    for (const node of model.allNodes()) if (node.domain) model.ensureOpset(node.domain, 1);
    return model;
  }
}

/** Seeded standard normal values (mulberry32 and Box-Muller) times `scale`. */
function seededNormal(dims: readonly number[], seed: number, scale: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const out = new Float32Array(dims.reduce((a, b) => a * b, 1));
  for (let i = 0; i < out.length; i++) {
    out[i] = scale * Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  }
  return out;
}
