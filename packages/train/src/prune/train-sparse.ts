import { type Model, PareError } from '@pare/core';
import { cubicSchedule, type SparsityOptions, type SparsitySchedule, sparsityMasks } from '@pare/transforms';
import type { TrainingSession } from '../session.js';
import { train } from '../train.js';
import type { TrainOptions, TrainResult } from '../train-options.js';

/** Options of `trainSparse`. */
export interface TrainSparseOptions extends Omit<TrainOptions, 'masks' | 'beforeStep' | 'judgeFrom'> {
  /** Which weights go: share, score (`magnitude`) and distribution over the layers, or an N:M pattern (at once). */
  readonly sparsity: Omit<SparsityOptions, 'gradients'>;
  /**
   * How the share grows with the training. Default `cubicSchedule` that is complete after two thirds of it;
   * `iterativeSchedule(share, rounds)` prunes and mends in turns, `oneShotSchedule(share)` prunes once and mends.
   */
  readonly course?: ((share: number) => SparsitySchedule) | undefined;
  /** Steps between two looks at the weights while the share grows. Default 32. */
  readonly every?: number | undefined;
}

const EVERY = 32;
/** The weights are looked at after this share of the run at least. */
const LOOK = 0.02;
const gradual = (share: number): SparsitySchedule => cubicSchedule(share, { end: 2 / 3 });

/**
 * Prunes `model` while it is trained: as the share grows, the weights of the lowest score become zero and stay so (Zhu and Gupta,
 * To prune, or not to prune, 2017; Han et al., Learning both Weights and Connections, 2015). Only weights of epochs that ended at
 * the full share are kept.
 * @throws PareError `bad-option` when the share is not complete before the last epoch ends; and what `train` and `sparsityMasks` throw.
 */
export async function trainSparse(model: Model, options: TrainSparseOptions): Promise<TrainResult> {
  const { sparsity, course = gradual, every = EVERY, engine, epochs, signal } = options;
  if (sparsity.pattern !== undefined || sparsity.sparsity === undefined) {
    const masks = await sparsityMasks(model, sparsity, { engine, signal });
    return train(model, { ...options, masks });
  }
  const share = sparsity.sparsity;
  const schedule = course(share);
  const judgeFrom = completeFrom(schedule, share, epochs);
  const copy = model.clone();
  // What happens at a step follows from its number and the weights alone: a run that is resumed does the same.
  const beforeStep = async (session: TrainingSession, step: number, steps: number): Promise<void> => {
    const look = Math.max(1, Math.min(every, Math.floor(steps * LOOK)));
    if (step % look !== 0) return;
    const now = schedule(step / steps);
    if (step === 0 ? now === 0 : now <= schedule((step - look) / steps)) return;
    session.writeTo(copy);
    const masks = await sparsityMasks(copy, { ...sparsity, sparsity: now }, { engine, signal });
    for (const { name } of session.parameters.parameters) {
      const mask = masks.get(name);
      if (mask) session.parameters.setMask(name, mask);
    }
  };
  return train(model, { ...options, beforeStep, judgeFrom });
}

/** The first epoch, from 1, that ends with the whole share pruned. */
function completeFrom(schedule: SparsitySchedule, share: number, epochs: number): number {
  for (let epoch = 1; epoch <= epochs; epoch++) if (schedule(epoch / epochs - LOOK) >= share) return epoch;
  throw new PareError(
    'bad-option',
    `The course of pruning reaches ${schedule(1)} of ${share} in ${epochs} epochs: no weights would be left to keep. Let it end earlier.`,
  );
}
