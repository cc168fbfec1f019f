"""Relative RMSE of onnxruntime's 4-bit weight quantizers on matrices of raw float32. Prints JSON.

    python weight_error.py K N block file...
"""

import json
import sys

import numpy as np
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer
from onnxruntime.quantization.neural_compressor.weight_only import quant_tensor_k_quant_cpu

K, N, BLOCK = (int(a) for a in sys.argv[1:4])


def relative(w, back):
    error = w.astype(np.float64) - back
    return float(np.sqrt((error**2).sum() / (w.astype(np.float64) ** 2).sum()))


def nibbles(packed):
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1).astype(np.float32)


def rtn(w, symmetric):
    quantizer = DefaultWeightOnlyQuantizer(DefaultWeightOnlyQuantConfig(block_size=BLOCK, is_symmetric=symmetric))
    packed, scales, zero_point = quantizer.qbits_block_quant(w)
    codes = nibbles(packed)  # [N, K / BLOCK, BLOCK]
    blocks = K // BLOCK
    zeros = 8 if symmetric else nibbles(zero_point.reshape(N, -1))[:, :blocks, None]
    return ((codes - zeros) * scales.reshape(N, blocks, 1)).reshape(N, K).T


def k_quant(w):
    q, scale, zero_point = quant_tensor_k_quant_cpu(w.T.copy(), 4, BLOCK)
    return ((q - zero_point) * scale).reshape(N, K).T


result = {}
for path in sys.argv[4:]:
    w = np.fromfile(path, dtype=np.float32).reshape(K, N)
    result[path] = {
        "rtn symmetric": relative(w, rtn(w, True)),
        "rtn asymmetric": relative(w, rtn(w, False)),
        "k_quant": relative(w, k_quant(w)),
    }
print(json.dumps(result))
