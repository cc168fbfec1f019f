import type { Stage } from '@pare/verify';

const NAMES: Readonly<Record<Stage, string>> = {
  evaluation: 'Scoring on the samples',
  layers: 'Comparing layers',
  stability: 'Trying extreme inputs',
  saturation: 'Checking integer kernels',
  performance: 'Measuring latency',
};

/** What the progress bar calls a stage of `verify`. */
export const stageName = (stage: Stage): string => NAMES[stage];
