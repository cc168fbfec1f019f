export { type WorkerBatchOptions, workerBatches } from './worker-batches.js';
