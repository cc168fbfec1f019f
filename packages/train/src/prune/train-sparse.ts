import { type Model, PareError } from '@pare/core';
import { cubicSchedule, type SparsityOptions, type SparsitySchedule, sparsityMasks } from '@pare/transforms';
import type { TrainingSession } from '../session.js';
import { train } from '../train.js';
import type { TrainOptions, TrainResult } from '../train-options.js';

/** Options of `trainSparse`. */
export interface TrainSparseOptions extends Omit<TrainOptions, 'masks' | 'beforeStep' | 'mayKeep'> {
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
  const { sparsity, course = gradual, every = EVERY, engine, signal } = options;
  if (sparsity.pattern !== undefined || sparsity.sparsity === undefined) {
    const masks = await sparsityMasks(model, sparsity, { engine, signal });
    return train(model, { ...options, masks });
  }
  const share = sparsity.sparsity;
  const schedule = course(share);
  const copy = model.clone();
  const lookEvery = (steps: number): number => Math.max(1, Math.min(every, Math.floor(steps * LOOK)));
  // What happens at a step follows from its number and the weights alone: a run that is resumed does the same.
  const beforeStep = async (session: TrainingSession, step: number, steps: number): Promise<void> => {
    const look = lookEvery(steps);
    if (step % look !== 0) return;
    if (step === 0) refuseIncomplete(schedule, share, (steps - look) / steps);
    const now = schedule(step / steps);
    if (step === 0 ? now === 0 : now <= schedule((step - look) / steps)) return;
    session.writeTo(copy);
    const masks = await sparsityMasks(copy, { ...sparsity, sparsity: now }, { engine, signal });
    for (const { name } of session.parameters.parameters) {
      const mask = masks.get(name);
      if (mask) session.parameters.setMask(name, mask);
    }
  };
  // The last look at the weights was less than a look before.
  const mayKeep = (step: number, steps: number): boolean =>
    step > 0 && schedule(Math.max(0, step - lookEvery(steps)) / steps) >= share;
  return train(model, { ...options, beforeStep, mayKeep });
}

function refuseIncomplete(schedule: SparsitySchedule, share: number, last: number): void {
  if (schedule(last) >= share) return;
  throw new PareError(
    'bad-option',
    `The course of pruning reaches ${schedule(last)} of ${share} before the last steps: no weights would be left to keep. Let it ` +
      'end earlier, or train longer.',
  );
}
