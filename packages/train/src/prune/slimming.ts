import { type Model, PareError } from '@pare/core';
import type { Loss } from '../loss/index.js';

/**
 * The sum of |gamma| over every BatchNormalization of `model`, as a term of a loss: channels that are not needed lose their scale
 * while the model trains, and the score `bn-gamma` of `pruneChannels` finds them. Weights around 1e-4 are usual:
 * `combine([[1, crossEntropy()], [1e-4, slimming(model)]])`. Liu et al., Learning Efficient Convolutional Networks through
 * Network Slimming, 2017, eq. 1.
 * @throws PareError `unsupported` when the model has no BatchNormalization.
 */
export function slimming(model: Model): Loss {
  const names = [...model.allNodes()].flatMap((node) => {
    const gamma = node.is('BatchNormalization') ? node.inputs[1] : undefined;
    return gamma?.constant ? [gamma.name] : [];
  });
  if (names.length === 0) {
    throw new PareError(
      'unsupported',
      'The model has no BatchNormalization whose scales could be slimmed: choose another score.',
    );
  }
  return {
    name: 'slimming',
    build: ({ emit, value }) =>
      names
        .map((name) => {
          const gamma = value(name);
          return emit.sum(emit.op('Abs', [gamma]), [...emit.shape(gamma).keys()], false);
        })
        .reduce((sum, term) => emit.add(sum, term)),
  };
}
