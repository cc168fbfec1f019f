import { PareError } from '@pare/core';
import type { RecipeStep } from '@pare/optimize';
import type { JobFlags } from './job.js';
import { oneOf, parseCount, parseFraction } from './parse.js';

/** What can be taken away. */
export type Kind = 'weights' | 'channels';

/** Flags that say what to take away, and how it is chosen. */
export interface PruningFlags extends JobFlags {
  readonly sparsity?: string;
  readonly nm?: string;
  readonly channels?: string;
  readonly macs?: string;
  readonly parameters?: string;
  readonly latency?: string;
  readonly share?: string;
  readonly score?: string;
  readonly distribution?: string;
  readonly keep?: string;
  readonly ranking?: string;
  readonly roundTo?: string;
  readonly include?: string[];
  readonly exclude?: string[];
}

export const SCORES = {
  weights: ['magnitude', 'wanda', 'taylor'],
  channels: ['magnitude', 'bn-gamma', 'taylor', 'fpgm', 'lamp', 'activation', 'random'],
} as const satisfies Readonly<Record<Kind, readonly string[]>>;
export const DISTRIBUTIONS = ['lamp', 'global', 'uniform', 'erk'] as const;
export const ENDS = ['first', 'last', 'both'] as const;
export const RANKINGS = ['global', 'isomorphic', 'uniform'] as const;

type Options = RecipeStep['options'];

/** What each goal is, and what it sets. */
const GOALS = {
  sparsity: ['weights', (text) => ({ sparsity: share(text, '--sparsity') })],
  nm: ['weights', (text) => ({ pattern: text })],
  channels: ['channels', (text) => ({ goal: { channels: share(text, '--channels') } })],
  macs: ['channels', (text) => ({ goal: { macs: share(text, '--macs') } })],
  parameters: ['channels', (text) => ({ goal: { parameters: share(text, '--parameters') } })],
  latency: ['channels', (text) => ({ goal: { latency: share(text, '--latency') } })],
} as const satisfies Partial<Record<keyof PruningFlags, readonly [Kind, (text: string) => Options]>>;

/** For each other flag, what it is for, and what it sets there. */
const SETTINGS = {
  score: [['weights', 'channels'], ({ score }, kind) => ({ score: oneOf(score, SCORES[kind], '--score') })],
  distribution: [
    ['weights'],
    ({ distribution }) => ({ distribution: oneOf(distribution, DISTRIBUTIONS, '--distribution') }),
  ],
  keep: [['weights'], ({ keep }) => ({ keep: oneOf(keep, ENDS, '--keep') })],
  ranking: [['channels'], ({ ranking }) => ({ ranking: oneOf(ranking, RANKINGS, '--ranking') })],
  roundTo: [['channels'], ({ roundTo = '' }) => ({ roundTo: parseCount(roundTo, '--round-to') })],
  include: [['weights', 'channels'], ({ include }) => ({ include })],
  exclude: [['weights', 'channels'], ({ exclude }) => ({ exclude })],
} as const satisfies Partial<
  Record<keyof PruningFlags, readonly [readonly Kind[], (flags: PruningFlags, kind: Kind) => Options]>
>;

/** One transform that takes something away, as data. */
export interface Pruning {
  readonly kind: Kind;
  readonly step: RecipeStep;
}

/**
 * What the flags ask to be taken away; undefined when weights are only shared.
 * @throws PareError `bad-option` for none or several goals, and for flags that mean nothing for the one there is.
 */
export function pruningOf(flags: PruningFlags, seed: number): Pruning | undefined {
  const goals = Object.entries(GOALS).filter(([flag]) => flags[flag as keyof typeof GOALS] !== undefined);
  const [goal] = goals;
  const isShared = flags.share !== undefined;
  if (goals.length > 1 || (!goal && !isShared)) {
    const names = Object.keys(GOALS).map((name) => `--${name}`);
    throw new PareError('bad-option', `What is to go? Give one of ${names.join(', ')}${goal ? '' : ', or --share'}.`);
  }
  const kind = goal?.[1][0] ?? 'weights';
  const options: Options = Object.assign({}, ...settings(flags, kind));
  if (!goal) {
    if (flags.score === undefined && flags.distribution === undefined) return undefined;
    throw new PareError('bad-option', '--score and --distribution choose weights that go: say how many (--sparsity).');
  }
  const [flag, [, set]] = goal;
  const own = set(flags[flag as keyof typeof GOALS] as string);
  if (kind === 'weights') return { kind, step: { transform: 'prune-weights', options: { ...own, ...options } } };
  return { kind, step: { transform: 'prune-channels', options: { ...own, ...options, seed } } };
}

/** Sharing of weights, when the flags ask for it. */
export function sharingOf({ share, keep, include, exclude }: PruningFlags): RecipeStep | undefined {
  if (share === undefined) return undefined;
  const bits = parseCount(share, '--share', 2);
  const layers = { keep: oneOf(keep, ENDS, '--keep'), include, exclude };
  return { transform: 'share-weights', options: { bits, ...layers } };
}

function settings(flags: PruningFlags, kind: Kind): Options[] {
  return Object.entries(SETTINGS).flatMap(([flag, [kinds, set]]) => {
    if (flags[flag as keyof typeof SETTINGS] === undefined) return [];
    if ((kinds as readonly Kind[]).includes(kind)) return [set(flags, kind)];
    const dashed = `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new PareError('bad-option', `${dashed} means nothing for ${kind}; it is for ${kinds.join(' and ')}.`);
  });
}

function share(text: string, flag: string): number {
  const value = parseFraction(text, flag);
  if (value > 0 && value < 1) return value;
  throw new PareError('bad-option', `${flag} ${text}: write the share that goes, between 0 and 1, such as 0.5 or 50%.`);
}
