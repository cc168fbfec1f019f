import { PareError } from '@pare/core';
import { kernels } from '../kernels/index.js';
import { sortScores } from './cutoff.js';
import type { Layer } from './layers.js';

/** How much each weight of a layer matters: float32, not negative, in the order of the tensor; 0 for weights that are 0 alone. */
export type Scorer = (layer: Layer) => Promise<Float32Array>;

/** Below the score of every weight that is not 0, so that what was pruned before goes first. */
const LEAST = 2 ** -149;

/**
 * A scorer of |w| times `factor(layer)`, a number for each element; undefined: 1.
 * @throws PareError (the scorer) `bad-model` for a weight that is not finite.
 */
export function scorer(factor: (layer: Layer) => ((element: number) => number) | undefined): Scorer {
  return async (layer) => {
    const scores = await readWeight(layer);
    const factorOf = factor(layer);
    for (let i = 0; i < scores.length; i++) {
      const weight = Math.abs(scores[i] as number);
      if (weight === 0) scores[i] = 0;
      else scores[i] = factorOf ? Math.max(LEAST, weight * factorOf(i)) : weight;
    }
    return scores;
  };
}

/**
 * A copy of the weight of `layer` as float32, free to be written over.
 * @throws PareError `bad-model` when it is not finite: nothing can be ranked or averaged then.
 */
export async function readWeight({ name, tensor, nodes }: Layer): Promise<Float32Array> {
  const bytes = await tensor.load();
  // A Buffer of Node would give a view for `slice`.
  const weight =
    tensor.dtype === 'float16' ? kernels().fromFloat16(bytes) : new Float32Array(new Uint8Array(bytes).buffer);
  for (let i = 0; i < weight.length; i++) {
    if (Math.abs(weight[i] as number) < Number.POSITIVE_INFINITY) continue;
    throw new PareError(
      'bad-model',
      `Weight "${name}" of ${nodes[0].label} holds NaN or infinity at element ${i}. Mend the model, or exclude the node.`,
    );
  }
  return weight;
}

/** Magnitude: |w| (Han et al., "Learning both weights and connections", 2015). */
export const magnitude: Scorer = scorer(() => undefined);

/** Gradients by name of the weight, each in the order of its tensor. */
export type Gradients = ReadonlyMap<string, ArrayLike<number>>;

/**
 * First-order Taylor: |g w|, the change of the loss when the weight goes, with its gradient g over the whole batch (Molchanov et
 * al., "Importance estimation for neural network pruning", 2019).
 * @throws PareError `bad-option` (the scorer) for a gradient that is missing, of another size, or not finite.
 */
export function taylor(gradients: Gradients): Scorer {
  return scorer((layer) => {
    const gradient = gradients.get(layer.name);
    if (gradient?.length !== layer.tensor.size) {
      const given = gradient ? `has ${gradient.length} elements instead of ${layer.tensor.size}` : 'is missing';
      throw new PareError(
        'bad-option',
        `The gradient of weight "${layer.name}" ${given}; the score "taylor" needs it.`,
      );
    }
    return (i) => {
      const g = Math.abs(gradient[i] as number);
      if (g < Number.POSITIVE_INFINITY) return g;
      throw new PareError('bad-option', `The gradient of weight "${layer.name}" is not finite at element ${i}.`);
    };
  });
}

/**
 * Wanda: |w| times the length of the input that it multiplies, over all calibration samples; to be compared inside each output
 * row (Sun et al., "A simple and effective pruning approach for large language models", 2023). For kernels the input is a channel.
 */
export function wanda(norms: ReadonlyMap<Layer, Float64Array>): Scorer {
  return scorer((layer) => {
    const norm = norms.get(layer) as Float64Array;
    const { groups, inputs, strides, ownInputs } = layer.view;
    const [group, , input] = strides;
    return (i) => {
      const channel = Math.floor(i / input) % inputs;
      return norm[ownInputs && groups > 1 ? Math.floor(i / group) * inputs + channel : channel] as number;
    };
  });
}

/**
 * LAMP: scores relative to their layer, the square of each over the sum of squares of those that are not lower (here the root of
 * that, which has the same order), and **in ascending order**, since they tell only how many a layer loses (Lee et al.,
 * "Layer-adaptive sparsity for the magnitude-based pruning", 2021).
 */
export function layerAdaptive(score: Scorer): Scorer {
  return async (layer) => {
    const scores = sortScores(await score(layer));
    let rest = 0;
    for (let last = scores.length - 1; last >= 0; ) {
      const value = scores[last] as number;
      let first = last;
      while (first > 0 && scores[first - 1] === value) first--;
      rest += (last - first + 1) * value ** 2;
      scores.fill(value === 0 ? 0 : Math.max(LEAST, value / Math.sqrt(rest)), first, last + 1);
      last = first - 1;
    }
    return scores;
  };
}
