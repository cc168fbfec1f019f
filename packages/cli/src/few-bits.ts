import { type Model, PareError } from '@pare/core';
import { calibrationFeeds } from '@pare/optimize';
import {
  exportQuantized,
  fakeQuantize,
  LOSSES,
  namedLoss,
  type Precision,
  parsePrecision,
  quantizeAware,
  type TrainResult,
} from '@pare/train';
import type { RecipeStep as AppliedStep, Dataset } from '@pare/verify';
import type { CommandContext } from './command.js';
import type { Job } from './job.js';
import { oneOf, parseCount } from './parse.js';
import { type TrainingFlags, trainingSettings } from './training.js';

/** Flags of `pare quantize` for precisions like w4a8. */
export interface FewBitsFlags extends TrainingFlags {
  readonly to: string;
  readonly train?: string;
  readonly loss?: string;
  readonly method?: string;
}

/** `w4a8`, `w2a4`, `w4`, ...: bits of weights and activations, which can be trained. Undefined for other precisions. */
export function fewBits(to: string): Precision | undefined {
  return /^w\d/.test(to) ? parsePrecision(to) : undefined;
}

const METHODS = ['min-max', 'moving-average', 'percentile', 'entropy', 'mse'] as const;

/** Quantizes `model` in place, with training when `--train` says so. `patterns`: the nodes to take and to leave. */
export async function quantizeToFewBits(
  model: Model,
  precision: Precision,
  {
    flags,
    job,
    data,
    context,
    patterns,
  }: {
    readonly flags: FewBitsFlags;
    readonly job: Job;
    readonly data: Dataset | undefined;
    readonly context: CommandContext;
    readonly patterns: Readonly<Record<string, unknown>>;
  },
): Promise<{ readonly steps: AppliedStep[]; readonly training?: TrainResult }> {
  const { engine, signal } = context;
  const method = oneOf(flags.method, METHODS, '--method');
  const options = { ...patterns, precision, ...(method ? { method } : {}) };
  if (flags.train !== undefined) {
    const epochs = parseCount(flags.train, '--train');
    const loss = namedLoss(oneOf(flags.loss, Object.keys(LOSSES), '--loss') ?? 'cross-entropy');
    const settings = await trainingSettings(flags, job, context, epochs);
    const { plan, training } = await quantizeAware(model, { ...settings, ...options, loss });
    const said = { ...patterns, precision: flags.to, epochs, loss: loss.name };
    return { steps: [{ transform: 'quantize-aware', options: said, notes: plan.notes }], training };
  }
  if (precision.activations && !data) {
    throw new PareError('bad-option', `--to ${flags.to} calibrates with samples: give some with --data.`);
  }
  const samples = data && calibrationFeeds(data, engine(), model, signal)();
  const plan = await fakeQuantize(model, { ...options, samples, engine: engine(), signal });
  await exportQuantized(model, plan);
  return { steps: [{ transform: 'fake-quantize', options: { ...patterns, precision: flags.to }, notes: plan.notes }] };
}
