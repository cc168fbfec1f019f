import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { PareError } from '@pare/core';
import type { SampleBatch } from '../data/assemble.js';
import { type BatchOptions, type BatchStream, stepsOf, trainingBatches } from '../data/batches.js';
import type { TrainingData } from '../data/training-data.js';
import type { BatchAnswer, BatchRequest, BatchThreadData } from './batch-worker.js';

/** Options of `workerBatches`. */
export interface WorkerBatchOptions extends BatchOptions {
  /** Threads that make batches. The batches are the same for any number. Default 1. */
  readonly workers?: number | undefined;
}

/** Batches that are ready or being made, for each worker, while the caller works on one. */
const AHEAD = 2;

/**
 * `trainingBatches`, made in worker threads: gathering and varying samples costs the training thread nothing. The samples are
 * shared, not copied; data that is not in memory is read by the calling thread as before. Close it in the end.
 * @throws PareError what `trainingBatches` throws.
 */
export function workerBatches(data: TrainingData, options: WorkerBatchOptions): BatchStream {
  const { columns } = data;
  if (!columns) return trainingBatches(data, options);
  const { batchSize, seed = 1, augment, workers = 1 } = options;
  const steps = stepsOf(data, options);
  if (!Number.isInteger(workers) || workers < 1) {
    throw new PareError('bad-option', `${workers} workers cannot make batches: ask for 1 at least.`);
  }
  const threads = Array.from({ length: workers }, () => new BatchThread({ ...columns, batchSize, seed, augment }));
  return {
    steps,
    async *epoch(epoch, from = 0) {
      const ahead: Promise<SampleBatch>[] = [];
      let asked = from;
      for (let step = from; step < steps; step++) {
        for (; asked < steps && ahead.length < AHEAD * workers; asked++) {
          const batch = (threads[asked % workers] as BatchThread).ask(epoch, asked);
          // Failures are the caller's when it asks for that batch, and nobody's when it stops before.
          batch.catch(() => undefined);
          ahead.push(batch);
        }
        yield await (ahead.shift() as Promise<SampleBatch>);
      }
    },
    close: async () => {
      await Promise.all(threads.map((thread) => thread.close()));
    },
  };
}

/** A thread that makes batches. It keeps the process alive only while it makes one. */
class BatchThread {
  readonly #worker: Worker;
  readonly #pending = new Map<number, { resolve(batch: SampleBatch): void; reject(error: PareError): void }>();
  #next = 0;
  #stopped: PareError | undefined;

  constructor(workerData: BatchThreadData) {
    // By package name, so that it is found from the sources (in tests) as from the build.
    const path = createRequire(import.meta.url).resolve('@pare/train/node/batch-worker');
    this.#worker = new Worker(pathToFileURL(path), { workerData });
    this.#worker.unref();
    this.#worker.on('message', (answer: BatchAnswer) => {
      const pending = this.#pending.get(answer.id);
      this.#pending.delete(answer.id);
      if (this.#pending.size === 0) this.#worker.unref();
      if ('batch' in answer) pending?.resolve(answer.batch);
      else pending?.reject(new PareError('bad-data', answer.message));
    });
    const died = (cause?: unknown): void => {
      const why = cause instanceof Error ? `: ${cause.message}` : '';
      this.#stopped ??= new PareError('engine', `The thread that makes batches stopped${why}.`, { cause });
      for (const { reject } of this.#pending.values()) reject(this.#stopped);
      this.#pending.clear();
    };
    this.#worker.on('error', died);
    this.#worker.on('exit', () => died());
  }

  ask(epoch: number, step: number): Promise<SampleBatch> {
    if (this.#stopped) return Promise.reject(this.#stopped);
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#worker.ref();
      this.#worker.postMessage({ id, epoch, step } satisfies BatchRequest);
    });
  }

  async close(): Promise<void> {
    // A batch that comes yet would let go of the process, which would end before the thread has.
    this.#worker.removeAllListeners('message');
    await this.#worker.terminate();
  }
}
