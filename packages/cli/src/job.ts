import { resolve } from 'node:path';
import { PareError } from '@pare/core';
import {
  type Goal,
  LAYOUTS,
  type Layout,
  type OptimizeOptions,
  type PareConfig,
  TARGET_NAMES,
  type TargetName,
} from '@pare/optimize';
import { type Dataset, type Gates, type Metric, metricByName } from '@pare/verify';
import { openData } from '@pare/verify/node';
import { importModule, type LoadedConfig, loadConfig } from './config.js';
import { oneOf, parseBytes, parseCount, parseDims, parseFraction, parseMs, parseShapes } from './parse.js';

/** The flags that say what a job is about; no command has all of them. */
export interface JobFlags {
  readonly output?: string;
  readonly data?: string;
  readonly calibration?: string;
  readonly val?: string;
  readonly preprocess?: string;
  readonly metric?: string;
  readonly target?: string;
  readonly goal?: string;
  readonly layout?: string;
  readonly maxDrop?: string;
  readonly maxP95?: string;
  readonly maxSize?: string;
  readonly minCosine?: string;
  readonly fixShape?: string[];
  readonly fixDim?: string[];
  readonly threads?: string;
  readonly seed?: string;
  readonly time?: string;
  /** A file; false: none, whatever lies in the folder. */
  readonly config?: string | false;
}

/**
 * What a command is about: its flags, and what they leave open from the configuration. Flags win; paths of the configuration
 * are relative to it. Everything that reads a flag throws PareError `bad-option` when it is malformed.
 */
export class Job {
  private constructor(
    private readonly flags: JobFlags,
    private readonly loaded: LoadedConfig | undefined,
  ) {}

  /** With the configuration that the flags name, or that lies in the current folder. */
  static async load(flags: JobFlags): Promise<Job> {
    return new Job(flags, flags.config === false ? undefined : await loadConfig(flags.config));
  }

  /** With flags alone. */
  static of(flags: JobFlags): Job {
    return new Job(flags, undefined);
  }

  /** The text of the configuration; null without one. */
  get configText(): string | null {
    return this.loaded?.text ?? null;
  }

  /** Path of the model: `argument`, or the configuration's. */
  model(argument: string | undefined): string {
    const path = this.#path(argument, this.#config.model);
    if (path !== undefined) return path;
    throw new PareError('bad-option', 'Which model? Give a file, or write a pare.config.ts with a "model".');
  }

  get output(): string | undefined {
    return this.#path(this.flags.output, this.#config.output);
  }

  async data(): Promise<Dataset | undefined> {
    return this.#dataset(this.flags.data, this.#config.data);
  }

  async calibration(): Promise<Dataset | undefined> {
    return this.#dataset(this.flags.calibration, this.#config.calibration);
  }

  /** What `optimize` may train on, by its own flags. */
  async training(path: string | undefined, epochs: string | undefined): Promise<OptimizeOptions['train']> {
    const data = await this.#dataset(path, this.#config.train);
    const passes = epochs === undefined ? this.#config.trainEpochs : parseCount(epochs, '--train-epochs');
    if (data) return { data, epochs: passes };
    if (epochs === undefined) return undefined;
    throw new PareError('bad-option', '--train-epochs means nothing without --train.');
  }

  /** Samples that choose the best weights of a training, or how many of the training samples do. */
  async validation(): Promise<Dataset | number | undefined> {
    const { val } = this.flags;
    return val !== undefined && /^\d+$/.test(val) ? parseCount(val, '--val') : this.#dataset(val, undefined);
  }

  /** By name, or the default export of a module. */
  async metric(): Promise<Metric | undefined> {
    const metric = this.flags.metric ?? this.#config.metric;
    if (typeof metric !== 'string') return metric;
    if (!/\.[mc]?[jt]s$/.test(metric)) return metricByName(metric);
    const path = this.#path(this.flags.metric, metric) ?? metric;
    const loaded = await importModule(path);
    if (typeof (loaded as Metric | undefined)?.score === 'function') return loaded as Metric;
    throw new PareError('bad-option', `${path} must have a metric as its default export: defineMetric({ ... }).`);
  }

  get gates(): Gates {
    const { maxDrop, maxP95, maxSize, minCosine } = this.flags;
    return {
      ...this.#config.gates,
      ...(maxDrop !== undefined ? { maxDrop: parseFraction(maxDrop, '--max-drop') } : {}),
      ...(maxP95 !== undefined ? { maxP95Ms: parseMs(maxP95, '--max-p95') } : {}),
      ...(maxSize !== undefined ? { maxBytes: parseBytes(maxSize, '--max-size') } : {}),
      ...(minCosine !== undefined ? { minCosine: parseFraction(minCosine, '--min-cosine') } : {}),
    };
  }

  get target(): TargetName | undefined {
    return oneOf(this.flags.target ?? this.#config.target, TARGET_NAMES, '--target');
  }

  get goal(): Goal | undefined {
    return oneOf(this.flags.goal ?? this.#config.goal, ['latency', 'size'] as const, '--goal');
  }

  get layout(): Layout | undefined {
    return oneOf(this.flags.layout ?? this.#config.layout, LAYOUTS, '--layout');
  }

  get fixShapes(): Readonly<Record<string, readonly (number | null)[]>> {
    return { ...this.#config.fixShapes, ...parseShapes(this.flags.fixShape ?? []) };
  }

  get fixDims(): Readonly<Record<string, number>> {
    return { ...this.#config.fixDims, ...parseDims(this.flags.fixDim ?? []) };
  }

  get threads(): number {
    const { threads } = this.flags;
    return threads !== undefined ? parseCount(threads, '--threads') : (this.#config.threads ?? 1);
  }

  get seed(): number {
    const { seed } = this.flags;
    return seed !== undefined ? parseCount(seed, '--seed', 0) : (this.#config.seed ?? 1);
  }

  /** Time for the latency of each model, ms. */
  get budgetMs(): number | undefined {
    const { time } = this.flags;
    return time !== undefined ? parseMs(time, '--time') : this.#config.budgetMs;
  }

  get #config(): Partial<PareConfig> {
    return this.loaded?.config ?? {};
  }

  #path(flag: string | undefined, own: string | undefined): string | undefined {
    return flag ?? (own === undefined ? undefined : resolve(this.loaded?.folder ?? '.', own));
  }

  async #dataset(flag: string | undefined, own: string | Dataset | undefined): Promise<Dataset | undefined> {
    if (flag === undefined && typeof own === 'object') return own;
    const path = this.#path(flag, own as string | undefined);
    const preprocess = this.#path(this.flags.preprocess, this.#config.preprocess);
    return path === undefined ? undefined : openData(path, { preprocess, importModule });
  }
}
