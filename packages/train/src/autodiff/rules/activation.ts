import type { Rule } from '../rule.js';
import { derivative } from './elementwise.js';

/** Activation functions. */
export const ACTIVATION: Readonly<Record<string, Rule>> = {
  // y is 0 or positive, so its sign is the step function: one vectorised pass and no bool tensor.
  Relu: derivative((e, op) => e.op('Sign', [op.y()])),
  Sigmoid: derivative((e, op) => e.mul(op.y(), e.sub(1, op.y()))),
  Tanh: derivative((e, op) => e.sub(1, e.mul(op.y(), op.y()))),
};
