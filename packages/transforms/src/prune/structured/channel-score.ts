import { type Model, PareError, type TransformContext } from '@pare/core';
import { readWeights, type Weights } from '../../fuse/weights.js';
import type { Gradients } from '../score.js';
import type { ChannelGroup } from './groups.js';
import { engineOf, observeChannels, type Samples } from './observe.js';
import * as scores from './score.js';

/** How important a unit is, see `ChannelScorer`. `taylor` needs gradients, `activation` samples and an engine. */
export type ChannelScore =
  | 'magnitude'
  | 'bn-gamma'
  | 'taylor'
  | 'fpgm'
  | 'lamp'
  | 'activation'
  | 'random'
  | scores.ChannelScorer;

/** What some scores need. */
export interface ScoreOptions {
  /** For the score `taylor`: the gradient of each constant, by name, in the order of its elements. */
  readonly gradients?: Gradients | undefined;
  /** For the score `activation`. */
  readonly samples?: Samples | undefined;
  /** Of the score `random`. Default 1. */
  readonly seed?: number | undefined;
}

/** @throws PareError `bad-option` when the score lacks what it needs. */
export async function scorerOf(
  score: ChannelScore,
  model: Model,
  groups: readonly ChannelGroup[],
  options: ScoreOptions,
  context: TransformContext,
): Promise<scores.ChannelScorer> {
  if (typeof score === 'function') return score;
  switch (score) {
    case 'magnitude':
      return scores.magnitude;
    case 'bn-gamma':
      return scores.bnGamma;
    case 'fpgm':
      return scores.fpgm;
    case 'lamp':
      return scores.lamp;
    case 'random':
      return scores.randomScore(options.seed ?? 1);
    case 'taylor':
      if (options.gradients) return scores.taylor(options.gradients);
      throw new PareError('bad-option', 'The score "taylor" needs `gradients`; @pare/train computes them.');
    case 'activation':
      return activation(model, groups, options, context);
  }
}

/** Mean |x| of a unit in what the layers behind it read, each activation's mean over the units taken as 1. */
async function activation(
  model: Model,
  groups: readonly ChannelGroup[],
  { samples }: ScoreOptions,
  context: TransformContext,
): Promise<scores.ChannelScorer> {
  if (!samples) throw new PareError('bad-option', 'The score "activation" needs `samples`.');
  const inputs = new Map(groups.flatMap((g) => g.inputs.map((input) => [`${input.value.name}:${input.axis}`, input])));
  const axes = [...inputs.values()].map(({ value, ...axis }) => ({ ...axis, name: value.name }));
  const { signal } = context;
  const observed = await observeChannels(model, axes, ['magnitude'], { engine: engineOf(context), samples, signal });
  const sums = new Map([...inputs.keys()].map((key, i) => [key, observed[i]?.sums.get('magnitude')]));
  return (group) => {
    const total = new Float64Array(group.size).fill(group.inputs.length === 0 ? Number.POSITIVE_INFINITY : 0);
    for (const { value, axis, indices } of group.inputs) {
      const of = sums.get(`${value.name}:${axis}`) as Float64Array;
      const units = Float64Array.from(indices, (at) => at.reduce((sum, i) => sum + (of[i] as number), 0));
      for (const [unit, mean] of scores.normalized(units).entries()) total[unit] = (total[unit] as number) + mean;
    }
    return total;
  };
}

/** Remembers the last few constants: the members of a group are asked for one after the other, by several layers. */
export function weightReader(): scores.WeightReader {
  const recent = new Map<object, Weights>();
  return async (value) => {
    const tensor = value.constant;
    if (!tensor) throw new PareError('bad-model', `"${value.name}" is no constant.`);
    const present = recent.get(tensor) ?? (await readWeights(tensor));
    recent.delete(tensor);
    recent.set(tensor, present);
    const [oldest] = recent.keys();
    if (recent.size > 4 && oldest) recent.delete(oldest);
    return present;
  };
}
