import type { Sample } from '@pare/core';
import { type HostTensor, PareError, tensorText, toNumbers } from '@pare/core';
import type { ClassRow, ConfusionMatrix } from '../evidence.js';
import { badLabel, defineMetric, type Metric, type Outputs, outputNamed } from './metric.js';

export interface ClassificationOptions {
  /** Output with one number a class. Default: the first. */
  readonly output?: string;
  /** Names of the classes by number, for text labels. */
  readonly classes?: readonly string[];
  /** For models whose output is one number: class 1 above it, else class 0 (0.5 for probabilities, 0 for logits). */
  readonly threshold?: number;
}

/** Share of samples whose class has the largest output (with `k` > 1: one of the `k` largest). */
export function topK(k: number, options: ClassificationOptions = {}): Metric<boolean> {
  const name = `top-${k}`;
  const predict = (outputs: Outputs): number => predictClass(outputs, options, name);
  return defineMetric<boolean>({
    name,
    higherIsBetter: true,
    format: 'percent',
    predict,
    score(outputs, sample) {
      const scores = classScores(outputs, options, name);
      const truth = classOf(sample, options.classes, name);
      if (scores.length === 1) return predict(outputs) === truth;
      if (truth < 0 || truth >= scores.length) {
        throw new PareError(
          'bad-data',
          `${sample.id ?? 'A sample'} has the label ${truth}, but the model knows the classes 0 to ${scores.length - 1}.`,
        );
      }
      return rankOf(scores, truth) < k;
    },
  });
}

export const top1 = (options?: ClassificationOptions): Metric<boolean> => topK(1, options);
export const top5 = (options?: ClassificationOptions): Metric<boolean> => topK(5, options);

/** Mean over the classes of F1 = 2 TP / (2 TP + FP + FN); classes that neither truth nor answer names are left out. */
export function macroF1(options: ClassificationOptions = {}): Metric<readonly [number, number]> {
  const name = 'macro F1';
  const predict = (outputs: Outputs): number => predictClass(outputs, options, name);
  return defineMetric({
    name,
    higherIsBetter: true,
    format: 'percent',
    predict,
    score: (outputs, sample) => [classOf(sample, options.classes, name), predict(outputs)] as const,
    reduce(pairs) {
      const right = new Map<number, number>();
      const named = new Map<number, number>();
      for (const [truth, predicted] of pairs) {
        if (truth === predicted) right.set(truth, (right.get(truth) ?? 0) + 1);
        for (const c of [truth, predicted]) named.set(c, (named.get(c) ?? 0) + 1);
      }
      // TP + FN and TP + FP together are what `named` counts.
      let sum = 0;
      for (const [c, count] of named) sum += (2 * (right.get(c) ?? 0)) / count;
      return sum / named.size;
    },
  });
}

/** Share of samples on which the model says the same class as the original. For data without labels. */
export function agreement(options: { readonly output?: string } = {}): Metric<boolean> {
  const name = 'agreement with the original';
  return defineMetric<boolean>({
    name,
    higherIsBetter: true,
    format: 'percent',
    reference: 'original',
    score(outputs, _, original) {
      // Outputs with rows (tokens, pixels) agree when every row does: the strict reading of "the same answer".
      const a = toNumbers(outputNamed(outputs, options.output, name));
      const reference = outputNamed(original, options.output, name);
      const b = toNumbers(reference);
      const classes = reference.dims.at(-1) ?? 1;
      if (a.length !== b.length) return false;
      for (let row = 0; row < b.length; row += classes) {
        if (argmax(a.subarray(row, row + classes)) !== argmax(b.subarray(row, row + classes))) return false;
      }
      return true;
    },
  });
}

/** Per-class rows and confusion matrix from (truth, predicted) pairs. `names` by class number. */
export function classTable(
  pairs: readonly (readonly [number, number])[],
  names?: readonly string[],
): { readonly classes: ClassRow[]; readonly confusion: ConfusionMatrix } {
  const count = Math.max(names?.length ?? 0, ...pairs.map(([t, p]) => Math.max(t, p) + 1));
  const counts = Array.from({ length: count }, () => new Array<number>(count).fill(0));
  for (const [truth, predicted] of pairs) (counts[truth] as number[])[predicted]!++;
  const labels = Array.from({ length: count }, (_, c) => names?.[c] ?? String(c));
  const classes = labels.map((label, c) => {
    const right = counts[c]?.[c] as number;
    const support = (counts[c] as number[]).reduce((a, b) => a + b, 0);
    const predicted = counts.reduce((sum, row) => sum + (row[c] as number), 0);
    return {
      label,
      support,
      precision: predicted > 0 ? right / predicted : null,
      recall: support > 0 ? right / support : null,
      f1: support + predicted > 0 ? (2 * right) / (support + predicted) : null,
    };
  });
  return { classes, confusion: { labels, counts } };
}

/** Class number of a sample's label. @throws PareError `bad-data`. */
export function classOf(sample: Sample, classes: readonly string[] | undefined, metric: string): number {
  const label = sample.label;
  if (typeof label === 'boolean') return Number(label);
  if (typeof label === 'number' && Number.isInteger(label)) return label;
  if (typeof label === 'bigint') return Number(label);
  if (typeof label === 'string') {
    const index = classes?.indexOf(label) ?? -1;
    if (index >= 0) return index;
    if (/^\d{1,9}$/.test(label)) return Number(label);
    return badLabel(metric, sample, classes ? `one of its ${classes.length} class names` : 'a class number');
  }
  return badLabel(metric, sample, 'a class number');
}

/** Place of the largest element; the first of several equal ones. NaN is never largest. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if ((values[i] as number) > (values[best] as number) || Number.isNaN(values[best])) best = i;
  }
  return best;
}

function predictClass(outputs: Outputs, options: ClassificationOptions, metric: string): number {
  const scores = classScores(outputs, options, metric);
  return scores.length === 1 ? Number((scores[0] as number) > (options.threshold as number)) : argmax(scores);
}

function classScores(outputs: Outputs, options: ClassificationOptions, metric: string): ArrayLike<number> {
  const tensor: HostTensor = outputNamed(outputs, options.output, metric);
  if (tensor.dims.filter((d) => d !== 1).length > 1) {
    throw new PareError(
      'bad-option',
      `Metric "${metric}" needs one number a class, but the output is ${tensorText(tensor)} a sample. Choose another output or metric.`,
    );
  }
  const scores = toNumbers(tensor);
  if (scores.length === 1 && options.threshold === undefined) {
    throw new PareError(
      'bad-option',
      `The model's output is one number a sample: tell metric "${metric}" the threshold between the classes.`,
    );
  }
  return scores;
}

/** How many classes come before `truth`: larger scores, and equal ones of lower number. */
function rankOf(scores: ArrayLike<number>, truth: number): number {
  const own = scores[truth] as number;
  if (Number.isNaN(own)) return Number.POSITIVE_INFINITY;
  let rank = 0;
  for (let i = 0; i < scores.length; i++) {
    const s = scores[i] as number;
    if (s > own || (s === own && i < truth)) rank++;
  }
  return rank;
}
