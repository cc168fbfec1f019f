import { create, createFileRegistry, type DescMessage } from '@bufbuild/protobuf';
import {
  type DescriptorProto,
  DescriptorProtoSchema,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  OneofDescriptorProtoSchema,
  FieldDescriptorProto_Type as Type,
} from '@bufbuild/protobuf/wkt';
import { allTables, type Field, type MessageName, type Table } from '../src/proto/schema.js';

/**
 * Protocol Buffers as protobuf-es has them, for the messages of our schema: an independent reader and writer of the wire format.
 * (That the schema itself is right is tested against bytes that Python wrote.)
 */
const TYPES: Record<string, Type> = {
  int32: Type.INT32,
  int64: Type.INT64,
  uint64: Type.UINT64,
  float: Type.FLOAT,
  double: Type.DOUBLE,
  string: Type.STRING,
  bytes: Type.BYTES,
  blob: Type.BYTES,
  message: Type.MESSAGE,
};

// Nested names get an underscore: protobuf-es needs no nesting to read and write bytes.
const flat = (name: string): string => name.replace('.', '_');

function fieldDescriptor(table: Table, field: Field) {
  const packed = field.kind.startsWith('packed ');
  const oneof = field.rivals.length > 0;
  return create(FieldDescriptorProtoSchema, {
    name: field.name,
    number: field.number,
    type: TYPES[field.kind.replace('packed ', '')] as Type,
    label: field.repeated || packed ? Label.REPEATED : Label.OPTIONAL,
    ...(field.table ? { typeName: `.onnx.${flat(field.table.name)}` } : {}),
    ...(packed ? { options: create(FieldOptionsSchema, { packed: true }) } : {}),
    ...(oneof ? { oneofIndex: 0 } : {}),
    jsonName: `${table.name}${field.name}`,
  });
}

function messageDescriptor(table: Table): DescriptorProto {
  return create(DescriptorProtoSchema, {
    name: flat(table.name),
    field: table.fields.map((field) => fieldDescriptor(table, field)),
    oneofDecl: table.fields.some((f) => f.rivals.length > 0)
      ? [create(OneofDescriptorProtoSchema, { name: 'one' })]
      : [],
  });
}

const file = create(FileDescriptorProtoSchema, {
  name: 'onnx.proto',
  package: 'onnx',
  syntax: 'proto2',
  messageType: allTables.map(messageDescriptor),
});
const registry = createFileRegistry(file, () => undefined);

/** protobuf-es' descriptor of message `name`. */
export function descriptorOf(name: MessageName): DescMessage {
  return registry.getMessage(`onnx.${flat(name)}`) as DescMessage;
}
