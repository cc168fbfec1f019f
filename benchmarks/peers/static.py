"""Static quantization with onnxruntime.quantization, in one process. Prints JSON: seconds, CPU seconds, peak MB.

    python static.py '{"source": ..., "target": ..., "method": ..., "samples": ..., "data": ..., "inputs": ...}'
"""

import json
import logging
import os
import resource
import shutil
import sys
import tempfile
import time

started = time.perf_counter()
import numpy as np  # noqa: E402
from onnxruntime.quantization import (  # noqa: E402
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.calibrate import EntropyCalibrater  # noqa: E402

logging.disable(logging.CRITICAL)
imported = time.perf_counter()
job = json.loads(sys.argv[1])
METHODS = {
    "min-max": CalibrationMethod.MinMax,
    "percentile": CalibrationMethod.Percentile,
    "entropy": CalibrationMethod.Entropy,
}
# With its defaults (128 bins for 128 levels) the entropy search looks at a single candidate; 2048 bins make it a search.
create = EntropyCalibrater.__init__


def create_with_bins(self, *args, **options):
    create(self, *args, **{**options, "num_bins": 2048})


EntropyCalibrater.__init__ = create_with_bins


class Samples(CalibrationDataReader):
    def __init__(self):
        self.file = open(job["data"], "rb")
        self.left = job["samples"]

    def get_next(self):
        if self.left == 0:
            return None
        self.left -= 1
        feeds = {}
        for name, spec in job["inputs"].items():
            dtype = np.int64 if spec["dtype"] == "int64" else np.float32
            count = int(np.prod(spec["dims"]))
            feeds[name] = np.fromfile(self.file, dtype, count).reshape(spec["dims"])
        return feeds


# It writes a file beside its input: give it a copy in a folder of its own.
with tempfile.TemporaryDirectory() as folder:
    source = os.path.join(folder, "model.onnx")
    shutil.copyfile(job["source"], source)
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = time.perf_counter()
    quantize_static(
        source,
        job["target"],
        Samples(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=METHODS[job["method"]],
        op_types_to_quantize=job.get("opTypes"),
    )
    work = time.perf_counter() - begun
usage = resource.getrusage(resource.RUSAGE_SELF)
print(
    json.dumps(
        {
            "start": imported - started,
            "work": work,
            "cpu": usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime,
            "peakMb": usage.ru_maxrss / 1024,
            "outMb": os.path.getsize(job["target"]) / 1e6,
        }
    )
)
