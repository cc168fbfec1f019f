export { checkpointFolder, latestCheckpoint, saveCheckpoint } from './checkpoint-files.js';
export { type WorkerBatchOptions, workerBatches } from './worker-batches.js';
