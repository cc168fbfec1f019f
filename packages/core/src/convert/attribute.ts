import { PareError } from '../errors.js';
import { type Attribute, type AttributeKind, type AttributeValues, attributeGraphs } from '../ir/attribute.js';
import type { Graph } from '../ir/graph.js';
import type { Tensor } from '../ir/tensor.js';
import { amend, type Fields, type Message } from '../proto/message.js';
import { readUtf8, utf8Length, writeUtf8 } from '../proto/wire.js';
import { keep } from './presence.js';
import { type ExternalReader, readSparse, readTensor, writeSparse, writeTensor } from './tensor.js';
import { readType, writeType } from './type.js';

type AttributeProto = Message<'AttributeProto'>;
type AttributeFields = Fields<'AttributeProto'>;
type Kind = Exclude<AttributeKind, 'reference'>;

/** What reading an attribute needs from around it. */
export interface AttributeReader {
  readonly external: ExternalReader;
  /** For messages: the node and the attribute. */
  readonly who: string;
  /** A subgraph, in the scope of the node. */
  readGraph(proto: Message<'GraphProto'>): Graph;
}

export interface AttributeWriter {
  writeGraph(graph: Graph): Message<'GraphProto'>;
}

/** One kind of attribute: its AttributeProto.AttributeType, the field with the payload, and both directions. */
interface Rule<K extends Kind, F extends keyof AttributeFields> {
  readonly code: number;
  readonly field: F;
  read(stored: AttributeFields[F], reader: AttributeReader): AttributeValues[K];
  /** `stored` is the field of the message that the attribute was read from. */
  write(value: AttributeValues[K], writer: AttributeWriter, stored: AttributeFields[F]): AttributeFields[F];
}

const rule = <K extends Kind, F extends keyof AttributeFields>(r: Rule<K, F>): Rule<K, F> => r;

const RULES = {
  float: rule<'float', 'f'>({
    code: 1,
    field: 'f',
    read: (f) => f ?? 0,
    write: (value, _, f) => (Object.is(value, f ?? 0) ? f : value),
  }),
  int: rule<'int', 'i'>({ code: 2, field: 'i', read: (i) => i ?? 0, write: (value, _, i) => keep(value, i, 0) }),
  string: rule<'string', 's'>({
    code: 3,
    field: 's',
    read: (s) => textOrBytes(s ?? new Uint8Array(0)),
    write: (value, _, s) => (value.length === 0 && !s ? undefined : toBytes(value)),
  }),
  tensor: rule<'tensor', 't'>({
    code: 4,
    field: 't',
    read: (t, reader) => readTensor(t ?? lacking(reader), reader.external, reader.who),
    write: writeAttributeTensor,
  }),
  graph: rule<'graph', 'g'>({
    code: 5,
    field: 'g',
    read: (g, reader) => reader.readGraph(g ?? lacking(reader)),
    write: (value, writer) => writer.writeGraph(value),
  }),
  floats: rule<'floats', 'floats'>({ code: 6, field: 'floats', read: (list) => list ?? [], write: (value) => value }),
  ints: rule<'ints', 'ints'>({ code: 7, field: 'ints', read: (list) => list ?? [], write: (value) => value }),
  strings: rule<'strings', 'strings'>({
    code: 8,
    field: 'strings',
    read: (list) => (list ?? []).map(textOrBytes),
    write: (value) => value.map(toBytes),
  }),
  tensors: rule<'tensors', 'tensors'>({
    code: 9,
    field: 'tensors',
    read: (list, reader) => (list ?? []).map((t) => readTensor(t, reader.external, reader.who)),
    write: (value) => value.map(writeAttributeTensor),
  }),
  graphs: rule<'graphs', 'graphs'>({
    code: 10,
    field: 'graphs',
    read: (list, reader) => (list ?? []).map((g) => reader.readGraph(g)),
    write: (value, writer) => value.map((graph) => writer.writeGraph(graph)),
  }),
  sparseTensor: rule<'sparseTensor', 'sparse_tensor'>({
    code: 11,
    field: 'sparse_tensor',
    read: (sparse, reader) => readSparse(sparse ?? lacking(reader), reader.external, reader.who),
    write: (value) => writeSparse(value),
  }),
  sparseTensors: rule<'sparseTensors', 'sparse_tensors'>({
    code: 12,
    field: 'sparse_tensors',
    read: (list, reader) => (list ?? []).map((sparse) => readSparse(sparse, reader.external, reader.who)),
    write: (value) => value.map((sparse) => writeSparse(sparse)),
  }),
  type: rule<'type', 'tp'>({
    code: 13,
    field: 'tp',
    read: (tp, reader) => readType(tp) ?? lacking(reader),
    write: (value, _, tp) => writeType(value, tp),
  }),
  types: rule<'types', 'type_protos'>({
    code: 14,
    field: 'type_protos',
    read: (list, reader) => (list ?? []).map((type) => readType(type) ?? lacking(reader)),
    write: (value, _, list) => value.map((type, i) => writeType(type, list?.[i]) as Message<'TypeProto'>),
  }),
} as const;

/** The rules seen alike, for lookups by a kind that is only known at run time. */
const TABLE = RULES as unknown as Record<Kind, Rule<Kind, keyof AttributeFields>>;
const KINDS = Object.keys(RULES) as Kind[];
const kindOfCode = new Map(KINDS.map((kind) => [TABLE[kind].code, kind]));

/** Kind of the payload; the first files of ONNX had no type field, so that the field which is there tells. */
function kindOf(proto: AttributeProto): Kind | undefined {
  if (proto.type) return kindOfCode.get(proto.type);
  return KINDS.find((kind) => proto[TABLE[kind].field] !== undefined);
}

/**
 * The attribute in `proto`.
 * @throws PareError `unsupported` for a kind of the future, `bad-model` when the payload is missing or wrong.
 */
export function readAttribute(proto: AttributeProto, reader: AttributeReader): Attribute {
  if (proto.$read) return proto.$read as Attribute;
  const attribute = convertAttribute(proto, reader);
  // Graphs are edited in place: each belongs to one node.
  if (attributeGraphs(attribute).length === 0) proto.$read = attribute;
  return attribute;
}

function convertAttribute(proto: AttributeProto, reader: AttributeReader): Attribute {
  const kind = kindOf(proto);
  if (proto.ref_attr_name) {
    return { type: 'reference', value: { name: proto.ref_attr_name, of: kind ?? 'int' }, origin: proto };
  }
  if (!kind) {
    if (!proto.type) lacking(reader);
    throw new PareError('unsupported', `${reader.who} is of kind ${proto.type}, which Pare does not know yet.`);
  }
  const { field, read } = TABLE[kind];
  return { type: kind, value: read(proto[field], reader), origin: proto } as Attribute;
}

/** `attribute` as a message; the one it was read from when it still says the same. */
export function writeAttribute(name: string, attribute: Attribute, writer: AttributeWriter): AttributeProto {
  const origin = attribute.origin as AttributeProto | undefined;
  if (attribute === origin?.$read && name === (origin.name ?? '')) return origin;
  const before = origin && kindOf(origin);
  if (attribute.type === 'reference') {
    const { of } = attribute.value;
    if (of === 'reference') throw new PareError('bad-model', `Attribute "${name}" refers to a reference.`);
    const type = origin?.ref_attr_name && (before ?? 'int') === of ? origin.type : TABLE[of].code;
    const head = { name: keep(name, origin?.name, ''), type, ref_attr_name: attribute.value.name };
    return amend('AttributeProto', origin, origin?.ref_attr_name ? head : { ...NOTHING, ...head });
  }
  const { code, field, write } = TABLE[attribute.type];
  const sameKind = origin !== undefined && before === attribute.type && !origin.ref_attr_name;
  const payload = write(attribute.value as never, writer, sameKind ? origin[field] : undefined);
  const head = {
    name: keep(name, origin?.name, ''),
    type: sameKind ? origin.type : code,
    [field]: payload ?? (sameKind ? undefined : ZERO[field]),
  };
  return amend('AttributeProto', origin, sameKind ? head : { ...NOTHING, ...head });
}

/** New attributes say their value even where it is the default of Protocol Buffers: runtimes test for presence. */
const ZERO: Partial<Record<keyof AttributeFields, unknown>> = { f: 0, i: 0, s: new Uint8Array(0) };

const NOTHING = Object.fromEntries([
  ...KINDS.map((kind) => [TABLE[kind].field, undefined]),
  ['ref_attr_name', undefined],
]);

function lacking(reader: AttributeReader): never {
  throw new PareError('bad-model', `${reader.who} has no value.`);
}

function writeAttributeTensor(value: Tensor): Message<'TensorProto'> {
  return writeTensor(value, undefined);
}

/** Text, or the bytes themselves when they are not UTF-8. */
function textOrBytes(bytes: Uint8Array): string | Uint8Array {
  const text = readUtf8(bytes);
  return /[\udc80-\udcff]/u.test(text) ? bytes : text;
}

function toBytes(value: string | Uint8Array): Uint8Array {
  if (typeof value !== 'string') return value;
  const bytes = new Uint8Array(utf8Length(value));
  writeUtf8(value, bytes, 0);
  return bytes;
}
