import { type DType, dtypeInfo, dtypeOfCode } from '../dtype.js';
import type { Dim, ValueType } from '../ir/type.js';
import { amend, createMessage, type Message } from '../proto/message.js';

type TypeProto = Message<'TypeProto'>;
type DimProto = Message<'TensorShapeProto.Dimension'>;

/** The type that `proto` says; undefined when it says none. */
export function readType(proto: TypeProto | undefined): ValueType | undefined {
  if (!proto) return undefined;
  proto.$read ??= convertType(proto);
  return proto.$read as ValueType | undefined;
}

function convertType(proto: TypeProto): ValueType | undefined {
  const origin = proto;
  const dense = proto.tensor_type;
  const tensor = dense ?? proto.sparse_tensor_type;
  if (tensor) {
    const dtype = dtypeOfCode(tensor.elem_type ?? 0);
    const shape = tensor.shape && (tensor.shape.dim ?? []).map(readDim);
    return { kind: dense ? 'tensor' : 'sparse', dtype, shape, origin };
  }
  if (proto.sequence_type) return { kind: 'sequence', element: readType(proto.sequence_type.elem_type), origin };
  if (proto.optional_type) return { kind: 'optional', element: readType(proto.optional_type.elem_type), origin };
  if (proto.map_type) {
    const { key_type, value_type } = proto.map_type;
    return { kind: 'map', key: dtypeOfCode(key_type ?? 0), value: readType(value_type), origin };
  }
  return proto.opaque_type ? { kind: 'opaque', origin } : undefined;
}

/** Negative sizes, which some exporters write, mean unknown. */
function readDim(proto: DimProto): Dim {
  if (typeof proto.dim_value === 'number') return proto.dim_value >= 0 ? proto.dim_value : null;
  return proto.dim_param || null;
}

/** `type` as a message; `origin` itself when it says the same. Denotations and unknown fields of `origin` are kept. */
export function writeType(
  type: ValueType | undefined,
  origin: TypeProto | undefined = type?.origin as TypeProto | undefined,
): TypeProto | undefined {
  if (type === readType(origin)) return origin;
  if (!type) return undefined;
  const fields = {
    tensor_type: undefined,
    sequence_type: undefined,
    map_type: undefined,
    opaque_type: undefined,
    sparse_tensor_type: undefined,
    optional_type: undefined,
  };
  switch (type.kind) {
    case 'tensor':
    case 'sparse': {
      const slot = type.kind === 'tensor' ? 'tensor_type' : 'sparse_tensor_type';
      const before = origin?.[slot] as Message<'TypeProto.Tensor'> | undefined;
      const elem_type = writeCode(type.dtype, before?.elem_type);
      const shape = writeShape(type.shape, before?.shape);
      const name = type.kind === 'tensor' ? 'TypeProto.Tensor' : 'TypeProto.SparseTensor';
      const tensor = amend(name as 'TypeProto.Tensor', before, { elem_type, shape });
      return amend('TypeProto', origin, { ...fields, [slot]: tensor });
    }
    case 'sequence': {
      const before = origin?.sequence_type;
      const elem_type = writeType(type.element, before?.elem_type);
      return amend('TypeProto', origin, {
        ...fields,
        sequence_type: amend('TypeProto.Sequence', before, { elem_type }),
      });
    }
    case 'optional': {
      const before = origin?.optional_type;
      const elem_type = writeType(type.element, before?.elem_type);
      return amend('TypeProto', origin, {
        ...fields,
        optional_type: amend('TypeProto.Optional', before, { elem_type }),
      });
    }
    case 'map': {
      const before = origin?.map_type;
      const key_type = writeCode(type.key, before?.key_type);
      const value_type = writeType(type.value, before?.value_type);
      return amend('TypeProto', origin, {
        ...fields,
        map_type: amend('TypeProto.Map', before, { key_type, value_type }),
      });
    }
    case 'opaque': {
      const before = origin ?? (type.origin as TypeProto | undefined);
      return before ?? createMessage('TypeProto', { opaque_type: createMessage('TypeProto.Opaque', {}) });
    }
  }
}

function writeCode(dtype: DType | undefined, origin: number | undefined): number | undefined {
  if (dtypeOfCode(origin ?? 0) === dtype) return origin;
  return dtype && dtypeInfo(dtype).code;
}

function writeShape(
  shape: readonly Dim[] | undefined,
  origin: Message<'TensorShapeProto'> | undefined,
): Message<'TensorShapeProto'> | undefined {
  if (!shape) return undefined;
  const before = origin?.dim ?? [];
  const matching = before.length === shape.length;
  const dim = shape.map((size, i) => writeDim(size, matching ? before[i] : undefined));
  return amend('TensorShapeProto', origin, { dim });
}

function writeDim(dim: Dim, origin: DimProto | undefined): DimProto {
  if (origin && readDim(origin) === dim) return origin;
  return amend('TensorShapeProto.Dimension', origin, {
    dim_value: typeof dim === 'number' ? dim : undefined,
    dim_param: typeof dim === 'string' ? dim : undefined,
  });
}
