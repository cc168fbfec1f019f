import type { OptimizeProgress } from '@pare/optimize';
import type { Progress } from './progress.js';

const NAMES: Readonly<Record<OptimizeProgress['stage'], string>> = {
  samples: 'Reading samples',
  'calibration-samples': 'Reading calibration samples',
  'training-samples': 'Reading training samples',
  simplify: 'Simplifying',
  build: 'Building variants',
  train: 'Training int8',
  evaluation: 'Scoring on the samples',
  layers: 'Comparing layers',
  stability: 'Trying extreme inputs',
  saturation: 'Checking integer kernels',
  performance: 'Measuring latency',
  write: 'Writing',
};

/** Parts of `performance` that are stages of their own to someone who waits. */
const PARTS: Readonly<Record<string, string>> = {
  throughput: 'Measuring throughput',
  'fresh process': 'Measuring memory and loading',
};

/** Stages of single transforms. */
const TRANSFORMS: Readonly<Record<string, string>> = {
  simplify: 'Simplifying',
  calibrate: 'Calibrating',
  measure: 'Measuring ranges',
  prune: 'Measuring inputs',
  score: 'Scoring channels',
  share: 'Finding codebooks',
  reestimateBatchNorm: 'Measuring normalizations',
  restoreMoments: 'Restoring means and variances',
};

/** Shows the progress of `optimize` and `verify`. */
export function showStages(progress: Progress): (step: OptimizeProgress) => void {
  return ({ stage, done, total, what }) => {
    // A stage that was left out reports nothing to do.
    if (total === 0) return;
    const isPart = stage === 'performance';
    const name = (isPart && what !== undefined && PARTS[what]) || NAMES[stage];
    progress.update({ stage: name, done, total, what: isPart ? undefined : what });
  };
}

/** Shows the progress of transforms; `simplify` cannot know how many rounds it will take. */
export function showTransform(progress: Progress): (stage: string, done: number, total: number) => void {
  return (stage, done, total) => {
    const what = stage === 'simplify' || total > 0 ? undefined : `${done} samples`;
    progress.update({ stage: TRANSFORMS[stage] ?? stage, done, total: stage === 'simplify' ? undefined : total, what });
  };
}
