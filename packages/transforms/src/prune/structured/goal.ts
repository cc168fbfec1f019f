import { type Engine, type Feeds, type Model, PareError, type TransformContext, throwIfAborted } from '@pare/core';
import type { NodeSelection } from '../../quantize/select.js';
import { type CountOptions, countMacs, countParameters } from './cost.js';
import { type ChannelGroup, type Removal, removeChannels } from './groups.js';
import { engineOf, type Samples } from './observe.js';
import type { Plan } from './ranking.js';

/** What to remove, as a share from 0 to 1 of what the model has: exactly one of these. */
export type ChannelGoal =
  /** Of the units that may go. */
  | { readonly channels: number }
  /** Of the multiply-accumulates of one run. */
  | { readonly macs: number }
  /** Of the elements of all constants: of the size. */
  | { readonly parameters: number }
  /** Of the time of a run. `measure` times a model, in any unit; default: the median of 15 runs on the first sample. */
  | { readonly latency: number; readonly measure?: ((model: Model) => Promise<number>) | undefined };

/** What reaching a goal depends on. */
export interface GoalOptions extends NodeSelection, CountOptions {
  readonly goal: ChannelGoal;
  /** For measuring latency: the first one is run. Its shapes are those that multiply-accumulates are counted for. */
  readonly samples?: Samples | undefined;
}

/**
 * The one goal that is given.
 * @throws PareError `bad-option` when there are none or several, and for shares beyond 0 and 1.
 */
export function goalOf(goal: ChannelGoal): { readonly what: string; readonly share: number } {
  const given = Object.entries(WHAT).filter(([name]) => name in goal);
  const [name, what] = given[0] ?? ['', ''];
  if (given.length !== 1) {
    throw new PareError('bad-option', `Give one goal for pruning: ${Object.keys(WHAT).join(', ')}.`);
  }
  const share = (goal as Readonly<Record<string, number>>)[name] ?? Number.NaN;
  if (share > 0 && share < 1) return { what, share };
  throw new PareError('bad-option', `The goal ${name} is the share to remove, between 0 and 1; ${share} is not.`);
}

const WHAT: Readonly<Record<string, string>> = {
  channels: 'channels',
  macs: 'multiply-accumulates',
  parameters: 'parameters',
  latency: 'time',
};

/** The smallest removal that reaches the goal, and the share that it reaches, by bisection. */
export async function reach(
  model: Model,
  groups: readonly ChannelGroup[],
  plan: Plan,
  options: GoalOptions,
  context: TransformContext,
): Promise<{ removal: Removal; reached: number }> {
  const { share, what } = goalOf(options.goal);
  const cost = await costOf(groups, options, context);
  const before = await cost(model.clone(), []);
  const reachedBy = async (removal: Removal): Promise<number> => {
    throwIfAborted(context.signal);
    return 1 - (await cost(model.clone(), removal)) / before;
  };
  let best = { removal: plan.removal(plan.length), reached: 0 };
  best.reached = await reachedBy(best.removal);
  if (best.reached < share) {
    throw new PareError(
      'unsupported',
      `At most ${(100 * best.reached).toFixed(1)} % of the ${what} can go, not ${(100 * share).toFixed(1)} %. ` +
        'Lower the goal, keepAtLeast or roundTo, or exclude fewer layers.',
    );
  }
  // Times vary: there is no point in telling apart plans that differ by a few channels.
  const precision = 'latency' in options.goal ? Math.ceil(plan.length / 64) : 1;
  for (let [low, high] = [0, plan.length]; high - low > precision; ) {
    const middle = (low + high) >> 1;
    const removal = plan.removal(middle);
    const reached = await reachedBy(removal);
    if (reached < share) low = middle;
    else {
      high = middle;
      best = { removal, reached };
    }
  }
  return best;
}

/** What a copy of the model costs when `removal` is gone from it. */
async function costOf(
  groups: readonly ChannelGroup[],
  options: GoalOptions,
  context: TransformContext,
): Promise<(copy: Model, removal: Removal) => number | Promise<number>> {
  const { goal } = options;
  const sample = 'latency' in goal || 'macs' in goal ? await firstOf(options.samples) : undefined;
  if ('channels' in goal) {
    const all = groups.reduce((sum, { size }) => sum + size, 0);
    return (_, removal) => all - removal.reduce((sum, units) => sum + units.length, 0);
  }
  const shapes = Object.fromEntries(Object.entries(sample ?? {}).map(([name, { dims }]) => [name, dims]));
  const count = { ...options, inputShapes: { ...shapes, ...options.inputShapes } };
  let measure = (copy: Model): number | Promise<number> => countParameters(copy);
  if ('macs' in goal) measure = (copy) => countMacs(copy, count);
  if ('latency' in goal) measure = goal.measure ?? medianTime(engineOf(context), sample);
  return (copy, removal) => {
    removeChannels(copy, removal, options);
    return measure(copy);
  };
}

async function firstOf(samples: Samples | undefined): Promise<Feeds | undefined> {
  for await (const feeds of samples ?? []) return feeds;
  return undefined;
}

function medianTime(engine: Engine, sample: Feeds | undefined): (model: Model) => Promise<number> {
  if (!sample) throw new PareError('bad-option', 'To measure the latency, give `samples` (an array) or `measure`.');
  return async (model) => {
    const session = await engine.open(model);
    try {
      await session.time(sample, 3);
      return (await session.time(sample, 15)).sort()[7] as number;
    } finally {
      await session.close();
    }
  };
}
