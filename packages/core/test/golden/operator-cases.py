"""Writes operator-cases.json.gz: the operator tests of the `onnx` package, each as a model whose small inputs are constants,
with the type and shape of every output. Outputs are those that ONNX Runtime returns; where it cannot run a case (the function
form of an operator only, a type without a kernel) those of the ONNX reference.

    pip install onnx==1.23.1 onnxruntime==1.30.0 numpy
    python operator-cases.py

The tests read the file; they need no Python. A case is
    {name, runtime, model: base64, inputs: [[name, dims]], outputs: [[name, type]]}
where a type is [dtype, dims], or {"sequence": [type, ...]}, or null for an empty optional.
"""

import base64
import copy
import gzip
import json
import pathlib
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)

# Above this size the contents of float inputs are left out: their shapes are what matters.
SMALL = 1500
INTEGERS = {TensorProto.INT32, TensorProto.INT64, TensorProto.BOOL}


def as_tensor(value):
    if isinstance(value, onnx.TensorProto):
        return copy.deepcopy(value)
    if isinstance(value, np.ndarray) or np.isscalar(value):
        try:
            return numpy_helper.from_array(np.asarray(value))
        except Exception:
            return None
    return None


def with_constants(model, values, keep):
    """The model with the inputs that `keep` accepts as initializers."""
    model = copy.deepcopy(model)
    inputs = []
    for info, value in zip(list(model.graph.input), values):
        tensor = as_tensor(value)
        if tensor is not None and keep(tensor):
            tensor.name = info.name
            model.graph.initializer.append(tensor)
        else:
            inputs.append(copy.deepcopy(info))
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    # Declared output types would answer what is asked.
    for output in model.graph.output:
        output.ClearField("type")
    del model.graph.value_info[:]
    return model


def dtype_name(code):
    return {"FLOAT": "float32", "DOUBLE": "float64"}.get(TensorProto.DataType.Name(code), TensorProto.DataType.Name(code).lower())


def type_of(value):
    if value is None:
        return None
    if isinstance(value, onnx.TensorProto):
        return [dtype_name(value.data_type), list(value.dims)]
    if isinstance(value, (list, tuple)):
        return {"sequence": [type_of(v) for v in value]}
    array = np.asarray(value)
    code = TensorProto.STRING if array.dtype.kind in "OUS" else helper.np_dtype_to_tensor_dtype(array.dtype)
    return [dtype_name(code), list(array.shape)]


def dims_of(value):
    type = type_of(value)
    return type[1] if isinstance(type, list) else None


def run(model, values):
    """What ONNX Runtime returns, or None where it cannot run the model."""
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString())
        feeds = {}
        for info, value in zip(model.graph.input, values):
            feeds[info.name] = numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
        options = onnxruntime.RunOptions()
        options.log_severity_level = 4
        return session.run(None, feeds, options)
    except Exception:
        return None


cases = []
counts = {"onnxruntime": 0, "reference": 0, "different": 0}
for case in collect_testcases(None):
    # The expanded form of a function says nothing that the operators in it do not say by themselves.
    if case.model is None or "_expanded" in case.name:
        continue
    for inputs, outputs in case.data_sets:
        names = [o.name for o in case.model.graph.output]
        expected = [type_of(v) for v in outputs]
        found = run(case.model, inputs)
        runtime = "reference" if found is None else "onnxruntime"
        if found is not None:
            actual = [type_of(v) for v in found]
            # Types that NumPy lacks (bfloat16, float8) come back as others: then the reference says the type.
            actual = [
                [e[0], a[1]] if isinstance(a, list) and isinstance(e, list) and a[0] != e[0] else a
                for a, e in zip(actual, expected)
            ]
            if actual != expected:
                counts["different"] += 1
                print("different:", case.name, actual, expected)
            expected = actual
        counts[runtime] += 1
        model = with_constants(case.model, inputs, lambda t: True)
        if len(model.SerializeToString()) > SMALL:
            model = with_constants(case.model, inputs, lambda t: t.data_type in INTEGERS and np.prod(t.dims) <= 64)
        kept = {i.name for i in model.graph.input}
        cases.append(
            {
                "name": case.name.removeprefix("test_"),
                "runtime": runtime,
                "model": base64.b64encode(model.SerializeToString()).decode(),
                "inputs": [
                    [i.name, dims_of(v)] for i, v in zip(case.model.graph.input, inputs) if i.name in kept
                ],
                "outputs": [[n, t] for n, t in zip(names, expected)],
            }
        )

path = pathlib.Path(__file__).with_name("operator-cases.json.gz")
path.write_bytes(gzip.compress(json.dumps(cases, separators=(",", ":")).encode(), 9, mtime=0))
print(len(cases), "cases", counts, path.stat().st_size, "bytes")
