import type { Stage } from '@pare/verify';

/** The steps of the main job, in their order (some only where there is something to train); between `build` and `write` lie those of `verify`. */
export type OptimizeStage =
  | 'samples'
  | 'calibration-samples'
  | 'training-samples'
  | 'simplify'
  | 'build'
  | 'train'
  | Stage
  | 'write';

export interface OptimizeProgress {
  readonly stage: OptimizeStage;
  readonly done: number;
  /** Undefined when nobody knows. */
  readonly total: number | undefined;
  /** Variant or part that is worked on. */
  readonly what?: string | undefined;
}

export type OnOptimizeProgress = (progress: OptimizeProgress) => void;
