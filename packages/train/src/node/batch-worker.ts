import { parentPort, workerData } from 'node:worker_threads';
import { assemble, type SampleBatch } from '../data/assemble.js';
import type { Augmentation } from '../data/augment.js';
import { placesOf } from '../data/batches.js';
import { type Column, gather } from '../data/column.js';
import { epochOrder } from '../data/order.js';

/** What the thread is started with: the samples, in memory that it shares, and how they are cut into batches. */
export interface BatchThreadData {
  inputs: readonly Column[];
  labels: Column | undefined;
  indices: Uint32Array;
  batchSize: number;
  seed: number;
  augment: Augmentation | undefined;
}

export interface BatchRequest {
  readonly id: number;
  readonly epoch: number;
  readonly step: number;
}

export type BatchAnswer =
  | { readonly id: number; readonly batch: SampleBatch }
  | { readonly id: number; readonly message: string };

const { inputs, labels, indices, batchSize, seed, augment } = workerData as BatchThreadData;
let ordered: { readonly epoch: number; readonly order: Uint32Array } | undefined;

parentPort?.on('message', ({ id, epoch, step }: BatchRequest) => {
  try {
    if (ordered?.epoch !== epoch) ordered = { epoch, order: epochOrder(indices.length, seed, epoch) };
    const rows = placesOf(ordered.order, batchSize, step).map((place) => indices[place] as number);
    const batch: SampleBatch = {
      inputs: assemble(inputs, rows, augment && { augment, seed, epoch }),
      targets: labels ? { label: gather(labels, rows) } : {},
      indices: rows,
      count: rows.length,
    };
    const tensors = [...Object.values(batch.inputs), ...Object.values(batch.targets)];
    const transfer = tensors.map(({ data }) => (data as Float32Array).buffer as ArrayBuffer);
    parentPort?.postMessage({ id, batch } satisfies BatchAnswer, transfer);
  } catch (error) {
    parentPort?.postMessage({
      id,
      message: error instanceof Error ? error.message : String(error),
    } satisfies BatchAnswer);
  }
});
