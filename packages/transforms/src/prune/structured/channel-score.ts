import { type Model, PareError, type TransformContext } from '@pare/core';
import { readWeights, type Weights } from '../../fuse/weights.js';
import type { Gradients } from '../score.js';
import type { ChannelGroup, ChannelInput } from './groups.js';
import { unexplained } from './least-squares.js';
import { engineOf, observeChannels, type Samples } from './observe.js';
import * as scores from './score.js';

/** How important a unit is, see `ChannelScorer`. `taylor` needs gradients, `activation` and `reconstruction` samples and an engine. */
export type ChannelScore =
  | 'magnitude'
  | 'bn-gamma'
  | 'taylor'
  | 'fpgm'
  | 'lamp'
  | 'activation'
  | 'reconstruction'
  | 'random'
  | scores.ChannelScorer;

/** What some scores need. */
export interface ScoreOptions {
  /** For the score `taylor`: the gradient of each constant, by name, in the order of its elements. */
  readonly gradients?: Gradients | undefined;
  /** For the scores `activation` and `reconstruction`. */
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
      return activation(await observe('magnitude', model, groups, options, context));
    case 'reconstruction':
      return reconstruction(await observe('gram', model, groups, options, context));
  }
}

/** A statistic of what the layers behind a group read. */
type Observation = (input: ChannelInput) => Float64Array;

async function observe(
  statistic: 'magnitude' | 'gram',
  model: Model,
  groups: readonly ChannelGroup[],
  { samples }: ScoreOptions,
  context: TransformContext,
): Promise<Observation> {
  const score = statistic === 'gram' ? 'reconstruction' : 'activation';
  if (!samples) throw new PareError('bad-option', `The score "${score}" needs \`samples\`.`);
  const keyOf = ({ value, axis }: ChannelInput): string => `${axis}:${value.name}`;
  const inputs = new Map(groups.flatMap((group) => group.inputs.map((input) => [keyOf(input), input])));
  const axes = [...inputs.values()].map(({ value, axis, rank, length }) => ({ name: value.name, axis, rank, length }));
  const engine = engineOf(context);
  const observed = await observeChannels(model, axes, [statistic], { engine, samples, signal: context.signal });
  const sums = new Map([...inputs.keys()].map((key, i) => [key, observed[i]?.sums.get(statistic)]));
  return (input) => sums.get(keyOf(input)) as Float64Array;
}

/** Sums of `numbers` over the places of each unit. */
const byUnit = ({ indices }: ChannelInput, numbers: Float64Array): Float64Array =>
  Float64Array.from(indices, (places) => places.reduce((sum, i) => sum + (numbers[i] as number), 0));

/** Scores that sum up over the inputs of a group; groups without any must stay. */
async function overInputs(
  group: ChannelGroup,
  score: (input: ChannelInput) => Float64Array | Promise<Float64Array>,
): Promise<Float64Array> {
  const total = new Float64Array(group.size).fill(group.inputs.length === 0 ? Number.POSITIVE_INFINITY : 0);
  for (const input of group.inputs) {
    for (const [unit, part] of (await score(input)).entries()) total[unit] = (total[unit] as number) + part;
  }
  return total;
}

/** Mean |x| of a unit in what the layers behind it read, each activation's mean over the units taken as 1. */
const activation =
  (magnitudes: Observation): scores.ChannelScorer =>
  (group) =>
    overInputs(group, (input) => scores.normalized(byUnit(input, magnitudes(input))));

/**
 * What the layers behind lose of a unit even with the best weights for what is left: the square that the other channels cannot explain,
 * times the square of the weights that read it, as a share of what the layers compute. Optimal brain surgeon (Hassibi and Stork, 1993)
 * on whole columns; the score that goes with `reconstructChannels`.
 */
const reconstruction =
  (grams: Observation): scores.ChannelScorer =>
  (group, weights) =>
    overInputs(group, async (input) => {
      const gram = grams(input);
      const n = input.length;
      const lost = byUnit(input, unexplained(gram, n, DAMPING));
      const whole = byUnit(
        input,
        Float64Array.from({ length: n }, (_, i) => gram[i * n + i] as number),
      );
      const energies = new Float64Array(group.size);
      for (const member of input.weights) {
        for (const [unit, e] of (await scores.energies(member, group.size, weights)).entries()) {
          energies[unit] = (energies[unit] as number) + e;
        }
      }
      const all = whole.reduce((sum, square, unit) => sum + square * (energies[unit] as number), 0);
      return energies.map((energy, unit) => (all > 0 ? (energy * (lost[unit] as number)) / all : 0));
    });

const DAMPING = 1e-3;

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
