import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';
import { logitsOf } from './logits.js';
import type { Loss } from './loss.js';
import { meanAll, sumAll } from './reduce.js';

/** Options of `crossEntropy`. */
export interface CrossEntropyOptions {
  /** Name of the output that holds the logits. Default the first float output. */
  readonly output?: string;
  /** Axis of the classes; negative counts from the end. Default 1; language models have them on the last, -1. */
  readonly axis?: number;
  /** Share of the truth that is spread evenly over all classes, in [0, 1). Default 0. */
  readonly labelSmoothing?: number;
  /** One weight a class, for classes that are rare or matter more. Default all 1. */
  readonly classWeights?: readonly number[];
  /** Class number of positions that do not count (padding, unlabelled pixels). Default none. */
  readonly ignoreIndex?: number;
}

/**
 * Cross-entropy of logits [N, C] or [N, C, d...] with class numbers [N] or [N, d...]:
 *
 *     mean of  w_y * ((1 - s) * -log p_y)  +  s / C * sum_c w_c * -log p_c,   p = softmax(logits)
 *
 * over the positions that count, as a mean weighted by w_y. Label smoothing: Szegedy et al., Rethinking the Inception
 * Architecture, 2016, section 7. A batch in which no position counts has the loss 0.
 * @throws PareError `bad-option` for options out of range; when built, for outputs without classes or of the wrong activation.
 */
export function crossEntropy(options: CrossEntropyOptions = {}): Loss {
  const { labelSmoothing: smoothing = 0, classWeights, ignoreIndex } = options;
  const name = 'cross-entropy';
  if (!(smoothing >= 0 && smoothing < 1)) {
    throw new PareError('bad-option', `Label smoothing is ${smoothing}, and must be in [0, 1).`);
  }
  if (classWeights?.some((w) => !(w >= 0 && w < Infinity)) || classWeights?.every((w) => w === 0)) {
    throw new PareError('bad-option', 'Class weights must be numbers of at least 0, and not all 0.');
  }
  if (ignoreIndex !== undefined && !Number.isInteger(ignoreIndex)) {
    throw new PareError('bad-option', `The class number to ignore is ${ignoreIndex}, and must be an integer.`);
  }
  return {
    name,
    build({ emit, output, label }) {
      const answer = output(options.output);
      const dims = emit.shape(answer);
      const axis = classAxis(answer, dims, options.axis ?? 1, name);
      const classes = dims[axis] as number;
      if (classWeights && classWeights.length !== classes) {
        throw new PareError('bad-option', `There are ${classWeights.length} class weights for ${classes} classes.`);
      }
      const logits = logitsOf(emit, answer, name, { kind: 'softmax', axis });
      const logP = emit.op('LogSoftmax', [logits], { axis });
      const positions = dims.filter((_, i) => i !== axis);
      const truth = label('class', positions, { classes, ignoreIndex });

      const ignored = ignoreIndex === undefined ? undefined : emit.compare('Equal', truth, ignoreIndex);
      const counts = ignored && emit.where(ignored, emit.scalar(0, logP), emit.scalar(1, logP));
      const present = ignored ? emit.where(ignored, 0, truth) : truth;
      const column = emit.reshape(present, dims.with(axis, 1));
      const right = emit.reshape(emit.op('GatherElements', [logP, column], { axis }), positions);
      const weights = classWeights && emit.constant(emit.dtype(logP), [classes], classWeights);
      const ofTruth = weights && emit.op('Gather', [weights, present], { axis: 0 });
      const weight = ofTruth && counts ? emit.mul(ofTruth, counts) : (ofTruth ?? counts);
      const nll = weightedMean(emit, emit.neg(right), weight, weight);
      if (smoothing === 0) return nll;

      const perClass = dims.map((d, i) => (i === axis ? d : 1));
      const spread = weights ? emit.mul(logP, emit.reshape(weights, perClass)) : logP;
      const even = emit.neg(emit.sum(spread, [axis], false));
      const smooth = weightedMean(emit, even, counts, weight);
      return emit.add(emit.mul(nll, 1 - smoothing), emit.mul(smooth, smoothing / classes));
    },
  };
}

/** sum(factor * value) / sum(weight); 1 where left out. No weight at all gives 0, not NaN. */
function weightedMean(emit: Emitter, value: Value, factor: Value | undefined, weight: Value | undefined): Value {
  if (!weight) return meanAll(emit, value);
  const total = emit.op('Max', [sumAll(emit, weight), emit.scalar(1e-12, value)]);
  return emit.div(sumAll(emit, factor ? emit.mul(value, factor) : value), total);
}

function classAxis(output: Value, dims: readonly number[], axis: number, loss: string): number {
  const found = axis < 0 ? axis + dims.length : axis;
  const classes = dims[found];
  if (found > 0 && classes !== undefined && classes > 1) return found;
  const shape = `output "${output.name}" is [${dims.join(', ')}]`;
  throw new PareError(
    'bad-option',
    classes === 1
      ? `Loss "${loss}" needs two classes at least, and ${shape}: train a single logit with binary cross-entropy.`
      : `Loss "${loss}" needs classes on axis ${axis}, and ${shape}.`,
  );
}
