import type { Rule } from '../rule.js';

/** Softmax and its logarithm, over one axis. */
export const SOFTMAX: Readonly<Record<string, Rule>> = {
  // dy_i/dx_j = y_i (delta_ij - y_j): dx = y g - y sum(y g)
  Softmax: (op) => [
    () => {
      const e = op.emit;
      const u = e.mul(op.g(), op.y());
      return e.sub(u, e.mul(op.y(), e.sum(u, [op.axis('axis', -1)])));
    },
  ],
  // dy_i/dx_j = delta_ij - exp(y_j): dx = g - exp(y) sum(g)
  LogSoftmax: (op) => [
    () => {
      const e = op.emit;
      return e.sub(op.g(), e.mul(e.exp(op.y()), e.sum(op.g(), [op.axis('axis', -1)])));
    },
  ],
};
