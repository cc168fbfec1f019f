export { Histogram, type HistogramData } from './histogram.js';
export { type CalibrationMethod, type CalibrationOptions, needsHistogram, rangeOf } from './range.js';
export { type StatisticsData, TensorStatistics } from './statistics.js';
