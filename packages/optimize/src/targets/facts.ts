import type { Model, Value } from '@pare/core';
import { constantSource } from '@pare/transforms';

/** What decides which variants of a model make sense. */
export interface ModelFacts {
  readonly opset: number;
  /** Bytes of float32 constants: all, those that convolutions read, and those of matrix products, recurrences and lookups. */
  readonly weightBytes: number;
  readonly convolutionBytes: number;
  readonly productBytes: number;
  /** Bytes of float16 constants. */
  readonly halfBytes: number;
  /** A node that computes with quantized weights or activations, and one with activations; undefined when there is none. */
  readonly quantized: string | undefined;
  readonly quantizedActivation: string | undefined;
}

const CONVOLUTIONS: ReadonlySet<string> = new Set(['Conv', 'ConvTranspose']);
const PRODUCTS: ReadonlySet<string> = new Set(['MatMul', 'Gemm', 'LSTM', 'GRU', 'RNN', 'Gather', 'Attention']);
const ACTIVATIONS = /^(?:QLinear\w+|QGemm|QAttention|QuantizeLinear|DynamicQuantize\w+|MatMulInteger\w*|ConvInteger)$/u;
const WEIGHTS = /^(?:DequantizeLinear|MatMulNBits|MatMulBnb4|GatherBlockQuantized|QMoE)$/u;

/** Looks at every constant and every product once. */
export function modelFacts(model: Model): ModelFacts {
  const bytes = { all: 0, convolution: 0, product: 0, half: 0 };
  const seen = new Set<Value>();
  let quantized: string | undefined;
  let quantizedActivation: string | undefined;
  for (const node of model.allNodes()) {
    if (ACTIVATIONS.test(node.opType)) quantizedActivation ??= node.label;
    else if (WEIGHTS.test(node.opType)) quantized ??= node.label;
    for (const [index, input] of node.inputs.entries()) {
      const source = constantSource(input);
      if (!source || seen.has(source.root)) continue;
      seen.add(source.root);
      const { dtype, byteLength } = source.tensor;
      if (dtype === 'float16') bytes.half += byteLength;
      if (dtype !== 'float32') continue;
      bytes.all += byteLength;
      if (CONVOLUTIONS.has(node.opType) && index === 1) bytes.convolution += byteLength;
      if (PRODUCTS.has(node.opType)) bytes.product += byteLength;
    }
  }
  return {
    opset: model.opset,
    weightBytes: bytes.all,
    convolutionBytes: bytes.convolution,
    productBytes: bytes.product,
    halfBytes: bytes.half,
    quantized: quantizedActivation ?? quantized,
    quantizedActivation,
  };
}
