import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type Adjoint, once, type Rule } from '../rule.js';

/** A reduction as its gradient sees it: gradient and output have a 1 on each of the axes, so that they broadcast to x. */
interface Reduction {
  readonly x: Value;
  readonly y: () => Value;
  readonly g: () => Value;
  readonly axes: readonly number[];
  /** Number of elements that are reduced to one. */
  readonly count: number;
}

/** Reductions: the gradient spreads over what was reduced. With no axes at all they work element by element. */
export const REDUCTION: Readonly<Record<string, Rule>> = {
  ReduceSum: reduction((_, r) => r.g()),
  ReduceMean: reduction((e, r) => e.div(r.g(), r.count)),
  // y = sum x^2
  ReduceSumSquare: reduction((e, r) => e.mul(e.mul(r.g(), 2), r.x)),
  // y = sum |x|
  ReduceL1: reduction((e, r) => e.mul(r.g(), e.op('Sign', [r.x]))),
  // y = sqrt(sum x^2): y' = x / y; the norm has no slope at 0, of which 0 is the smallest subgradient
  ReduceL2: reduction((e, r) => e.mul(e.where(e.compare('Equal', r.y(), 0), 0, e.div(r.g(), r.y())), r.x)),
  // y = ln sum x: y' = 1 / exp y
  ReduceLogSum: reduction((e, r) => e.div(r.g(), e.exp(r.y()))),
  // y = ln sum exp x: y' = exp(x - y)
  ReduceLogSumExp: reduction((e, r) => e.mul(r.g(), e.exp(e.sub(r.x, r.y())))),
  ReduceMax: reduction(sharedByExtremes),
  ReduceMin: reduction(sharedByExtremes),
  ReduceProd: reduction(productOfOthers),
};

function reduction(dx: (e: Emitter, r: Reduction) => Value): Rule {
  return (op) => [() => op.emit.expand(dx(op.emit, reduced(op)), op.shape()), null];
}

function reduced(op: Adjoint): Reduction {
  const dims = op.shape();
  const given = op.numbers(1) ?? [];
  const all = op.node.int('noop_with_empty_axes', 0) ? [] : [...dims.keys()];
  const axes = given.length > 0 ? given.map((axis) => (axis < 0 ? axis + dims.length : axis)) : all;
  const kept = dims.map((d, i) => (axes.includes(i) ? 1 : d));
  return {
    x: op.x(),
    y: once(() => op.emit.reshape(op.y(), kept)),
    g: once(() => op.emit.reshape(op.g(), kept)),
    axes,
    count: axes.reduce((product, axis) => product * (dims[axis] as number), 1),
  };
}

/** The elements that are the extreme share the gradient evenly, as in PyTorch. */
function sharedByExtremes(e: Emitter, { x, y, g, axes }: Reduction): Value {
  const mask = e.cast(e.compare('Equal', x, y()), e.dtype(x));
  return e.mul(e.div(g(), e.sum(mask, axes)), mask);
}

/**
 * dy/dx_i is the product of the other elements, also when some are 0: with p the product of all that are not, it is p / x_i
 * without a zero, p at the zero when there is one, and 0 from two on.
 */
function productOfOthers(e: Emitter, { x, g, axes }: Reduction): Value {
  const zero = e.compare('Equal', x, 0);
  const zeros = e.sum(e.cast(zero, e.dtype(x)), axes);
  const is = (n: number): Value => e.cast(e.compare('Equal', zeros, n), e.dtype(x));
  const rest = e.where(zero, 1, x);
  const product = e.op('ReduceProd', [rest, e.ints(axes)], { keepdims: 1, noop_with_empty_axes: 1 });
  return e.mul(e.mul(g(), product), e.where(zero, is(1), e.div(is(0), rest)));
}
