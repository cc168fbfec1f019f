import { elementCount, PareError, seededRandom, type Value } from '@pare/core';
import type { Weights } from '../../fuse/weights.js';
import type { Gradients } from '../score.js';
import type { ChannelGroup, ChannelMember } from './groups.js';

/** Scores of one group, one a unit: the least important units have the lowest. Infinite: must stay. */
export type UnitScores = Float64Array;

/**
 * How important the units of a group are. `weights` reads a constant, each once while it is at hand; the numbers are compared
 * inside the group only, unless the ranking is isomorphic.
 */
export type ChannelScorer = (group: ChannelGroup, weights: WeightReader) => Promise<UnitScores> | UnitScores;
export type WeightReader = (value: Value) => Promise<Weights>;

/** Roles whose size tells how much a unit does. */
const WEIGHTS: ReadonlySet<string> = new Set(['output', 'input', 'scale']);

/** One place a constant and axis: tied weights count once. */
function distinct(members: readonly ChannelMember[]): ChannelMember[] {
  const seen = new Map(members.map((member) => [`${member.value.name}:${member.axis}`, member]));
  return [...seen.values()];
}

/** Calls `visit(unit, element)` for every element of the constant of `member` that belongs to a unit. */
export function forEachElement(member: ChannelMember, visit: (unit: number, element: number) => void): void {
  const dims = member.value.constant?.dims ?? [];
  const row = elementCount(dims.slice(member.axis + 1));
  const block = row * (dims[member.axis] ?? 1);
  const size = elementCount(dims);
  for (const [unit, places] of member.indices.entries()) {
    for (const place of places) {
      for (let from = place * row; from < size; from += block) {
        for (let at = from; at < from + row; at++) visit(unit, at);
      }
    }
  }
}

/** `scores` with mean 1, so that layers of large weights are no better than others; all 0 stay so. */
export function normalized(scores: UnitScores): UnitScores {
  const finite = scores.filter(Number.isFinite);
  const mean = finite.reduce((a, b) => a + b, 0) / Math.max(1, finite.length);
  return mean > 0 ? scores.map((s) => s / mean) : scores;
}

/** Squared L2 norm of every unit in one constant. */
export async function energies(member: ChannelMember, size: number, weights: WeightReader): Promise<UnitScores> {
  const values = await weights(member.value);
  const sums = new Float64Array(size);
  forEachElement(member, (unit, at) => {
    sums[unit] = (sums[unit] as number) + (values[at] as number) ** 2;
  });
  return sums;
}

/**
 * L2 norm of a unit in every weight of its group, each weight's mean over the units taken as 1, and the mean of those: the group
 * magnitude of Fang et al. ("DepGraph", 2023).
 */
export const magnitude: ChannelScorer = async (group, weights) => {
  const members = distinct(group.members).filter(({ role }) => WEIGHTS.has(role));
  const total = new Float64Array(group.size);
  for (const member of members.length > 0 ? members : distinct(group.members)) {
    const norms = normalized((await energies(member, group.size, weights)).map(Math.sqrt));
    for (const [unit, norm] of norms.entries()) total[unit] = (total[unit] as number) + norm;
  }
  return total.map((sum) => sum / Math.max(1, members.length));
};

/** |gamma| of the normalizations that a unit passes (Liu et al., "Network Slimming", 2017). Groups without one stay whole. */
export const bnGamma: ChannelScorer = async (group, weights) => {
  const members = distinct(group.members).filter(({ role }) => role === 'scale');
  const total = new Float64Array(group.size).fill(members.length === 0 ? Number.POSITIVE_INFINITY : 0);
  for (const member of members) {
    for (const [unit, energy] of (await energies(member, group.size, weights)).entries()) {
      total[unit] = (total[unit] as number) + Math.sqrt(energy);
    }
  }
  return total;
};

/**
 * |sum of gradient times weight| over all that goes with a unit: what the loss changes, to first order (Molchanov et al.,
 * "Importance Estimation for Neural Network Pruning", 2019). Constants without a gradient add nothing.
 * @throws PareError `bad-option` (the scorer) for a group without any gradient, and for one of another size.
 */
export const taylor =
  (gradients: Gradients): ChannelScorer =>
  async (group, weights) => {
    const total = new Float64Array(group.size);
    const members = distinct(group.members).filter(({ value }) => gradients.has(value.name));
    if (members.length === 0) {
      const names = [...new Set(group.members.map(({ value }) => value.name))].slice(0, 3).join(', ');
      throw new PareError('bad-option', `The score "taylor" needs gradients for ${group.name}: of ${names}.`);
    }
    for (const member of members) {
      const values = await weights(member.value);
      const gradient = gradients.get(member.value.name) as ArrayLike<number>;
      if (gradient.length !== values.length) {
        throw new PareError(
          'bad-option',
          `The gradient of "${member.value.name}" has ${gradient.length} elements instead of ${values.length}.`,
        );
      }
      forEachElement(member, (unit, at) => {
        total[unit] = (total[unit] as number) + (gradient[at] as number) * (values[at] as number);
      });
    }
    return total.map(Math.abs);
  };

/**
 * Sum of the distances to all other units of the group, in what computes them: the one nearest to the others can best be replaced
 * by them (He et al., "Filter Pruning via Geometric Median", 2019).
 */
export const fpgm: ChannelScorer = async (group, weights) => {
  const outputs = distinct(group.members).filter(({ role }) => role === 'output');
  const { size } = group;
  const squares = new Float64Array(size * size);
  for (const member of outputs.length > 0 ? outputs : distinct(group.members)) {
    const values = await weights(member.value);
    const rows = Array.from({ length: size }, (): number[] => []);
    forEachElement(member, (unit, at) => rows[unit]?.push(values[at] as number));
    for (let a = 0; a < size; a++) {
      for (let b = 0; b < a; b++) {
        const distance = squaredDistance(rows[a] as number[], rows[b] as number[]);
        squares[a * size + b] = (squares[a * size + b] as number) + distance;
        squares[b * size + a] = squares[a * size + b] as number;
      }
    }
  }
  return Float64Array.from({ length: size }, (_, a) =>
    squares.subarray(a * size, (a + 1) * size).reduce((sum, square) => sum + Math.sqrt(square), 0),
  );
};

function squaredDistance(a: readonly number[], b: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += ((a[i] as number) - (b[i] as number)) ** 2;
  return sum;
}

/**
 * The share of a unit's energy in that of all units that are at least as large (Lee et al., "Layer-adaptive sparsity for the
 * magnitude-based pruning", 2021): comparable between layers as it is, and 1 for the last unit of a layer.
 */
export const lamp: ChannelScorer = async (group, weights) => {
  const norms = await magnitude(group, weights);
  const order = [...norms.keys()].sort((a, b) => (norms[b] as number) - (norms[a] as number));
  const scores = new Float64Array(group.size);
  let sum = 0;
  for (const unit of order) {
    const energy = (norms[unit] as number) ** 2;
    sum += energy;
    scores[unit] = sum > 0 ? energy / sum : 0;
  }
  return scores;
};

/** Uniform in [0, 1): the control that any other score must beat. */
export function randomScore(seed: number): ChannelScorer {
  const random = seededRandom(seed);
  return ({ size }) => Float64Array.from({ length: size }, () => random.uniform());
}
