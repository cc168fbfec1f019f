import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import { logitsOf } from './logits.js';
import type { Loss } from './loss.js';
import { meanAll } from './reduce.js';

/** Options of `binaryCrossEntropy`. */
export interface BinaryCrossEntropyOptions {
  /** Name of the output that holds the logits. Default the first float output. */
  readonly output?: string;
  /** Weight of the positive answers: the number of negatives over that of positives balances them. Default 1. */
  readonly positiveWeight?: number;
}

/**
 * Binary cross-entropy of logits x with labels t in [0, 1] of the same shape, mean over all elements, with `w` the weight of
 * the positive answers:
 *
 *     (1 - t) * x + (1 + (w - 1) * t) * softplus(-x)
 *
 * which is  -w t log p - (1 - t) log(1 - p)  for p = sigmoid(x), exact for logits of any size.
 * @throws PareError `bad-option` for a weight that is not positive; when built, for a model that ends in Softmax.
 */
export function binaryCrossEntropy(options: BinaryCrossEntropyOptions = {}): Loss {
  const { positiveWeight = 1 } = options;
  const name = 'binary cross-entropy';
  if (!(positiveWeight > 0 && positiveWeight < Infinity)) {
    throw new PareError('bad-option', `The weight of positive answers is ${positiveWeight}, and must be above 0.`);
  }
  return {
    name,
    build({ emit, output, label }) {
      const logits = logitsOf(emit, output(options.output), name, { kind: 'sigmoid' });
      const truth = label('tensor', emit.shape(logits));
      const penalty = softplus(emit, emit.neg(logits));
      const weighted =
        positiveWeight === 1 ? penalty : emit.mul(penalty, emit.add(emit.mul(truth, positiveWeight - 1), 1));
      return meanAll(emit, emit.add(emit.mul(emit.sub(1, truth), logits), weighted));
    },
  };
}

/** log(1 + exp(x)). ONNX Runtime has no Softplus for float64; there it is -log softmax([x, 0]) at the second place. */
function softplus(emit: Emitter, x: Value): Value {
  if (emit.dtype(x) === 'float32') return emit.op('Softplus', [x]);
  const dims = emit.shape(x);
  const column = emit.reshape(x, [...dims, 1]);
  const pair = emit.concat([column, emit.fill([...dims, 1], 0, x)], dims.length);
  const logP = emit.op('LogSoftmax', [pair], { axis: -1 });
  return emit.neg(emit.reshape(emit.slice(logP, [dims.length], [1], [2]), dims));
}
