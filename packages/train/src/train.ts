import {
  type Dataset,
  type Feeds,
  fitData,
  fitSample,
  type HostTensor,
  type Model,
  PareError,
  type Port,
  throwIfAborted,
} from '@pare/core';
import {
  type BatchOptions,
  type BatchStream,
  type LabelSpec,
  rightAnswers,
  type SampleBatch,
  TrainingData,
  trainingBatches,
} from './data/index.js';
import { accuracy, evaluate, inputPorts, type Score } from './evaluate.js';
import { AVERAGE, adamW, type Optimizer, updateAverage, updateParameters } from './optimizer/index.js';
import { oneCycleSchedule, type Schedule } from './schedule/index.js';
import { TrainingSession, type TrainingSessionOptions } from './session.js';

/** Options of `train`. */
export interface TrainOptions extends Omit<TrainingSessionOptions, 'inputShapes'>, Pick<BatchOptions, 'augment'> {
  /** What to learn from. */
  readonly data: Dataset;
  /** What chooses the best weights; never the samples that will judge the result. */
  readonly validation?: Dataset | undefined;
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
  /** Elements that stay zero: 0 where a weight is pruned, by parameter. */
  readonly masks?: ReadonlyMap<string, Uint8Array> | undefined;
  /** What the loss asked for beside labels (a teacher's answers), of the samples of a batch. */
  readonly targets?: ((batch: SampleBatch) => Promise<Feeds>) | undefined;
  /** Called before each step: pruning schedules change masks here. */
  readonly beforeStep?: ((session: TrainingSession, step: number, steps: number) => void | Promise<void>) | undefined;
  readonly onProgress?: ((progress: TrainProgress) => void) | undefined;
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
  readonly epochs: readonly EpochRecord[];
  /** Loss of every step, in order. */
  readonly curve: readonly number[];
  /** The epoch whose weights the model has now, from 1. */
  readonly best: number;
  /** Name of the validation score. */
  readonly score?: string | undefined;
  readonly steps: number;
  readonly samples: number;
  /** What was ignored or decided, one sentence each. */
  readonly notes: readonly string[];
}

/** How much of the loss that is shown is the newest one. */
const SMOOTHING = 0.05;

/**
 * Trains `model` in place: reads and checks the data, derives the gradient graph, runs it in the engine, updates the weights
 * outside, keeps the weights that score best on the validation samples. The same options and seed on the same machine give
 * the same bits.
 * @throws PareError `bad-data` for data that does not fit, and when the loss is no longer finite; `unsupported` for a model that
 *   cannot be trained; `bad-option`; `engine`; `aborted`. The model is changed only when all went well.
 */
export async function train(model: Model, options: TrainOptions): Promise<TrainResult> {
  const run = await Run.open(model, options);
  try {
    return await run.all();
  } finally {
    await run.close();
  }
}

/** What a run carries from step to step. */
class Run {
  readonly #curve: number[] = [];
  readonly #epochs: EpochRecord[] = [];
  #best: { readonly epoch: number; readonly score: number; readonly weights: Weights } | undefined;
  readonly #schedule: Schedule;

  private constructor(
    private readonly model: Model,
    private readonly options: TrainOptions,
    private readonly session: TrainingSession,
    private readonly data: TrainingData,
    private readonly validation: TrainingData | undefined,
    private readonly score: Score | undefined,
    private readonly batchSize: number,
    private readonly stream: BatchStream,
    private readonly label: LabelSpec | undefined,
  ) {
    const { accumulate = 1, schedule = defaultSchedule } = options;
    this.#schedule = schedule(Math.max(1, Math.floor((stream.steps * options.epochs) / accumulate)));
  }

  static async open(model: Model, options: TrainOptions): Promise<Run> {
    check(options);
    const { data: dataset, validation, shards = 1, signal } = options;
    const ports = inputPorts(model);
    const shapes = await sampleShapes(dataset, ports);
    const wanted = options.batchSize ?? 64;
    const most = dataset.size === undefined ? wanted : Math.min(wanted, dataset.size - (dataset.size % shards));
    const batchSize = Math.max(most, shards);
    const inputShapes = Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, [batchSize, ...dims]]));
    const session = await TrainingSession.open(model, { ...options, inputShapes });
    try {
      const label = labelSpec(session);
      const reading = { inputs: ports, label, signal };
      const data = await TrainingData.read(dataset, reading);
      const { batches = trainingBatches, augment, seed } = options;
      const stream = batches(data, { batchSize, augment, seed });
      const held = validation && (await TrainingData.read(validation, reading));
      const score =
        options.score ?? (label?.kind === 'class' && label.dims.length === 0 ? accuracy(session.output) : undefined);
      for (const [name, mask] of options.masks ?? []) session.parameters.setMask(name, mask);
      return new Run(model, options, session, data, held, score, batchSize, stream, label);
    } catch (error) {
      await session.close();
      throw error;
    }
  }

  async all(): Promise<TrainResult> {
    const { epochs, patience = Number.POSITIVE_INFINITY } = this.options;
    const notes = [...this.data.warnings];
    const left = this.data.size - this.stream.steps * this.batchSize;
    if (left > 0) notes.push(`Each epoch leaves out ${left} samples (others each time) that do not fill a batch.`);
    for (let epoch = this.#epochs.length; epoch < epochs; epoch++) {
      await this.#epoch(epoch);
      await this.#judge(epoch);
      const since = epoch + 1 - (this.#best?.epoch ?? epoch + 1);
      if (since >= patience) {
        notes.push(`Stopped after epoch ${epoch + 1}: no better score for ${since} epochs.`);
        break;
      }
    }
    const weights = this.#best?.weights ?? this.#weights();
    this.session.writeTo(this.model, weights.values, weights.statistics);
    return {
      epochs: this.#epochs,
      curve: this.#curve,
      best: this.#best?.epoch ?? this.#epochs.length,
      score: this.validation && this.score?.name,
      steps: this.#curve.length,
      samples: this.data.size,
      notes,
    };
  }

  async close(): Promise<void> {
    await this.stream.close();
    await this.session.close();
  }

  async #epoch(epoch: number): Promise<void> {
    const { options, session, batchSize, stream } = this;
    const { accumulate = 1, optimizer = DEFAULT_OPTIMIZER, clipNorm, epochs } = options;
    const { parameters } = session;
    const steps = stream.steps * epochs;
    const start = performance.now();
    let [lossSum, right, counted, seen, learningRate] = [0, 0, 0, 0, 0];
    let shown: number | undefined;
    let step = epoch * stream.steps;
    for await (const batch of stream.epoch(epoch)) {
      throwIfAborted(options.signal);
      await options.beforeStep?.(session, step, steps);
      if (step % accumulate === 0) parameters.clearGradients();
      const { loss, outputs } = await session.gradients(await this.#withTargets(batch));
      step++;
      if (step % accumulate === 0) {
        const updates = step / accumulate;
        learningRate = this.#schedule(updates - 1);
        updateParameters(parameters, optimizer, { step: updates, learningRate, divisor: accumulate, clipNorm });
        if (options.average !== undefined) updateAverage(parameters, updates, options.average);
      }
      this.#curve.push(loss);
      lossSum += loss;
      shown = shown === undefined ? loss : shown + SMOOTHING * (loss - shown);
      seen += batchSize;
      const answers = this.#rightAnswers(outputs, batch);
      right += answers.right;
      counted += answers.counted;
      options.onProgress?.({
        epoch: epoch + 1,
        epochs,
        step,
        steps,
        loss: shown,
        accuracy: counted > 0 ? right / counted : undefined,
        learningRate,
        samplesPerSecond: (seen / (performance.now() - start)) * 1000,
      });
    }
    this.#epochs.push({
      epoch: epoch + 1,
      loss: lossSum / stream.steps,
      accuracy: counted > 0 ? right / counted : undefined,
      learningRate,
      seconds: (performance.now() - start) / 1000,
    });
  }

  async #withTargets(batch: SampleBatch): Promise<SampleBatch> {
    const { targets } = this.options;
    return targets ? { ...batch, targets: { ...batch.targets, ...(await targets(batch)) } } : batch;
  }

  /** How the parts of a step were answered, where labels are classes. */
  #rightAnswers(
    outputs: readonly HostTensor[],
    { targets: { label } }: SampleBatch,
  ): { right: number; counted: number } {
    const total = { right: 0, counted: 0 };
    if (this.label?.kind !== 'class' || !label) return total;
    let at = 0;
    for (const output of outputs) {
      const rows = output.dims[0] as number;
      const part = sliceRows(label, at, rows);
      const { right, counted } = rightAnswers(output, part, { ignoreIndex: this.label.ignoreIndex });
      total.right += right;
      total.counted += counted;
      at += rows;
    }
    return total;
  }

  /** Scores the weights on the validation samples, and keeps the best. */
  async #judge(epoch: number): Promise<void> {
    const { validation, score, options } = this;
    if (!validation || !score) return;
    const weights = this.#weights();
    const copy = this.model.clone();
    this.session.writeTo(copy, weights.values, weights.statistics);
    const { shards = 1, threads = 1 } = options;
    const value = await evaluate(options.engine, copy, validation, score, {
      threads: shards * threads,
      signal: options.signal,
    });
    const record = this.#epochs[epoch] as EpochRecord;
    this.#epochs[epoch] = { ...record, score: value };
    const better = !this.#best || (score.higherIsBetter ? value > this.#best.score : value < this.#best.score);
    if (better) this.#best = { epoch: epoch + 1, score: value, weights };
  }

  /** A copy of what the model would be now: the average of the weights where one is kept. */
  #weights(): Weights {
    const { parameters, statistics } = this.session;
    const values = parameters.snapshot(this.options.average === undefined ? 'values' : AVERAGE);
    return { values, statistics: new Map([...statistics.tensors()].map(([name, data]) => [name, data.slice()])) };
  }
}

/** Parameters in the layout of the store, and running statistics by name. */
interface Weights {
  readonly values: Float32Array;
  readonly statistics: ReadonlyMap<string, Float32Array>;
}

const DEFAULT_OPTIMIZER = adamW();
const defaultSchedule = (steps: number): Schedule => oneCycleSchedule({ learningRate: 1e-3, steps });

function check({ epochs, batchSize = 1, accumulate = 1 }: TrainOptions): void {
  for (const [name, value] of Object.entries({ epochs, batchSize, accumulate })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new PareError('bad-option', `The option ${name} is ${value}: give a whole number of 1 or more.`);
    }
  }
}

/** Shape of each input for one sample, from the first one. */
export async function sampleShapes(dataset: Dataset, ports: readonly Port[]): Promise<Record<string, readonly number[]>> {
  for await (const sample of dataset) {
    const fit = fitData(sample, ports, dataset.name);
    const tensors = fitSample(sample, ports, fit, dataset.name, 0);
    return Object.fromEntries(ports.map((port, i) => [port.name, (tensors[i] as HostTensor).dims]));
  }
  throw new PareError('bad-data', `${dataset.name} has no samples: there is nothing to train on.`);
}

/** How the loss wants labels; undefined when it wants none. */
function labelSpec(session: TrainingSession): LabelSpec | undefined {
  const target = session.targets.find((t) => t.label !== undefined);
  if (!target?.label) return undefined;
  const dtype = target.dtype as LabelSpec['dtype'];
  return { kind: target.label, dtype, dims: target.dims.slice(1), ...target.range };
}

function sliceRows({ dtype, dims, data }: HostTensor, from: number, rows: number): HostTensor {
  const size = dims.slice(1).reduce((a, b) => a * b, 1);
  return {
    dtype,
    dims: [rows, ...dims.slice(1)],
    data: data.slice(from * size, (from + rows) * size) as HostTensor['data'],
  };
}
