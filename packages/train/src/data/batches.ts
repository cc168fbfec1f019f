import { PareError } from '@pare/core';
import type { SampleBatch } from './assemble.js';
import type { Augmentation } from './augment.js';
import { epochOrder } from './order.js';
import type { TrainingData } from './training-data.js';

/** How training data is cut into batches. */
export interface BatchOptions {
  readonly batchSize: number;
  /** Of the order of the samples and of how they are varied. Default 1. */
  readonly seed?: number | undefined;
  /** What varies the pictures. Default: they stay as they are. */
  readonly augment?: Augmentation | undefined;
}

/** The batches of every epoch of a training run. */
export interface BatchStream {
  /** Batches in an epoch: samples that do not fill one are left out, other ones in each epoch. */
  readonly steps: number;
  /**
   * The batches of epoch `epoch`, from batch `from` (default 0): a run that is resumed in the middle sees what it would have
   * seen. The next batch is made while the caller works on the one before.
   */
  epoch(epoch: number, from?: number): AsyncGenerator<SampleBatch>;
  /** Ends the workers, if there are any. */
  close(): Promise<void>;
}

/** Batches in an epoch of `size` samples. @throws PareError `bad-option`, `bad-data` when they do not fill one. */
export function stepsOf(data: TrainingData, { batchSize, augment }: BatchOptions): number {
  if (!Number.isInteger(batchSize) || batchSize < 1) {
    throw new PareError('bad-option', `The batch size is ${batchSize}, and must be a whole number of at least 1.`);
  }
  if (augment) data.checkAugmentation(augment);
  const steps = Math.floor(data.size / batchSize);
  if (steps > 0) return steps;
  throw new PareError(
    'bad-data',
    `${data.name} has ${data.size} samples, which do not fill one batch of ${batchSize}: take a smaller batch size.`,
  );
}

/** The places of the samples of one batch. */
export function placesOf(order: Uint32Array, batchSize: number, step: number): Uint32Array {
  return order.subarray(step * batchSize, (step + 1) * batchSize);
}

/**
 * Batches for training: shuffled anew in each epoch, all of the same size. Order and variation are functions of seed, epoch and
 * sample alone: the same seed gives the same bits.
 * @throws PareError `bad-data` when the samples do not fill a batch; `bad-option` for a batch size or an augmentation that does
 *   not fit.
 */
export function trainingBatches(data: TrainingData, options: BatchOptions): BatchStream {
  const { batchSize, seed = 1, augment } = options;
  const steps = stepsOf(data, options);
  return {
    steps,
    async *epoch(epoch, from = 0) {
      const order = epochOrder(data.size, seed, epoch);
      const variation = augment && { augment, seed, epoch };
      const make = (step: number): Promise<SampleBatch> => data.batch(placesOf(order, batchSize, step), variation);
      let next = from < steps ? make(from) : undefined;
      for (let step = from; step < steps; step++) {
        const batch = await (next as Promise<SampleBatch>);
        next = step + 1 < steps ? later(() => make(step + 1)) : undefined;
        // Failures are the caller's when it asks for that batch, and nobody's when it stops before.
        next?.catch(() => undefined);
        yield batch;
      }
    },
    close: async () => undefined,
  };
}

/** Begins `work` when the caller has begun to wait for something: making a batch must not delay the step before it. */
function later<T>(work: () => Promise<T>): Promise<T> {
  return new Promise((resolve) => setTimeout(resolve)).then(work);
}

/**
 * Batches for evaluation: every sample once, in order, as it is. The last batch is smaller, or with `pad` filled up to the
 * size by repeating its last sample (`count` says how many count).
 */
export async function* evaluationBatches(
  data: TrainingData,
  { batchSize, pad = false }: { readonly batchSize: number; readonly pad?: boolean },
): AsyncGenerator<SampleBatch> {
  for (let start = 0; start < data.size; start += batchSize) {
    const count = Math.min(batchSize, data.size - start);
    const length = pad ? batchSize : count;
    yield data.batch(
      Array.from({ length }, (_, i) => start + Math.min(i, count - 1)),
      undefined,
      count,
    );
  }
}
