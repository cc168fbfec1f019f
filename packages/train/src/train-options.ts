import type { Dataset, Feeds } from '@pare/core';
import type { Checkpoint } from './checkpoint.js';
import type { BatchOptions, BatchStream, SampleBatch, TrainingData } from './data/index.js';
import type { Score } from './evaluate.js';
import type { Optimizer } from './optimizer/index.js';
import type { Schedule } from './schedule/index.js';
import type { TrainingSession, TrainingSessionOptions } from './session.js';

/** Options of `train`. */
export interface TrainOptions extends Omit<TrainingSessionOptions, 'inputShapes'>, Pick<BatchOptions, 'augment'> {
  /** What to learn from. */
  readonly data: Dataset;
  /**
   * What chooses the best weights; never the samples that will judge the result. A number: so many samples of `data`, set apart
   * in equal shares of each class. Default none: the last weights are kept.
   */
  readonly validation?: Dataset | number | undefined;
  readonly epochs: number;
  /** Samples a step. Default 64, at most what there is. */
  readonly batchSize?: number | undefined;
  /** Default AdamW. */
  readonly optimizer?: Optimizer | undefined;
  /** Learning rate by step. A function of the number of steps where a number of them is needed. Default one cycle up to 1e-3. */
  readonly schedule?: ((steps: number) => Schedule) | undefined;
  /** Steps whose gradients are averaged for one update. Default 1. */
  readonly accumulate?: number | undefined;
  /** Largest global norm of the gradients. Default none. */
  readonly clipNorm?: number | undefined;
  /** Decay of a moving average of the weights, which is then what is evaluated and kept. Default none. */
  readonly average?: number | undefined;
  /** Who makes the batches. Default `trainingBatches`; `@pare/train/node` has one that works in a thread of its own. */
  readonly batches?: ((data: TrainingData, options: BatchOptions) => BatchStream) | undefined;
  /** What is measured on the validation samples. Default accuracy where labels are classes, else nothing. */
  readonly score?: Score | undefined;
  /** Stop after so many epochs without a better score. Default never. */
  readonly patience?: number | undefined;
  /**
   * Whether the weights after so many of the steps may be kept, 0 being the model as it came. Default: all, so that a model is kept
   * as it came when no epoch scores better.
   */
  readonly mayKeep?: ((step: number, steps: number) => boolean) | undefined;
  /** Elements that stay zero: 0 where a weight is pruned, by parameter. */
  readonly masks?: ReadonlyMap<string, Uint8Array> | undefined;
  /** What the loss asked for beside labels (a teacher's answers), of the samples of a batch. */
  readonly targets?: ((batch: SampleBatch) => Promise<Feeds>) | undefined;
  /** Called before each step: pruning schedules change masks here. */
  readonly beforeStep?: ((session: TrainingSession, step: number, steps: number) => void | Promise<void>) | undefined;
  /** Where the state of the run is saved, and taken up again. Default nowhere. */
  readonly checkpoints?: CheckpointOptions | undefined;
  readonly onProgress?: ((progress: TrainProgress) => void) | undefined;
}

/** Where checkpoints are. */
export interface CheckpointStore {
  /** Keeps `checkpoint`, whole or not at all: what was there before survives a failure. */
  save(checkpoint: Checkpoint): Promise<void>;
  /** The newest one that is sound. */
  latest(): Promise<Checkpoint | undefined>;
}

export interface CheckpointOptions {
  readonly store: CheckpointStore;
  /** Seconds between two. Default 30. */
  readonly every?: number | undefined;
  /** Go on from the newest one, to the same bits as without the interruption. Default false: start anew. */
  readonly resume?: boolean | undefined;
}

/** Where a run stands. */
export interface TrainProgress {
  /** From 1. */
  readonly epoch: number;
  readonly epochs: number;
  /** Steps done, and all of them. */
  readonly step: number;
  readonly steps: number;
  /** Moving average of the loss. */
  readonly loss: number;
  /** Share of training samples of this epoch that were answered rightly, where labels are classes. */
  readonly accuracy?: number | undefined;
  readonly learningRate: number;
  readonly samplesPerSecond: number;
}

/** One pass over the training samples. */
export interface EpochRecord {
  /** From 1. */
  readonly epoch: number;
  /** Mean loss of its steps. */
  readonly loss: number;
  /** Training accuracy, where labels are classes: of the weights as they changed. */
  readonly accuracy?: number | undefined;
  /** Score on the validation samples. */
  readonly score?: number | undefined;
  readonly learningRate: number;
  readonly seconds: number;
}

/** What a run of training was. */
export interface TrainResult {
  /** Name of the loss. */
  readonly loss: string;
  readonly epochs: readonly EpochRecord[];
  /** Loss of every step, in order. */
  readonly curve: readonly number[];
  /** Learning rate of every step. */
  readonly rates: readonly number[];
  /** Score on the validation samples before the first step. */
  readonly start?: number | undefined;
  /** The epoch whose weights the model has now, from 1; 0: those before training were the best. */
  readonly best: number;
  /** Name of the validation score. */
  readonly score?: string | undefined;
  readonly steps: number;
  readonly samples: number;
  /** What was ignored or decided, one sentence each. */
  readonly notes: readonly string[];
}
