import type { DType, Node } from '@pare/core';

/** Types that a quantized operator takes on one kind of kernel. */
export interface QuantizedTypes {
  /** Types by input index. */
  readonly inputs?: Readonly<Record<number, readonly DType[]>>;
  /** Types that go together, of activation (input 0) and weight (input `weight`). */
  readonly pairs?: { readonly weight: number; readonly types: readonly (readonly [DType, DType])[] };
  /** Values of the attribute `bits`. */
  readonly bits?: readonly number[];
  /** The zero point of the weight (this input) is one for all channels. */
  readonly oneZeroPoint?: number;
}

/** By kernel family; undefined where there is no kernel at all. */
interface QuantizedRow {
  readonly cpu?: QuantizedTypes;
  readonly webgpu?: QuantizedTypes;
}

const BYTES: readonly DType[] = ['uint8', 'int8'];
/** Unsigned by either, signed by signed. int8 activations with uint8 weights have no kernel. */
const PAIRS: readonly (readonly [DType, DType])[] = [
  ['uint8', 'uint8'],
  ['uint8', 'int8'],
  ['int8', 'int8'],
];

/**
 * Which quantized operator runs where with which types: ONNX Runtime 1.30, its CPU provider native and in WebAssembly (one-op
 * models were run on both), and its WebGPU provider in browsers (from its documentation).
 */
export const QUANTIZED_OPERATORS: Readonly<Record<string, QuantizedRow>> = {
  QuantizeLinear: { cpu: {} },
  DequantizeLinear: { cpu: {}, webgpu: { inputs: { 0: ['int8', 'uint8', 'int32'] } } },
  DynamicQuantizeLinear: { cpu: { inputs: { 0: ['float32'] } } },
  ConvInteger: { cpu: { inputs: { 0: BYTES, 1: BYTES }, oneZeroPoint: 3 } },
  MatMulInteger: { cpu: { inputs: { 0: BYTES, 1: BYTES } } },
  QLinearConv: { cpu: { pairs: { weight: 3, types: PAIRS } } },
  QLinearMatMul: { cpu: { pairs: { weight: 3, types: PAIRS } } },
  'com.microsoft.QGemm': { cpu: { pairs: { weight: 3, types: PAIRS } } },
  'com.microsoft.DynamicQuantizeMatMul': { cpu: { inputs: { 1: BYTES } } },
  'com.microsoft.MatMulIntegerToFloat': { cpu: { inputs: { 0: BYTES, 1: BYTES } } },
  'com.microsoft.DynamicQuantizeLSTM': { cpu: { inputs: { 1: BYTES, 2: BYTES } } },
  'com.microsoft.QAttention': { cpu: { inputs: { 0: BYTES, 1: BYTES } } },
  'com.microsoft.MatMulNBits': { cpu: { bits: [2, 4, 8] }, webgpu: { bits: [4, 8] } },
  'com.microsoft.GatherBlockQuantized': { cpu: { bits: [2, 4, 8] }, webgpu: { bits: [4, 8] } },
  'com.microsoft.MatMulBnb4': { cpu: {}, webgpu: {} },
};

/** Why `node`, whose inputs have types `dtypes`, has no such kernel: a sentence; undefined when it has, or is not quantized. */
export function quantizedProblem(
  operator: string,
  node: Node,
  dtypes: readonly (DType | undefined)[],
  family: 'cpu' | 'webgpu',
): string | undefined {
  const row = QUANTIZED_OPERATORS[operator];
  const types = row?.[family];
  if (!types) return undefined;
  for (const [index, allowed] of Object.entries(types.inputs ?? {})) {
    const dtype = dtypes[Number(index)];
    if (dtype && !allowed.includes(dtype)) return `${operator} takes ${allowed.join(' or ')} here, not ${dtype}.`;
  }
  const { pairs, bits, oneZeroPoint } = types;
  const [activation, weight] = [dtypes[0], pairs && dtypes[pairs.weight]];
  if (activation && weight && !pairs?.types.some(([a, w]) => a === activation && w === weight)) {
    return `${operator} has no kernel for ${activation} activations with ${weight} weights.`;
  }
  const width = node.int('bits', 4);
  if (bits && !bits.includes(width)) return `${operator} takes ${bits.join(' or ')} bits here, not ${width}.`;
  const points = oneZeroPoint === undefined ? undefined : node.inputs[oneZeroPoint]?.constant?.size;
  return points !== undefined && points > 1
    ? `${operator} takes one zero point for the whole weight, not one a channel: it fails when it runs.`
    : undefined;
}
