import type { CpuFlavour } from './detect.js';
import { CPU_OPERATORS } from './operators.js';
import type { IntegerArithmetic, Target, VariantRule } from './profile.js';
import { fewProducts, noLayers, noProducts, slowConvolutions } from './refusals.js';

/*
 * ONNX Runtime 1.30, CPU provider, native. Latencies relative to float32 were measured on x64 AVX2 without VNNI with one
 * thread: MobileNetV2, ResNet-50, and transformers at 128 rows and at one.
 */

const U8S8: IntegerArithmetic = { activations: 'uint8', weights: 'int8', saturates: false };

interface Flavour {
  readonly label: string;
  readonly integers: IntegerArithmetic;
  readonly staticOptions: Readonly<Record<string, unknown>>;
  readonly staticWhy: string;
  /** Weights of dynamic quantization. */
  readonly dynamicWeights: 'int8' | 'uint8';
}

const SATURATING = {
  integers: { ...U8S8, saturates: true },
  staticOptions: { activations: 'uint8', guard: 'pairs' },
  staticWhy:
    'u8s8 is the one static format that is clearly faster here (0.5 to 0.8 of the float time); weights are kept from the 16-bit sums that saturate',
  // u8u8 kernels are exact, and within a tenth of the speed of u8s8 in dynamic products.
  dynamicWeights: 'uint8',
} as const;

const EXACT = {
  integers: U8S8,
  staticOptions: { activations: 'uint8', guard: 'none' },
  staticWhy: 'products of unsigned activations and signed weights are summed in 32 bits, four at a time',
  dynamicWeights: 'int8',
} as const;

const ARM = {
  integers: { activations: 'int8', weights: 'int8', saturates: false },
  staticOptions: { activations: 'int8', symmetric: true, guard: 'none' },
  staticWhy: 'the integer kernels of ARM are written for int8 on both sides',
  dynamicWeights: 'int8',
} as const;

const FLAVOURS: Readonly<Record<CpuFlavour, Flavour>> = {
  'x64-avx2': { label: 'x64 with AVX2, without VNNI', ...SATURATING },
  'x64-avx512': { label: 'x64 with AVX-512, without VNNI', ...SATURATING },
  'x64-vnni': { label: 'x64 with VNNI', ...EXACT },
  'x64-amx': { label: 'x64 with AMX', ...EXACT },
  'arm64-neon': { label: 'arm64', ...ARM },
  'arm64-dotprod': { label: 'arm64 with the dot product', ...ARM },
  'arm64-i8mm': { label: 'arm64 with int8 matrix products', ...ARM },
  other: { label: 'an unknown processor', ...SATURATING },
};

/** Operators that dynamic quantization speeds up. Convolutions are not among them: ConvInteger takes twice the float time. */
const PRODUCTS = ['MatMul', 'Gemm', 'LSTM', 'Attention', 'Gather'];

/** The profile for one class of processors. */
export function nodeCpu(cpu: CpuFlavour): Target {
  const flavour = FLAVOURS[cpu];
  return {
    name: 'node-cpu',
    label: `Node.js on ${flavour.label}`,
    runtime: 'onnxruntime-node',
    measurement: { runtime: 'native', caveats: [] },
    cpu,
    integers: flavour.integers,
    variants: variantsFor(flavour),
    operators: CPU_OPERATORS,
    otherwise: 'ONNX Runtime refuses the model',
  };
}

function variantsFor(flavour: Flavour): Target['variants'] {
  const int8Dynamic: VariantRule = {
    aim: 'speed',
    why: 'integer matrix products take 0.6 of the float time here, and need no calibration',
    options: { weights: flavour.dynamicWeights, include: PRODUCTS },
    refuse: (facts) => noProducts(facts) ?? slowConvolutions(facts),
  };
  return {
    fp16: {
      aim: 'size',
      why: 'half the bytes; the CPU computes float16 in float32 between casts, so it is not faster',
    },
    bf16: { aim: 'no', why: 'the CPU provider has no bfloat16 kernels for products and convolutions' },
    int8: { aim: 'speed', why: flavour.staticWhy, options: flavour.staticOptions, refuse: noLayers },
    'int8-dynamic': int8Dynamic,
    'int8-weights': {
      aim: 'size',
      why: 'a quarter of the bytes at nearly the float accuracy, and at its speed or better',
      // Products read 8-bit weights as they are; a convolution would make them real on each run, at twice the time.
      options: ({ convolutionBytes, productBytes }) => ({
        format: convolutionBytes > productBytes ? 'cast' : 'dequantize',
      }),
      refuse: noLayers,
    },
    'int4-weights': {
      aim: 'size',
      why: 'an eighth of the bytes in matrix products; as fast as float with many rows, up to three times as fast with one',
      options: { accuracyLevel: 4 },
      refuse: fewProducts,
    },
  };
}
