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

/** The samples of one run, apart: what calibrates never scores. */
export interface RunData {
  readonly info: DataInfo;
  /** Undefined: nothing to calibrate with. */
  readonly calibration: Dataset | undefined;
  readonly evaluation: Dataset;
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
      info: { ...about, ...sizes, warnings: index.warnings },
    };
  }
  if (index.samples.length < 2) {
    throw new PareError('bad-data', `${data.name} has one sample: some must calibrate and others must evaluate.`);
  }
  const split = splitData(data, index, { seed });
  const sizes = { calibration: split.calibration.size ?? 0, evaluation: split.evaluation.size ?? 0 };
  const warnings = [...index.warnings, ...split.warnings];
  return { calibration: split.calibration, evaluation: split.evaluation, info: { ...about, ...sizes, warnings } };
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

function randomData(model: Model, seed: number): RunData {
  const ports = model.graph.inputs
    .filter((v) => !v.initializer)
    .map((v) => ({ name: v.name, dtype: v.dtype ?? 'float32', dims: v.shape ?? [] }) as const);
  const evaluation = randomDataset(ports, { seed, samples: RANDOM_SAMPLES, limits: indexLimits(model) });
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
