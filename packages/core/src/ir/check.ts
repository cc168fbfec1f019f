import type { Attribute } from './attribute.js';
import type { Graph } from './graph.js';
import type { Model, ModelFunction } from './model.js';
import type { Node } from './node.js';
import type { SparseTensor, Tensor } from './tensor.js';
import { isTensorType, typeText } from './type.js';
import type { Value } from './value.js';

/** One thing wrong with a model; `message` names the node or value. */
export interface Problem {
  readonly message: string;
  readonly node?: Node;
  readonly value?: Value;
}

/**
 * Looks for what makes a model invalid by onnx.proto and the IR specification of ONNX, or refused by ONNX Runtime:
 *
 * - names: graphs nested in one another that define a name twice (graphs side by side may share names), inputs given twice, nodes
 *   of one graph with the same name, operators and attributes without one;
 * - definitions: values that nothing computes, that are read before they are computed or in a graph that cannot see them, that
 *   are computed although they are inputs or initializers; outputs of a subgraph that belong to the graph around it;
 * - types: inputs without a type, constants that do not fit the declared one or whose bytes do not fit their shape;
 * - operators: domains that are not imported; functions that are defined twice, call themselves or hold initializers; references
 *   to attributes outside a function, or that the function does not declare; subgraphs that two nodes share.
 *
 * Returns all problems; an empty list means that the structure is sound. Whether each operator exists and likes its inputs
 * is the runtime's to say.
 */
export function check(model: Model): Problem[] {
  const problems: Problem[] = [];
  checkModel(model, problems);
  new GraphCheck(problems, model.opsets).graph(model.graph);
  for (const f of model.functions) {
    checkFunction(f, model, problems);
    new GraphCheck(problems, f.opsets, f).graph(f.body);
  }
  return problems;
}

function checkModel(model: Model, problems: Problem[]): void {
  const { graph } = model;
  if (graph.outputs.length === 0) problems.push({ message: `Graph "${graph.name}" has no outputs.` });
  for (const value of graph.inputs) {
    const typed = isTensorType(value.type) ? value.type.dtype : value.type;
    if (!typed && !value.initializer) {
      problems.push({ message: `Input "${value.name}" has no type: say what its elements are.`, value });
    }
  }
}

/** `domain::name`, with the overload where there is one. */
const functionName = (f: { domain: string; name: string; overload: string }): string =>
  `${f.domain}::${f.name}${f.overload && `:${f.overload}`}`;

function checkFunction(f: ModelFunction, model: Model, problems: Problem[]): void {
  const name = functionName(f);
  if (model.functions.find((other) => functionName(other) === name) !== f) {
    problems.push({ message: `Function "${name}" is defined twice.` });
  }
  if (f.body.initializers.size > 0) {
    problems.push({ message: `Function "${name}" holds initializers, which ONNX cannot write. Use Constant nodes.` });
  }
  const reached = new Set<ModelFunction>();
  const reach = (from: ModelFunction): void => {
    for (const { domain, opType, overload } of from.body.allNodes()) {
      const called = model.functions.find((g) => functionName(g) === functionName({ domain, name: opType, overload }));
      if (!called || reached.has(called)) continue;
      reached.add(called);
      reach(called);
    }
  };
  reach(f);
  if (reached.has(f)) problems.push({ message: `Function "${name}" calls itself, which ONNX does not allow.` });
}

/** One walk over a graph and what is inside it, in order. */
class GraphCheck {
  /** Graphs around the current place, whose values it sees. */
  readonly #open = new Set<Graph>();
  readonly #defined = new Set<Value>();

  constructor(
    private readonly problems: Problem[],
    private readonly opsets: ReadonlyMap<string, number>,
    /** The function whose body this is. */
    private readonly within?: ModelFunction,
  ) {}

  graph(graph: Graph): void {
    this.#open.add(graph);
    const given = new Set<Value>();
    for (const value of graph.inputs) {
      if (given.has(value)) this.#report(`Graph "${graph.name}" has the input "${value.name}" twice.`, { value });
      given.add(value);
    }
    for (const value of graph.initializers) {
      given.add(value);
      for (const message of constantProblems(value)) this.#report(message, { value });
    }
    for (const value of given) this.#define(value);

    const names = new Set<string>();
    for (const node of graph.nodes()) {
      if (node.name && names.has(node.name))
        this.#report(`Two nodes are named "${node.name}": ${node.label}.`, { node });
      names.add(node.name);
      this.#node(node);
      for (const value of node.outputs) {
        if (!value) continue;
        if (given.has(value)) {
          const what = value.isGraphInput ? 'an input' : 'an initializer';
          this.#report(`${node.label} computes "${value.name}", which is ${what} already.`, { node, value });
        }
        this.#define(value);
      }
    }
    for (const value of graph.outputs) this.#output(graph, value);
    this.#open.delete(graph);
  }

  #define(value: Value): void {
    this.#defined.add(value);
    const around = value.graph.parent?.graph;
    const hidden = around && this.#open.has(around) && around.value(value.name);
    if (hidden && this.#defined.has(hidden)) {
      this.#report(`Value "${value.name}" of graph "${value.graph.name}" hides one of the same name around it.`, {
        value,
      });
    }
  }

  #output(graph: Graph, value: Value): void {
    const name = `Output "${value.name}" of graph "${graph.name}"`;
    if (value.graph === graph) {
      if (!this.#defined.has(value)) this.#report(`${name} is never computed.`, { value });
    } else if (this.#open.has(value.graph)) {
      this.#report(`${name} belongs to the graph around it: an Identity node must bring it in.`, { value });
    } else this.#report(`${name} belongs to graph "${value.graph.name}", which is somewhere else.`, { value });
  }

  #node(node: Node): void {
    if (!node.opType) this.#report(`${node.label} has no operator.`, { node });
    if (!this.opsets.has(node.domain)) {
      const importer = this.within ? `function "${functionName(this.within)}"` : 'the model';
      this.#report(`${node.label} is of domain "${node.domain || 'ai.onnx'}", which ${importer} does not import.`, {
        node,
      });
    }
    for (const [i, value] of node.inputs.entries()) {
      if (!value || (this.#defined.has(value) && this.#open.has(value.graph))) continue;
      const why = !this.#open.has(value.graph)
        ? `of graph "${value.graph.name}", which cannot be seen from here`
        : value.producer
          ? 'before it is computed'
          : 'but nothing computes it';
      this.#report(`${node.label} reads "${value.name}" (input ${i}) ${why}.`, { node, value });
    }
    for (const [name, attribute] of node.attributes) this.#attribute(node, name, attribute);
    for (const sub of node.subgraphs()) {
      if (sub.parent === node) this.graph(sub);
      else this.#report(`${node.label} holds graph "${sub.name}", which another node holds too: clone it.`, { node });
    }
  }

  #attribute(node: Node, name: string, attribute: Attribute): void {
    if (!name) this.#report(`${node.label} has an attribute without a name.`, { node });
    if (attribute.type === 'reference') {
      const target = attribute.value.name;
      const declared = this.within?.attributes.includes(target) || this.within?.defaults.has(target);
      if (declared) return;
      const why = this.within
        ? `which function "${functionName(this.within)}" does not declare`
        : 'but only nodes of functions may refer to attributes';
      this.#report(`${node.label}, attribute "${name}", refers to the attribute "${target}", ${why}.`, { node });
    }
    const tensors =
      attribute.type === 'tensor' ? [attribute.value] : attribute.type === 'tensors' ? attribute.value : [];
    for (const tensor of tensors) {
      const problem = sizeProblem(tensor);
      if (problem) this.#report(`${node.label}, attribute "${name}", ${problem}.`, { node });
    }
  }

  #report(message: string, place: Omit<Problem, 'message'>): void {
    this.problems.push({ message, ...place });
  }
}

function constantProblems(value: Value): string[] {
  const { initializer, sparseInitializer, type } = value;
  const constant = initializer ?? sparseInitializer;
  if (!constant) return [];
  const problems: string[] = [];
  const add = (problem: string | undefined): void => {
    if (problem) problems.push(`Initializer "${value.name}" ${problem}.`);
  };
  if (initializer) add(sizeProblem(initializer));
  if (sparseInitializer) add(sparseProblem(sparseInitializer));
  if (!isTensorType(type)) return problems;
  const dtype = initializer?.dtype ?? sparseInitializer?.values.dtype;
  const { dims } = constant;
  const fits =
    !type.shape ||
    (type.shape.length === dims.length && type.shape.every((d, i) => typeof d !== 'number' || d === dims[i]));
  if ((type.dtype && type.dtype !== dtype) || !fits) {
    add(`is ${dtype}[${dims.join(', ')}] but declared as ${typeText(type)}`);
  }
  return problems;
}

/** Bytes that are there against those that type and shape need. */
function sizeProblem({ dtype, dims, data, size, byteLength }: Tensor): string | undefined {
  const shape = `${dtype}[${dims.join(', ')}]`;
  if (data.kind === 'strings') {
    return data.values.length === size ? undefined : `holds ${data.values.length} strings; ${shape} needs ${size}`;
  }
  const held =
    data.kind === 'bytes' ? data.bytes.byteLength : data.kind === 'reference' ? data.length : data.byteLength;
  return held === byteLength ? undefined : `holds ${held} bytes; ${shape} needs ${byteLength}`;
}

/** onnx.proto: `values` [nnz]; `indices` int64, [nnz] or [nnz, rank]. */
function sparseProblem({ values, indices, dims }: SparseTensor): string | undefined {
  const [count] = values.dims;
  if (values.dims.length !== 1) return `has sparse values of shape [${values.dims.join(', ')}], not a list`;
  const width = indices.dims.length === 1 ? dims.length : indices.dims[1];
  if (indices.dtype === 'int64' && indices.dims[0] === count && width === dims.length) return undefined;
  return `has ${count} sparse values with indices of ${indices.dtype}[${indices.dims.join(', ')}] in shape [${dims.join(', ')}]`;
}
