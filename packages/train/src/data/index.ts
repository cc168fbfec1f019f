export { type RightAnswers, rightAnswers } from './accuracy.js';
export type { SampleBatch, Variation } from './assemble.js';
export { type Augmentation, type AugmentOptions, augment, type ColourOptions } from './augment.js';
export { type BatchOptions, type BatchStream, evaluationBatches, trainingBatches } from './batches.js';
export type { Column } from './column.js';
export type { LabelSpec } from './label.js';
export { epochOrder, mixSeed } from './order.js';
export { TrainingData, type TrainingDataOptions } from './training-data.js';
