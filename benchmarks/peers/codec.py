"""python codec.py FROM TO: reads a model and writes it again with the onnx package; prints what it cost."""

import json
import resource
import sys
import time

import onnx

cpu = time.process_time()
start = time.perf_counter()
model = onnx.load(sys.argv[1])
loaded = time.perf_counter()
onnx.save(model, sys.argv[2])
end = time.perf_counter()
print(
    json.dumps(
        {
            "readMs": (loaded - start) * 1e3,
            "wallMs": (end - start) * 1e3,
            "cpuMs": (time.process_time() - cpu) * 1e3,
            "peakMB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )
)
