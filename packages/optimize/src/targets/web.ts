import { CPU_OPERATORS, WEBGPU_OPERATORS } from './operators.js';
import type { Target } from './profile.js';
import { fewProducts, mostlyConvolution, noLayers, noProducts, slowConvolutions } from './refusals.js';

/*
 * ONNX Runtime Web 1.30. Times on WASM are relative to float32 with one thread on x64: MobileNetV2, and a transformer at 128
 * rows, at eight and at one (`benchmarks/web-wasm.mjs`).
 */

export const webWasm: Target = {
  name: 'web-wasm',
  label: 'browsers, on the CPU (WebAssembly)',
  runtime: 'onnxruntime-web',
  measurement: {
    runtime: 'wasm',
    noSaturation: 'WebAssembly adds 8-bit products in 32 bits: nothing can saturate.',
    caveats: [
      'Everything was measured in Node.js on the WebAssembly build that browsers load, with one thread of this processor. ' +
        'Chromium compiles it the same way; other browsers and devices give other times. Only the building of the variants ran natively.',
    ],
  },
  integers: { activations: 'uint8', weights: 'uint8', saturates: false },
  variants: {
    fp16: {
      aim: 'size',
      why: 'half the bytes at nearly the float accuracy; WASM computes float16 in float32 between casts, so it is not faster',
      refuse: mostlyConvolution('float16 convolutions take 1.6 times the float time on WASM'),
    },
    bf16: { aim: 'no', why: 'no browser runtime computes in bfloat16' },
    int8: {
      aim: 'no',
      why: 'quantized convolutions take twice the float time on WASM, and products are as fast with ranges measured at run time (int8-dynamic)',
    },
    'int8-dynamic': {
      aim: 'speed',
      why: 'integer matrix products take half the float time on WASM with eight rows or more, and 0.9 of it with one',
      options: { weights: 'uint8', include: ['MatMul', 'Gemm', 'Gather'] },
      refuse: (facts) => noProducts(facts) ?? slowConvolutions(facts),
    },
    'int8-weights': {
      aim: 'size',
      why: 'a quarter of the bytes to download at the speed of float on WASM, which makes the weights real once, on loading',
      // DequantizeLinear would stay: fused into a product it takes 3 times the float time at eight rows, 9 to 14 times at one.
      options: { format: 'cast' },
      refuse: noLayers,
    },
    'int4-weights': {
      aim: 'no',
      why: 'MatMulNBits takes 12 to 20 times the float time at one row on WASM, and 1.3 times at 128',
    },
  },
  operators: CPU_OPERATORS,
  otherwise: 'ONNX Runtime refuses the model',
};

const NO_INTEGERS =
  'WebGPU has no integer kernels: quantized operators would run on WASM, with copies to and from the GPU';

export const webWebgpu: Target = {
  name: 'web-webgpu',
  label: 'browsers, on the GPU (WebGPU)',
  runtime: 'onnxruntime-web',
  measurement: {
    runtime: 'native',
    noSpeed: 'WebGPU cannot be timed on this machine',
    caveats: [
      'Accuracy and numerics were measured on the CPU, which computes float16 variants in float32 between casts: a GPU that computes ' +
        'in 16 bits can differ. Check the answers, too, on the devices that matter.',
    ],
  },
  variants: {
    fp16: {
      aim: 'speed',
      why: 'half the bytes and 16-bit arithmetic, on devices with the feature shader-f16',
      needs: ['shader-f16'],
    },
    bf16: { aim: 'no', why: 'WebGPU has no bfloat16' },
    int8: { aim: 'no', why: NO_INTEGERS },
    'int8-dynamic': { aim: 'no', why: NO_INTEGERS },
    'int8-weights': {
      aim: 'size',
      why: 'a quarter of the bytes; the GPU reads 8-bit weights, never 8-bit activations',
      // Blocks are read by the product itself; convolutions have no such form, their weights are made real on loading.
      options: ({ convolutionBytes, productBytes }) =>
        convolutionBytes > productBytes ? { format: 'cast' } : { format: 'matmulnbits', blockSize: 32 },
      refuse: noLayers,
    },
    'int4-weights': {
      aim: 'speed',
      why: 'an eighth of the bytes; products that wait for memory get faster (MatMulNBits, GatherBlockQuantized)',
      options: { format: 'matmulnbits', blockSize: 32 },
      refuse: fewProducts,
    },
  },
  operators: WEBGPU_OPERATORS,
  otherwise: 'it runs on WASM, with copies to and from the GPU',
};
