import type { Dataset } from '@pare/core';
import {
  type Engine,
  type Feeds,
  Model,
  PareError,
  type Session,
  type SessionOptions,
  throwIfAborted,
} from '@pare/core';
import { accuracyOf } from './accuracy.js';
import { indexLimits, randomDataset } from './data/random-data.js';
import { type Evaluation, evaluate, probeFeeds, probeSqnrDb, Subject } from './evaluate.js';
import type {
  FreshProcess,
  Gates,
  LayersNumerics,
  MeasuredVariant,
  NumericsEvidence,
  PerformanceEvidence,
  PortInfo,
  RecipeStep,
  RefusedVariant,
  SaturationEvidence,
  StabilityEvidence,
} from './evidence.js';
import type { Metric } from './metrics/metric.js';
import { compareLayers } from './numerics/layers.js';
import { measureReproducibility } from './numerics/reproducibility.js';
import { type ExactReference, exactReference, judgeSaturation, NO_SATURATION } from './numerics/saturation.js';
import { type ExtremeRun, inputRanges, judgeExtremes, runExtremes } from './numerics/stability.js';
import { measurePerformance, type PerformanceSubject, repeatBatch } from './performance/measure.js';

/** A model to verify, and what is known of it. */
export interface VerifyModel {
  /** Unique; the original is called `original` in the evidence, whatever its name here. */
  readonly name: string;
  /** What the engine opens: a Model, a whole file, or (in Node) a path. */
  readonly model: Model | Uint8Array | string;
  /** Its graph, when `model` is not a Model. Without it the errors of the layers and saturation are not measured. */
  readonly graph?: Model;
  /**
   * The graph it was quantized from, when that is not the original but a simplified one: more of its tensors have the same
   * names, so more layers can be compared. Default the original's graph.
   */
  readonly basis?: Model;
  /** Size of its files. */
  readonly bytes: number;
  readonly files?: readonly string[];
  readonly sha256?: string | null;
  readonly recipe?: readonly RecipeStep[];
  /** Runtime config that it needs. */
  readonly sessionConfig?: Readonly<Record<string, string>>;
}

export type Stage = 'evaluation' | 'layers' | 'stability' | 'saturation' | 'performance';

export interface VerifyProgress {
  readonly stage: Stage;
  readonly done: number;
  /** Undefined when nobody knows (a dataset without size). */
  readonly total: number | undefined;
  /** Variant or part being measured. */
  readonly what?: string;
}

export interface VerifyOptions {
  /** What to evaluate on; none of it may have calibrated a variant. Default: seeded random inputs, without accuracy. */
  readonly data?: Dataset | undefined;
  /** The first judges, the others are shown. Default: by the labels (see defaultMetric). */
  readonly metrics?: readonly Metric[];
  readonly gates?: Gates;
  /** Stages to leave out. */
  readonly skip?: readonly Stage[];
  /** Why integer kernels of this engine cannot saturate, a sentence. Default: they might, and are checked. */
  readonly noSaturation?: string | undefined;
  /** Default 1. */
  readonly threads?: number;
  /** Thread counts that must give the same bits as one. Default 2. */
  readonly threadCounts?: readonly number[];
  /** Samples a run in the evaluation. Default 1, as a server without batching: dynamic quantization depends on it. */
  readonly batchSize?: number;
  /** Samples for the errors of the layers. Default 4. */
  readonly layerSamples?: number;
  /** Time for the latency of each model, ms. Default 3000. */
  readonly budgetMs?: number;
  /** Batch sizes for throughput beside `batchSize`. Default 4 and 16. */
  readonly batches?: readonly number[];
  readonly seed?: number;
  /** Runs a model in a process of its own (Node: `freshProcess`). Default: not measured. */
  readonly fresh?: (model: VerifyModel, feeds: Feeds, signal?: AbortSignal) => Promise<FreshProcess>;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: VerifyProgress) => void) | undefined;
}

/** What was measured; the caller judges it, and adds model, data and host to make it Evidence. */
export interface Verified {
  /** The original first. */
  readonly variants: readonly MeasuredVariant[];
  /** Variants that could not be loaded or run. */
  readonly refused: readonly RefusedVariant[];
  readonly inputs: readonly PortInfo[];
  readonly outputs: readonly PortInfo[];
  readonly samples: number;
  readonly labelled: boolean;
  readonly warnings: readonly string[];
}

/** How many runs are kept for the checks that need few. */
const PROBES = 16;

/**
 * Measures variants against the original they came from: accuracy, numerics and performance, on the same samples, side by side.
 * All models are open at once.
 * @throws PareError `bad-data` when the data does not fit the original, `engine` when the original fails, `bad-option`, `aborted`.
 */
export async function verify(
  engine: Engine,
  original: VerifyModel,
  variants: readonly VerifyModel[],
  options: VerifyOptions = {},
): Promise<Verified> {
  const run = new Run(engine, options);
  try {
    return await run.verify(original, variants);
  } finally {
    await run.close();
  }
}

/** A variant under measurement. */
interface Entry {
  readonly model: VerifyModel;
  readonly graph: Model | undefined;
  readonly subject: Subject;
}

class Run {
  readonly #sessions: Session[] = [];
  readonly #skip: ReadonlySet<Stage>;
  readonly #seed: number;
  readonly #batch: number;

  constructor(
    private readonly engine: Engine,
    private readonly options: VerifyOptions,
  ) {
    this.#skip = new Set(options.skip);
    this.#seed = options.seed ?? 1;
    this.#batch = options.batchSize ?? 1;
  }

  async close(): Promise<void> {
    for (const session of this.#sessions) await session.close();
  }

  async verify(original: VerifyModel, variants: readonly VerifyModel[]): Promise<Verified> {
    const names = [original, ...variants].map((v) => v.name);
    const twice = names.find((n, i) => names.indexOf(n) !== i);
    if (twice !== undefined) throw new PareError('bad-option', `Two variants are called "${twice}".`);

    const refused: RefusedVariant[] = [];
    const first = await this.#entry(original);
    let entries = [first];
    for (const variant of variants) {
      const entry = await this.#tryEntry(variant, refused);
      if (entry) entries.push(entry);
    }
    const evaluation = await this.#evaluate(entries);
    for (const { model, subject } of entries) {
      if (subject.failure !== undefined) refused.push(refusal(model, subject.failure));
    }
    entries = entries.filter((e) => e.subject.failure === undefined);

    const layers = await this.#layers(entries);
    const stability = await this.#stability(entries);
    const saturation = await this.#saturation(entries);
    const performance = await this.#performance(entries);

    const measured = entries.map((entry, i): MeasuredVariant => {
      const { model, subject } = entry;
      const numerics: NumericsEvidence | null =
        entry === first || this.#skip.has('evaluation')
          ? null
          : {
              samples: subject.comparison.samples,
              outputs: subject.comparison.results(),
              layers: layers[i] ?? null,
              saturation: saturation[i] ?? null,
            };
      const accuracy = this.#skip.has('evaluation')
        ? null
        : accuracyOf(subject, first.subject, evaluation, {
            seed: this.#seed,
            maxDrop: this.options.gates?.maxDrop,
            classes: this.options.data?.classes,
          });
      return {
        name: entry === first ? 'original' : model.name,
        isOriginal: entry === first,
        recipe: model.recipe ?? [],
        files: model.files ?? [],
        bytes: model.bytes,
        sha256: model.sha256 ?? null,
        sessionConfig: model.sessionConfig ?? {},
        accuracy,
        numerics,
        stability: stability[i] ?? null,
        performance: performance[i] ?? null,
      };
    });
    const warnings = [...evaluation.warnings];
    if (evaluation.metrics.length === 0 && !this.#skip.has('evaluation')) warnings.unshift(this.#noAccuracy());
    return {
      variants: measured,
      refused,
      inputs: first.subject.session.inputs,
      outputs: first.subject.session.outputs,
      samples: evaluation.samples,
      labelled: evaluation.labelled,
      warnings,
    };
  }

  #noAccuracy(): string {
    return this.options.data && !this.options.data.random
      ? 'Accuracy was not measured: no built-in metric fits the labels. Give a metric.'
      : 'Accuracy was not measured: no data was given, the inputs are random numbers.';
  }

  async #entry(model: VerifyModel): Promise<Entry> {
    const session = await this.engine.open(model.model, this.#sessionOptions(model));
    this.#sessions.push(session);
    const graph = model.graph ?? (model.model instanceof Model ? model.model : undefined);
    return { model, graph, subject: new Subject(model.name, session) };
  }

  /** Opens a variant, or says in `refused` why that failed. */
  async #tryEntry(model: VerifyModel, refused: RefusedVariant[]): Promise<Entry | undefined> {
    try {
      return await this.#entry(model);
    } catch (error) {
      if (!(error instanceof PareError) || error.code === 'aborted') throw error;
      refused.push(refusal(model, error.message));
      return undefined;
    }
  }

  #sessionOptions(model: VerifyModel): SessionOptions {
    const { threads = 1, signal } = this.options;
    return { threads, config: model.sessionConfig ?? {}, ...(signal ? { signal } : {}) };
  }

  async #evaluate(entries: readonly Entry[]): Promise<Evaluation> {
    const graph = entries[0]?.graph;
    const data =
      this.options.data ??
      randomDataset((entries[0] as Entry).subject.session.inputs, {
        seed: this.#seed,
        limits: graph ? indexLimits(graph) : {},
      });
    return evaluate(
      entries.map((e) => e.subject),
      data,
      {
        metrics: this.options.metrics ?? [],
        batchSize: this.#batch,
        maxBatches: this.#skip.has('evaluation') ? 1 : Number.POSITIVE_INFINITY,
        probes: PROBES,
        signal: this.options.signal,
        onProgress: (done, total) => this.#progress('evaluation', done, total),
      },
    );
  }

  async #layers(entries: readonly Entry[]): Promise<(LayersNumerics | null)[]> {
    const original = entries[0] as Entry;
    const results: (LayersNumerics | null)[] = [null];
    for (const { model, graph, subject } of entries.slice(1)) {
      const basis = model.basis ?? original.graph;
      if (this.#skip.has('layers') || !basis || !graph) {
        results.push(null);
        continue;
      }
      const count = this.options.layerSamples ?? 4;
      const own = probeFeeds(subject, count);
      const feeds = probeFeeds(original.subject, count).map((f, i) => ({ original: f, variant: own[i] as Feeds }));
      const layers = await compareLayers(this.engine, basis, graph, feeds, {
        threads: this.options.threads ?? 1,
        config: model.sessionConfig ?? {},
        signal: this.options.signal,
        onProgress: (done, total) => this.#progress('layers', done, total, model.name),
      }).catch((error: unknown) => {
        if (!(error instanceof PareError) || error.code !== 'engine') throw error;
        // The variant itself runs; only its twin with the inner tensors as outputs does not.
        return { samples: 0, ranked: [], unmatched: 0, note: `The layers could not be compared. ${error.message}` };
      });
      results.push(layers);
    }
    return results;
  }

  async #stability(entries: readonly Entry[]): Promise<StabilityEvidence[]> {
    if (this.#skip.has('stability')) return [];
    const results: StabilityEvidence[] = [];
    let reference: ExtremeRun[] | undefined;
    for (const [i, { model, subject }] of entries.entries()) {
      throwIfAborted(this.options.signal);
      const feeds = probeFeeds(subject, PROBES);
      const runs = await runExtremes(subject.session, feeds[0] as Feeds, inputRanges(feeds));
      reference ??= runs;
      results.push({
        extremes: judgeExtremes(runs, reference),
        reproducibility: await measureReproducibility(
          subject.session,
          feeds.slice(0, 2),
          (this.options.threadCounts ?? [2]).filter((count) => count !== (this.options.threads ?? 1)),
          (threads) => this.engine.open(model.model, { ...this.#sessionOptions(model), threads }),
        ),
      });
      this.#progress('stability', i + 1, entries.length, model.name);
    }
    return results;
  }

  async #saturation(entries: readonly Entry[]): Promise<(SaturationEvidence | null)[]> {
    const original = entries[0] as Entry;
    const results: (SaturationEvidence | null)[] = [null];
    for (const { model, graph, subject } of entries.slice(1)) {
      const exact = graph && exactReference(graph);
      if (this.#skip.has('saturation') || !graph) results.push(null);
      else if (!exact) results.push(NO_SATURATION);
      else if (this.options.noSaturation) results.push({ ...NO_SATURATION, reason: this.options.noSaturation });
      else results.push(await this.#compareExact(original.subject, model, subject, exact));
      this.#progress('saturation', results.length - 1, entries.length - 1, model.name);
    }
    return results;
  }

  async #compareExact(
    original: Subject,
    model: VerifyModel,
    subject: Subject,
    exact: ExactReference,
  ): Promise<SaturationEvidence> {
    throwIfAborted(this.options.signal);
    let session: Session | undefined;
    try {
      session = await this.engine.open(model.model, {
        ...this.#sessionOptions(model),
        optimization: exact.optimization,
        config: { ...model.sessionConfig, ...exact.config },
      });
      const fast = await probeSqnrDb(original, subject, subject.session);
      const slow = await probeSqnrDb(original, subject, session);
      return judgeSaturation(fast, slow, subject.probes.length);
    } catch (error) {
      if (!(error instanceof PareError) || error.code !== 'engine') throw error;
      // Some optimised graphs have no unoptimised kernels: the variant runs, only this check cannot.
      return { ...NO_SATURATION, reason: `Could not be checked. ${error.message}` };
    } finally {
      await session?.close();
    }
  }

  async #performance(entries: readonly Entry[]): Promise<PerformanceEvidence[]> {
    if (this.#skip.has('performance')) return [];
    const { fresh, signal, budgetMs, batches } = this.options;
    const subjects = entries.map(({ model, subject }): PerformanceSubject => {
      const feeds = subject.probes[0]?.feeds as Feeds;
      const fit = subject.fit;
      return {
        session: subject.session,
        feeds,
        ...(subject.firstRunMs === undefined ? {} : { firstRunMs: subject.firstRunMs }),
        feedsOfBatch: fit?.batched && fit.fixedBatch === null ? (size) => repeatBatch(feeds, size) : undefined,
        fresh: fresh && (() => fresh(model, feeds, signal)),
      };
    });
    // Before the rounds comes a warm-up, whose length nobody knows.
    this.#progress('performance', 0, undefined, 'latency');
    return measurePerformance(subjects, {
      batch: entries[0]?.subject.fit?.fixedBatch ?? (entries[0]?.subject.probes[0]?.samples.length as number),
      threads: this.options.threads ?? 1,
      ...(budgetMs === undefined ? {} : { budgetMs }),
      ...(batches === undefined ? {} : { batches }),
      seed: this.#seed,
      signal,
      onProgress: (what, done, total) => this.#progress('performance', done, total, what),
    });
  }

  #progress(stage: Stage, done: number, total: number | undefined, what?: string): void {
    if (this.#skip.has(stage)) return;
    this.options.onProgress?.({ stage, done, total, ...(what === undefined ? {} : { what }) });
  }
}

function refusal(model: VerifyModel, reason: string): RefusedVariant {
  return { name: model.name, recipe: model.recipe ?? [], reason };
}
