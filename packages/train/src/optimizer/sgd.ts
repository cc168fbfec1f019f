import { checkRange } from './check.js';
import type { Optimizer } from './optimizer.js';

export interface SgdOptions {
  /** Share of the last step's direction that is kept. Default 0. */
  readonly momentum?: number;
  /** Look ahead along the momentum (Sutskever et al. 2013). Default false. */
  readonly nesterov?: boolean;
  /** L2 penalty: added to the gradient as weightDecay * value. Default 0. */
  readonly weightDecay?: number;
}

/**
 * Stochastic gradient descent as PyTorch defines it: v = momentum * v + g and p -= lr * v, with Nesterov
 * p -= lr * (g + momentum * v). State: one float a parameter, none without momentum.
 * @throws PareError `bad-option`.
 */
export function sgd({ momentum = 0, nesterov = false, weightDecay = 0 }: SgdOptions = {}): Optimizer {
  checkRange('momentum', momentum, 0, 1);
  checkRange('weightDecay', weightDecay, 0, Infinity);
  const [ahead, along] = nesterov ? [1, momentum] : [0, 1];
  return {
    name: 'sgd',
    buffers: momentum === 0 ? [] : ['momentum'],
    update(store, { offset, length, decay, learningRate, gradientScale }, step) {
      const p = store.pointer('values', offset);
      const g = store.pointer('gradients', offset);
      const lr = step.learningRate * learningRate;
      const scale = step.gradientScale * gradientScale;
      const l2 = decay ? weightDecay : 0;
      if (momentum === 0) store.kernels.sgd(p, g, length, lr, scale, l2);
      else {
        const v = store.pointer('momentum', offset);
        store.kernels.momentum(p, g, v, length, lr, scale, l2, momentum, ahead, along);
      }
    },
  };
}
