import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, type Model, PareError, throwIfAborted } from '@pare/core';
import { readModel } from '@pare/core/node';
import type { Dataset, Gates, Metric, RefusedVariant, RepeatInfo, VerifyModel } from '@pare/verify';
import { hostInfo } from '@pare/verify/node';
import { assembleEvidence } from './assemble.js';
import { type BuiltVariant, build, type Workshop } from './build.js';
import {
  calibrationFeeds,
  firstFeeds,
  isDataError,
  prepareData,
  prepareTraining,
  type RunData,
  runnableData,
} from './data.js';
import { checkFolder, type Delivered, deliver } from './deliver.js';
import type { Goal } from './goal.js';
import type { Layout } from './layout.js';
import { measureFor, measurementCaveats, refuseUnmeasurable } from './measure.js';
import { mixedRecipe, needsMixed } from './mixed.js';
import { describeModelFile } from './model-file.js';
import { planRecipes } from './plan.js';
import type { OnOptimizeProgress } from './progress.js';
import { explainFailure, refuseOpset } from './runnable.js';
import { simplifyProven } from './simplify-proven.js';
import { type TargetName, targetProfile } from './targets/profile.js';
import { type Attempt, TRAINED, told, trainInt8 } from './train-int8.js';

export interface OptimizeOptions {
  /** ONNX file. */
  readonly model: string;
  /** Folder for the result. */
  readonly output: string;
  /** The native engine, which folds, calibrates, and measures what will run natively. */
  readonly engine: Engine;
  /** Labelled samples. Without any, accuracy is not measured, and what needs calibration is not built. */
  readonly data?: Dataset | undefined;
  /** Samples for calibration; default: taken from `data`, and then not scored. */
  readonly calibration?: Dataset | undefined;
  /**
   * Samples to train on, where int8 fails the gates on accuracy: none of `data`. A part of them chooses the weights. Default:
   * nothing is trained.
   */
  readonly train?: { readonly data: Dataset; readonly epochs?: number | undefined } | undefined;
  /** Default: chosen by the labels and the output. */
  readonly metric?: Metric | undefined;
  /** Default `node-cpu`. */
  readonly target?: TargetName | undefined;
  readonly gates?: Gates | undefined;
  readonly goal?: Goal | undefined;
  readonly layout?: Layout | undefined;
  /** Input shapes to fix; null leaves a dimension free. */
  readonly fixShapes?: Readonly<Record<string, readonly (number | null)[]>> | undefined;
  readonly fixDims?: Readonly<Record<string, number>> | undefined;
  /** Intra-op threads of every measurement. Default 1, and no more on `web-wasm`. */
  readonly threads?: number | undefined;
  /** Default 1. */
  readonly seed?: number | undefined;
  /** Time for the latency of each variant, ms. Default 3000. */
  readonly budgetMs?: number | undefined;
  /** How to repeat the run, for the evidence: a command line, and the text of the configuration that it reads. */
  readonly repeat?: RepeatInfo | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: OnOptimizeProgress | undefined;
}

/**
 * The main job: simplifies the model, builds every variant that makes sense for the target, measures each against the
 * original, refuses what is worse with a reason, and writes the rest with the evidence to `output`.
 * @throws PareError `bad-file`, `bad-model`, `bad-data`, `bad-option`, `io`, `aborted`; nothing is written then.
 */
export async function optimize(options: OptimizeOptions): Promise<Delivered> {
  const { signal, engine, seed = 1, threads = 1, target = 'node-cpu', gates = {} } = options;
  const profile = await targetProfile(target);
  refuseUnmeasurable(profile, threads, gates);
  await checkFolder(options);
  const model = await readModel(options.model, { signal });
  refuseOpset(model);
  const info = await describeModelFile(options.model, model, { signal });
  const given = await prepareData(model, { ...options, seed });
  const samples = options.train && (await prepareTraining(options.train, given, { ...options, seed }));
  const staging = await mkdtemp(join(tmpdir(), 'pare-optimize-'));
  try {
    const settings = { fixShapes: options.fixShapes ?? {}, fixDims: options.fixDims ?? {} };
    const proven = await simplifyProven(
      model,
      settings,
      { engine, signal, onProgress: (_, done) => options.onProgress?.({ stage: 'simplify', done, total: undefined }) },
      await firstFeeds(given.evaluation, model, engine, signal),
    );
    const simplified = proven.model;
    const run = await runnableData(given, simplified, proven.shapes, options);
    // Samples that the fixed shapes do not take would refuse every variant, one by one.
    await firstFeeds(run.evaluation, simplified, engine, signal);
    if (samples) await firstFeeds(samples.data, simplified, engine, signal);
    const simplification = [{ transform: 'simplify', options: settings, notes: proven.notes }];
    const workshop: Workshop = { engine, simplified, simplification, staging, layout: options.layout, signal };
    const { recipes, refused } = await planRecipes(simplified, profile, { calibrated: run.calibration !== undefined });
    await checkFolder(options, [...recipes.map((recipe) => recipe.name), ...(samples ? [TRAINED] : [])]);
    const built: BuiltVariant[] = [];
    const failed: RefusedVariant[] = [...refused];
    const queue = [...recipes];
    for (let recipe = queue.shift(); recipe; recipe = queue.shift()) {
      throwIfAborted(signal);
      const tell = (what: string): void => {
        options.onProgress?.({ stage: 'build', done: built.length, total: built.length + queue.length + 1, what });
      };
      tell(recipe.name);
      try {
        const variant = await build(recipe, run, tell, workshop);
        built.push(variant);
        if (recipe.name === 'int8' && (await isNoisy(variant, simplified, run, options)))
          queue.unshift(mixedRecipe(recipe));
      } catch (error) {
        if (!(error instanceof PareError) || error.code === 'aborted' || error.code === 'io' || isDataError(error)) {
          throw error;
        }
        failed.push({ name: recipe.name, recipe: [], reason: error.message });
      }
    }
    options.onProgress?.({ stage: 'build', done: recipes.length, total: recipes.length });
    const original: VerifyModel = { name: 'original', model: options.model, graph: model, bytes: info.bytes };
    const attempt = {
      original,
      built,
      refused: failed,
      evaluation: run.evaluation,
      metric: options.metric,
      gates,
      threads,
      seed,
    };
    const onProgress = trainingProgress(options);
    const trained = samples && (await trainInt8({ ...attempt, samples, onProgress }, workshop));
    if (trained && 'variant' in trained) built.push(trained.variant);
    else if (trained) failed.push(trained.refused);
    const { verified, engine: measuredOn } = await measureFor(
      profile,
      engine,
      original,
      built.map((b) => b.verifyModel),
      {
        data: run.evaluation,
        metrics: options.metric ? [options.metric] : [],
        gates,
        threads,
        seed,
        signal,
        ...(options.budgetMs === undefined ? {} : { budgetMs: options.budgetMs }),
        onProgress: options.onProgress,
      },
    );
    const evidence = assembleEvidence(verified, {
      model: { ...info, inputs: verified.inputs, outputs: verified.outputs },
      data: run.info,
      host: hostInfo(measuredOn),
      options: { target, threads, batchSize: 1, seed, gates },
      refused: failed,
      training: trained && 'training' in trained ? [told(trained.training, verified.variants)] : [],
      goal: options.goal ?? 'latency',
      warnings: [...(proven.warning === undefined ? [] : [proven.warning]), ...measurementCaveats(profile)],
      repeat: options.repeat ?? { command: '', config: null },
    });
    options.onProgress?.({ stage: 'write', done: 0, total: undefined });
    return await deliver(evidence, built, model, { ...options, staging });
  } catch (error) {
    throw explainFailure(error, model);
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

function trainingProgress({ onProgress }: OptimizeOptions): Attempt['onProgress'] {
  return ({ step, steps, epoch, loss }) =>
    onProgress?.({ stage: 'train', done: step, total: steps, what: `epoch ${epoch}, loss ${loss.toPrecision(3)}` });
}

/** Is a statically quantized variant so far from the model that leaving some layers in float is worth a try? */
async function isNoisy(
  { verifyModel }: BuiltVariant,
  simplified: Model,
  { calibration }: RunData,
  { engine, signal }: OptimizeOptions,
): Promise<boolean> {
  if (!calibration) return false;
  const samples = calibrationFeeds(calibration, engine, simplified, signal)();
  return needsMixed(engine, simplified, verifyModel.model as string, samples, signal);
}
