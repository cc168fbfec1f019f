/**
 * Every message of onnx.proto (ONNX 1.23, IR version 14; ONNX-ML flavour), under its full name. A field is
 * `[number, kind]`, or `[number, kind, oneof]` when it shares its slot with the other fields of that oneof. A kind is
 *
 * - a scalar of Protocol Buffers; `int32` stands for enums too;
 * - `bytes`, read at once, or `blob`, bytes that stay in the file when they are long;
 * - the name of a message;
 * - one of these followed by `*`: repeated, one tag an element;
 * - `packed` and a number type: repeated, one tag for all; stays in the file when it is long.
 */
const MESSAGES = {
  ModelProto: {
    ir_version: [1, 'int64'],
    producer_name: [2, 'string'],
    producer_version: [3, 'string'],
    domain: [4, 'string'],
    model_version: [5, 'int64'],
    doc_string: [6, 'string'],
    graph: [7, 'GraphProto'],
    opset_import: [8, 'OperatorSetIdProto*'],
    metadata_props: [14, 'StringStringEntryProto*'],
    training_info: [20, 'TrainingInfoProto*'],
    functions: [25, 'FunctionProto*'],
    configuration: [26, 'DeviceConfigurationProto*'],
  },
  GraphProto: {
    node: [1, 'NodeProto*'],
    name: [2, 'string'],
    initializer: [5, 'TensorProto*'],
    doc_string: [10, 'string'],
    input: [11, 'ValueInfoProto*'],
    output: [12, 'ValueInfoProto*'],
    value_info: [13, 'ValueInfoProto*'],
    quantization_annotation: [14, 'TensorAnnotation*'],
    sparse_initializer: [15, 'SparseTensorProto*'],
    metadata_props: [16, 'StringStringEntryProto*'],
  },
  NodeProto: {
    input: [1, 'string*'],
    output: [2, 'string*'],
    name: [3, 'string'],
    op_type: [4, 'string'],
    attribute: [5, 'AttributeProto*'],
    doc_string: [6, 'string'],
    domain: [7, 'string'],
    overload: [8, 'string'],
    metadata_props: [9, 'StringStringEntryProto*'],
    device_configurations: [10, 'NodeDeviceConfigurationProto*'],
  },
  AttributeProto: {
    name: [1, 'string'],
    f: [2, 'float'],
    i: [3, 'int64'],
    s: [4, 'bytes'],
    t: [5, 'TensorProto'],
    g: [6, 'GraphProto'],
    floats: [7, 'float*'],
    ints: [8, 'int64*'],
    strings: [9, 'bytes*'],
    tensors: [10, 'TensorProto*'],
    graphs: [11, 'GraphProto*'],
    doc_string: [13, 'string'],
    tp: [14, 'TypeProto'],
    type_protos: [15, 'TypeProto*'],
    type: [20, 'int32'],
    ref_attr_name: [21, 'string'],
    sparse_tensor: [22, 'SparseTensorProto'],
    sparse_tensors: [23, 'SparseTensorProto*'],
  },
  TensorProto: {
    dims: [1, 'int64*'],
    data_type: [2, 'int32'],
    segment: [3, 'TensorProto.Segment'],
    float_data: [4, 'packed float'],
    int32_data: [5, 'packed int32'],
    string_data: [6, 'bytes*'],
    int64_data: [7, 'packed int64'],
    name: [8, 'string'],
    raw_data: [9, 'blob'],
    double_data: [10, 'packed double'],
    uint64_data: [11, 'packed uint64'],
    doc_string: [12, 'string'],
    external_data: [13, 'StringStringEntryProto*'],
    data_location: [14, 'int32'],
    metadata_props: [16, 'StringStringEntryProto*'],
  },
  'TensorProto.Segment': { begin: [1, 'int64'], end: [2, 'int64'] },
  SparseTensorProto: { values: [1, 'TensorProto'], indices: [2, 'TensorProto'], dims: [3, 'int64*'] },
  ValueInfoProto: {
    name: [1, 'string'],
    type: [2, 'TypeProto'],
    doc_string: [3, 'string'],
    metadata_props: [4, 'StringStringEntryProto*'],
  },
  TypeProto: {
    tensor_type: [1, 'TypeProto.Tensor', 'value'],
    sequence_type: [4, 'TypeProto.Sequence', 'value'],
    map_type: [5, 'TypeProto.Map', 'value'],
    denotation: [6, 'string'],
    opaque_type: [7, 'TypeProto.Opaque', 'value'],
    sparse_tensor_type: [8, 'TypeProto.SparseTensor', 'value'],
    optional_type: [9, 'TypeProto.Optional', 'value'],
  },
  'TypeProto.Tensor': { elem_type: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  'TypeProto.SparseTensor': { elem_type: [1, 'int32'], shape: [2, 'TensorShapeProto'] },
  'TypeProto.Sequence': { elem_type: [1, 'TypeProto'] },
  'TypeProto.Optional': { elem_type: [1, 'TypeProto'] },
  'TypeProto.Map': { key_type: [1, 'int32'], value_type: [2, 'TypeProto'] },
  'TypeProto.Opaque': { domain: [1, 'string'], name: [2, 'string'] },
  TensorShapeProto: { dim: [1, 'TensorShapeProto.Dimension*'] },
  'TensorShapeProto.Dimension': {
    dim_value: [1, 'int64', 'value'],
    dim_param: [2, 'string', 'value'],
    denotation: [3, 'string'],
  },
  FunctionProto: {
    name: [1, 'string'],
    input: [4, 'string*'],
    output: [5, 'string*'],
    attribute: [6, 'string*'],
    node: [7, 'NodeProto*'],
    doc_string: [8, 'string'],
    opset_import: [9, 'OperatorSetIdProto*'],
    domain: [10, 'string'],
    attribute_proto: [11, 'AttributeProto*'],
    value_info: [12, 'ValueInfoProto*'],
    overload: [13, 'string'],
    metadata_props: [14, 'StringStringEntryProto*'],
  },
  OperatorSetIdProto: { domain: [1, 'string'], version: [2, 'int64'] },
  StringStringEntryProto: { key: [1, 'string'], value: [2, 'string'] },
  IntIntListEntryProto: { key: [1, 'int64'], value: [2, 'int64*'] },
  TensorAnnotation: { tensor_name: [1, 'string'], quant_parameter_tensor_names: [2, 'StringStringEntryProto*'] },
  TrainingInfoProto: {
    initialization: [1, 'GraphProto'],
    algorithm: [2, 'GraphProto'],
    initialization_binding: [3, 'StringStringEntryProto*'],
    update_binding: [4, 'StringStringEntryProto*'],
  },
  DeviceConfigurationProto: { name: [1, 'string'], num_devices: [2, 'int32'], device: [3, 'string*'] },
  NodeDeviceConfigurationProto: {
    configuration_id: [1, 'string'],
    sharding_spec: [2, 'ShardingSpecProto*'],
    pipeline_stage: [3, 'int32'],
  },
  ShardingSpecProto: {
    tensor_name: [1, 'string'],
    device: [2, 'int64*'],
    index_to_device_group_map: [3, 'IntIntListEntryProto*'],
    sharded_dim: [4, 'ShardedDimProto*'],
  },
  ShardedDimProto: { axis: [1, 'int64'], simple_sharding: [2, 'SimpleShardedDimProto*'] },
  SimpleShardedDimProto: {
    dim_value: [1, 'int64', 'dim'],
    dim_param: [2, 'string', 'dim'],
    num_shards: [3, 'int64'],
  },
} as const satisfies Record<string, Record<string, readonly [number, string] | readonly [number, string, string]>>;

export type Messages = typeof MESSAGES;
export type MessageName = keyof Messages;

/** How a field travels: the kinds above without `*`, with messages folded into one. */
export type Kind =
  | 'int32'
  | 'int64'
  | 'uint64'
  | 'float'
  | 'double'
  | 'string'
  | 'bytes'
  | 'blob'
  | 'packed float'
  | 'packed double'
  | 'packed int32'
  | 'packed int64'
  | 'packed uint64'
  | 'message';

/** Wire types of the Protocol Buffers encoding. */
export const VARINT = 0;
export const FIXED64 = 1;
export const DELIMITED = 2;
export const GROUP = 3;
export const END_GROUP = 4;
export const FIXED32 = 5;

const WIRE_TYPES: Partial<Record<Kind, number>> = {
  int32: VARINT,
  int64: VARINT,
  uint64: VARINT,
  double: FIXED64,
  float: FIXED32,
};

/** Wire type of one element of `kind`: inside a packed field, that of its number type. */
export function elementWireType(kind: Kind): number {
  return WIRE_TYPES[kind.replace('packed ', '') as Kind] ?? DELIMITED;
}

export interface Field {
  readonly name: string;
  readonly number: number;
  readonly kind: Kind;
  readonly repeated: boolean;
  /** Numbers that share one tag; kept as the stretches of bytes that they are. */
  readonly packed: boolean;
  /** The table of the message in this field. */
  readonly table: Table | undefined;
  /** The other fields of its oneof. */
  readonly rivals: readonly string[];
  /** Number and wire type as they are written. */
  readonly tag: number;
  /** Bytes of `tag` as a varint. */
  readonly tagLength: number;
  /** What one element looks like on the wire when each has its own tag. */
  readonly wireType: number;
}

/** One message type at run time. */
export interface Table {
  readonly name: MessageName;
  /** In ascending field number, the order of writing. */
  readonly fields: readonly Field[];
  readonly byNumber: readonly (Field | undefined)[];
}

const tables = new Map<MessageName, { name: MessageName; fields: Field[]; byNumber: (Field | undefined)[] }>();
for (const name of Object.keys(MESSAGES) as MessageName[]) tables.set(name, { name, fields: [], byNumber: [] });
for (const [name, table] of tables) {
  const rows = Object.entries(MESSAGES[name]) as [string, readonly [number, string, string?]][];
  for (const [field, [number, spelled, oneof]] of rows) {
    const repeated = spelled.endsWith('*');
    const element = repeated ? spelled.slice(0, -1) : spelled;
    const message = tables.get(element as MessageName);
    const kind = message ? 'message' : (element as Kind);
    const packed = kind.startsWith('packed');
    const tag = number * 8 + (packed ? DELIMITED : elementWireType(kind));
    const rivals = oneof
      ? rows.filter(([other, row]) => row[2] === oneof && other !== field).map(([other]) => other)
      : [];
    const entry: Field = {
      name: field,
      number,
      kind,
      repeated,
      packed,
      table: message,
      rivals,
      tag,
      tagLength: tag < 128 ? 1 : 2,
      wireType: elementWireType(kind),
    };
    table.fields.push(entry);
    table.byNumber[number] = entry;
  }
  table.fields.sort((a, b) => a.number - b.number);
}

/** The table of message `name`. */
export function tableOf(name: MessageName): Table {
  return tables.get(name) as Table;
}

/** Every message type, for tests that compare with another implementation. */
export const allTables: readonly Table[] = [...tables.values()];
