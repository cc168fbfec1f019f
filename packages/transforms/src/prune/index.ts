export type { CodebookStart } from './codebook.js';
export { type SparsityOptions, sparsityMasks } from './masks.js';
export { pruneWeights } from './prune-weights.js';
export * from './schedule.js';
export { type ShareWeightsOptions, shareWeights } from './share-weights.js';
export * from './structured/index.js';
