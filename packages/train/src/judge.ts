import type { Model } from '@pare/core';
import type { LabelSpec, TrainingData } from './data/index.js';
import { accuracy, evaluate, evaluateLoss, type Score } from './evaluate.js';
import type { TrainingSession } from './session.js';
import type { TrainOptions } from './train-options.js';

/** What chooses the best weights. */
export interface Judge extends Pick<Score, 'name' | 'higherIsBetter'> {
  of(model: Model): Promise<number>;
}

/** Whether the output has a number for each class that labels may be (for a triplet loss it has not). */
export function isClassified(label: LabelSpec | undefined): boolean {
  return label?.kind === 'class' && label.classes !== undefined;
}

/** The given score; else accuracy where labels are one class a sample; else the loss, where labels are all that it needs. */
export function judgeOf(
  data: TrainingData,
  session: TrainingSession,
  { score, loss, engine, shards = 1, threads = 1, signal }: TrainOptions,
  label: LabelSpec | undefined,
): Judge | undefined {
  const settings = { threads: shards * threads, signal };
  const classes = isClassified(label) && label?.dims.length === 0;
  const chosen = score ?? (classes ? accuracy(session.output) : undefined);
  if (chosen) return { ...chosen, of: (model) => evaluate(engine, model, data, chosen, settings) };
  if (!label || session.targets.length !== 1) return undefined;
  return { name: loss.name, higherIsBetter: false, of: (model) => evaluateLoss(engine, model, data, loss, settings) };
}
