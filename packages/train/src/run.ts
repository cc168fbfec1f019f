import { type HostTensor, type Model, PareError, throwIfAborted } from '@pare/core';
import type { SavedWeights } from './checkpoint.js';
import {
  type BatchStream,
  type LabelSpec,
  rightAnswers,
  type SampleBatch,
  TrainingData,
  type TrainingDataOptions,
  trainingBatches,
} from './data/index.js';
import { inputPorts } from './evaluate.js';
import { isClassified, type Judge, judgeOf } from './judge.js';
import { AVERAGE, adamW, type Optimizer, updateAverage, updateParameters } from './optimizer/index.js';
import { refuseOtherRun, runKey } from './run-key.js';
import { sampleShapes } from './sample-shapes.js';
import { oneCycleSchedule, type Schedule } from './schedule/index.js';
import { labelSpec, TrainingSession } from './session.js';
import type { EpochRecord, TrainOptions, TrainResult } from './train-options.js';

/** How much of the loss that is shown is the newest one. */
const SMOOTHING = 0.05;
/** Seconds between checkpoints. */
const SAVE_EVERY = 30;

const DEFAULT_OPTIMIZER = adamW();
const defaultSchedule = (steps: number): Schedule => oneCycleSchedule({ learningRate: 1e-3, steps });

/** What a run knows beside its parameters: with them, all that a checkpoint needs. Plain JSON. */
interface Progress {
  /** Epoch and steps in it that are done. */
  epoch: number;
  step: number;
  /** Of the epoch that is under way. */
  lossSum: number;
  right: number;
  counted: number;
  seconds: number;
  /** The loss that is shown. */
  shown: number | null;
  readonly curve: number[];
  readonly epochs: EpochRecord[];
  /** The epoch whose weights were scored last; 0: those before training. */
  judged: number | null;
  /** Score before the first step. */
  start: number | null;
  /** Epoch 0 is the model as it came. */
  best: { readonly epoch: number; readonly score: number } | null;
}

/** One run of training, from the first step or from a checkpoint. */
export class Run {
  readonly #notes: string[] = [];
  readonly #optimizer: Optimizer;
  readonly #schedule: Schedule;
  #at: Progress = {
    epoch: 0,
    step: 0,
    lossSum: 0,
    right: 0,
    counted: 0,
    seconds: 0,
    shown: null,
    curve: [],
    epochs: [],
    judged: null,
    start: null,
    best: null,
  };
  #best: SavedWeights | undefined;
  #saved = performance.now();

  private constructor(
    private readonly model: Model,
    private readonly options: TrainOptions,
    private readonly session: TrainingSession,
    private readonly data: TrainingData,
    private readonly judge: Judge | undefined,
    private readonly batchSize: number,
    private readonly stream: BatchStream,
    private readonly label: LabelSpec | undefined,
  ) {
    const { accumulate = 1, schedule = defaultSchedule, optimizer = DEFAULT_OPTIMIZER } = options;
    this.#optimizer = optimizer;
    this.#schedule = schedule(Math.max(1, Math.floor((stream.steps * options.epochs) / accumulate)));
  }

  /** Reads the data, opens the engine, and takes up a checkpoint when that is wanted. @throws PareError as `train` says. */
  static async open(model: Model, options: TrainOptions): Promise<Run> {
    check(options);
    const { data: dataset, validation, shards = 1, seed = 1, signal } = options;
    const ports = inputPorts(model);
    const shapes = await sampleShapes(dataset, ports);
    const apart = typeof validation === 'number' ? validation : 0;
    const batchSize = fitBatch(options.batchSize ?? 64, dataset.size && Math.max(dataset.size - apart, 1), shards);
    const inputShapes = Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, [batchSize, ...dims]]));
    const session = await TrainingSession.open(model, { ...options, inputShapes });
    let stream: BatchStream | undefined;
    try {
      const label = labelSpec(session);
      const reading = { inputs: ports, label, signal };
      const all = await TrainingData.read(dataset, reading);
      const [held, data] = await heldOut(all, validation, reading, seed);
      const { batches = trainingBatches, augment } = options;
      stream = batches(data, { batchSize, augment, seed });
      for (const [name, mask] of options.masks ?? []) session.parameters.setMask(name, mask);
      const judge = held && judgeOf(held, session, options, label);
      const run = new Run(model, options, session, data, judge, batchSize, stream, label);
      if (options.checkpoints?.resume) await run.#resume();
      return run;
    } catch (error) {
      await stream?.close();
      await session.close();
      throw error;
    }
  }

  /** Runs to the end and writes the best weights into the model. */
  async finish(): Promise<TrainResult> {
    const { options } = this;
    const { epochs, accumulate = 1, patience = Number.POSITIVE_INFINITY } = options;
    this.#notes.push(...this.data.warnings);
    const left = this.data.size - this.stream.steps * this.batchSize;
    if (left > 0)
      this.#notes.push(`Each epoch leaves out ${left} samples, others each time, that do not fill a batch.`);
    const at = this.#at;
    try {
      for (;;) {
        if (at.judged !== at.epoch && at.step === 0) await this.#judge();
        const since = at.epoch - (at.best?.epoch ?? at.epoch);
        if (since >= patience)
          this.#notes.push(`Stopped after epoch ${at.epoch}: no better score for ${since} epochs.`);
        if (since >= patience || at.epoch >= epochs) break;
        await this.#epoch();
      }
    } catch (error) {
      // The engine gives up in the middle of a step: what counts is as it was after the last one.
      if (options.signal?.aborted) await this.#save();
      throw error;
    }
    const weights = this.#best ?? this.#weights();
    this.session.writeTo(this.model, weights.values, weights.statistics);
    return {
      loss: options.loss.name,
      epochs: at.epochs,
      curve: at.curve,
      rates: at.curve.map((_, step) => this.#schedule(Math.floor(step / accumulate))),
      start: at.start ?? undefined,
      best: at.best?.epoch ?? at.epochs.length,
      score: this.judge?.name,
      steps: at.curve.length,
      samples: this.data.size,
      notes: this.#notes,
    };
  }

  async close(): Promise<void> {
    await this.stream.close();
    await this.session.close();
  }

  async #epoch(): Promise<void> {
    const { options, session, batchSize, stream } = this;
    const at = this.#at;
    const { accumulate = 1, clipNorm, epochs } = options;
    const { parameters } = session;
    const steps = stream.steps * epochs;
    const start = performance.now();
    const before = { step: at.step, seconds: at.seconds };
    let learningRate = this.#schedule(Math.max(0, this.#updates - 1));
    for await (const batch of stream.epoch(at.epoch, at.step)) {
      throwIfAborted(options.signal);
      const step = at.epoch * stream.steps + at.step;
      await options.beforeStep?.(session, step, steps);
      if (step % accumulate === 0) parameters.clearGradients();
      session.step = step;
      const { loss, outputs } = await session.gradients(await this.#withTargets(batch));
      at.step++;
      if ((step + 1) % accumulate === 0) {
        const updates = (step + 1) / accumulate;
        learningRate = this.#schedule(updates - 1);
        updateParameters(parameters, this.#optimizer, { step: updates, learningRate, divisor: accumulate, clipNorm });
        if (options.average !== undefined) updateAverage(parameters, updates, options.average);
      }
      at.curve.push(loss);
      at.lossSum += loss;
      at.shown = at.shown === null ? loss : at.shown + SMOOTHING * (loss - at.shown);
      this.#count(outputs, batch);
      at.seconds = before.seconds + (performance.now() - start) / 1000;
      options.onProgress?.({
        epoch: at.epoch + 1,
        epochs,
        step: step + 1,
        steps,
        loss: at.shown,
        accuracy: at.counted > 0 ? at.right / at.counted : undefined,
        learningRate,
        samplesPerSecond: ((at.step - before.step) * batchSize) / (at.seconds - before.seconds),
      });
      const { every = SAVE_EVERY } = options.checkpoints ?? {};
      if (performance.now() - this.#saved > every * 1000) await this.#save();
    }
    at.epochs.push({
      epoch: at.epoch + 1,
      loss: at.lossSum / stream.steps,
      accuracy: at.counted > 0 ? at.right / at.counted : undefined,
      learningRate,
      seconds: at.seconds,
    });
    Object.assign(at, { epoch: at.epoch + 1, step: 0, lossSum: 0, right: 0, counted: 0, seconds: 0 });
  }

  async #withTargets(batch: SampleBatch): Promise<SampleBatch> {
    const { targets } = this.options;
    return targets ? { ...batch, targets: { ...batch.targets, ...(await targets(batch)) } } : batch;
  }

  /** Counts what was answered rightly, where labels are classes. */
  #count(outputs: readonly HostTensor[], { targets: { label } }: SampleBatch): void {
    if (!isClassified(this.label) || !label) return;
    let row = 0;
    for (const output of outputs) {
      const rows = output.dims[0] as number;
      const part = sliceRows(label, row, rows);
      const { right, counted } = rightAnswers(output, part, { ignoreIndex: this.label?.ignoreIndex });
      this.#at.right += right;
      this.#at.counted += counted;
      row += rows;
    }
  }

  /** Scores the weights on the validation samples, and keeps the best. */
  async #judge(): Promise<void> {
    const { judge } = this;
    const { best, epochs, epoch } = this.#at;
    if (!judge) return;
    const weights = this.#weights();
    const copy = this.model.clone();
    this.session.writeTo(copy, weights.values, weights.statistics);
    const value = await judge.of(copy);
    this.#at.judged = epoch;
    if (epoch === 0) this.#at.start = value;
    else epochs[epoch - 1] = { ...(epochs[epoch - 1] as EpochRecord), score: value };
    const { mayKeep, epochs: all } = this.options;
    if (mayKeep && !mayKeep(epoch * this.stream.steps, all * this.stream.steps)) return;
    const better = !best || (judge.higherIsBetter ? value > best.score : value < best.score);
    if (!better) return;
    this.#best = weights;
    this.#at.best = { epoch, score: value };
  }

  /** A copy of what the model would be now: the average of the weights where one is kept. */
  #weights(): SavedWeights {
    const { parameters, statistics } = this.session;
    const averaged = this.options.average !== undefined && parameters.has(AVERAGE);
    const values = parameters.snapshot(averaged ? AVERAGE : 'values');
    return { values, statistics: new Map([...statistics.tensors()].map(([name, data]) => [name, data.slice()])) };
  }

  get #key(): string {
    return runKey(this.options, {
      fingerprint: this.session.fingerprint,
      samples: this.data.size,
      data: this.data.name,
      batchSize: this.batchSize,
      optimizer: this.#optimizer.name,
      schedule: this.#schedule,
    });
  }

  get #updates(): number {
    return Math.floor((this.#at.epoch * this.stream.steps + this.#at.step) / (this.options.accumulate ?? 1));
  }

  /** Saves the run, unless gradients are being accumulated, which a checkpoint does not hold. */
  async #save(): Promise<void> {
    const { checkpoints, accumulate = 1 } = this.options;
    const steps = this.#at.epoch * this.stream.steps + this.#at.step;
    if (!checkpoints || steps % accumulate !== 0) return;
    const { parameters, statistics } = this.session;
    await checkpoints.store.save({
      run: this.#key,
      step: steps,
      parameters: parameters.state(),
      statistics: statistics.tensors(),
      best: this.#best,
      progress: this.#at,
    });
    this.#saved = performance.now();
  }

  async #resume(): Promise<void> {
    const checkpoint = await this.options.checkpoints?.store.latest();
    if (!checkpoint) {
      this.#notes.push('There is no checkpoint to resume from: the run started anew.');
      return;
    }
    refuseOtherRun(checkpoint.run, this.#key);
    this.session.parameters.load(checkpoint.parameters);
    for (const [name, data] of this.session.statistics.tensors()) data.set(checkpoint.statistics.get(name) ?? data);
    this.#best = checkpoint.best;
    this.#at = checkpoint.progress as Progress;
    this.#notes.push(`Resumed at step ${checkpoint.step}.`);
  }
}

function check({ epochs, batchSize = 1, accumulate = 1, shards = 1 }: TrainOptions): void {
  for (const [name, value] of Object.entries({ epochs, batchSize, accumulate, shards })) {
    if (!Number.isInteger(value) || value < 1) {
      throw new PareError('bad-option', `The option ${name} is ${value}: give a whole number of 1 or more.`);
    }
  }
}

/** The batch size that is wanted, or what there is of samples, in a multiple of the shards. */
function fitBatch(wanted: number, size: number | undefined, shards: number): number {
  const most = Math.min(wanted, size ?? wanted);
  return Math.max(most - (most % shards), shards);
}

/** The samples that judge, and those that are left to learn from. */
async function heldOut(
  data: TrainingData,
  validation: TrainOptions['validation'],
  reading: TrainingDataOptions,
  seed: number,
): Promise<[TrainingData | undefined, TrainingData]> {
  if (typeof validation === 'number') return data.split(validation, seed);
  return [validation && (await TrainingData.read(validation, reading)), data];
}

function sliceRows({ dtype, dims, data }: HostTensor, from: number, rows: number): HostTensor {
  const size = dims.slice(1).reduce((a, b) => a * b, 1);
  return {
    dtype,
    dims: [rows, ...dims.slice(1)],
    data: data.slice(from * size, (from + rows) * size) as HostTensor['data'],
  };
}
