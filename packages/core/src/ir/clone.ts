import { type Attribute, toAttribute } from './attribute.js';
import { Graph, type GraphRoot } from './graph.js';
import { Model } from './model.js';
import { Node } from './node.js';
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

/** A copy of `graph` with a root of its own, or, given `root` and `outer`, as a subgraph that captures `outer`'s values. */
export function cloneGraph(graph: Graph, root?: GraphRoot, outer?: ReadonlyMap<Value, Value>): Graph {
  const copy = new Graph(graph.name, root ?? { irVersion: graph.root.irVersion, names: new Set() });
  const map = new Map(outer);
  copy.docString = graph.docString;
  copy.metadata = new Map(graph.metadata);
  copy.origin = graph.origin;
  for (const value of graph.values) {
    const twin = copy.addValue(value.name, value.type);
    twin.docString = value.docString;
    twin.metadata = new Map(value.metadata);
    twin.origin = value.origin;
    map.set(value, twin);
  }
  for (const value of graph.initializers) {
    copy.setInitializer(map.get(value) as Value, value.initializer ?? value.sparseInitializer);
  }
  for (const input of graph.inputs) copy.addInput(input.name);
  for (const node of graph.nodes()) copy.append(cloneNode(node, copy, map));
  for (const output of graph.outputs) copy.addOutput(map.get(output) ?? output);
  return copy;
}

function cloneNode(node: Node, graph: Graph, map: ReadonlyMap<Value, Value>): Node {
  const copy = new Node(node.opType, node.domain, node.name, node.overload);
  copy.docString = node.docString;
  copy.metadata = new Map(node.metadata);
  copy.origin = node.origin;
  // A value from outside the cloned part (a captured one) stays itself.
  copy.setInputs(node.inputs.map((v) => v && (map.get(v) ?? v)));
  for (const [i, v] of node.outputs.entries()) if (v) copy.setOutput(i, map.get(v) ?? null);
  for (const [name, attribute] of node.attributes) {
    copy.setAttribute(name, cloneAttribute(attribute, graph.root, map));
  }
  return copy;
}

function cloneAttribute(attribute: Attribute, root: GraphRoot, map: ReadonlyMap<Value, Value>): Attribute {
  if (attribute.type === 'graph') return { ...attribute, value: cloneGraph(attribute.value, root, map) };
  if (attribute.type === 'graphs') {
    return {
      ...attribute,
      value: attribute.value.map((g) => cloneGraph(g, root, map)),
    };
  }
  return toAttribute('', attribute);
}
