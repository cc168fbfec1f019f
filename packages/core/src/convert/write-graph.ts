import type { Graph } from '../ir/graph.js';
import type { Node } from '../ir/node.js';
import type { Tensor } from '../ir/tensor.js';
import type { Value } from '../ir/value.js';
import { amend, type Message } from '../proto/message.js';
import { writeAttribute } from './attribute.js';
import { keep, keepText, writeEntries } from './presence.js';
import { domainOf } from './read-graph.js';
import { type Placement, writeSparse, writeTensor } from './tensor.js';
import { writeType } from './type.js';

type ValueInfoProto = Message<'ValueInfoProto'>;

/** Where an initializer is written; undefined: in the model file. */
export type Place = (tensor: Tensor) => Placement | undefined;

/** `graph` as a message: the one it was read from when nothing changed. */
export function writeGraph(graph: Graph, place: Place): Message<'GraphProto'> {
  const origin = graph.origin as Message<'GraphProto'> | undefined;
  const values = [...graph.initializers];
  return amend('GraphProto', origin, {
    name: keepText(graph.name, origin?.name),
    doc_string: keepText(graph.docString, origin?.doc_string),
    metadata_props: writeEntries(graph.metadata, origin?.metadata_props),
    node: Array.from(graph.nodes(), (node) => writeNode(node, place)),
    initializer: values.flatMap(({ initializer, name }) =>
      initializer ? [writeTensor(initializer, name, place(initializer))] : [],
    ),
    sparse_initializer: values.flatMap(({ sparseInitializer, name }) =>
      sparseInitializer ? [writeSparse(sparseInitializer, name)] : [],
    ),
    input: writeInfos(graph.inputs, origin?.input),
    output: writeInfos(graph.outputs, origin?.output),
    value_info: writeValueInfos(graph, origin?.value_info),
  });
}

function writeInfos(
  values: readonly Value[],
  origins: readonly ValueInfoProto[] | undefined,
): readonly ValueInfoProto[] {
  const byName = new Map((origins ?? []).map((info) => [info.name, info]));
  return values.map((value) => writeInfo(value, byName.get(value.name)));
}

/** Types of inner values: those that the file had, as far as they still hold, then those that were found out since. */
export function writeValueInfos(
  graph: Graph,
  origins: readonly ValueInfoProto[] | undefined,
): readonly ValueInfoProto[] {
  const infos: ValueInfoProto[] = [];
  const named = new Set<string>();
  for (const origin of origins ?? []) {
    const value = graph.value(origin.name ?? '');
    const emptied = value && !value.type && value.origin && writeType(undefined, origin.type) !== origin.type;
    if (!origin.name) infos.push(origin);
    else if (value?.graph === graph && !emptied) infos.push(writeInfo(value, origin));
    named.add(origin.name ?? '');
  }
  for (const value of graph.values) {
    if (named.has(value.name) || !value.producer || value.isGraphOutput || !value.type) continue;
    if (value.type.kind === 'tensor' && !value.type.dtype) continue;
    infos.push(writeInfo(value, undefined));
  }
  return infos;
}

/**
 * `value` as an entry of a list where `listed` stood. A value may be described in two lists (as an output and as an inner
 * value, say), and not alike: the entry that its type was not read from stays as it is while the type is the one read.
 */
function writeInfo(value: Value, listed: ValueInfoProto | undefined): ValueInfoProto {
  const origin = value.origin as ValueInfoProto | undefined;
  const untouched = origin !== undefined && describe(value, origin) === origin;
  return untouched && listed ? listed : describe(value, listed ?? origin);
}

function describe(value: Value, origin: ValueInfoProto | undefined): ValueInfoProto {
  return amend('ValueInfoProto', origin, {
    name: keep(value.name, origin?.name, ''),
    type: writeType(value.type ?? initializerType(value, origin), origin?.type),
    doc_string: keepText(value.docString, origin?.doc_string),
    metadata_props: writeEntries(value._metadata, origin?.metadata_props),
  });
}

/** An initializer that is listed as an input must say its type there. */
function initializerType(value: Value, origin: ValueInfoProto | undefined): Value['type'] {
  const tensor = value.initializer;
  return tensor && !origin ? { kind: 'tensor', dtype: tensor.dtype, shape: tensor.dims } : undefined;
}

export function writeNode(node: Node, place: Place): Message<'NodeProto'> {
  const origin = node.origin as Message<'NodeProto'> | undefined;
  return amend('NodeProto', origin, {
    input: writeNames(node.inputs, origin?.input),
    output: writeNames(node.outputs, origin?.output),
    name: keepText(node.name, origin?.name),
    op_type: keep(node.opType, origin?.op_type, ''),
    domain: domainOf(origin?.domain) === node.domain ? origin?.domain : node.domain,
    overload: keepText(node.overload, origin?.overload),
    attribute: Array.from(node.attributes, ([name, attribute]) =>
      writeAttribute(name, attribute, { writeGraph: (graph) => writeGraph(graph, place) }),
    ),
    doc_string: keepText(node.docString, origin?.doc_string),
    metadata_props: writeEntries(node._metadata, origin?.metadata_props),
  });
}

/** Names of `values`, '' where one is left out; trailing left-out ones as the file had them. */
function writeNames(values: readonly (Value | null)[], origin: readonly string[] | undefined): readonly string[] {
  const nameOf = (value: Value | null | undefined): string => value?.name ?? '';
  const same = origin && origin.length >= values.length && origin.every((name, i) => name === nameOf(values[i]));
  return same ? origin : values.map(nameOf);
}
