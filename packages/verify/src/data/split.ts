import { type Dataset, type Fingerprint, PareError, seededRandom, select, stratify, throwIfAborted } from '@pare/core';
import { hashSample, sha256 } from './hash.js';

/** What one pass over a dataset tells without a model. */
export interface DataIndex {
  /** SHA-256 over the samples' hashes and labels, hex. */
  readonly hash: string;
  readonly samples: readonly Fingerprint[];
  readonly labelled: boolean;
  /** Number of different labels when all are integers or texts, else null. */
  readonly classes: number | null;
  /** Sentences a reader must see: one class only, duplicates, few samples. */
  readonly warnings: readonly string[];
}

/**
 * Reads through `dataset` once, keeping a hash and the label of each sample.
 * @throws PareError `bad-data` when there are no samples, or only some have labels; `aborted`.
 */
export async function indexData(
  dataset: Dataset,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
  } = {},
): Promise<DataIndex> {
  const samples: Fingerprint[] = [];
  for await (const fingerprint of dataset.fingerprints?.() ?? fingerprintsOf(dataset)) {
    throwIfAborted(options.signal);
    samples.push(fingerprint);
    options.onProgress?.(samples.length, dataset.size);
  }
  const name = dataset.name;
  if (samples.length === 0) throw new PareError('bad-data', `${name} has no samples.`);
  const missing = samples.findIndex((s) => s.label === undefined || s.label === null);
  const labelled = missing < 0;
  if (!labelled && samples.some((s) => s.label !== undefined && s.label !== null)) {
    throw new PareError('bad-data', `Sample ${missing} of ${name} has no label, but others have. Label all or none.`);
  }
  const kinds = labelled && samples.every((s) => isClass(s.label)) ? new Set(samples.map((s) => s.label)) : undefined;
  const warnings: string[] = [];
  if (kinds?.size === 1 && samples.length > 1) {
    warnings.push(`All ${samples.length} samples of ${name} have the label "${[...kinds][0]}": accuracy says little.`);
  }
  const duplicates = samples.length - new Set(samples.map((s) => s.hash)).size;
  if (duplicates > 0) warnings.push(`${duplicates} of the ${samples.length} samples of ${name} repeat another one.`);
  if (samples.length < 100 && !dataset.random) {
    warnings.push(`${name} has only ${samples.length} samples: intervals are wide and small drops cannot be seen.`);
  }
  const joined = samples.map((s) => `${s.hash} ${JSON.stringify(s.label) ?? ''}`).join('\n');
  const hash = await sha256(new TextEncoder().encode(joined));
  return { hash, samples, labelled, classes: kinds?.size ?? null, warnings };
}

async function* fingerprintsOf(dataset: Dataset): AsyncGenerator<Fingerprint> {
  for await (const sample of dataset) yield { hash: await hashSample(sample), label: sample.label };
}

function isClass(label: unknown): boolean {
  return Number.isInteger(label) || typeof label === 'string' || typeof label === 'boolean';
}

export interface SplitOptions {
  /** How many samples calibrate. Default: a quarter, at most 128. */
  readonly calibration?: number;
  /** At most so many samples evaluate; default all that do not calibrate. */
  readonly evaluation?: number;
  /** Default 1. */
  readonly seed?: number;
}

export interface DataSplit {
  readonly calibration: Dataset;
  readonly evaluation: Dataset;
  readonly warnings: readonly string[];
}

/**
 * Splits `dataset` into samples that calibrate and samples that evaluate: seeded, in equal shares of each label where labels are
 * classes. No content is on both sides: samples that repeat one on the calibration side are left out of the evaluation.
 * @throws PareError `bad-data` with fewer than two different samples.
 */
export function splitData(dataset: Dataset, index: DataIndex, options: SplitOptions = {}): DataSplit {
  const { seed = 1 } = options;
  const unique = new Map<string, number>();
  for (const [i, { hash }] of index.samples.entries()) if (!unique.has(hash)) unique.set(hash, i);
  if (unique.size < 2) {
    throw new PareError(
      'bad-data',
      `${dataset.name} has ${unique.size === 1 ? 'one sample' : 'no samples'}: some must calibrate and others must evaluate.`,
    );
  }
  const wanted = options.calibration ?? Math.min(128, Math.max(1, Math.floor(unique.size / 4)));
  if (!Number.isInteger(wanted) || wanted < 0 || wanted >= unique.size) {
    throw new PareError(
      'bad-option',
      `${wanted} samples to calibrate leave none of the ${unique.size} different ones in ${dataset.name} to evaluate.`,
    );
  }
  const order = stratified([...unique.values()], index, seed);
  const calibrating = order.slice(0, wanted);
  const hashes = new Set(calibrating.map((i) => index.samples[i]?.hash));
  const rest = index.samples.map((_, i) => i).filter((i) => !hashes.has(index.samples[i]?.hash));
  const limit = options.evaluation ?? rest.length;
  const kept = limit < rest.length ? stratified(rest, index, seed + 1).slice(0, limit) : rest;
  const dropped = index.samples.length - rest.length - calibrating.length;
  const byPosition = (a: number, b: number): number => a - b;
  return {
    calibration: select(dataset, calibrating.sort(byPosition), `${dataset.name} (calibration)`),
    evaluation: select(dataset, kept.sort(byPosition), dataset.name),
    warnings:
      dropped > 0 ? [`${dropped} samples that repeat a calibration sample were left out of the evaluation.`] : [],
  };
}

function stratified(indices: readonly number[], index: DataIndex, seed: number): number[] {
  const labelOf = (index.classes ?? 0) < 2 ? undefined : (i: number) => index.samples[i]?.label;
  return stratify(indices, labelOf, seededRandom(seed));
}

/**
 * Refuses data that made a variant (calibrated or trained it) and is also evaluation data.
 * @throws PareError `bad-data` with how many samples are in both.
 */
export function refuseOverlap(
  making: DataIndex,
  evaluation: DataIndex,
  what: 'calibration' | 'training' = 'calibration',
): void {
  const known = new Set(making.samples.map((s) => s.hash));
  const shared = evaluation.samples.filter((s) => known.has(s.hash)).length;
  if (shared > 0) {
    throw new PareError(
      'bad-data',
      `${shared} of the ${evaluation.samples.length} evaluation samples are also ${what} samples; an accuracy measured ` +
        `on them would flatter the variant. Give disjoint data${what === 'calibration' ? ', or one dataset and let Pare split it' : ''}.`,
    );
  }
}
