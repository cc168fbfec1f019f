import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';

/**
 * The numbers before the activation that turns them into probabilities: losses take the logarithm of a probability, which is
 * exact only when it is computed from these. A model that ends in Softmax or LogSoftmax over the classes (or in Sigmoid) is
 * seen through; its outputs stay what they are.
 * @throws PareError `bad-option` when the model ends in the other kind of activation, or in Softmax over another axis.
 */
export function logitsOf(
  emit: Emitter,
  output: Value,
  loss: string,
  activation: { readonly kind: 'softmax'; readonly axis: number } | { readonly kind: 'sigmoid' },
): Value {
  let node = output.producer;
  while (node?.is('Identity')) node = node.inputs[0]?.producer;
  const input = node?.inputs[0];
  if (!node || !input) return output;
  const refuse = (why: string): never => {
    throw new PareError('bad-option', `Loss "${loss}" needs logits, and output "${output.name}" ${why}`);
  };
  if (node.is('Sigmoid')) {
    return activation.kind === 'sigmoid' ? input : refuse('ends in Sigmoid: train it with binary cross-entropy.');
  }
  if (!node.is('Softmax') && !node.is('LogSoftmax')) return output;
  if (activation.kind === 'sigmoid') return refuse(`ends in ${node.opType}: train it with cross-entropy.`);
  const rank = emit.rank(output);
  const axis = node.int('axis', -1);
  if ((axis + rank) % rank === activation.axis) return input;
  return refuse(`ends in ${node.opType} over axis ${axis}, but its classes are on axis ${activation.axis}.`);
}
