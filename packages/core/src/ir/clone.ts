import { type Attribute, type AttributeLike, toAttribute } from './attribute.js';
import { Graph } from './graph.js';
import { Model } from './model.js';
import { Node } from './node.js';
import { GraphRoot } from './root.js';
import type { Value } from './value.js';

/** A copy of `model` whose graphs, nodes and values are its own; tensors are shared. */
export function cloneModel(model: Model): Model {
  const copy = new Model(cloneGraph(model.graph), new Map(model.opsets));
  copy.producerName = model.producerName;
  copy.producerVersion = model.producerVersion;
  copy.domain = model.domain;
  copy.modelVersion = model.modelVersion;
  copy.docString = model.docString;
  copy.metadata = new Map(model.metadata);
  copy.origin = model.origin;
  copy.functions = model.functions.map((f) => ({
    ...f,
    body: cloneGraph(f.body),
    metadata: new Map(f.metadata),
  }));
  return copy;
}

/** How a graph is copied into another model or place. */
interface Cloning {
  /** What all graphs of the model share. */
  readonly root: GraphRoot;
  /** The copies of the values around; what is not in it stays itself (captured values). */
  readonly map: ReadonlyMap<Value, Value | null>;
  /** Inlined graphs get new names: theirs may be in use where they come to be. */
  readonly rename?: boolean;
  /** The attribute of a function's call that an attribute in the function refers to. */
  readonly resolve?: ((name: string) => AttributeLike | undefined) | undefined;
}

/** A copy of `graph` with a root of its own, or, given `root` and `outer`, as a subgraph that captures `outer`'s values. */
export function cloneGraph(graph: Graph, root?: GraphRoot, outer?: ReadonlyMap<Value, Value>): Graph {
  return copyGraph(graph, {
    root: root ?? new GraphRoot(graph.root.irVersion),
    map: outer ?? new Map(),
  });
}

/**
 * Copies the contents of `body` into the graph of `anchor`, just before it, under fresh names. `actuals` says what stands for
 * the inputs of `body` (null: left out); what it captures stays captured. For the body of a function, `resolve` gives the attribute of the call
 * that an attribute inside refers to (undefined: left out). Returns what stands for the outputs of `body`.
 */
export function inlineGraph(
  body: Graph,
  anchor: Node,
  actuals: ReadonlyMap<Value, Value | null>,
  resolve?: (name: string) => AttributeLike | undefined,
): Value[] {
  const graph = anchor.graph ?? anchor.fail('is in no graph');
  const map = new Map<Value, Value | null>(actuals);
  const cloning = { root: graph.root, map, rename: true, resolve };
  for (const value of body.values) if (!map.has(value)) map.set(value, copyValue(value, graph, cloning));
  for (const value of body.initializers) {
    graph.setInitializer(map.get(value) as Value, value.initializer ?? value.sparseInitializer);
  }
  for (const node of body.nodes()) graph.insertBefore(anchor, copyNode(node, cloning));
  return body.outputs.map((output) => map.get(output) ?? output);
}

function copyGraph(graph: Graph, cloning: Cloning): Graph {
  const copy = new Graph(graph.name, cloning.root);
  const map = new Map(cloning.map);
  const inner = { ...cloning, map };
  copy.docString = graph.docString;
  copy.metadata = new Map(graph.metadata);
  copy.origin = graph.origin;
  for (const value of graph.values) map.set(value, copyValue(value, copy, cloning));
  for (const value of graph.initializers) {
    copy.setInitializer(map.get(value) as Value, value.initializer ?? value.sparseInitializer);
  }
  for (const input of graph.inputs) copy.addInput((map.get(input) as Value).name);
  for (const node of graph.nodes()) copy.append(copyNode(node, inner));
  for (const output of graph.outputs) copy.addOutput(map.get(output) ?? output);
  return copy;
}

function copyValue(value: Value, into: Graph, { rename, resolve }: Cloning): Value {
  // The names of dimensions in a function mean nothing outside it.
  const copy = into.addValue(rename ? into.freshName(value.name) : value.name, resolve ? undefined : value.type);
  copy.docString = value.docString;
  if (value._metadata) copy._metadata = new Map(value._metadata);
  if (!rename) copy.origin = value.origin;
  return copy;
}

function copyNode(node: Node, cloning: Cloning): Node {
  const { map, resolve } = cloning;
  const copy = new Node(node.opType, node.domain, node.name, node.overload);
  copy.docString = node.docString;
  if (node._metadata) copy._metadata = new Map(node._metadata);
  copy.origin = node.origin;
  copy.setInputs(node.inputs.map((v) => (v && map.has(v) ? (map.get(v) as Value | null) : v)));
  for (const [i, v] of node.outputs.entries()) if (v) copy.setOutput(i, map.get(v) ?? null);
  for (const [name, attribute] of node.attributes) {
    const actual = attribute.type === 'reference' && resolve ? resolve(attribute.value.name) : attribute;
    if (actual !== undefined) copy.setAttribute(name, copyAttribute(toAttribute(name, actual), cloning));
  }
  return copy;
}

function copyAttribute(attribute: Attribute, cloning: Cloning): Attribute {
  if (attribute.type === 'graph') return { ...attribute, value: copyGraph(attribute.value, cloning) };
  if (attribute.type === 'graphs') {
    return { ...attribute, value: attribute.value.map((g) => copyGraph(g, cloning)) };
  }
  return attribute;
}
