import {
  elementCount,
  type Graph,
  type Model,
  type Node,
  PareError,
  Tensor,
  type Transform,
  type TransformResult,
  tensorType,
  throwIfAborted,
  type Value,
} from '@pare/core';
import { type ConstantSource, constantSource, removeDeadConstant } from './constant-source.js';
import { Emitter } from './emit.js';
import { type NodeSelection, nodeSelector } from './select.js';
import { WeightStore } from './weight-store.js';

/** Options of `quantizeDynamic`. */
export interface QuantizeDynamicOptions extends NodeSelection {
  /** Type of the weights: `int8` is symmetric, `uint8` asymmetric where the operator allows it. Default `int8`. */
  readonly weights?: 'int8' | 'uint8';
  /** One scale for each output channel instead of one a tensor. Default true. */
  readonly perChannel?: boolean;
  /** 7-bit weights, for x64 processors without VNNI, whose u8s8 kernels saturate. Default false. */
  readonly reduceRange?: boolean;
}

/**
 * Dynamic quantization: weights become 8-bit integers in the file, activations become uint8 at run time with a range measured
 * on each input (DynamicQuantizeLinear), and MatMul, Gemm and Conv compute in integers. No calibration data is needed. Only
 * constant weights of type float32 are touched, also those in Constant nodes and behind Identity; subgraphs are included.
 * A weight or an activation that several nodes read is quantized once. Weights are read again when the model is written, so
 * memory stays bounded by one tensor.
 * @throws PareError `unsupported` when the model's opset is below 11, the first with DynamicQuantizeLinear.
 */
export function quantizeDynamic(options: QuantizeDynamicOptions = {}): Transform {
  return { name: 'quantizeDynamic', apply: (model, context) => apply(model, options, context.signal) };
}

async function apply(model: Model, options: QuantizeDynamicOptions, signal?: AbortSignal): Promise<TransformResult> {
  if (model.opset < 11) {
    throw new PareError(
      'unsupported',
      `Dynamic quantization needs opset 11 or newer; the model is opset ${model.opset}. Convert it first.`,
    );
  }
  const selected = nodeSelector(options);
  const scope: Scope = {
    perChannel: options.perChannel ?? true,
    weights: new WeightStore({ dtype: options.weights ?? 'int8', reduceRange: options.reduceRange ?? false }),
    activations: new Map(),
  };
  const notes: string[] = [];
  let changed = 0;
  for (const node of [...model.allNodes()]) {
    const rule = RULES[node.domain ? `${node.domain}.${node.opType}` : node.opType];
    if (!rule || !selected(node)) continue;
    throwIfAborted(signal);
    const { label } = node;
    const refusal = await rule(node, scope);
    if (refusal) notes.push(`${label} stays in float: ${refusal}.`);
    else changed++;
  }
  return { changed, notes };
}

/** What the rules share during one pass. */
interface Scope {
  readonly perChannel: boolean;
  readonly weights: WeightStore;
  /** Quantized activations by the graph that reads them: one DynamicQuantizeLinear for all readers. */
  readonly activations: Map<Graph, Map<Value, QuantizedActivation>>;
}

interface QuantizedActivation {
  readonly values: Value;
  readonly scale: Value;
  readonly zeroPoint: Value;
}

/** Rewrites one node; returns why not when it leaves it alone. */
type Rule = (node: Node, scope: Scope) => Promise<string | undefined>;

const RULES: Readonly<Record<string, Rule>> = { MatMul: matMul, Gemm: gemm, Conv: conv };

async function matMul(node: Node, scope: Scope): Promise<string | undefined> {
  const [a, b] = node.inputs;
  const weight = floatWeight(b);
  if (typeof weight === 'string') return weight;
  const rank = weight.tensor.dims.length;
  if (rank < 2) return 'its weight is a vector';
  const product = await integerProduct(new Emitter(node), a as Value, weight, weight.transposed, scope);
  finish(product, null, b);
  return undefined;
}

async function gemm(node: Node, scope: Scope): Promise<string | undefined> {
  const [a, b, c] = node.inputs;
  const weight = floatWeight(b);
  if (typeof weight === 'string') return weight;
  const emit = new Emitter(node);
  const transposeA = node.int('transA', 0) !== 0;
  const left = transposeA ? emit.op('Transpose', [a as Value], { attributes: { perm: [1, 0] } }) : (a as Value);
  const transposed = (node.int('transB', 0) !== 0) !== weight.transposed;
  const product = await integerProduct(emit, left, weight, transposed, scope, node.float('alpha', 1));
  const beta = node.float('beta', 1);
  const bias =
    c && beta !== 1 ? emit.op('Mul', [c, emit.constant('beta', Tensor.of('float32', [], [beta]))]) : (c ?? null);
  finish(product, bias, b);
  return undefined;
}

async function conv(node: Node, scope: Scope): Promise<string | undefined> {
  const [x, w, b] = node.inputs;
  const weight = floatWeight(w);
  if (typeof weight === 'string') return weight;
  if (weight.transposed) return 'its weight is transposed';
  const [channels = 1, ...kernel] = weight.tensor.dims;
  const emit = new Emitter(node);
  const input = activation(x as Value, emit, scope);
  const inner = elementCount(kernel);
  // ConvInteger has no zero point for each channel at run time, whatever its specification says.
  const request = scope.perChannel
    ? { channels, inner, symmetric: true }
    : { channels: 1, inner: channels * inner, symmetric: false };
  const stored = await scope.weights.get(weight, request);
  const spatial = kernel.slice(1).map(() => 1);
  const sum = emit.op(
    'ConvInteger',
    [input.values, stored.values, input.zeroPoint, stored.isSymmetric ? null : stored.zeroPoint([])],
    { attributes: Object.fromEntries(node.attributes) },
  );
  const scale = emit.op('Mul', [input.scale, stored.scale(scope.perChannel ? [channels, ...spatial] : [])]);
  const product = { emit, sum, scale };
  let bias: Value | null = null;
  if (b) {
    const shape = emit.constant('bias_shape', Tensor.of('int64', [spatial.length + 2], [1, channels, ...spatial]));
    bias = emit.op('Reshape', [b, shape]);
  }
  finish(product, bias, w);
  return undefined;
}

/** The int32 sums of a product, and the scale that makes them real. */
interface Product {
  readonly emit: Emitter;
  readonly sum: Value;
  readonly scale: Value;
}

/** `a` times the matrix (or stack of matrices) `weight`, whose stored form is `transposed` as this product sees it. */
async function integerProduct(
  emit: Emitter,
  a: Value,
  weight: ConstantSource,
  transposed: boolean,
  scope: Scope,
  factor = 1,
): Promise<Product> {
  const input = activation(a, emit, scope);
  const { dims } = weight.tensor;
  const rows = dims.at(-2) as number;
  const columns = dims.at(-1) as number;
  const size = elementCount(dims);
  // Output channels are the columns of the product: the last axis as stored, or the one before it when transposed.
  const [channels, inner] = !scope.perChannel ? [1, size] : transposed ? [rows, columns] : [columns, 1];
  // Zero points for each column are defined for one matrix only.
  const symmetric = dims.length > 2;
  const request = { channels, inner, symmetric };
  const stored = await scope.weights.get(weight, request);
  const shape = scope.perChannel ? [request.channels] : [];
  const sum = emit.op('MatMulInteger', [
    input.values,
    transposed ? stored.transposed() : stored.values,
    input.zeroPoint,
    stored.isSymmetric ? null : stored.zeroPoint(symmetric ? [] : shape),
  ]);
  const weightScale =
    factor === 1
      ? stored.scale(shape)
      : emit.op('Mul', [stored.scale(shape), emit.constant('alpha', Tensor.of('float32', [], [factor]))]);
  return { emit, sum, scale: emit.op('Mul', [input.scale, weightScale]) };
}

/** Writes Cast, Mul (and Add) after the integer sums, in the order that ONNX Runtime fuses, and drops the float node. */
function finish({ emit, sum, scale }: Product, bias: Value | null, weight: Value | null | undefined): void {
  const output = emit.releaseOutput();
  const real = emit.op('Cast', [sum], { attributes: { to: 1 } });
  if (bias) {
    const scaled = emit.op('Mul', [real, scale]);
    emit.op('Add', [scaled, bias], { into: output });
  } else emit.op('Mul', [real, scale], { into: output });
  const bs = [...emit.anchor.inputs];
  emit.finish();
  for (const input of new Set([weight, ...bs])) if (input && constantSource(input)) removeDeadConstant(input);
}

/** The constant float32 weight behind `value`, or why there is none. */
function floatWeight(value: Value | null | undefined): ConstantSource | string {
  const source = constantSource(value);
  if (!source) return 'its weight is not constant';
  const { dtype } = source.tensor;
  return dtype === 'float32' ? source : `its weight is ${dtype}, and integer products give float32 only`;
}

/** `value` as uint8 with a range measured at run time. */
function activation(value: Value, emit: Emitter, scope: Scope): QuantizedActivation {
  const ofGraph = scope.activations.get(emit.graph) ?? new Map<Value, QuantizedActivation>();
  scope.activations.set(emit.graph, ofGraph);
  const present = ofGraph.get(value);
  if (present) return present;
  const node = emit.node('DynamicQuantizeLinear', [value], {
    outputs: ['quantized', 'scale', 'zero_point'],
    types: [tensorType('uint8', value.shape), tensorType('float32', []), tensorType('uint8', [])],
  });
  const [values, scale, zeroPoint] = node.outputs as Value[];
  const quantized = { values, scale, zeroPoint } as QuantizedActivation;
  ofGraph.set(value, quantized);
  return quantized;
}
