export {
  type Batch,
  batches,
  type Dataset,
  datasetOf,
  type Fingerprint,
  type Fit,
  fitData,
  float16ToNumber,
  mapDataset,
  numberToFloat16,
  type Random,
  refitBatch,
  type Sample,
  seededRandom,
  select,
  shuffle,
  splitOutputs,
  toNumbers,
} from '@pare/core';
export * from './data/csv.js';
export * from './data/hash.js';
export * from './data/jsonl.js';
export { encodeNpy, parseNpy } from './data/npy.js';
export { arraysDataset, encodeNpz, npyDataset, npzDataset } from './data/npz.js';
export * from './data/preprocessing.js';
export * from './data/random-data.js';
export * from './data/split.js';
export * from './evidence.js';
export * from './metrics/classification.js';
export * from './metrics/detection.js';
export * from './metrics/embedding.js';
export * from './metrics/metric.js';
export * from './metrics/named.js';
export * from './metrics/score.js';
export * from './metrics/segmentation.js';
export * from './metrics/signal.js';
export * from './metrics/text.js';
export { rowDivergence } from './numerics/divergence.js';
export { ErrorSums } from './numerics/errors.js';
export * from './numerics/layers.js';
export * from './numerics/outputs.js';
export * from './numerics/reproducibility.js';
export * from './numerics/saturation.js';
export * from './numerics/stability.js';
export * from './performance/latency.js';
export * from './performance/measure.js';
export * from './performance/rounds.js';
export * from './performance/speedup.js';
export { groupNotes } from './report/describe.js';
export { renderMarkdown } from './report/markdown.js';
export { renderReport } from './report/report.js';
export { renderTable, type TableOptions, type TableStyle } from './report/table.js';
export { visible } from './report/terminal-text.js';
export { renderTraining, type TrainingPage } from './report/training-page.js';
export * from './statistics/bootstrap.js';
export * from './statistics/proportion.js';
export * from './statistics/quantile.js';
export * from './verify.js';
