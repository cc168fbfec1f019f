import { checkRange } from './check.js';
import type { Optimizer } from './optimizer.js';

export interface AdamOptions {
  /** Share of the running mean of gradients, and of their squares, that is kept. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the running mean of squares. Default 1e-8. */
  readonly epsilon?: number;
  /** Default 0 for `adam`, 0.01 for `adamW`. */
  readonly weightDecay?: number;
}

/**
 * Adam (Kingma and Ba 2015) with both bias corrections; weight decay is an L2 penalty on the gradient. State: two floats a
 * parameter.
 * @throws PareError `bad-option`.
 */
export function adam(options: AdamOptions = {}): Optimizer {
  return moments('adam', { weightDecay: 0, ...options }, false);
}

/**
 * AdamW (Loshchilov and Hutter 2019): Adam whose weight decay is p *= 1 - lr * weightDecay, apart from the gradient.
 * @throws PareError `bad-option`.
 */
export function adamW(options: AdamOptions = {}): Optimizer {
  return moments('adamw', { weightDecay: 0.01, ...options }, true);
}

function moments(
  name: string,
  { betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8, weightDecay }: AdamOptions & { readonly weightDecay: number },
  decoupled: boolean,
): Optimizer {
  for (const beta of [beta1, beta2]) checkRange('betas', beta, 0, 1);
  checkRange('epsilon', epsilon, 0, Infinity);
  checkRange('weightDecay', weightDecay, 0, Infinity);
  return {
    name,
    buffers: ['mean', 'square'],
    update(store, { offset, length, decay, learningRate, gradientScale }, step) {
      const lr = step.learningRate * learningRate;
      store.kernels.adam(
        store.pointer('values', offset),
        store.pointer('gradients', offset),
        store.pointer('mean', offset),
        store.pointer('square', offset),
        length,
        lr / (1 - beta1 ** step.step),
        step.gradientScale * gradientScale,
        decay && !decoupled ? weightDecay : 0,
        decay && decoupled ? 1 - lr * weightDecay : 1,
        1 - beta1,
        beta2,
        1 - beta2,
        1 / Math.sqrt(1 - beta2 ** step.step),
        epsilon,
      );
    },
  };
}
