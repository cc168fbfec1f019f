"""Makes codec.json: what the onnx Python package (C++/upb Protocol Buffers) writes, as the truth for the codec's tests.

    python make.py > codec.json          (onnx 1.23.1)

- everyField: a ModelProto in which every field of every message of onnx.proto is set, with its values as JSON;
- tensors: for each element type the same values in a typed field and as raw_data;
- models: graphs with subgraphs, functions, sparse initializers, training information and annotations.
"""

import base64
import json
import random
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from google.protobuf.descriptor import FieldDescriptor as F

warnings.simplefilter("ignore")
random.seed(7)


def b64(data):
    return base64.b64encode(data).decode()


def is_repeated(field):
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == F.LABEL_REPEATED


def scalar(field):
    kind = field.type
    if kind in (F.TYPE_INT64,):
        return random.choice([0, 1, -1, 127, 128, 300, -(2**63), 2**63 - 1, 2**53, -(2**40)])
    if kind == F.TYPE_UINT64:
        return random.choice([0, 1, 2**32, 2**64 - 1, 2**63])
    if kind == F.TYPE_INT32:
        return random.choice([0, 1, -1, 2**31 - 1, -(2**31), 200])
    if kind == F.TYPE_ENUM:
        return random.choice([v.number for v in field.enum_type.values])
    if kind == F.TYPE_FLOAT:
        return random.choice([0.0, -0.0, 1.5, -2.25, 1e-40, float("inf")])
    if kind == F.TYPE_DOUBLE:
        return random.choice([0.1, -1e300, 5e-324, 0.0])
    if kind == F.TYPE_STRING:
        return random.choice(["", "x", "näme", "層/1:0", "🙂" * 12, "a" * 200])
    if kind == F.TYPE_BYTES:
        return random.choice([b"", b"\x00\xff\xfe", b"text", bytes(range(256))])
    raise ValueError(kind)


def fill(message, depth):
    """Sets every field that the depth allows; of a oneof one member."""
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and random.choice(oneof.fields) is not field and message.WhichOneof(oneof.name):
            continue
        if field.type == F.TYPE_MESSAGE:
            if depth == 0:
                continue
            if is_repeated(field):
                for _ in range(random.randint(1, 2)):
                    fill(getattr(message, field.name).add(), depth - 1)
            else:
                fill(getattr(message, field.name), depth - 1)
                getattr(message, field.name).SetInParent()
        elif is_repeated(field):
            getattr(message, field.name).extend(scalar(field) for _ in range(random.randint(1, 4)))
        else:
            setattr(message, field.name, scalar(field))


def value_of(message):
    out = {}
    for field, value in message.ListFields():
        one = (
            value_of
            if field.type == F.TYPE_MESSAGE
            else (lambda v: {"bytes": v.hex()})
            if field.type == F.TYPE_BYTES
            else (lambda v: {"float": repr(v)})
            if field.type in (F.TYPE_FLOAT, F.TYPE_DOUBLE)
            else (lambda v: {"int": str(v)})
            if field.type != F.TYPE_STRING
            else (lambda v: v)
        )
        out[field.name] = [one(v) for v in value] if is_repeated(field) else one(value)
    return out


def every_field():
    """One message of each type, each in the shortest chain of messages that leads to it from the model."""
    samples = []
    for message_type in all_types(onnx.ModelProto.DESCRIPTOR):
        message = new(message_type)
        fill(message, 1)
        samples.append({"type": message_type.full_name.removeprefix("onnx."), "bytes": b64(message.SerializeToString()), "value": value_of(message)})
    return samples


def all_types(root):
    seen, queue = {}, [root]
    while queue:
        descriptor = queue.pop(0)
        if descriptor.full_name in seen:
            continue
        seen[descriptor.full_name] = descriptor
        queue += [f.message_type for f in descriptor.fields if f.message_type]
    return list(seen.values())


def new(descriptor):
    owner = onnx
    for part in descriptor.full_name.split(".")[1:]:
        owner = getattr(owner, part)
    return owner()


def tensors():
    out = []
    codes = [v for v in TensorProto.DataType.values() if v not in (TensorProto.UNDEFINED, TensorProto.STRING)]
    for code in codes:
        dtype = helper.tensor_dtype_to_np_dtype(code)
        for count in (0, 1, 5, 400):
            base = np.random.default_rng(code * 1000 + count).integers(-3, 4, count)
            if np.dtype(dtype).kind == "u" or "uint" in str(dtype) or "e8m0" in str(dtype) or dtype == bool:
                base = abs(base)
            values = base.astype(np.float32).astype(dtype) if dtype != bool else base.astype(bool)
            try:
                raw = numpy_helper.from_array(values, "t")
                typed = helper.make_tensor("t", code, [count], values.tolist() if np.dtype(dtype).kind in "iufcb" else values.astype(np.float32).tolist())
            except Exception as error:
                raise SystemExit(f"{TensorProto.DataType.Name(code)}: {error}")
            if count and typed.HasField("raw_data"):
                raise SystemExit(f"{code} typed is raw")
            out.append({"type": TensorProto.DataType.Name(code), "count": count, "typed": b64(typed.SerializeToString()), "raw": b64(raw.raw_data)})
    return out


def f32(name, shape):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def models():
    yes = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["then_out"])], "then", [], [f32("then_out", None)], [numpy_helper.from_array(np.float32(2), "two")])
    no = helper.make_graph([helper.make_node("Neg", ["x"], ["else_out"])], "else", [], [f32("else_out", None)])
    body = helper.make_graph(
        [helper.make_node("Add", ["v_in", "w"], ["v_out"]), helper.make_node("Identity", ["cond_in"], ["cond_out"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("cond_in", TensorProto.BOOL, []), f32("v_in", None)],
        [helper.make_tensor_value_info("cond_out", TensorProto.BOOL, []), f32("v_out", None)],
    )
    nodes = [
        helper.make_node("If", ["flag"], ["branched"], then_branch=yes, else_branch=no, name="choose"),
        helper.make_node("Loop", ["trips", "", "branched"], ["looped"], body=body, name="repeat"),
        helper.make_node("Clip", ["looped", "", "six"], ["clipped"]),
        helper.make_node("Twice", ["clipped"], ["y"], domain="my.functions", factor=2.0),
    ]
    graph = helper.make_graph(
        nodes,
        "main",
        [f32("x", ["batch", 4]), helper.make_tensor_value_info("flag", TensorProto.BOOL, [])],
        [f32("y", ["batch", 4])],
        [
            helper.make_tensor("w", TensorProto.FLOAT, [4], [1, 2, 3, 4]),
            numpy_helper.from_array(np.int64(3), "trips"),
            numpy_helper.from_array(np.float32(6), "six"),
        ],
        doc_string="control flow",
        value_info=[f32("looped", ["batch", 4])],
    )
    twice = helper.make_function(
        "my.functions",
        "Twice",
        ["a"],
        ["b"],
        [helper.make_node("Constant", [], ["k"]), helper.make_node("Mul", ["a", "k"], ["b"])],
        [helper.make_opsetid("", 17)],
        ["factor"],
    )
    twice.node[0].attribute.add(name="value_float", ref_attr_name="factor", type=onnx.AttributeProto.FLOAT)
    flow = helper.make_model(graph, functions=[twice], opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.functions", 1)], ir_version=9, producer_name="make.py")
    onnx.checker.check_model(flow)

    rich = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "s"], ["y"])],
            "rich",
            [f32("x", ["n", 3])],
            [f32("y", ["n", 3])],
            sparse_initializer=[helper.make_sparse_tensor(helper.make_tensor("s", 1, [2], [5, 7]), helper.make_tensor("", 7, [2], [0, 4]), [3, 3])],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    annotation = rich.graph.quantization_annotation.add(tensor_name="y")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="y_scale")
    training = rich.training_info.add()
    training.algorithm.CopyFrom(helper.make_graph([helper.make_node("Identity", ["y"], ["z"])], "step", [], [f32("z", None)]))
    training.update_binding.add(key="s", value="z")
    rich.metadata_props.add(key="author", value="nobody")
    rich.graph.input[0].type.denotation = "TENSOR"
    rich.graph.input[0].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    return {"controlFlow": b64(flow.SerializeToString()), "rich": b64(rich.SerializeToString())}


print(json.dumps({"onnx": onnx.__version__, "everyField": every_field(), "tensors": tensors(), "models": models()}))
