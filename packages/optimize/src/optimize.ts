import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { type Engine, type Feeds, type Model, PareError, throwIfAborted } from '@pare/core';
import { readModel, writeModel } from '@pare/core/node';
import {
  type Dataset,
  type Evidence,
  type Gates,
  type Metric,
  type ModelInfo,
  type RefusedVariant,
  type VerifyModel,
  type VerifyProgress,
  verify,
} from '@pare/verify';
import { freshProcess, hostInfo } from '@pare/verify/node';
import { assembleEvidence } from './assemble.js';
import { calibrationFeeds, prepareData, type RunData } from './data.js';
import { type Delivered, deliver, type Layout } from './deliver.js';
import type { Goal } from './goal.js';
import { planRecipes } from './plan.js';
import { applyRecipe, type Recipe } from './recipe.js';
import { simplifyProven } from './simplify-proven.js';
import type { TargetName } from './targets/profile.js';

export interface OptimizeOptions {
  /** ONNX file. */
  readonly model: string;
  /** Folder for the result. */
  readonly output: string;
  readonly engine: Engine;
  /** Labelled samples. Without any, accuracy is not measured, and what needs calibration is not built. */
  readonly data?: Dataset | undefined;
  /** Samples for calibration; default: taken from `data`, and then not scored. */
  readonly calibration?: Dataset | undefined;
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
  /** Intra-op threads of every measurement. Default 1. */
  readonly threads?: number | undefined;
  /** Default 1. */
  readonly seed?: number | undefined;
  /** Time for the latency of each variant, ms. Default 3000. */
  readonly budgetMs?: number | undefined;
  /** A command line that repeats the run, for the evidence. */
  readonly command?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `done` of `total` steps of `stage`; `total` 0 when nobody knows. */
  readonly onProgress?: ((stage: string, done: number, total: number) => void) | undefined;
}

export interface Optimized extends Delivered {
  readonly evidence: Evidence;
}

/** A variant as a file that waits to be measured. */
export interface BuiltVariant {
  readonly recipe: Recipe;
  readonly verifyModel: VerifyModel;
  readonly path: string;
  /** Paths of external data files. */
  readonly dataPaths: readonly string[];
}

/**
 * The main job: simplifies the model, builds every variant that makes sense for the target, measures each against the
 * original, refuses what is worse with a reason, and writes the rest with the evidence to `output`.
 * @throws PareError `bad-file`, `bad-model`, `bad-data`, `bad-option`, `io`, `aborted`; nothing is written then.
 */
export async function optimize(options: OptimizeOptions): Promise<Optimized> {
  const { signal, engine, seed = 1, threads = 1, target = 'node-cpu' } = options;
  const model = await readModel(options.model, { signal });
  const info = await modelInfo(options.model, model);
  const run = await prepareData(model, { ...options, seed });
  const staging = await mkdtemp(join(tmpdir(), 'pare-optimize-'));
  try {
    const settings = { fixShapes: options.fixShapes ?? {}, fixDims: options.fixDims ?? {} };
    const proven = await simplifyProven(
      model,
      settings,
      options,
      await firstFeeds(run.evaluation, model, engine, signal),
    );
    const simplified = proven.model;
    const simplification = [{ transform: 'simplify', options: settings, notes: proven.notes }];
    const { recipes, refused } = await planRecipes(simplified, target, { calibrated: run.calibration !== undefined });
    const built: BuiltVariant[] = [];
    const failed: RefusedVariant[] = [...refused];
    for (const [i, recipe] of recipes.entries()) {
      throwIfAborted(signal);
      options.onProgress?.('Building variants', i, recipes.length);
      try {
        built.push(await build(recipe, simplified, simplification, run, staging, options));
      } catch (error) {
        if (!(error instanceof PareError) || error.code === 'aborted' || error.code === 'io') throw error;
        failed.push({ name: recipe.name, recipe: [], reason: error.message });
      }
    }
    options.onProgress?.('Building variants', recipes.length, recipes.length);
    const original: VerifyModel = { name: 'original', model: options.model, graph: model, bytes: info.bytes };
    const verified = await verify(
      engine,
      original,
      built.map((b) => b.verifyModel),
      {
        data: run.evaluation,
        metrics: options.metric ? [options.metric] : [],
        gates: options.gates ?? {},
        threads,
        seed,
        signal,
        fresh: (variant, feeds) =>
          freshProcess(variant.model as string, feeds, { threads, config: variant.sessionConfig ?? {}, signal }),
        ...(options.budgetMs === undefined ? {} : { budgetMs: options.budgetMs }),
        onProgress: (progress) => options.onProgress?.(...stageOf(progress)),
      },
    );
    const evidence = assembleEvidence(verified, {
      model: { ...info, inputs: verified.inputs, outputs: verified.outputs },
      data: run.info,
      host: hostInfo(engine.name),
      options: { target, threads, batchSize: 1, seed, gates: options.gates ?? {} },
      refused: failed,
      goal: options.goal ?? 'latency',
      warnings: proven.refusal === undefined ? [] : [proven.refusal],
      repeat: { command: options.command ?? '', config: null },
    });
    const delivered = await deliver(evidence, built, options);
    return { evidence, ...delivered };
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
}

async function modelInfo(path: string, model: Model): Promise<ModelInfo> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const inline = (await stat(path)).size;
  return {
    name: basename(path).replace(/\.onnx$/i, ''),
    file: basename(path),
    bytes: inline + externalBytes(model, inline),
    sha256: hash.digest('hex'),
    opset: model.opset,
    inputs: [],
    outputs: [],
  };
}

/** Bytes of weights that cannot lie in a model file of `inline` bytes: they are in data files beside it. */
function externalBytes(model: Model, inline: number): number {
  let weights = 0;
  for (const graph of model.graph.graphs()) {
    for (const value of graph.initializers) {
      const data = value.initializer?.data;
      if (data?.kind === 'reference' && data.length > 0 && data.offset + data.length > inline) weights += data.length;
    }
  }
  return weights;
}

/** The first sample as feeds, for comparing graphs on something real; undefined when there is no data but random. */
async function firstFeeds(
  data: Dataset,
  model: Model,
  engine: Engine,
  signal: AbortSignal | undefined,
): Promise<Feeds | undefined> {
  if (data.random) return undefined;
  for await (const feeds of calibrationFeeds(data, engine, model, signal)()) return feeds;
  return undefined;
}

/** One variant: a copy of the simplified model, changed by its recipe, written to `staging`. */
async function build(
  recipe: Recipe,
  simplified: Model,
  simplification: VerifyModel['recipe'],
  run: RunData,
  staging: string,
  options: OptimizeOptions,
): Promise<BuiltVariant> {
  const { engine, signal } = options;
  const model = simplified.clone();
  const applied = await applyRecipe(model, recipe, {
    engine,
    signal,
    onProgress: (_stage, done, total) => options.onProgress?.(`Building ${recipe.name}`, done, total),
    calibration: run.calibration && calibrationFeeds(run.calibration, engine, simplified, signal),
  });
  const files = await writeModel(join(staging, `${recipe.name}.onnx`), model, { signal });
  const [path = '', ...dataPaths] = files.map((file) => file.path);
  // The staged file is read back: its tensors lie in the file, where the model's are still to be computed.
  const graph = await readModel(path, { signal });
  return {
    recipe,
    path,
    dataPaths,
    verifyModel: {
      name: recipe.name,
      model: path,
      graph,
      basis: simplified,
      bytes: files.reduce((sum, file) => sum + file.byteLength, 0),
      files: files.map((file) => basename(file.path)),
      recipe: [...(simplification ?? []), ...applied],
      sessionConfig: recipe.sessionConfig ?? {},
    },
  };
}

const STAGES: Readonly<Record<VerifyProgress['stage'], string>> = {
  evaluation: 'Scoring on the samples',
  layers: 'Comparing layers',
  stability: 'Trying extreme inputs',
  saturation: 'Checking integer kernels',
  performance: 'Measuring latency',
};

const stageOf = ({ stage, done, total }: VerifyProgress): [string, number, number] => [STAGES[stage], done, total ?? 0];
