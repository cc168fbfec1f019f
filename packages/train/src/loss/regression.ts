import { PareError, type Value } from '@pare/core';
import type { Loss, LossScope } from './loss.js';
import { meanAll } from './reduce.js';

/** What is compared with what. */
export interface RegressionOptions {
  /** Name of the output. Default the first float output. */
  readonly output?: string;
  /** Compare with the tensor of this name that is fed with each batch (a teacher's answer) instead of the label. */
  readonly target?: string;
}

/** Output and truth of a regression, equal in shape. */
export function compared({ emit, output, label, target }: LossScope, options: RegressionOptions): [Value, Value] {
  const answer = output(options.output);
  const dims = emit.shape(answer);
  const truth = options.target === undefined ? label('tensor', dims) : target(options.target, emit.dtype(answer), dims);
  return [answer, truth];
}

/** Mean squared error: mean over all elements of (output - label)^2. */
export function mse(options: RegressionOptions = {}): Loss {
  return {
    name: 'mse',
    build(scope) {
      const [answer, truth] = compared(scope, options);
      const difference = scope.emit.sub(answer, truth);
      return meanAll(scope.emit, scope.emit.mul(difference, difference));
    },
  };
}

/** Options of `huber`. */
export interface HuberOptions extends RegressionOptions {
  /** Where the square turns into a straight line, in units of the output. Default 1. */
  readonly delta?: number;
}

/**
 * Huber loss: d^2 / 2 for |d| <= delta, else delta * (|d| - delta / 2), mean over all elements; outliers pull with a force of
 * delta at most. Huber, Robust Estimation of a Location Parameter, 1964.
 * @throws PareError `bad-option` for a delta that is not positive.
 */
export function huber(options: HuberOptions = {}): Loss {
  const { delta = 1 } = options;
  if (!(delta > 0 && delta < Infinity))
    throw new PareError('bad-option', `Huber's delta is ${delta}, and must be above 0.`);
  return {
    name: 'huber',
    build(scope) {
      const { emit } = scope;
      const [answer, truth] = compared(scope, options);
      const d = emit.sub(answer, truth);
      // With c = clip(d): c * (d - c / 2) is both branches in one, value and slope.
      const c = emit.op('Clip', [d, emit.scalar(-delta, d), emit.scalar(delta, d)]);
      return meanAll(emit, emit.mul(c, emit.sub(d, emit.mul(c, 0.5))));
    },
  };
}

/** Lengths below this count as this: the direction of a vector of zeros is nothing to learn from. */
const SHORTEST = 1e-8;

/**
 * 1 - cosine of the angle between output and label, both [N, d...] with everything but the first axis one vector; mean over N.
 */
export function cosine(options: RegressionOptions = {}): Loss {
  return {
    name: 'cosine',
    build(scope) {
      const { emit } = scope;
      const [answer, truth] = compared(scope, options);
      const axes = [...emit.shape(answer).keys()].slice(1);
      const dot = (a: Value, b: Value): Value => emit.sum(emit.mul(a, b), axes, false);
      // Clipped before the root, whose slope at 0 is infinite.
      const length = (a: Value): Value => emit.op('Sqrt', [emit.op('Max', [dot(a, a), emit.scalar(SHORTEST ** 2, a)])]);
      const cos = emit.div(dot(answer, truth), emit.mul(length(answer), length(truth)));
      return emit.sub(1, meanAll(emit, cos));
    },
  };
}
