import { PareError } from '../errors.js';
import { Graph } from '../ir/graph.js';
import { Node } from '../ir/node.js';
import type { Value } from '../ir/value.js';
import type { Message } from '../proto/message.js';
import { type AttributeReader, readAttribute } from './attribute.js';
import { readEntries } from './presence.js';
import { type ExternalReader, readSparse, readTensor } from './tensor.js';
import { readType } from './type.js';

type NodeProto = Message<'NodeProto'>;
type ValueInfoProto = Message<'ValueInfoProto'>;

/** The default domain has two spellings; the IR has one. */
export const domainOf = (domain: string | undefined): string => (domain === 'ai.onnx' ? '' : (domain ?? ''));

/**
 * Fills `graph`, which is empty, from `proto`. A name means the value of this graph that has it, else that of the graph
 * around it. Nodes that are not in topological order are taken as they are; a name that nothing defines becomes a value
 * without a producer, which `check` reports.
 * @throws PareError `bad-model` when one name is defined twice; what `readTensor` and `readAttribute` throw.
 */
export function readGraph(graph: Graph, proto: Message<'GraphProto'>, external: ExternalReader): void {
  graph.name = proto.name ?? '';
  graph.docString = proto.doc_string ?? '';
  graph.metadata = readEntries(proto.metadata_props);
  graph.origin = proto;

  for (const info of proto.input ?? []) describe(define(graph, info.name, 'input'), info);
  for (const tensor of proto.initializer ?? []) {
    const name = tensor.name ?? '';
    const value = owned(graph, name) ?? define(graph, name, 'initializer');
    graph.setInitializer(value, readTensor(tensor, external, `Initializer "${name}"`));
  }
  for (const sparse of proto.sparse_initializer ?? []) {
    const name = sparse.values?.name ?? '';
    const value = owned(graph, name) ?? define(graph, name, 'initializer');
    graph.setInitializer(value, readSparse(sparse, external, `Sparse initializer "${name}"`));
  }
  readNodes(graph, proto.node ?? [], external);
  for (const info of proto.output ?? []) {
    const value = resolve(graph, info.name ?? '');
    if (value.graph === graph) describe(value, info);
    graph.addOutput(value);
  }
  describeAll(graph, proto.value_info);
}

/** Types of values that are neither inputs nor outputs. */
export function describeAll(graph: Graph, infos: readonly ValueInfoProto[] | undefined): void {
  for (const info of infos ?? []) {
    if (info.name) describe(owned(graph, info.name) ?? graph.addValue(info.name), info);
  }
}

/** Appends `protos`: all outputs first, so that every name is known when the inputs and subgraphs are read. */
export function readNodes(graph: Graph, protos: readonly NodeProto[], external: ExternalReader): void {
  const nodes = protos.map((proto) => {
    const node = new Node(proto.op_type ?? '', domainOf(proto.domain), proto.name ?? '', proto.overload ?? '');
    node.docString = proto.doc_string ?? '';
    if (proto.metadata_props) node._metadata = readEntries(proto.metadata_props);
    node.origin = proto;
    graph.append(node);
    for (const [i, name] of (proto.output ?? []).entries()) {
      if (name === '') continue;
      if (owned(graph, name)) node.fail(`computes "${name}" (output ${i}), but something else has that name already`);
      node.setOutput(i, graph.addValue(name));
    }
    return node;
  });
  for (const [i, node] of nodes.entries()) {
    const proto = protos[i] as NodeProto;
    node.setInputs((proto.input ?? []).map((name) => (name === '' ? null : resolve(graph, name))));
    for (const attribute of proto.attribute ?? []) {
      const name = attribute.name ?? '';
      if (node.attributes.has(name)) node.fail(`has the attribute "${name}" twice`);
      node.setAttribute(name, readAttribute(attribute, new NodeAttributeReader(node, name, external)));
    }
  }
}

class NodeAttributeReader implements AttributeReader {
  constructor(
    private readonly node: Node,
    private readonly attribute: string,
    readonly external: ExternalReader,
  ) {}

  get who(): string {
    return `${this.node.label}, attribute "${this.attribute}",`;
  }

  readGraph(proto: Message<'GraphProto'>): Graph {
    return readSubgraph(this.node, proto, this.external);
  }
}

function readSubgraph(node: Node, proto: Message<'GraphProto'>, external: ExternalReader): Graph {
  const graph = new Graph('', node.graph?.root);
  // Known before the attribute is set: names inside are resolved through it.
  graph._parent = node;
  readGraph(graph, proto, external);
  return graph;
}

function describe(value: Value, info: ValueInfoProto): void {
  if (value.origin) return;
  value.origin = info;
  value.type = readType(info.type);
  value.docString = info.doc_string ?? '';
  if (info.metadata_props) value._metadata = readEntries(info.metadata_props);
}

function owned(graph: Graph, name: string): Value | undefined {
  const value = graph.value(name);
  return value?.graph === graph ? value : undefined;
}

function resolve(graph: Graph, name: string): Value {
  return graph.value(name) ?? graph.addValue(name);
}

function define(graph: Graph, name: string | undefined, what: 'input' | 'initializer'): Value {
  if (!name) throw new PareError('bad-model', `Graph "${graph.name}" has an ${what} without a name.`);
  if (owned(graph, name)) throw new PareError('bad-model', `Graph "${graph.name}" has two inputs named "${name}".`);
  return what === 'input' ? graph.addInput(name) : graph.addValue(name);
}
