import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Adjoint, Rule } from '../rule.js';

/** A rule for one input from its derivative: dL/dx = g dy/dx, element by element. */
export function derivative(dydx: (emit: Emitter, op: Adjoint) => Value): Rule {
  return (op) => [() => op.emit.mul(op.g(), dydx(op.emit, op))];
}

/** The gradient passes as it is. */
export const straight: Rule = (op) => [() => op.g()];

/** Functions of one tensor, element by element. */
export const ELEMENTWISE: Readonly<Record<string, Rule>> = {
  Identity: straight,
  Cast: (op) => [() => op.emit.cast(op.g(), op.emit.dtype(op.x()))],

  Neg: (op) => [() => op.emit.neg(op.g())],
  // At 0, where Abs has no derivative, Sign gives 0: the middle of the subdifferential [-1, 1].
  Abs: derivative((e, op) => e.op('Sign', [op.x()])),
  Exp: derivative((_, op) => op.y()),
  Log: (op) => [() => op.emit.div(op.g(), op.x())],

  // Steps have the derivative 0 almost everywhere, which would stop all learning below: they pass the gradient as if they
  // were the identity that they approximate. Straight-through estimator: Bengio, Leonard, Courville 2013, arXiv 1308.3432.
  Round: straight,
  Floor: straight,
  Ceil: straight,
};
