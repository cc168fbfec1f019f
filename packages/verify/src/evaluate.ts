import type { Dataset } from '@pare/core';
import {
  type Batch,
  batches,
  type Feeds,
  type Fit,
  fitData,
  PareError,
  refitBatch,
  type Session,
  splitOutputs,
  throwIfAborted,
} from '@pare/core';
import { classOf } from './metrics/classification.js';
import type { Metric, Outputs } from './metrics/metric.js';
import { defaultMetric } from './metrics/named.js';
import { OutputComparison } from './numerics/outputs.js';

/** An open model on its way through the samples. */
export class Subject {
  /** One list of scores a metric, in the order of the metrics; one score a sample. */
  scores: unknown[][] = [];
  /** (truth, predicted) of each sample, where the first metric predicts classes. */
  readonly classes: [number, number][] = [];
  readonly comparison = new OutputComparison();
  /** Its first runs, kept for what is measured later on few samples. */
  readonly probes: Batch[] = [];
  fit: Fit | undefined;
  firstRunMs: number | undefined;
  /** Why it was given up. */
  failure: string | undefined;

  constructor(
    readonly name: string,
    readonly session: Session,
  ) {}
}

export interface EvaluateOptions {
  /** The first is the main one. Empty: the default for the data, if there is one. */
  readonly metrics: readonly Metric[];
  readonly batchSize: number;
  /** Stop after so many batches. */
  readonly maxBatches: number;
  /** So many batches are kept as probes. */
  readonly probes: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
}

export interface Evaluation {
  readonly metrics: readonly Metric[];
  readonly samples: number;
  readonly labelled: boolean;
  readonly warnings: readonly string[];
}

/**
 * Runs every subject on every sample, side by side: scores, and the comparison of outputs with those of the first subject, the
 * original. A variant that fails is given up and says why; a failure of the original is thrown.
 * @throws PareError `bad-data`, `engine`, `aborted`.
 */
export async function evaluate(
  subjects: readonly Subject[],
  data: Dataset,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const original = subjects[0] as Subject;
  const inputs = original.session.inputs;
  let metrics = options.metrics;
  let samples = 0;
  let seen = 0;
  let labelled = false;
  for await (const batch of batches(data, inputs, { size: options.batchSize })) {
    throwIfAborted(options.signal);
    original.fit ??= fitData(batch.samples[0] as Batch['samples'][number], inputs, data.name);
    const reference = await runSubject(original, batch, options);
    if (seen === 0) {
      const label = batch.samples[0]?.label;
      labelled = label !== undefined && label !== null;
      if (metrics.length === 0 && !data.random) {
        const chosen = defaultMetric(label, reference[0] as Outputs, data.classes ? { classes: data.classes } : {});
        metrics = chosen ? [chosen] : [];
      }
      for (const subject of subjects) subject.scores = metrics.map(() => []);
    }
    score(original, metrics, batch, reference, reference, data.classes);
    for (const variant of subjects.slice(1)) {
      if (variant.failure !== undefined) continue;
      try {
        const own = ownBatch(variant, original, batch, data.name);
        const outputs = await runSubject(variant, own, options);
        for (const [i, output] of outputs.entries()) variant.comparison.add(reference[i] as Outputs, output);
        score(variant, metrics, batch, outputs, reference, data.classes);
      } catch (error) {
        // The data fits the original and the metric works on it: what fails now is the variant.
        if (!(error instanceof PareError) || error.code === 'aborted' || error.code === 'bad-option') throw error;
        variant.failure = error.message;
      }
    }
    samples += batch.samples.length;
    options.onProgress?.(samples, data.size);
    if (++seen === options.maxBatches) break;
  }
  return { metrics, samples, labelled, warnings: original.fit?.warnings ?? [] };
}

async function runSubject(subject: Subject, batch: Batch, options: EvaluateOptions): Promise<Outputs[]> {
  if (subject.firstRunMs === undefined) subject.firstRunMs = (await subject.session.time(batch.feeds, 1))[0] as number;
  if (subject.probes.length < options.probes) subject.probes.push(batch);
  const outputs = await subject.session.run(batch.feeds);
  return splitOutputs(outputs, batch, subject.fit as Fit);
}

/** The batch as the variant takes it: the same feeds when its inputs are those of the original. */
function ownBatch(variant: Subject, original: Subject, batch: Batch, name: string): Batch {
  const inputs = variant.session.inputs;
  variant.fit ??= fitData(batch.samples[0] as Batch['samples'][number], inputs, name);
  if (sameInputs(inputs, original.session.inputs)) return batch;
  if (variant.fit.fixedBatch !== null && variant.fit.fixedBatch < batch.samples.length) {
    throw new PareError(
      'bad-model',
      `The variant takes ${variant.fit.fixedBatch} samples a run, the original ${batch.samples.length}. Use batch size 1.`,
    );
  }
  return refitBatch(batch, inputs, variant.fit, name);
}

function sameInputs(a: Session['inputs'], b: Session['inputs']): boolean {
  const text = (ports: Session['inputs']): string => ports.map((p) => `${p.name} ${p.dtype}`).join('\n');
  // A batch that the original takes in one run is one run of the variant too, unless it fixes another number.
  return text(a) === text(b) && a.every((p, i) => p.dims[0] === b[i]?.dims[0] || typeof p.dims[0] !== 'number');
}

function score(
  subject: Subject,
  metrics: readonly Metric[],
  batch: Batch,
  outputs: readonly Outputs[],
  reference: readonly Outputs[],
  classNames: readonly string[] | undefined,
): void {
  for (const [row, sample] of batch.samples.entries()) {
    const own = outputs[row] as Outputs;
    for (const [m, metric] of metrics.entries()) {
      subject.scores[m]?.push(metric.score(own, sample, reference[row] as Outputs));
    }
    const main = metrics[0];
    if (main?.predict) subject.classes.push([classOf(sample, classNames, main.name), main.predict(own)]);
  }
}

/** The feeds of a subject's probes. */
export function probeFeeds(subject: Subject, count: number): Feeds[] {
  return subject.probes.slice(0, count).map((batch) => batch.feeds);
}

/** SQNR of the outputs that `session` gives on the probes of `variant`, against the original, dB (see OutputComparison). */
export async function probeSqnrDb(original: Subject, variant: Subject, session: Session): Promise<number> {
  const comparison = new OutputComparison();
  for (const [i, probe] of variant.probes.entries()) {
    const twin = original.probes[i] as Batch;
    const a = splitOutputs(await original.session.run(twin.feeds), twin, original.fit as Fit);
    const b = splitOutputs(await session.run(probe.feeds), probe, variant.fit as Fit);
    for (const [row, outputs] of a.entries()) comparison.add(outputs, b[row] as Outputs);
  }
  return comparison.sqnrDb();
}
