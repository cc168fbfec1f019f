import type { Value } from '@pare/core';
import { type Adjoint, once, type Rule } from '../rule.js';

/** Reductions: the gradient spreads over what was reduced. */
export const REDUCTION: Readonly<Record<string, Rule>> = {
  ReduceSum: (op) => {
    const { keep } = reduced(op);
    return [() => op.emit.expand(keep(op.g()), op.shape()), null];
  },
  ReduceMean: (op) => {
    const { keep, count } = reduced(op);
    return [() => op.emit.expand(op.emit.div(keep(op.g()), count()), op.shape()), null];
  },
};

/** The axes of a reduction, and its outputs in the shape with a 1 on each of them. */
function reduced(op: Adjoint): { axes: () => number[]; keep(v: Value): Value; count: () => number } {
  const rank = op.shape().length;
  const axes = once(() => {
    const given = op.numbers(1) ?? [];
    if (given.length === 0) return op.node.int('noop_with_empty_axes', 0) ? [] : [...Array(rank).keys()];
    return given.map((axis) => (axis < 0 ? axis + rank : axis));
  });
  return {
    axes,
    keep: (v) =>
      op.emit.reshape(
        v,
        op.shape().map((d, i) => (axes().includes(i) ? 1 : d)),
      ),
    count: () => axes().reduce((product, axis) => product * (op.shape()[axis] as number), 1),
  };
}
