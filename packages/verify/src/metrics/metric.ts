import type { Sample } from '@pare/core';
import { type HostTensor, PareError } from '@pare/core';

/** Outputs of a model for one sample, by name, without the batch axis. */
export type Outputs = Readonly<Record<string, HostTensor>>;

/** The part of a mean that one sample gives: the metric is the sum of `sum` over the sum of `weight`. */
export interface Share {
  readonly sum: number;
  readonly weight: number;
}

/**
 * How good a model is. `score` looks at one sample; what it returns says how the samples are put together, how the interval is
 * computed and which paired test judges a drop:
 *
 * | `score` returns | value | interval | test |
 * | --- | --- | --- | --- |
 * | boolean: right or wrong | share of true | Wilson | McNemar |
 * | number | mean | bootstrap (BCa) | paired bootstrap |
 * | `{ sum, weight }` | sum of sums over sum of weights (error rates over characters) | bootstrap (BCa) | paired bootstrap |
 * | anything else, with `reduce` | `reduce` of all | bootstrap (percentile) | paired bootstrap |
 */
export interface Metric<P = unknown> {
  readonly name: string;
  readonly higherIsBetter: boolean;
  /** How to print: a proportion as percent, or a plain number. Default `percent` for booleans, else `number`. */
  readonly format?: 'percent' | 'number';
  /** What the answers are compared with: the data's labels (default), or the original model's answers. */
  readonly reference?: 'labels' | 'original';
  /** `original`: what the original model answered on the same sample. */
  score(outputs: Outputs, sample: Sample, original: Outputs): P;
  /** Puts the scores of all samples together. Must not depend on their order. */
  reduce?(scores: readonly P[]): number;
  /** Applied last, to the mean or ratio (an exponential for perplexity). Must be monotone increasing. */
  finish?(value: number): number;
  /** For classification: the class that the outputs say, so that per-class rows and a confusion matrix can be made. */
  predict?(outputs: Outputs): number;
}

/**
 * A metric of one's own, checked:
 *
 * ```ts
 * const exact = defineMetric({
 *   name: 'exact match',
 *   higherIsBetter: true,
 *   score: (outputs, sample) => decode(outputs.logits) === sample.label,
 * });
 * ```
 * @throws PareError `bad-option` when the name is empty.
 */
export function defineMetric<P>(metric: Metric<P>): Metric<P> {
  if (!metric.name) throw new PareError('bad-option', 'A metric needs a name.');
  return metric;
}

/**
 * The output called `name`, or the first one.
 * @throws PareError `bad-option` when there is no such output.
 */
export function outputNamed(outputs: Outputs, name: string | undefined, metric: string): HostTensor {
  const found = name === undefined ? Object.values(outputs)[0] : outputs[name];
  if (found) return found;
  throw new PareError(
    'bad-option',
    `Metric "${metric}" looks for the output "${name}"; the model has ${Object.keys(outputs).join(', ')}.`,
  );
}

/** @throws PareError `bad-data` that names the metric and the sample. */
export function badLabel(metric: string, sample: Sample, needs: string): never {
  const label = JSON.stringify(sample.label, (_, v) => (ArrayBuffer.isView(v) ? '...' : v)) ?? 'none';
  throw new PareError(
    'bad-data',
    `Metric "${metric}" needs ${needs} as the label; ${sample.id ?? 'a sample'} has ${label.slice(0, 80)}.`,
  );
}
