import { PareError } from '@pare/core';
import type { ParameterStore } from '../parameters.js';
import type { Optimizer } from './optimizer.js';

export interface UpdateOptions {
  /** The number of this update, from 1. */
  readonly step: number;
  readonly learningRate: number;
  /** What the gradients are a sum of: they are divided by it. Default 1. */
  readonly divisor?: number;
  /** Scale the gradients down to this Euclidean norm over all parameters when it is larger (Pascanu et al. 2013). */
  readonly clipNorm?: number | undefined;
}

/** PyTorch's guard against a division by zero in clip_grad_norm_. */
const CLIP_EPSILON = 1e-6;

/**
 * One update of all values from the gradients in the store, which are then zeros: masks, limits, global norm, clipping, the
 * rule.
 * @returns the norm of the gradients before clipping.
 * @throws PareError `bad-data` when a gradient is NaN or infinite; nothing but masked gradients is changed then.
 */
export function updateParameters(store: ParameterStore, optimizer: Optimizer, options: UpdateOptions): number {
  const { step, learningRate, divisor = 1, clipNorm = Infinity } = options;
  store.maskGradients();
  store.limitGradients(divisor);
  const norm = gradientNorm(store) / divisor;
  if (!Number.isFinite(norm)) {
    throw new PareError(
      'bad-data',
      `Training diverged at step ${step}: the gradient of ${store.firstNonFinite('gradients')}. Lower the learning rate, clip the gradients, or look for bad samples.`,
    );
  }
  const clip = Math.min(1, clipNorm / (norm + CLIP_EPSILON));
  for (const span of store.spans) {
    optimizer.update(store, span, { step, learningRate, gradientScale: clip / divisor });
  }
  store.clearGradients();
  return norm;
}

/** Euclidean norm of all gradients, each times the factor of its parameter. Summed in float64, in the order of the spans. */
export function gradientNorm(store: ParameterStore): number {
  let sum = 0;
  for (const { offset, length, gradientScale } of store.spans) {
    sum += gradientScale ** 2 * store.kernels.sumOfSquares(store.pointer('gradients', offset), length);
  }
  return Math.sqrt(sum);
}
