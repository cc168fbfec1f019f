import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import type { Loss, LossScope } from '../loss/loss.js';
import { meanAll } from '../loss/reduce.js';
import type { FeaturePair } from './feature.js';

/** Below this, a length or distance counts as this. */
const SMALL = 1e-12;

/**
 * Relational distillation by distances: Huber loss between the pairwise Euclidean distances inside the batch, each side divided by its
 * mean distance. Any two widths. Park et al., Relational Knowledge Distillation, 2019, eq. 5 to 7.
 */
export function distanceLoss(pair: FeaturePair): Loss {
  return relation('distance', pair, 2, (emit, vectors) => {
    const [n = 1] = emit.shape(vectors);
    const gram = emit.op('MatMul', [vectors, emit.transpose(vectors, [1, 0])]);
    const off = offDiagonal(emit, n);
    const squares = emit.sum(emit.mul(vectors, vectors), [1]);
    const squared = emit.sub(emit.add(squares, emit.transpose(squares, [1, 0])), emit.mul(gram, 2));
    // The diagonal is 0, where the slope of a root is infinite: 1 stands there, and is taken out again.
    const safe = emit.where(off, emit.op('Max', [squared, emit.scalar(SMALL, squared)]), 1);
    const distances = emit.mul(emit.op('Sqrt', [safe]), emit.cast(off, emit.dtype(vectors) as 'float32'));
    const mean = emit.div(emit.sum(distances, [0, 1]), n * (n - 1));
    return emit.div(distances, emit.add(mean, SMALL));
  });
}

/**
 * Relational distillation by angles: Huber loss between the cosines of the angles that every triple of samples forms. Cubic in the batch.
 * Park et al., Relational Knowledge Distillation, 2019, eq. 8 and 9.
 */
export function angleLoss(pair: FeaturePair): Loss {
  return relation('angle', pair, 3, (emit, vectors) => {
    const [n = 1, d = 1] = emit.shape(vectors);
    const edges = emit.sub(emit.reshape(vectors, [1, n, d]), emit.reshape(vectors, [n, 1, d]));
    const length = emit.op('Sqrt', [
      emit.op('Max', [emit.sum(emit.mul(edges, edges), [2]), emit.scalar(SMALL, edges)]),
    ]);
    const unit = emit.div(edges, length);
    return emit.op('MatMul', [unit, emit.swap(unit)]);
  });
}

/**
 * Similarity preserving: squared Frobenius distance between the row-normalised Gram matrices of the batch, divided by its size
 * squared. Tung and Mori, Similarity-Preserving Knowledge Distillation, 2019, eq. 2 to 4.
 */
export function similarityLoss(pair: FeaturePair): Loss {
  return {
    name: `similarity ${pair.student}`,
    build(scope) {
      const { emit } = scope;
      const [student, teacher] = vectors(scope, pair, 2);
      const gram = (f: Value): Value => {
        const g = emit.op('MatMul', [f, emit.transpose(f, [1, 0])]);
        return emit.div(g, emit.op('Sqrt', [emit.add(emit.sum(emit.mul(g, g), [1]), SMALL)]));
      };
      const difference = emit.sub(gram(student), gram(teacher));
      // Mean over the n x n entries is the sum divided by the batch squared.
      return meanAll(emit, emit.mul(difference, difference));
    },
  };
}

/** Huber loss (delta 1, sum over pairs or triples as their mean) between what `of` says of both sides. */
function relation(kind: string, pair: FeaturePair, least: number, of: (emit: Emitter, vectors: Value) => Value): Loss {
  return {
    name: `${kind} ${pair.student}`,
    build(scope) {
      const { emit } = scope;
      const [student, teacher] = vectors(scope, pair, least);
      const d = emit.sub(of(emit, student), of(emit, teacher));
      const c = emit.op('Clip', [d, emit.scalar(-1, d), emit.scalar(1, d)]);
      return meanAll(emit, emit.mul(c, emit.sub(d, emit.mul(c, 0.5))));
    },
  };
}

/** Both features as one vector a sample. */
function vectors({ emit, value, target }: LossScope, pair: FeaturePair, least: number): [Value, Value] {
  const student = value(pair.student);
  const [n = 1] = emit.shape(student);
  if (n < least) {
    throw new PareError('bad-option', `Relations between samples need ${least} of them in a batch (a part), not ${n}.`);
  }
  const teacher = target(pair.target, emit.dtype(student), [n, ...pair.targetDims]);
  const flat = (f: Value): Value => emit.reshape(f, [n, emit.size(f) / n]);
  return [flat(student), flat(teacher)];
}

/** bool [n, n]: true but on the diagonal. */
function offDiagonal(emit: Emitter, n: number): Value {
  const rows = emit.constant('int64', [n, 1], [...Array(n).keys()]);
  const columns = emit.constant('int64', [1, n], [...Array(n).keys()]);
  return emit.op('Not', [emit.op('Equal', [rows, columns])]);
}
