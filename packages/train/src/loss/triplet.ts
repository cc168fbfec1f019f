import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import type { Loss } from './loss.js';
import { sumAll } from './reduce.js';

/** Options of `triplet`. */
export interface TripletOptions {
  /** Name of the output that holds the embeddings [N, D]. Default the first float output. */
  readonly output?: string;
  /** How much farther than the farthest of its own class the nearest of another must be. Default 0.2, for unit vectors. */
  readonly margin?: number;
}

/** Squared distances below this count as this: the slope of the root at 0 is infinite. */
const NEAREST = 1e-12;
/** Farther than any two embeddings. */
const FAR = 1e30;

/**
 * Triplet loss on embeddings [N, D] with class numbers [N], batch-hard: each sample against the farthest of its class and the
 * nearest of another in the batch, by Euclidean distance:
 *
 *     mean of  max(0, margin + farthest - nearest)
 *
 * over the samples that have both. Compose batches so that classes repeat. Hermans, Beyer and Leibe, In Defense of the Triplet
 * Loss, 2017, equation 5.
 * @throws PareError `bad-option` for a negative margin; when built, for outputs that are no [N, D] with N > 2.
 */
export function triplet(options: TripletOptions = {}): Loss {
  const { margin = 0.2 } = options;
  if (!(margin >= 0 && margin < Infinity))
    throw new PareError('bad-option', `The margin is ${margin}, and must be at least 0.`);
  return {
    name: 'triplet',
    build({ emit, output, label }) {
      const x = output(options.output);
      const [n = 0] = emit.shape(x);
      if (emit.rank(x) !== 2 || n < 3) {
        throw new PareError(
          'bad-option',
          `Loss "triplet" needs embeddings [N, D] with a batch of 3 at least, and output "${x.name}" is [${emit.shape(x).join(', ')}].`,
        );
      }
      const truth = label('class', [n]);
      const distance = distances(emit, x);
      const floats = (condition: Value): Value => emit.where(condition, emit.scalar(1, x), emit.scalar(0, x));
      const same = emit.compare('Equal', emit.reshape(truth, [n, 1]), emit.reshape(truth, [1, n]));
      const farthest = emit.op('ReduceMax', [emit.where(same, distance, 0), emit.ints([1])], { keepdims: 0 });
      const nearest = emit.op('ReduceMin', [emit.where(same, FAR, distance), emit.ints([1])], { keepdims: 0 });
      // Each sample is one of its own class: there is a positive from two on, and a negative unless all are.
      const alike = emit.sum(floats(same), [1], false);
      const counts = emit.mul(
        floats(emit.compare('Greater', alike, 1.5)),
        floats(emit.compare('Less', alike, n - 0.5)),
      );
      const gap = emit.op('Relu', [emit.add(emit.sub(farthest, nearest), margin)]);
      const total = emit.op('Max', [sumAll(emit, counts), emit.scalar(1, x)]);
      return emit.div(sumAll(emit, emit.mul(gap, counts)), total);
    },
  };
}

/** Euclidean distances [N, N] of the rows of `x`, from |a|^2 - 2ab + |b|^2. */
function distances(emit: Emitter, x: Value): Value {
  const n = emit.shape(x)[0] as number;
  const squares = emit.sum(emit.mul(x, x), [1]);
  const products = emit.op('MatMul', [x, emit.swap(x)]);
  const squared = emit.sub(emit.add(squares, emit.reshape(squares, [1, n])), emit.mul(products, 2));
  return emit.op('Sqrt', [emit.op('Max', [squared, emit.scalar(NEAREST, x)])]);
}
