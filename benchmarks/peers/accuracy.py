"""Static int8 by onnxruntime.quantization in four ways. Argument: JSON {source, work, input, dims, calibration (raw float32)}."""
import json
import sys

import numpy as np
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

job = json.loads(sys.argv[1])
samples = np.fromfile(job["calibration"], dtype=np.float32).reshape([-1] + job["dims"])


class Reader(CalibrationDataReader):
    def __init__(self):
        self.rows = iter([{job["input"]: row} for row in samples])

    def get_next(self):
        return next(self.rows, None)


prepared = job["work"] + "/prepared.onnx"
quant_pre_process(job["source"], prepared)
WAYS = {
    "min-max": (CalibrationMethod.MinMax, False),
    "min-max, reduced range": (CalibrationMethod.MinMax, True),
    "percentile": (CalibrationMethod.Percentile, False),
    "entropy": (CalibrationMethod.Entropy, False),
}
made = {}
for name, (method, reduced) in WAYS.items():
    target = f"{job['work']}/peer-{len(made)}.onnx"
    try:
        quantize_static(
            prepared,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=reduced,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=method,
        )
        made[name] = target
    except Exception as error:  # a way that fails is reported, not hidden
        made[name] = {"error": str(error)[:200]}
print(json.dumps(made))
