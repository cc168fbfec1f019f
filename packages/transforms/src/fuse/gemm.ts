import { type DType, type Node, Tensor, type Value } from '@pare/core';
import { hasOneUse, madeBy, removeUnusedValue, replaceValue } from '../simplify/edit.js';
import { type Pass, Refusal, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';
import { affineOf } from './affine.js';

/** Types for which runtimes have Gemm. */
const GEMM_TYPES: ReadonlySet<DType | undefined> = new Set<DType | undefined>(['float16', 'float32', 'float64']);

/**
 * MatMul of matrices with a constant added becomes Gemm, and Transposes of matrices become flags of it. Products of higher
 * rank stay MatMul: Gemm has none, and Reshape around it would cost more than it saves.
 */
export function fuseGemm(): Pass {
  return rewritePass('fuse-gemm', {
    Add(add, scope) {
      for (const [side, operand] of add.inputs.entries()) {
        const matmul = madeBy(operand, 'MatMul', add);
        const bias = add.inputs[1 - side];
        if (!matmul || !bias?.constant) continue;
        const what = `${matmul.label} and ${add.label}`;
        const rank = scope.rank(matmul.output);
        if (rank !== 2 || !isMatrixProduct(matmul, scope)) {
          return new Refusal(
            `${what} were not fused: Gemm multiplies matrices, and this product has rank ${rank ?? '?'}.`,
          );
        }
        const reason = isDequantized(matmul)
          ? 'the product runs in integers'
          : !hasOneUse(matmul.output) && 'others read what comes between them';
        if (reason) return new Refusal(`${what} were not fused: ${reason}.`);
        if (!broadcastsTo(bias, add.output, scope) || !scope.sameShape(matmul.output, add.output)) return undefined;
        matmul.opType = 'Gemm';
        matmul.setInput(2, bias);
        replaceValue(add.output, matmul.output);
        return `${what} became a Gemm.`;
      }
      return undefined;
    },

    BatchNormalization(norm, scope) {
      const matmul = madeBy(norm.inputs[0], 'MatMul', norm);
      const weight = matmul?.inputs[1]?.constant;
      if (!matmul || !weight || !hasOneUse(matmul.output) || !affineOf(norm, scope)) return undefined;
      // The fusion with the normalization itself is the next pass's.
      return isMatrixProduct(matmul, scope) ? becomeGemm(matmul, scope) : undefined;
    },

    MatMul(matmul, scope) {
      const transposed = matmul.inputs.some((input) => input && transposeOf(input, matmul));
      if (!transposed || isDequantized(matmul) || !isMatrixProduct(matmul, scope)) return undefined;
      return becomeGemm(matmul, scope);
    },

    Gemm(gemm) {
      for (const [i, flag] of (['transA', 'transB'] as const).entries()) {
        const input = gemm.inputs[i] as Value;
        const transpose = transposeOf(input, gemm);
        if (!transpose) continue;
        gemm.setAttribute(flag, 1 - gemm.int(flag, 0));
        gemm.setInput(i, transpose.inputs[0] as Value);
        removeUnusedValue(input);
        return `${transpose.label} became the flag ${flag} of ${gemm.label}.`;
      }
      return undefined;
    },
  });
}

/** Whether both operands of `node` are matrices of a type that Gemm takes. */
function isMatrixProduct(node: Node, scope: Scope): boolean {
  const [a, b] = node.inputs;
  return scope.rank(a) === 2 && scope.rank(b) === 2 && GEMM_TYPES.has(scope.dtype(a) ?? scope.dtype(b));
}

/** Whether `node` multiplies quantized values, which runtimes know as MatMul with DequantizeLinear before it. */
function isDequantized(node: Node): boolean {
  return node.inputs.some((input) => input?.producer?.opType === 'DequantizeLinear');
}

function becomeGemm(matmul: Node, scope: Scope): string | undefined {
  const { label, graph } = matmul;
  const dtype = scope.dtype(matmul.inputs[0]);
  if (!graph) return undefined;
  if (scope.opset < 11) {
    // Before opset 11 the bias is not optional.
    if (dtype !== 'float32') return undefined;
    matmul.setInput(2, graph.addInitializer('zero', Tensor.of('float32', [1], [0])));
  }
  matmul.opType = 'Gemm';
  return `${label} became a Gemm.`;
}

/** Whether `bias` is at most a matrix that broadcasts to the shape of `result`. */
function broadcastsTo(bias: Value, result: Value, scope: Scope): boolean {
  const from = scope.shape(bias);
  const to = scope.shape(result);
  if (!from || !to || from.length > to.length) return false;
  return from.every((dim, i) => dim === 1 || (dim !== null && dim === to[i + to.length - from.length]));
}

/** The Transpose of a matrix that computes `value` for `reader` alone. */
function transposeOf(value: Value, reader: Node): Node | undefined {
  const node = madeBy(value, 'Transpose', reader);
  const perm = node?.ints('perm');
  return node && hasOneUse(value) && perm?.length === 2 && perm[0] === 1 ? node : undefined;
}
