export { type SparsityOptions, sparsityMasks } from './masks.js';
export { pruneWeights } from './prune-weights.js';
export * from './schedule.js';
