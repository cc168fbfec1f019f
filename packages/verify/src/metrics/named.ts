import { isNumeric, PareError, toNumbers } from '@pare/core';
import { isDistribution } from '../numerics/divergence.js';
import { agreement, macroF1, top1, top5 } from './classification.js';
import { meanAveragePrecision } from './detection.js';
import { cosine, spearman } from './embedding.js';
import type { Metric, Outputs } from './metric.js';
import { meanIou } from './segmentation.js';
import { snr } from './signal.js';
import { perplexity } from './text.js';

/** What a metric called by name may need to know. */
export interface NamedMetricOptions {
  readonly output?: string;
  readonly classes?: readonly string[];
  readonly threshold?: number;
}

/** Metrics that a command line can name; those that need code (decoding of CER, WER) are made in TypeScript. */
const NAMED: Readonly<Record<string, (options: NamedMetricOptions) => Metric>> = {
  top1,
  top5,
  f1: macroF1,
  miou: meanIou,
  map: () => meanAveragePrecision(),
  map50: () => meanAveragePrecision({ style: 'voc' }),
  cosine,
  spearman,
  snr,
  perplexity,
  agreement,
} as Readonly<Record<string, (options: NamedMetricOptions) => Metric>>;

export const METRIC_NAMES: readonly string[] = Object.keys(NAMED);

/** The built-in metric called `name`. @throws PareError `bad-option` that lists the names. */
export function metricByName(name: string, options: NamedMetricOptions = {}): Metric {
  const make = Object.hasOwn(NAMED, name) ? NAMED[name] : undefined;
  if (make) return make(options);
  throw new PareError(
    'bad-option',
    `There is no metric "${name}". Known: ${METRIC_NAMES.join(', ')}; or write your own with defineMetric.`,
  );
}

/**
 * The metric for data that came without one: top-1 for class labels on one number a class; without labels agreement with the
 * original where the first output looks like classes (by its name, or because it is a probability distribution), else the
 * cosine to it. Undefined when the labels fit no built-in metric.
 */
export function defaultMetric(label: unknown, outputs: Outputs, options: NamedMetricOptions = {}): Metric | undefined {
  const [name, tensor] = Object.entries(outputs)[0] ?? [];
  const isVector = tensor !== undefined && tensor.dims.filter((d) => d !== 1).length === 1;
  if (label === undefined || label === null) {
    return isVector &&
      (/logit|prob|class|score|softmax/i.test(name ?? '') ||
        (isNumeric(tensor.dtype) && isDistribution(toNumbers(tensor))))
      ? agreement()
      : cosine();
  }
  const isClass =
    Number.isInteger(label) ||
    (typeof label === 'string' && (/^\d{1,9}$/.test(label) || options.classes?.includes(label)));
  return isClass && isVector ? top1(options) : undefined;
}
