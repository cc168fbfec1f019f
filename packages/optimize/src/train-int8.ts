import { availableParallelism } from 'node:os';
import { type Dataset, type Engine, type Feeds, type Model, PareError } from '@pare/core';
import {
  type BatchOptions,
  crossEntropy,
  distill,
  exportQuantized,
  fakeQuantize,
  oneCycleSchedule,
  type TrainingData,
  type TrainOptions,
  trainingOf,
  train as trainModel,
} from '@pare/train';
import { workerBatches } from '@pare/train/node';
import {
  type DataIndex,
  type Gates,
  type MeasuredVariant,
  type Metric,
  type RefusedVariant,
  type TrainingEvidence,
  type VerifyModel,
  verify,
} from '@pare/verify';
import { type BuiltVariant, stage, type Workshop } from './build.js';
import { calibrationFeeds } from './data.js';
import { dropText, gateFailures } from './judge.js';
import { trainingEvidence } from './training-evidence.js';

/** Name of the variant that training is tried for. */
export const TRAINED = 'int8-qat';

/** The bits of `int8`. */
const PRECISION = 'w8a8';
const EPOCHS = 2;
/** Training samples that choose the weights: a tenth, at most so many. */
const MOST_VALIDATION = 2000;
const BATCH = 32;
/** Share of its tensor's size by which a weight changes in a step, at most: it has learned already. */
const RATE = 2e-3;
/** Parts of a batch that run at the same time. */
const MOST_SHARDS = 4;
/** Samples for the first ranges of activations. */
const CALIBRATION = 256;

/** What the user gives to train on. */
export interface TrainingSamples {
  readonly data: Dataset;
  /** What one pass over them showed. */
  readonly index: DataIndex;
  /** Passes over them. Default 2. */
  readonly epochs?: number | undefined;
}

/** What is known when it is decided whether to train. */
export interface Attempt {
  readonly samples: TrainingSamples;
  readonly original: VerifyModel;
  /** All that was built. */
  readonly built: readonly BuiltVariant[];
  /** What was not, and why. */
  readonly refused: readonly RefusedVariant[];
  readonly evaluation: Dataset;
  readonly metric: Metric | undefined;
  readonly gates: Gates;
  readonly threads: number;
  readonly seed: number;
  readonly onProgress?: TrainOptions['onProgress'];
}

/** A trained variant with how it learned, or why there is none. */
export type Trained =
  | { readonly variant: BuiltVariant; readonly training: TrainingEvidence }
  | { readonly refused: RefusedVariant };

/**
 * Trains what post-training quantization could not do: where int8 was built and no form of it holds the gates on accuracy,
 * quantization-aware training to the same bits. Part of the training samples chooses the weights; the evaluation samples only
 * say, before it, whether there is a need, and judge the result like any other variant's.
 * @throws PareError `aborted`, `io`; whatever else goes wrong is the reason why there is no such variant.
 */
export async function trainInt8(attempt: Attempt, workshop: Workshop): Promise<Trained> {
  const refuse = (reason: string): Trained => ({ refused: { name: TRAINED, recipe: [], reason } });
  const need = await needOf(attempt, workshop);
  if (!need.exists) return refuse(`Not tried: ${need.why}`);
  try {
    return await train(attempt, need.why, workshop);
  } catch (error) {
    if (!(error instanceof PareError) || error.code === 'aborted' || error.code === 'io') throw error;
    return refuse(`${need.why} Training could not mend it: ${error.message}`);
  }
}

/** Whether there is something to win back, and why (not), in a sentence. */
async function needOf(
  attempt: Attempt,
  { engine, signal }: Workshop,
): Promise<{ readonly exists: boolean; readonly why: string }> {
  const { built, refused, original, evaluation, metric, threads, seed } = attempt;
  const { maxDrop, minCosine } = attempt.gates;
  const gates: Gates = {
    ...(maxDrop === undefined ? {} : { maxDrop }),
    ...(minCosine === undefined ? {} : { minCosine }),
  };
  if (Object.keys(gates).length === 0) {
    return { exists: false, why: 'no gate limits what int8 may lose (--max-drop), so there is nothing to win back.' };
  }
  const candidates = built.filter(({ recipe }) => recipe.name === 'int8' || recipe.name === 'int8-mixed');
  if (candidates.length === 0) {
    const why = refused.find(({ name }) => name === 'int8')?.reason ?? 'It was not planned.';
    return { exists: false, why: `there is no int8 to better. ${why}` };
  }
  const models = candidates.map(({ verifyModel }) => verifyModel);
  const { variants } = await verify(engine, original, models, {
    data: evaluation,
    metrics: metric ? [metric] : [],
    gates,
    threads,
    seed,
    signal,
    skip: ['layers', 'stability', 'saturation', 'performance'],
  });
  const measured = variants.filter((variant) => !variant.isOriginal);
  const failures = measured.map((variant) => ({ variant, reasons: gateFailures(variant, gates) }));
  const holding = failures.find(({ reasons }) => reasons.length === 0);
  if (holding) {
    const { name } = holding.variant;
    return {
      exists: false,
      why: `${name} holds the gates on accuracy without training: ${dropText(holding.variant)}.`,
    };
  }
  const told = failures.map(({ variant, reasons }) => `${variant.name}: ${reasons[0]}`);
  return { exists: true, why: `Quantized after training, no int8 variant holds the gates. ${told.join(' ')}` };
}

async function train(attempt: Attempt, why: string, workshop: Workshop): Promise<Trained> {
  const { samples, seed, onProgress } = attempt;
  const { engine, simplified, signal } = workshop;
  const { data, index, epochs = EPOCHS } = samples;
  const isClassed = index.labelled && index.classes !== null;
  const validation = Math.min(MOST_VALIDATION, Math.max(1, Math.floor(index.samples.length / 10)));
  const model = simplified.clone();
  const ranges = feedsOf(data, simplified, engine, signal);
  const plan = await fakeQuantize(model, { engine, signal, precision: PRECISION, samples: ranges });
  const options = {
    ...trainingOf(plan),
    rates: 'relative' as const,
    schedule: (steps: number) => oneCycleSchedule({ learningRate: RATE, steps }),
    engine,
    signal,
    data,
    epochs,
    batchSize: BATCH,
    shards: Math.min(MOST_SHARDS, availableParallelism()),
    seed,
    batches: (all: TrainingData, how: BatchOptions) => workerBatches(all, how),
    onProgress,
  };
  // Without classes there is one truth that always fits: what the model answers in float.
  const answers = [{ kind: 'response', temperature: 'logits' } as const];
  const result = isClassed
    ? await trainModel(model, { ...options, validation, loss: crossEntropy() })
    : await distill(model, { ...options, teacher: simplified, terms: answers, labels: null });
  await exportQuantized(model, plan);
  const training = trainingEvidence({ name: TRAINED, what: 'qat', seed, result });
  const chosen = training.score ? ` ${validation} others of them chose the weights.` : '';
  const step = {
    transform: 'quantize-aware',
    options: { precision: PRECISION, epochs, loss: result.loss, seed, ...(training.score ? { validation } : {}) },
    notes: [why, `Trained on ${result.samples} samples of ${data.name}.${chosen}`, ...plan.notes],
  };
  const variant = await stage({ name: TRAINED, dtype: 'int8' }, model, [step], workshop);
  return { variant, training: { ...training, notes: [why, ...training.notes] } };
}

/** The first samples, for the ranges of activations. */
async function* feedsOf(
  data: Dataset,
  model: Model,
  engine: Engine,
  signal: AbortSignal | undefined,
): AsyncGenerator<Feeds> {
  let left = CALIBRATION;
  for await (const feeds of calibrationFeeds(data, engine, model, signal)()) {
    yield feeds;
    if (--left <= 0) return;
  }
}

/** What quantization lost and training won back, as measured on the evaluation samples: a note more. */
export function told(training: TrainingEvidence, variants: readonly MeasuredVariant[]): TrainingEvidence {
  const scores = ['original', 'int8', 'int8-mixed', TRAINED].flatMap((name) => {
    const { accuracy } = variants.find((v) => v.name === name) ?? {};
    if (!accuracy || accuracy.value === null) return [];
    const { value, format } = accuracy;
    return [`${name} ${format === 'percent' ? `${(100 * value).toFixed(2)} %` : value.toPrecision(4)}`];
  });
  const trained = variants.find((v) => v.name === TRAINED)?.accuracy;
  const notes = [
    ...training.notes,
    ...(scores.length > 1
      ? [`On the evaluation samples, ${trained?.metric ?? 'the metric'}: ${scores.join(', ')}.`]
      : []),
    ...(trained?.drop?.verdict === 'better'
      ? ['It is better than the original because it has learned more: the float model could, too (`pare finetune`).']
      : []),
  ];
  return { ...training, notes };
}
