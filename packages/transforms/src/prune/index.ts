export type { CodebookStart } from './codebook.js';
export { type SparsityOptions, sparsityMasks } from './masks.js';
export { type PruneWeightsOptions, pruneWeights } from './prune-weights.js';
export { type RestoreMomentsOptions, restoreMoments } from './restore-moments.js';
export * from './schedule.js';
export { type ShareWeightsOptions, shareWeights } from './share-weights.js';
export * from './structured/index.js';
