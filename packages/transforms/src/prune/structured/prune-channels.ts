import {
  type Model,
  PareError,
  type Transform,
  type TransformContext,
  type TransformResult,
  throwIfAborted,
} from '@pare/core';
import { type ChannelScore, type ScoreOptions, scorerOf, weightReader } from './channel-score.js';
import { countParameters } from './cost.js';
import { type GoalOptions, goalOf, reach } from './goal.js';
import { type ChannelGroup, channelGroups, type Removal, removeChannels } from './groups.js';
import { engineOf, refuseOneShot, type Samples } from './observe.js';
import { type KeepOptions, Plan, type Ranking } from './ranking.js';
import { reconstructChannels } from './reconstruct.js';
import { reestimateBatchNorm } from './reestimate-batch-norm.js';
import type { UnitScores } from './score.js';

/** Options of `pruneChannels`. */
export interface PruneChannelsOptions extends GoalOptions, ScoreOptions, KeepOptions {
  /** Default `magnitude`. */
  readonly score?: ChannelScore | undefined;
  /** How units of different layers are compared. Default `global`. */
  readonly ranking?: Ranking | undefined;
  /**
   * Samples of what the model will see. They serve the score `activation`, the measuring of latency, and the shapes that
   * multiply-accumulates are counted for.
   */
  readonly samples?: Samples | undefined;
  /**
   * Give the layers behind the weights that make up best for what went (`reconstructChannels`): layer after layer, or all in one pass.
   * Default: true with samples and an engine.
   */
  readonly reconstruct?: boolean | 'one-pass' | undefined;
  /** Measure the BatchNormalizations anew afterwards (`reestimateBatchNorm`). Default: with samples and an engine. */
  readonly reestimate?: boolean | undefined;
}

/**
 * Removes whole channels (filters, heads, hidden units) with all that is coupled to them: the model becomes smaller in shape, runs
 * anywhere, and keeps its inputs and outputs. The units of the lowest scores go, as many as the goal takes and no more.
 *
 * Convolutions of any kind, products, normalizations, attention, LSTM and GRU are known, through reshapes, splits, joins, residual
 * and gating connections. What passes an operator without a rule, a subgraph, or an output of the model stays; `notes` say why.
 * The model should be simplified first. Train it afterwards.
 * @throws PareError `bad-option` for a goal that is none, and for scores that lack what they need; `unsupported` when the goal
 *   cannot be reached; `engine`; `aborted`. The model is unchanged then, unless it was being repaired already.
 */
export function pruneChannels(options: PruneChannelsOptions): Transform {
  goalOf(options.goal);
  if (options.samples) refuseOneShot(options.samples);
  return { name: 'pruneChannels', apply: (model, context) => apply(model, options, context) };
}

async function apply(model: Model, options: PruneChannelsOptions, context: TransformContext): Promise<TransformResult> {
  const { groups, refusals } = channelGroups(model, options);
  if (groups.length === 0) {
    throw new PareError('unsupported', `No channel of the model can be removed. ${refusals.slice(0, 3).join(' ')}`);
  }
  const plan = await planOf(model, groups, options, context);
  const { removal, reached } = await reach(model, groups, plan, options, context);
  // A cut that is not valid must show before the model is changed.
  removeChannels(model.clone(), removal, options);
  const before = countParameters(model);
  const repairs = await cutAndRepair(model, removal, options, context);
  const notes = groups.flatMap(({ name, size }, i) => {
    const gone = removal[i]?.length ?? 0;
    return gone > 0 ? [`${name}: ${size - gone} of ${size} channels left.`] : [];
  });
  const share = (100 * (1 - countParameters(model) / before)).toFixed(1);
  notes.push(`${(100 * reached).toFixed(1)} % of the ${goalOf(options.goal).what} went, ${share} % of the parameters.`);
  return { changed: removal.filter((units) => units.length > 0).length, notes: [...notes, ...repairs, ...refusals] };
}

/** Removes the channels; answers what was repaired before and after, and what was not. */
async function cutAndRepair(
  model: Model,
  removal: Removal,
  options: PruneChannelsOptions,
  context: TransformContext,
): Promise<string[]> {
  const canRepair = options.samples !== undefined && context.engine !== undefined;
  const { reconstruct = canRepair, reestimate = canRepair } = options;
  const notes: string[] = [];
  if (reconstruct) {
    const refusals = await reconstructChannels(model, removal, {
      ...options,
      engine: engineOf(context),
      samples: samplesOf(options),
      signal: context.signal,
      sequential: reconstruct !== 'one-pass',
      onProgress: (done, total) => context.onProgress?.('reconstruct', done, total),
    });
    notes.push(...refusals);
  }
  removeChannels(model, removal, options);
  if (reestimate) {
    const result = await reestimateBatchNorm({ samples: samplesOf(options) }).apply(model, context);
    if (result.changed > 0) notes.push(...result.notes);
  }
  return notes;
}

function samplesOf({ samples }: PruneChannelsOptions): Samples {
  if (samples) return samples;
  throw new PareError('bad-option', 'Repairing what is left after pruning needs `samples`.');
}

/** Scores that are comparable between groups as they are. */
const COMPARABLE: ReadonlySet<unknown> = new Set<ChannelScore>(['lamp', 'random']);

async function planOf(
  model: Model,
  groups: readonly ChannelGroup[],
  options: PruneChannelsOptions,
  context: TransformContext,
): Promise<Plan> {
  const { score = 'magnitude', ranking = 'global' } = options;
  const scorer = await scorerOf(score, model, groups, options, context);
  const weights = weightReader();
  const found: UnitScores[] = [];
  for (const group of groups) {
    throwIfAborted(context.signal);
    found.push(await scorer(group, weights));
    context.onProgress?.('score', found.length, groups.length);
  }
  return new Plan(groups, found, options, { ranking, isGlobal: COMPARABLE.has(score) });
}
