import { float, type Value } from '@pare/core';
import type { Adjoint, Rule } from '../rule.js';

/** Matrix products. */
export const MATMUL: Readonly<Record<string, Rule>> = {
  // y = a b: da = g bT, db = aT g; the sweep sums over batch axes that were broadcast.
  MatMul: (op) => {
    const { a, b, g } = matrices(op);
    const { emit } = op;
    const outer = emit.shape(a()).length;
    return [
      () => emit.reshape(emit.sumTo(emit.op('MatMul', [g(), emit.swap(b())]), emit.shape(a())), op.shape(0)),
      () => {
        // A weight that every batch shares: one flat product instead of one a batch and a sum.
        if (op.shape(1).length === 2 && outer > 2) {
          const [k, n] = op.shape(1) as [number, number];
          const flat = (x: Value, width: number): Value => emit.reshape(x, [emit.size(x) / Math.max(width, 1), width]);
          if (k > 0 && n > 0) return emit.op('Gemm', [flat(a(), k), flat(g(), n)], { transA: 1 });
        }
        return emit.reshape(emit.sumTo(emit.op('MatMul', [emit.swap(a()), g()]), emit.shape(b())), op.shape(1));
      },
    ];
  },
  // y = alpha op(a) op(b) + beta c
  Gemm: (op) => {
    const { emit, node } = op;
    const alpha = node.float('alpha', 1);
    const beta = node.float('beta', 1);
    const transA = node.int('transA', 0);
    const transB = node.int('transB', 0);
    const gemm = (a: Value, b: Value, tA: number, tB: number): Value =>
      emit.op('Gemm', [a, b], { alpha: float(alpha), transA: tA, transB: tB });
    return [
      () => (transA ? gemm(op.x(1), op.g(), transB, 1) : gemm(op.g(), op.x(1), 0, 1 - transB)),
      () => (transB ? gemm(op.g(), op.x(0), 1, transA) : gemm(op.x(0), op.g(), 1 - transA, 0)),
      () => (beta === 1 ? op.g() : emit.mul(op.g(), beta)),
    ];
  },
};

/** The operands of a MatMul as matrices: a vector is a row on the left, a column on the right. */
function matrices(op: Adjoint): { a: () => Value; b: () => Value; g: () => Value } {
  const { emit } = op;
  const [left, right] = [op.shape(0), op.shape(1)];
  const row = left.length === 1;
  const column = right.length === 1;
  return {
    a: () => (row ? emit.reshape(op.x(0), [1, ...left]) : op.x(0)),
    b: () => (column ? emit.reshape(op.x(1), [...right, 1]) : op.x(1)),
    g: () => {
      const g = op.g();
      const dims = [...emit.shape(g)];
      if (column) dims.push(1);
      if (row) dims.splice(dims.length - 1, 0, 1);
      return emit.reshape(g, dims);
    },
  };
}
