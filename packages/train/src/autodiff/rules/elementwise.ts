import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Adjoint, Rule } from '../rule.js';

/** A rule for one input from its derivative: dL/dx = g dy/dx, element by element. */
export function derivative(dydx: (e: Emitter, op: Adjoint) => Value): Rule {
  return (op) => [() => op.emit.mul(op.g(), dydx(op.emit, op))];
}

/** The gradient passes as it is. */
export const straight: Rule = (op) => [() => op.g()];

/** 1 - x^2 without the cancellation near |x| = 1. */
const oneMinusSquare = (e: Emitter, x: Value): Value => e.mul(e.sub(1, x), e.add(1, x));

/**
 * Functions of one tensor, element by element. Derivatives: Abramowitz and Stegun, Handbook of Mathematical Functions, 4.3
 * to 4.6 and 7.1. The output is read rather than the input where both would do: then the input need not be kept until the
 * backward pass, and the runtime may fuse the operator into the one before it.
 */
export const ELEMENTWISE: Readonly<Record<string, Rule>> = {
  Identity: straight,
  Cast: (op) => [() => op.emit.cast(op.g(), op.emit.dtype(op.x()))],
  CastLike: (op) => [() => op.emit.cast(op.g(), op.emit.dtype(op.x())), null],

  Neg: (op) => [() => op.emit.neg(op.g())],
  // At 0, where Abs has no derivative, Sign gives 0: the middle of the subdifferential [-1, 1].
  Abs: derivative((e, op) => e.op('Sign', [op.x()])),
  Exp: derivative((_, op) => op.y()),
  Log: (op) => [() => op.emit.div(op.g(), op.x())],
  Sqrt: derivative((e, op) => e.div(0.5, op.y())),
  // y = 1/x: y' = -y^2
  Reciprocal: derivative((e, op) => e.neg(e.mul(op.y(), op.y()))),
  // y = erf x: y' = 2 / sqrt(pi) exp(-x^2)
  Erf: derivative((e, op) => e.mul(e.exp(e.neg(e.mul(op.x(), op.x()))), 2 / Math.sqrt(Math.PI))),

  Sin: derivative((e, op) => e.op('Cos', [op.x()])),
  Cos: derivative((e, op) => e.neg(e.op('Sin', [op.x()]))),
  Tan: derivative((e, op) => e.add(1, e.mul(op.y(), op.y()))),
  Asin: derivative((e, op) => e.div(1, e.op('Sqrt', [oneMinusSquare(e, op.x())]))),
  Acos: derivative((e, op) => e.div(-1, e.op('Sqrt', [oneMinusSquare(e, op.x())]))),
  Atan: derivative((e, op) => e.div(1, e.add(1, e.mul(op.x(), op.x())))),
  Sinh: derivative((e, op) => e.op('Cosh', [op.x()])),
  Cosh: derivative((e, op) => e.op('Sinh', [op.x()])),
  Asinh: derivative((e, op) => e.div(1, e.op('Sqrt', [e.add(1, e.mul(op.x(), op.x()))]))),
  Acosh: derivative((e, op) => e.div(1, e.op('Sqrt', [e.mul(e.sub(op.x(), 1), e.add(op.x(), 1))]))),
  Atanh: derivative((e, op) => e.div(1, oneMinusSquare(e, op.x()))),

  // A step has the derivative 0 almost everywhere, which would stop all learning below quantizers: it passes the gradient as if
  // it were the identity that it approximates. (Floor and Ceil have no gradient: x - floor(x) must keep its own.) Straight-through estimator: Bengio, Leonard, Courville 2013, arXiv 1308.3432.
  Round: straight,

  // y = x^p: dx = g p x^(p-1), dp = g y ln x
  Pow: (op) => {
    const e = op.emit;
    return [() => e.mul(op.g(), powerSlope(op)), () => e.mul(op.g(), exponentSlope(op))];
  },
  // y = a - b trunc(a/b) for floats (fmod = 1): da = g, db = -g trunc(a/b), where trunc(a/b) = (a - y) / b
  Mod: (op) => {
    const e = op.emit;
    const quotient = (): Value => e.op('Round', [e.div(e.sub(op.x(0), op.y()), op.x(1))]);
    return [() => op.g(), () => e.neg(e.mul(op.g(), quotient()))];
  },
  // The adjoint of a running sum is the running sum from the other end.
  CumSum: (op) => {
    const { node, emit } = op;
    const attributes = { exclusive: node.int('exclusive', 0), reverse: 1 - node.int('reverse', 0) };
    return [() => emit.op('CumSum', [op.g(), op.x(1)], attributes), null];
  },
  Dropout: (op) => [() => dropped(op), null, null],
};

function powerSlope(op: Adjoint): Value {
  const e = op.emit;
  const x = op.x(0);
  const known = e.size(op.x(1)) === 1 ? e.numbers(op.x(1))?.[0] : undefined;
  if (known === 1) return e.fill([], 1, x);
  if (known === 2) return e.mul(x, 2);
  if (known === 0.5) return e.div(0.5, op.y());
  const p = e.cast(op.x(1), e.dtype(x));
  const slope = e.mul(e.op('Pow', [x, e.sub(p, 1)]), p);
  // x^0 is 1 everywhere, but 0 * 0^-1 is not a number.
  return known === undefined || known === 0 ? e.where(e.compare('Equal', p, 0), 0, slope) : slope;
}

function exponentSlope(op: Adjoint): Value {
  const e = op.emit;
  // 0^p stays 0 when p changes; a power of a negative number is none as soon as p is no integer, and its slope is NaN.
  const slope = e.mul(op.y(), e.op('Log', [op.x(0)]));
  return e.where(e.compare('Equal', op.x(0), 0), 0, slope);
}

/** Srivastava et al. 2014, in the inverted form of the ONNX specification: what is kept grows by 1 / (1 - ratio). */
function dropped(op: Adjoint): Value {
  const e = op.emit;
  const training = op.numbers(2)?.[0] ?? 0;
  if (!training) return op.g();
  const ratio = op.numbers(1)?.[0] ?? 0.5;
  if (ratio >= 1) throw new PareError('unsupported', `${op.node.label} drops everything: nothing below it can learn.`);
  return e.mul(e.mul(op.g(), 1 / (1 - ratio)), e.cast(op.extraOutput(1), e.dtype(op.x())));
}
