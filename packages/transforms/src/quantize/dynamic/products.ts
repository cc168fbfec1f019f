import { elementCount, type Node, Tensor, type Value } from '@pare/core';
import type { ConstantSource } from '../constant-source.js';
import { Emitter } from '../emit.js';
import { floatWeight, replaceInputs, type Scope } from './scope.js';

/** MatMul with a constant right side: MatMulInteger. */
export async function matMul(node: Node, scope: Scope): Promise<string | undefined> {
  const [a, b] = node.inputs;
  const weight = floatWeight(b);
  if (typeof weight === 'string') return weight;
  if (weight.tensor.dims.length < 2) return 'its weight is a vector';
  finish(await integerProduct(new Emitter(node), a as Value, weight, weight.transposed, scope), null);
  return undefined;
}

/** Gemm: MatMulInteger on matrices transposed beforehand, alpha in the scale, beta in the bias. */
export async function gemm(node: Node, scope: Scope): Promise<string | undefined> {
  const [a, b, c] = node.inputs;
  const weight = floatWeight(b);
  if (typeof weight === 'string') return weight;
  const emit = new Emitter(node);
  const transposeA = node.int('transA', 0) !== 0;
  const left = transposeA ? emit.op('Transpose', [a as Value], { attributes: { perm: [1, 0] } }) : (a as Value);
  const transposed = (node.int('transB', 0) !== 0) !== weight.transposed;
  const product = await integerProduct(emit, left, weight, transposed, scope, node.float('alpha', 1));
  const beta = node.float('beta', 1);
  const scaled = (bias: Value): Value =>
    beta === 1 ? bias : emit.op('Mul', [bias, emit.constant('beta', Tensor.of('float32', [], [beta]))]);
  finish(product, c ? scaled(c) : null);
  return undefined;
}

/** Conv: ConvInteger. */
export async function conv(node: Node, scope: Scope): Promise<string | undefined> {
  const [x, w, b] = node.inputs;
  const weight = floatWeight(w);
  if (typeof weight === 'string') return weight;
  if (weight.transposed) return 'its weight is transposed';
  const [channels = 1, ...kernel] = weight.tensor.dims;
  const inner = elementCount(kernel);
  // ConvInteger takes one zero point only at run time, whatever its specification says.
  const stored = await scope.weights.get(
    weight,
    scope.perChannel
      ? { channels, inner, symmetric: true }
      : { channels: 1, inner: channels * inner, symmetric: false },
  );
  const emit = new Emitter(node);
  const input = scope.activation(x as Value, emit);
  const spatial = kernel.slice(1).map(() => 1);
  const sum = emit.op(
    'ConvInteger',
    [input.values, stored.values, input.zeroPoint, stored.isSymmetric ? null : stored.zeroPoint([])],
    { attributes: Object.fromEntries(node.attributes) },
  );
  const scale = emit.op('Mul', [input.scale, stored.scale(scope.perChannel ? [channels, ...spatial] : [])]);
  const shape = (): Value => emit.constant('bias_shape', Tensor.of('int64', [spatial.length + 2], [1, -1, ...spatial]));
  finish({ emit, sum, scale }, b ? emit.op('Reshape', [b, shape()]) : null);
  return undefined;
}

/** The int32 sums of a product, and the scale that makes them real. */
interface Product {
  readonly emit: Emitter;
  readonly sum: Value;
  readonly scale: Value;
}

/** `a` times the matrix (or stack of matrices) `weight`, which this product sees `transposed` or as it is stored. */
async function integerProduct(
  emit: Emitter,
  a: Value,
  weight: ConstantSource,
  transposed: boolean,
  scope: Scope,
  factor = 1,
): Promise<Product> {
  const { dims, size } = weight.tensor;
  const [rows, columns] = dims.slice(-2) as [number, number];
  // Output channels are the columns of the product: the last axis as stored, or the one before it when transposed.
  const [channels, inner] = !scope.perChannel ? [1, size] : transposed ? [rows, columns] : [columns, 1];
  // Zero points for each column are defined for one matrix only.
  const symmetric = dims.length > 2;
  const stored = await scope.weights.get(weight, { channels, inner, symmetric });
  const input = scope.activation(a, emit);
  const shape = scope.perChannel ? [channels] : [];
  const sum = emit.op('MatMulInteger', [
    input.values,
    transposed ? stored.transposed(emit) : stored.values,
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
function finish({ emit, sum, scale }: Product, bias: Value | null): void {
  const output = emit.releaseOutput();
  const real = emit.op('Cast', [sum], { attributes: { to: 1 } });
  if (bias) emit.op('Add', [emit.op('Mul', [real, scale]), bias], { into: output });
  else emit.op('Mul', [real, scale], { into: output });
  replaceInputs(emit.anchor, []);
  emit.finish();
}
