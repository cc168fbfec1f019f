import type { ChannelGroup, Removal } from './groups.js';
import { normalized, type UnitScores } from './score.js';

/**
 * How units of different groups are compared. `global`: by score over the mean score of their group. `isomorphic`: every kind of
 * group loses the same share, the worst inside the kind (Fang et al., "Isomorphic Pruning for Vision Models", 2024). `uniform`: every
 * group loses the same share.
 */
export type Ranking = 'global' | 'isomorphic' | 'uniform';

/** What a plan must keep to. */
export interface KeepOptions {
  /** Channels that are left in a group are a multiple of this, or all of them. Default 1. */
  readonly roundTo?: number | undefined;
  /** Units that stay in every group. Default: an eighth of the group, at least 1. */
  readonly keepAtLeast?: number | undefined;
}

/** All units in the order in which they go. */
export class Plan {
  readonly #order: readonly { readonly group: number; readonly key: number }[];
  readonly #worstFirst: readonly (readonly number[])[];

  /** `isGlobal` scores are comparable between groups as they are. */
  constructor(
    private readonly groups: readonly ChannelGroup[],
    private readonly scores: readonly UnitScores[],
    private readonly keep: KeepOptions,
    { ranking, isGlobal }: { readonly ranking: Ranking; readonly isGlobal: boolean },
  ) {
    this.#worstFirst = scores.map((s) => [...s.keys()].sort((a, b) => (s[a] as number) - (s[b] as number) || a - b));
    const keys = KEYS[ranking](groups, ranking === 'global' && !isGlobal ? scores.map(normalized) : scores);
    this.#order = keys
      .flatMap((of, group) => [...of].filter(Number.isFinite).map((key) => ({ group, key })))
      .sort((a, b) => a.key - b.key || a.group - b.group);
  }

  /** How many units can be named. */
  get length(): number {
    return this.#order.length;
  }

  /** The units that go when the first `count` are asked for; some of them may have to stay. Grows with `count`. */
  removal(count: number): Removal {
    const wanted = this.groups.map(() => 0);
    for (const { group } of this.#order.slice(0, count)) wanted[group] = (wanted[group] as number) + 1;
    return this.groups.map((group, g) => {
      const order = this.#worstFirst[g] as readonly number[];
      return order.slice(0, group.size - this.#kept(group, g, wanted[g] as number));
    });
  }

  #kept(group: ChannelGroup, g: number, wanted: number): number {
    const { roundTo = 1, keepAtLeast = Math.max(1, Math.ceil(group.size / 8)) } = this.keep;
    const fixed = this.scores[g]?.reduce((n, score) => n + (Number.isFinite(score) ? 0 : 1), 0) ?? 0;
    const least = Math.max(group.size - wanted, keepAtLeast, fixed, 1);
    // A unit may be several channels in a row: a head.
    const width = Math.min(...group.members.map(({ indices }) => run(indices[0] ?? [])));
    const step = roundTo / greatestCommonDivisor(roundTo, width);
    return Math.min(group.size, Math.ceil(least / step) * step);
  }
}

/** How many of `places` follow each other from the first on. */
function run(places: readonly number[]): number {
  const end = places.findIndex((place, i) => i > 0 && place !== (places[i - 1] as number) + 1);
  return end < 0 ? Math.max(1, places.length) : end;
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

/** Numbers by group and unit; the lowest go first. */
type Keys = (groups: readonly ChannelGroup[], scores: readonly UnitScores[]) => readonly Float64Array[];

const KEYS: Readonly<Record<Ranking, Keys>> = {
  global: (_, scores) => scores,
  uniform: (_, scores) => scores.map((s) => quantiles([s])[0] as Float64Array),
  isomorphic: (groups, scores) => {
    const keys: Float64Array[] = [];
    for (const kind of new Set(groups.map((group) => group.kind))) {
      const members = [...groups.keys()].filter((g) => groups[g]?.kind === kind);
      for (const [i, key] of quantiles(members.map((g) => scores[g] as UnitScores)).entries())
        keys[members[i] as number] = key;
    }
    return keys;
  },
};

/** For each score the share of all that are below it, from 0 to 1; infinite ones stay so. */
function quantiles(scores: readonly UnitScores[]): Float64Array[] {
  const all = scores.flatMap((of, list) => [...of].map((score, i) => ({ score, list, i })));
  all.sort((a, b) => a.score - b.score);
  const out = scores.map((of) => new Float64Array(of.length));
  for (const [rank, { score, list, i }] of all.entries()) {
    (out[list] as Float64Array)[i] = Number.isFinite(score) ? (rank + 0.5) / all.length : score;
  }
  return out;
}
