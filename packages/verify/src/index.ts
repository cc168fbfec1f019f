export * from './data/csv.js';
export * from './data/dataset.js';
export * from './data/fit.js';
export * from './data/hash.js';
export * from './data/jsonl.js';
export { encodeNpy, parseNpy } from './data/npy.js';
export { arraysDataset, encodeNpz, npyDataset, npzDataset } from './data/npz.js';
export * from './data/preprocessing.js';
export * from './data/random-data.js';
export * from './data/split.js';
export { float16ToNumber, numberToFloat16, toNumbers } from './data/tensor.js';
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
export * from './random.js';
export { renderMarkdown, renderMarkdown } from './report/markdown.js';
export { renderReport, renderReport } from './report/report.js';
export {
  renderTable,
  renderTable,
  type TableOptions,
  type TableOptions,
  type TableStyle,
  type TableStyle,
} from './report/table.js';
export * from './statistics/bootstrap.js';
export * from './statistics/proportion.js';
export * from './statistics/quantile.js';
export * from './verify.js';
