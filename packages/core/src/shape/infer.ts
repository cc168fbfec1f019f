import { PareError } from '../errors.js';
import { type Attribute, toAttribute } from '../ir/attribute.js';
import type { Graph } from '../ir/graph.js';
import type { Model, ModelFunction } from '../ir/model.js';
import type { Node } from '../ir/node.js';
import { elementCount } from '../ir/tensor.js';
import { type Dim, isTensorType, type Shape, staticShape, tensorType, type ValueType } from '../ir/type.js';
import type { Value } from '../ir/value.js';
import { annotation } from './annotate.js';
import { canonicalDim, substituteDim } from './dim.js';
import { FreshDims } from './fresh.js';
import { declaredType, forgetDims, forgetShape, mergeType, nameUnknown } from './merge.js';
import { type Known, Op } from './op.js';
import { knownTensor } from './rules/constant.js';
import { ruleFor } from './rules/index.js';

export interface InferOptions {
  /** Shapes of graph inputs, instead of the declared ones. */
  readonly inputShapes?: Readonly<Record<string, Shape>>;
  /** Numbers for named dimensions of graph inputs, wherever they occur. */
  readonly dims?: Readonly<Record<string, number>>;
}

/** What `inferTypes` found. It describes the model as it was; infer again after an edit. */
export interface Inference {
  /**
   * Type of a value of the main graph or of a subgraph. Dimensions are numbers or canonical expressions over the names of the
   * model; one that nothing is known of has a name of its own (`_d0`, `_d1`, ...), which only equal lengths share. A value
   * in the body of a loop has the type that holds in every iteration.
   */
  typeOf(value: Value): ValueType | undefined;
  /** Elements of a small tensor, row-major, when some are known: lengths are expressions, null stands for unknown ones. */
  valuesOf(value: Value): readonly Dim[] | undefined;
  /** Where declared types contradict what is inferred, one sentence each; the inferred type is the one that counts. */
  readonly problems: readonly string[];
  /** Infers what `node` computes: for one that was added to the graph after the walk, once what it reads is known. */
  extend(node: Node): void;
  /** Writes each inferred type into `Value.type` where it says more than what is declared there, or contradicts it. */
  annotate(): void;
}

/**
 * Infers element types, shapes and the contents of small tensors, by one walk over the graphs in their order (ONNX asks for
 * topological order; values that are read before they are computed have their declared type). What an operator without a
 * rule computes has its declared type.
 * @throws PareError `bad-option` for an input or a length that the options fix and that is none.
 */
export function inferTypes(model: Model, options: InferOptions = {}): Inference {
  return new Walk(model, options);
}

/** Inside one call of a function, or in the model outside any. */
interface Frame {
  readonly known: Map<Value, Known>;
  readonly opsets: ReadonlyMap<string, number>;
  /** Attributes of the function call. */
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly depth: number;
  /** Whether the graph is a body that runs many times: declared lengths may be those of one time. */
  readonly repeated: boolean;
}

/** Deeper calls and subgraphs are not followed. */
const MAX_DEPTH = 64;
/** Bodies of loops and functions are walked several times; this bounds how many of their nodes are visited in all. */
const MAX_VISITS = 400_000;

class Walk implements Inference {
  readonly problems: string[] = [];
  readonly #fresh: FreshDims;
  readonly #functions: ReadonlyMap<string, ModelFunction>;
  readonly #main: Frame;
  #visits = 0;

  constructor(model: Model, options: InferOptions) {
    this.#fresh = new FreshDims(model);
    this.#functions = new Map(model.functions.map((f) => [`${f.domain}:${f.name}:${f.overload}`, f]));
    this.#main = { known: new Map(), opsets: model.opsets, attributes: new Map(), depth: 0, repeated: false };
    checkOptions(model, options);
    for (const input of model.graph.inputs) this.#main.known.set(input, this.#input(input, options));
    this.#graph(model.graph, this.#main);
  }

  typeOf(value: Value): ValueType | undefined {
    return this.#lookup(value, this.#main)?.type;
  }

  valuesOf(value: Value): readonly Dim[] | undefined {
    // Integers beyond 2^53 are not exact as numbers.
    const values = this.#lookup(value, this.#main)?.values;
    return values?.map((v) => (typeof v === 'number' && Math.abs(v) >= 2 ** 53 ? null : v));
  }

  extend(node: Node): void {
    this.#node(node, this.#main);
  }

  annotate(): void {
    for (const [value, { type }] of this.#main.known) {
      if (value.initializer || value.sparseInitializer) continue;
      const written = annotation(value, type, (dim) => !this.#fresh.since(dim, 0));
      if (written !== value.type) value.type = written;
    }
  }

  /** Type of an input of the main graph. */
  #input(value: Value, options: InferOptions): Known {
    let type = declaredType(value.type);
    const shape = options.inputShapes?.[value.name];
    if (shape) {
      const dtype = type?.kind === 'tensor' ? type.dtype : value.initializer?.dtype;
      type = tensorType(dtype, shape.map(canonicalDim));
    }
    if (type?.kind === 'tensor' && type.shape && options.dims) {
      const numbers = new Map(Object.entries(options.dims));
      type = { ...type, shape: type.shape.map((d) => substituteDim(d, numbers)) };
    }
    const tensor = value.constant && knownTensor(value.constant);
    return { type: nameUnknown(type ?? tensor?.type, this.#fresh), values: tensor?.values };
  }

  #lookup(value: Value, frame: Frame): Known | undefined {
    let known = frame.known.get(value) ?? this.#main.known.get(value);
    if (!known) {
      known = this.#unvisited(value);
      frame.known.set(value, known);
    }
    return known;
  }

  /** A value that no rule speaks of: an initializer, or one that is read before its node was visited. */
  #unvisited(value: Value): Known {
    if (value.initializer) {
      const { type, values } = knownTensor(value.initializer);
      return { type, values: value.constant ? values : undefined };
    }
    const sparse = value.sparseInitializer;
    if (sparse) return { type: tensorType(sparse.values.dtype, sparse.dims) };
    return { type: nameUnknown(declaredType(value.type, false), this.#fresh) };
  }

  #graph(graph: Graph, frame: Frame): void {
    for (const node of graph.nodes()) this.#node(node, frame);
  }

  #node(node: Node, frame: Frame): void {
    const inputs = node.inputs.map((value) => (value ? this.#lookup(value, frame) : undefined));
    const exhausted = frame.depth > 0 && ++this.#visits > MAX_VISITS;
    const results = exhausted ? [] : this.#outputs(node, inputs, frame);
    for (const [i, value] of node.outputs.entries()) {
      if (value) frame.known.set(value, this.#merge(value, results[i], frame));
    }
  }

  /** What a rule says of `value`, completed by what the model declares. */
  #merge(value: Value, result: Known | undefined, frame: Frame): Known {
    let declared = declaredType(value.type, value.graph._parent === undefined && frame === this.#main);
    // Declared lengths may be those of one branch or of one round of a loop: there they do not count.
    const varies = frame.repeated || (value.producer?.subgraphs().length ?? 0) > 0;
    if (varies && result?.type) declared = forgetShape(declared);
    const merged = mergeType(result?.type, declared, this.#fresh, (problem) => {
      if (this.problems.length < 1000) this.problems.push(`Value "${value.name}" ${problem}.`);
    });
    return { type: nameUnknown(merged, this.#fresh), values: fitting(result?.values, merged) };
  }

  #outputs(node: Node, inputs: readonly (Known | undefined)[], frame: Frame): readonly (Known | undefined)[] {
    const called = this.#functions.get(`${node.domain}:${node.opType}:${node.overload}`);
    if (called) return this.#call(called, node, inputs, frame);
    const rule = ruleFor(node.domain, node.opType);
    if (!rule) return [];
    const op = new Op(node, {
      version: frame.opsets.get(node.domain) ?? 1,
      inputs,
      attribute: (name) => frame.attributes.get(name),
      fresh: () => this.#fresh.make(true),
      body: (graph, given) => this.#body(graph, given, frame, node.opType !== 'If'),
    });
    return rule(op);
  }

  #body(graph: Graph, given: readonly Known[], frame: Frame, repeated: boolean): readonly Known[] {
    if (frame.depth >= MAX_DEPTH) return [];
    const inner: Frame = { ...frame, depth: frame.depth + 1, repeated: frame.repeated || repeated };
    return this.#inside(graph, given, inner);
  }

  #call(
    called: ModelFunction,
    node: Node,
    inputs: readonly (Known | undefined)[],
    frame: Frame,
  ): readonly (Known | undefined)[] {
    if (frame.depth >= MAX_DEPTH) return [];
    const attributes = new Map<string, Attribute>();
    for (const [name, like] of called.defaults) attributes.set(name, toAttribute(name, like));
    for (const [name, attribute] of node.attributes) {
      const resolved = attribute.type === 'reference' ? frame.attributes.get(attribute.value.name) : attribute;
      if (resolved) attributes.set(name, resolved);
    }
    const inner: Frame = {
      known: new Map(),
      opsets: called.opsets,
      attributes,
      depth: frame.depth + 1,
      repeated: false,
    };
    return this.#inside(called.body, inputs, inner);
  }

  /** Walks `graph` with `given` as its inputs. Dimensions that only its inside can name are unknown outside. */
  #inside(graph: Graph, given: readonly (Known | undefined)[], frame: Frame): readonly Known[] {
    const mark = this.#fresh.mark;
    for (const [i, input] of graph.inputs.entries()) {
      const type = mergeType(given[i]?.type, forgetShape(declaredType(input.type)), this.#fresh, () => {});
      frame.known.set(input, { type: nameUnknown(type, this.#fresh), values: given[i]?.values });
    }
    this.#graph(graph, frame);
    const outside = (dim: Dim): boolean => !this.#fresh.since(dim, mark);
    return graph.outputs.map((output) => {
      const known = this.#lookup(output, frame);
      return {
        type: forgetDims(known?.type, outside),
        values: known?.values?.map((v) => (outside(v) ? v : null)),
      };
    });
  }
}

function checkOptions({ graph }: Model, { inputShapes = {}, dims = {} }: InferOptions): void {
  const inputs = graph.inputs.map((input) => input.name);
  for (const name of Object.keys(inputShapes)) {
    if (inputs.includes(name)) continue;
    throw new PareError('bad-option', `The model has no input "${name}"; its inputs are ${inputs.join(', ')}.`);
  }
  for (const [name, length] of Object.entries(dims)) {
    if (Number.isSafeInteger(length) && length >= 0) continue;
    throw new PareError('bad-option', `Dimension "${name}" cannot be ${length}: a length is an integer from 0 on.`);
  }
}

/** `values` when their number is that of the elements of `type`. */
function fitting(values: readonly Dim[] | undefined, type: ValueType | undefined): readonly Dim[] | undefined {
  const shape = isTensorType(type) ? staticShape(type.shape) : undefined;
  return shape && values?.length === elementCount(shape) ? values : undefined;
}
