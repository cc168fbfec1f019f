import { PareError } from '@pare/core';
import { logitsOf } from './logits.js';
import type { Loss } from './loss.js';
import { sumAll } from './reduce.js';

/** Options of `klDivergence`. */
export interface KlDivergenceOptions {
  /** Name of the output that holds the logits. Default the first float output. */
  readonly output?: string;
  /** Name of the input that is fed with the teacher's logits, of the output's shape. Default `teacher`. */
  readonly target?: string;
  /** Both sides are softened by it: above 1, wrong classes that the teacher finds likely count more. Default 1. */
  readonly temperature?: number;
  /** Axis of the classes. Default 1; language models have them on the last, -1. */
  readonly axis?: number;
}

/**
 * Kullback-Leibler divergence from the model's answer to a teacher's, both softened by the temperature T:
 *
 *     T^2 * mean over the positions of  sum_c p_c * (log p_c - log q_c),   p = softmax(teacher / T), q = softmax(logits / T)
 *
 * T^2 keeps its gradients as large as those of a loss on labels beside it. Hinton, Vinyals and Dean, Distilling the Knowledge
 * in a Neural Network, 2015.
 * @throws PareError `bad-option` for a temperature that is not positive; when built, for a model that ends in Sigmoid.
 */
export function klDivergence(options: KlDivergenceOptions = {}): Loss {
  const { temperature = 1, target: teacher = 'teacher' } = options;
  const name = 'kl-divergence';
  if (!(temperature > 0 && temperature < Infinity)) {
    throw new PareError('bad-option', `The temperature is ${temperature}, and must be above 0.`);
  }
  return {
    name,
    build({ emit, output, target }) {
      const answer = output(options.output);
      const dims = emit.shape(answer);
      const axis = ((options.axis ?? 1) + dims.length) % dims.length;
      const student = logitsOf(emit, answer, name, { kind: 'softmax', axis });
      const truth = target(teacher, emit.dtype(student), dims);
      const soften = (logits: typeof student): typeof student =>
        emit.op('LogSoftmax', [temperature === 1 ? logits : emit.mul(logits, 1 / temperature)], { axis });
      const logP = soften(truth);
      const divergence = sumAll(emit, emit.mul(emit.exp(logP), emit.sub(logP, soften(student))));
      const positions = dims.reduce((n, d, i) => (i === axis ? n : n * d), 1);
      return emit.mul(divergence, temperature ** 2 / positions);
    },
  };
}
