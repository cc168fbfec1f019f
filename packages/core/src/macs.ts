import type { Node } from './ir/node.js';
import { isTensorType, staticShape } from './ir/type.js';
import type { Value } from './ir/value.js';
import type { Inference } from './shape/infer.js';

/** Dimensions of the inputs and outputs of a node, undefined where they are not known as numbers. */
export interface NodeShapes {
  readonly inputs: readonly (readonly number[] | undefined)[];
  readonly outputs: readonly (readonly number[] | undefined)[];
}

/** The dimensions of what `node` reads and computes, as `types` knows them. */
export function nodeShapes(node: Node, types: Inference): NodeShapes {
  const dims = (value: Value | null): number[] | undefined => {
    const type = value ? types.typeOf(value) : undefined;
    return isTensorType(type) ? staticShape(type.shape) : undefined;
  };
  return { inputs: node.inputs.map(dims), outputs: node.outputs.map(dims) };
}

/** Multiply-accumulates of one run of `node`; undefined when its shapes are not known. */
type MacRule = (node: Node, shapes: NodeShapes) => number | undefined;

const product = (dims: readonly number[] | undefined): number | undefined => dims?.reduce((a, b) => a * b, 1);
const times = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined || b === undefined ? undefined : a * b;

/** Every output element sums over one filter: weight [M, C/group, k...] at input `weight`. */
const conv =
  (weight: number): MacRule =>
  (_node, { inputs, outputs }) =>
    times(product(outputs[0]), product(inputs[weight]?.slice(1)));

/** Every input element meets every weight of its channel: weight [C, M/group, k...]. */
const convTranspose: MacRule = (_node, { inputs }) => times(product(inputs[0]), product(inputs[1]?.slice(1)));

/** Every output element sums over the last axis of A. */
const matmul: MacRule = (_node, { inputs, outputs }) => times(product(outputs[0]), inputs[0]?.at(-1));

const gemm: MacRule = (node, { inputs, outputs }) =>
  times(product(outputs[0]), inputs[0]?.[node.int('transA', 0) ? 0 : 1]);

/** Gates of size H for each step: W [D, g*H, I] and R [D, g*H, H] on X [T, B, I]. */
const recurrent =
  (weight: number, recurrence: number): MacRule =>
  (_node, { inputs }) => {
    const x = inputs[0];
    const w = product(inputs[weight]);
    const r = product(inputs[recurrence]);
    if (!x || w === undefined || r === undefined) return undefined;
    return (x[0] ?? 1) * (x[1] ?? 1) * (w + r);
  };

/** Scores and their product with V, of Q, K, V [..., T, d] split into heads or not: 2 * T * S * d. */
const attention: MacRule = (_node, { inputs }) => {
  const [q, k] = inputs;
  const steps = k?.at(-2);
  return times(times(product(q), steps), 2);
};

const nbits: MacRule = (node, { outputs }) => times(product(outputs[0]), node.int('K'));

/** Rule by operator; the default domain has no prefix. Operators that are not here do no multiply-accumulates worth counting. */
const RULES: Readonly<Record<string, MacRule>> = {
  Conv: conv(1),
  ConvInteger: conv(1),
  QLinearConv: conv(3),
  DeformConv: conv(1),
  ConvTranspose: convTranspose,
  MatMul: matmul,
  MatMulInteger: matmul,
  QLinearMatMul: (node, { inputs, outputs }) => matmul(node, { inputs: [inputs[0], inputs[3]], outputs }),
  Gemm: gemm,
  LSTM: recurrent(1, 2),
  GRU: recurrent(1, 2),
  RNN: recurrent(1, 2),
  Attention: attention,
  'com.microsoft.FusedConv': conv(1),
  'com.microsoft.FusedMatMul': matmul,
  'com.microsoft.DynamicQuantizeMatMul': matmul,
  'com.microsoft.MatMulIntegerToFloat': matmul,
  'com.microsoft.QGemm': gemm,
  'com.microsoft.MatMulNBits': nbits,
  'com.microsoft.DynamicQuantizeLSTM': recurrent(1, 2),
  'com.microsoft.MultiHeadAttention': attention,
};

/** Does `node` multiply and accumulate at all? */
export const hasMacs = (node: Node): boolean => RULES[operatorName(node)] !== undefined;

/** Multiply-accumulates of one run of `node`: 0 for operators that do none, undefined when shapes are unknown. */
export function nodeMacs(node: Node, shapes: NodeShapes): number | undefined {
  const rule = RULES[operatorName(node)];
  return rule ? rule(node, shapes) : 0;
}

/** `Conv`, `com.microsoft.MatMulNBits`. */
export const operatorName = (node: Node): string => (node.domain ? `${node.domain}.${node.opType}` : node.opType);
