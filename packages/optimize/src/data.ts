import { type Engine, type Feeds, type Model, PareError } from '@pare/core';
import { type FixedShapes, fixShapes } from '@pare/transforms';
import {
  batches,
  type DataIndex,
  type DataInfo,
  type Dataset,
  indexData,
  indexLimits,
  randomDataset,
  refuseOverlap,
  splitData,
} from '@pare/verify';
import type { OnOptimizeProgress, OptimizeStage } from './progress.js';
import type { TrainingSamples } from './train-int8.js';

/** The samples of one run, apart: what calibrates never scores. */
export interface RunData {
  readonly info: DataInfo;
  /** Undefined: nothing to calibrate with. */
  readonly calibration: Dataset | undefined;
  readonly evaluation: Dataset;
  /** What one pass over the user's samples showed; undefined for random inputs. */
  readonly index?: DataIndex | undefined;
}

export interface RunDataOptions extends FixedShapes {
  readonly data?: Dataset | undefined;
  readonly calibration?: Dataset | undefined;
  readonly seed: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnOptimizeProgress | undefined;
}

/** How many random inputs stand in for data. */
const RANDOM_SAMPLES = 16;

/**
 * Splits the user's samples, or takes the calibration samples that the user gave apart; without any, random inputs that can
 * measure speed and numerics and calibrate nothing.
 * @throws PareError `bad-data` for no samples, and for calibration samples that are evaluation samples too.
 */
export async function prepareData(model: Model, options: RunDataOptions): Promise<RunData> {
  const { data, seed } = options;
  if (!data) return randomData(await withFixedShapes(model, options), seed);
  const index = await readIndex(data, 'samples', options);
  const about = {
    name: data.name,
    kind: 'user' as const,
    hash: index.hash,
    samples: index.samples.length,
    labelled: index.labelled,
    classes: index.classes,
    seed,
  };
  if (options.calibration) {
    const own = await readIndex(options.calibration, 'calibration-samples', options);
    refuseOverlap(own, index);
    const sizes = { calibration: own.samples.length, evaluation: index.samples.length };
    return {
      calibration: options.calibration,
      evaluation: data,
      index,
      info: { ...about, ...sizes, warnings: index.warnings },
    };
  }
  if (index.samples.length < 2) {
    throw new PareError('bad-data', `${data.name} has one sample: some must calibrate and others must evaluate.`);
  }
  const split = splitData(data, index, { seed });
  const sizes = { calibration: split.calibration.size ?? 0, evaluation: split.evaluation.size ?? 0 };
  const warnings = [...index.warnings, ...split.warnings];
  return {
    calibration: split.calibration,
    evaluation: split.evaluation,
    index,
    info: { ...about, ...sizes, warnings },
  };
}

/**
 * Reads through samples to train on.
 * @throws PareError `bad-data` for none, and for those that are also in the data that judges; `bad-option` when there is no such data.
 */
export async function prepareTraining(
  samples: Pick<TrainingSamples, 'data' | 'epochs'>,
  { index: judging }: RunData,
  options: RunDataOptions,
): Promise<TrainingSamples> {
  if (!judging) {
    throw new PareError('bad-option', 'Whether training helps is judged on other samples: give some as data (--data).');
  }
  const index = await readIndex(samples.data, 'training-samples', options);
  refuseOverlap(index, judging, 'training');
  return { ...samples, index };
}

function readIndex(data: Dataset, stage: OptimizeStage, options: RunDataOptions): Promise<DataIndex> {
  return indexData(data, {
    signal: options.signal,
    onProgress: (done, total) => options.onProgress?.({ stage, done, total }),
  });
}

/** Random inputs are made in the shapes that the variants will have, which the original takes as well. */
async function withFixedShapes(model: Model, { fixShapes: shapes, fixDims }: FixedShapes): Promise<Model> {
  const copy = model.clone();
  await fixShapes({ fixShapes: shapes, fixDims }).apply(copy, {});
  return copy;
}

function randomData(model: Model, seed: number, dims: Readonly<Record<string, number>> = {}): RunData {
  const ports = model.graph.inputs
    .filter((v) => !v.initializer)
    .map((v) => ({ name: v.name, dtype: v.dtype ?? 'float32', dims: v.shape ?? [] }) as const);
  const evaluation = randomDataset(ports, { seed, samples: RANDOM_SAMPLES, limits: indexLimits(model), dims });
  const info: DataInfo = {
    name: 'random inputs',
    kind: 'random',
    hash: null,
    samples: RANDOM_SAMPLES,
    calibration: 0,
    evaluation: RANDOM_SAMPLES,
    labelled: false,
    classes: null,
    seed,
    warnings: [],
  };
  return { info, calibration: undefined, evaluation };
}

/**
 * `run` with random inputs that `model` really takes: in the usual shapes, or in `shapes`, in which it was seen to run. Data of
 * the user's stays as it is.
 * @throws PareError `bad-data` when it takes neither.
 */
export async function runnableData(
  run: RunData,
  model: Model,
  shapes: Readonly<Record<string, readonly number[]>> | undefined,
  { engine, signal, seed = 1 }: { engine: Engine; signal?: AbortSignal | undefined; seed?: number | undefined },
): Promise<RunData> {
  if (run.info.kind !== 'random') return run;
  const session = await engine.open(model, signal ? { signal } : {});
  const takes = async ({ evaluation }: RunData): Promise<boolean> => {
    try {
      for await (const { feeds } of batches(evaluation, session.inputs, { size: 1 })) {
        await session.run(feeds);
        return true;
      }
      return false;
    } catch (error) {
      if (error instanceof PareError && error.code === 'engine') return false;
      throw error;
    }
  };
  try {
    if (await takes(run)) return run;
    const dims = Object.entries(shapes ?? {}).flatMap(([name, shape]) =>
      shape.map((d, axis) => [`${name}:${axis}`, d]),
    );
    const other = randomData(model, seed, Object.fromEntries(dims));
    if (shapes && (await takes(other))) return other;
  } finally {
    await session.close();
  }
  throw new PareError(
    'bad-data',
    'The model runs on none of the random inputs that were tried. Give samples, or fix the shapes.',
  );
}

/** The calibration samples as feeds of one sample each, as often as a recipe asks. */
export function calibrationFeeds(
  data: Dataset,
  engine: Engine,
  model: Model,
  signal: AbortSignal | undefined,
): () => AsyncIterable<Feeds> {
  return async function* () {
    const session = await engine.open(model, { optimization: 'disabled', ...(signal ? { signal } : {}) });
    const { inputs } = session;
    await session.close();
    try {
      for await (const batch of batches(data, inputs, { size: 1 })) yield batch.feeds;
    } catch (error) {
      if (error instanceof PareError) dataErrors.add(error);
      throw error;
    }
  };
}

const dataErrors = new WeakSet<PareError>();

/** Whether it was the calibration samples that could not be used, and not what was done with them. */
export const isDataError = (error: PareError): boolean => dataErrors.has(error);

/** The first sample as feeds, for comparing graphs on something real; undefined when there is no data but random. */
export async function firstFeeds(
  data: Dataset,
  model: Model,
  engine: Engine,
  signal: AbortSignal | undefined,
): Promise<Feeds | undefined> {
  if (data.random) return undefined;
  for await (const feeds of calibrationFeeds(data, engine, model, signal)()) return feeds;
  return undefined;
}
