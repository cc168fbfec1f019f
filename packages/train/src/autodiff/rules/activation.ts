import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Rule } from '../rule.js';
import { derivative } from './elementwise.js';

/**
 * Activation functions, from the formulas of the ONNX operator specification. Where y has the sign of x, y is read: see
 * ELEMENTWISE. At 0 those of the Relu family have the slope of the left side, as in PyTorch.
 */
export const ACTIVATION: Readonly<Record<string, Rule>> = {
  Relu: derivative((e, op) => e.step(op.y())),
  LeakyRelu: derivative((e, op) => {
    const alpha = op.node.float('alpha', 0.01);
    if (alpha >= 0 && alpha <= 1) return e.op('Clip', [e.step(op.y()), e.scalar(alpha, op.y())]);
    return e.where(e.compare('Greater', op.x(), 0), e.scalar(1, op.x()), alpha);
  }),
  // y = x > 0 ? x : slope x
  PRelu: (op) => {
    const e = op.emit;
    return [
      () => e.mul(op.g(), e.where(e.compare('Greater', op.x(0), 0), 1, op.x(1))),
      () => e.mul(op.g(), negativePart(e, op.x(0))),
    ];
  },
  ThresholdedRelu: derivative((e, op) => e.step(e.sub(op.x(), op.node.float('alpha', 1)))),
  // y = alpha (exp x - 1) for x <= 0: y' = y + alpha
  Elu: derivative((e, op) => {
    const alpha = op.node.float('alpha', 1);
    if (alpha === 1) return e.add(negativePart(e, op.y()), 1);
    return e.where(e.compare('Greater', op.x(), 0), 1, e.add(op.y(), alpha));
  }),
  // y = gamma x for x > 0, else gamma alpha (exp x - 1). Klambauer et al. 2017, arXiv 1706.02515
  Selu: derivative((e, op) => {
    const alpha = op.node.float('alpha', 1.6732632423543772);
    const gamma = op.node.float('gamma', 1.0507009873554805);
    return e.where(e.compare('Greater', op.x(), 0), gamma, e.add(op.y(), gamma * alpha));
  }),
  // y = alpha (exp(x / alpha) - 1) for x <= 0: y' = y / alpha + 1
  Celu: derivative((e, op) => e.add(e.div(negativePart(e, op.y()), op.node.float('alpha', 1)), 1)),
  // y = x + bias below -lambd, x - bias above lambd, else 0
  Shrink: derivative((e, op) => e.step(e.sub(e.op('Abs', [op.x()]), op.node.float('lambd', 0.5)))),

  Sigmoid: derivative((e, op) => e.mul(op.y(), e.sub(1, op.y()))),
  Tanh: derivative((e, op) => e.sub(1, e.mul(op.y(), op.y()))),
  // y = clip(alpha x + beta, 0, 1)
  HardSigmoid: derivative((e, op) => e.mul(inUnit(e, op.y()), op.node.float('alpha', 0.2))),
  // y = x h, h = clip(x / 6 + 1/2, 0, 1): y' = h + x / 6 strictly inside. Howard et al. 2019, arXiv 1905.02244
  HardSwish: derivative((e, op) => {
    const sixth = e.mul(op.x(), 1 / 6);
    const h = e.op('Clip', [e.add(sixth, 0.5), e.scalar(0, op.x()), e.scalar(1, op.x())]);
    return e.add(h, e.mul(sixth, inUnit(e, h)));
  }),
  // y = ln(1 + exp x)
  Softplus: derivative((e, op) => e.op('Sigmoid', [op.x()])),
  // y = x / (1 + |x|): y' = 1 / (1 + |x|)^2
  Softsign: derivative((e, op) => {
    const d = e.add(e.op('Abs', [op.x()]), 1);
    return e.div(1, e.mul(d, d));
  }),
  // y = x s, s = sigmoid(alpha x): y' = s + alpha y (1 - s). Ramachandran et al. 2017, arXiv 1710.05941
  Swish: derivative((e, op) => {
    const alpha = op.node.float('alpha', 1);
    const s = e.op('Sigmoid', [scaled(e, op.x(), alpha)]);
    return e.add(s, e.mul(scaled(e, op.y(), alpha), e.sub(1, s)));
  }),
  // y = x t, t = tanh(softplus x): y' = t + x (1 - t^2) sigmoid x. Misra 2019, arXiv 1908.08681
  Mish: derivative((e, op) => {
    const t = e.op('Tanh', [e.op('Softplus', [op.x()])]);
    const dt = e.mul(e.sub(1, e.mul(t, t)), e.op('Sigmoid', [op.x()]));
    return e.add(t, e.mul(op.x(), dt));
  }),
  // Hendrycks and Gimpel 2016, arXiv 1606.08415
  Gelu: derivative((e, op) => (op.node.string('approximate', 'none') === 'tanh' ? geluTanh : gelu)(e, op.x())),
};

/** y = x (1 + erf s) / 2, s = x / sqrt 2: y' = (1 + erf s + 2 / sqrt(pi) s exp(-s^2)) / 2. */
function gelu(e: Emitter, x: Value): Value {
  const s = e.mul(x, Math.SQRT1_2);
  // The factor goes into the exponent: one pass less over the tensor.
  const density = e.exp(e.sub(Math.log(2 / Math.sqrt(Math.PI)), e.mul(s, s)));
  return e.mul(e.add(e.add(e.op('Erf', [s]), e.mul(s, density)), 1), 0.5);
}

/** y = x (1 + t) / 2, t = tanh(c (x + a x^3)): y' = (1 + t) / 2 + x (1 - t^2) c (1 + 3 a x^2) / 2. */
function geluTanh(e: Emitter, x: Value): Value {
  const c = Math.sqrt(2 / Math.PI);
  const square = e.mul(x, x);
  const t = e.op('Tanh', [e.mul(x, e.add(e.mul(square, 0.044715 * c), c))]);
  const dt = e.mul(e.sub(1, e.mul(t, t)), e.add(e.mul(square, 3 * 0.044715 * c), c));
  return e.mul(e.add(e.add(t, 1), e.mul(x, dt)), 0.5);
}

/** By Clip, which takes about half the time of Min (ONNX Runtime 1.30). */
const negativePart = (e: Emitter, x: Value): Value => e.op('Clip', [x, null, e.scalar(0, x)]);

const scaled = (e: Emitter, x: Value, by: number): Value => (by === 1 ? x : e.mul(x, by));

/** 1 where 0 < y < 1. */
const inUnit = (e: Emitter, y: Value): Value => e.step(e.mul(y, e.sub(1, y)));
