"""Weight-only quantization with onnxruntime.quantization, in one process. Prints JSON: seconds, CPU seconds, peak MB.

    python weight_only.py int4|int8-blocks|int8 in.onnx out.onnx
"""

import json
import logging
import resource
import sys
import time

started = time.perf_counter()
import onnx  # noqa: E402
from onnxruntime.quantization import QuantType, quantize_dynamic  # noqa: E402
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer  # noqa: E402

logging.disable(logging.CRITICAL)
imported = time.perf_counter()
kind, source, target = sys.argv[1:4]
if kind == "int8":
    quantize_dynamic(source, target, per_channel=True, weight_type=QuantType.QInt8)
else:
    bits = 4 if kind == "int4" else 8
    config = DefaultWeightOnlyQuantConfig(block_size=32, is_symmetric=False, bits=bits)
    quantizer = MatMulNBitsQuantizer(onnx.load(source), algo_config=config, bits=bits)
    quantizer.process()
    onnx.save(quantizer.model.model, target)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(
    json.dumps(
        {
            "start": imported - started,
            "work": time.perf_counter() - imported,
            "cpu": usage.ru_utime + usage.ru_stime,
            "peakMb": usage.ru_maxrss / 1024,
        }
    )
)
