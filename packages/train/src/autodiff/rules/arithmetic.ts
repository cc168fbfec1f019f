import type { Rule } from '../rule.js';

/** Operators on two tensors that broadcast; the sweep sums each gradient to the shape of its input. */
export const ARITHMETIC: Readonly<Record<string, Rule>> = {
  Add: (op) => [() => op.g(), () => op.g()],
  Sub: (op) => [() => op.g(), () => op.emit.neg(op.g())],
  Mul: (op) => [() => op.emit.mul(op.g(), op.x(1)), () => op.emit.mul(op.g(), op.x(0))],
  // d(a/b)/db = -y/b; where b was broadcast, the sum comes before the division, which then is of small tensors.
  Div: (op) => [
    () => op.emit.div(op.g(), op.x(1)),
    () => op.emit.neg(op.emit.div(op.emit.sumTo(op.emit.mul(op.g(), op.y()), op.shape(1)), op.x(1))),
  ],
  Sum: (op) => op.node.inputs.map(() => () => op.g()),
  Mean: (op) => op.node.inputs.map(() => () => op.emit.div(op.g(), op.node.inputs.length)),
};
