import { type Engine, type Feeds, type Model, PareError, type TransformContext, throwIfAborted } from '@pare/core';
import type { NodeSelection } from '../../quantize/select.js';
import { type CountOptions, countMacs, countParameters, Forecast } from './cost.js';
import { Cut } from './cut.js';
import { analyze, type ChannelGroup, type Removal, removeChannels, unitsOf } from './groups.js';
import { engineOf, type Samples } from './observe.js';
import type { Plan } from './ranking.js';

/** What to remove, as a share from 0 to 1 of what the model has: exactly one of these. */
export type ChannelGoal =
  /** Of the units that may go. */
  | { readonly channels: number }
  /** Of the multiply-accumulates of one run. */
  | { readonly macs: number }
  /** Of the elements of all constants: of the size. Shapes and indices are none. */
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

/** What is left of a cost, as a share of all of it, when `removal` is gone. */
type Left = (removal: Removal) => number | Promise<number>;

/**
 * The smallest removal that reaches the goal, and the share that it reaches: by bisection over what shapes tell, or over times.
 * @throws PareError `unsupported` when no removal reaches it.
 */
export async function reach(
  model: Model,
  groups: readonly ChannelGroup[],
  plan: Plan,
  options: GoalOptions,
  context: TransformContext,
): Promise<{ readonly removal: Removal; readonly reached: number }> {
  const { share, what } = goalOf(options.goal);
  const left = await leftOf(model, groups, options, context);
  const reachedBy = async (count: number): Promise<number> => {
    throwIfAborted(context.signal);
    return 1 - (await left(plan.removal(count)));
  };
  let high = plan.length;
  let reached = await reachedBy(high);
  if (reached < share) {
    throw new PareError(
      'unsupported',
      `At most ${(100 * reached).toFixed(1)} % of the ${what} can go, not ${(100 * share).toFixed(1)} %. ` +
        'Lower the goal, keepAtLeast or roundTo, or exclude fewer layers.',
    );
  }
  // Times vary: there is no point in telling apart plans that differ by a few channels.
  const precision = 'latency' in options.goal ? Math.ceil(plan.length / 64) : 1;
  for (let low = 0; high - low > precision; ) {
    const middle = (low + high) >> 1;
    const found = await reachedBy(middle);
    if (found < share) low = middle;
    else [high, reached] = [middle, found];
  }
  return { removal: plan.removal(high), reached };
}

async function leftOf(
  model: Model,
  groups: readonly ChannelGroup[],
  options: GoalOptions,
  context: TransformContext,
): Promise<Left> {
  const { goal } = options;
  if ('channels' in goal) {
    const all = groups.reduce((sum, { size }) => sum + size, 0);
    return (removal) => 1 - removal.reduce((sum, units) => sum + units.length, 0) / all;
  }
  const sample = await firstOf(options.samples);
  if ('latency' in goal) {
    const measure = goal.measure ?? medianTime(engineOf(context), sample);
    const before = await measure(model);
    return async (removal) => {
      const copy = model.clone();
      removeChannels(copy, removal, options);
      return (await measure(copy)) / before;
    };
  }
  const shapes = Object.fromEntries(Object.entries(sample ?? {}).map(([name, { dims }]) => [name, dims]));
  const count = { ...options, inputShapes: { ...shapes, ...options.inputShapes } };
  const analysis = analyze(model, options);
  const forecast = new Forecast(model, analysis, count);
  const before = 'macs' in goal ? countMacs(model, count) : countParameters(model);
  return (removal) => {
    const cut = new Cut(analysis.space, unitsOf(analysis, removal));
    return ('macs' in goal ? forecast.macs(cut) : forecast.parameters(cut)) / before;
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
