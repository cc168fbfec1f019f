export {
  checkCheckpointFolder,
  checkpointFolder,
  latestCheckpoint,
  removeCheckpoints,
  saveCheckpoint,
} from './checkpoint-files.js';
export { rowFile } from './row-file.js';
export { type WorkerBatchOptions, workerBatches } from './worker-batches.js';
