import { PareError } from '@pare/core';
import type { DropEvidence, DropGate, Interval, PairedTest } from '../evidence.js';
import {
  bcaInterval,
  bootstrap,
  bootstrapPValue,
  percentileInterval,
  type Statistic,
} from '../statistics/bootstrap.js';
import { mcnemarTest, pairedDifferenceInterval, wilsonInterval } from '../statistics/proportion.js';
import type { Metric, Share } from './metric.js';

/** Value of a metric over all samples, with its 95 % interval. */
export interface Scored {
  readonly value: number | null;
  readonly interval: Interval | null;
  readonly format: 'percent' | 'number';
}

/** Resampled values that are costly to compute (`reduce`) are drawn less often, and so are those of very many samples. */
const RESAMPLES = { ratio: 2000, reduce: 500 } as const;
const FEWEST_RESAMPLES = 400;
const MOST_DRAWS = 2e7;

function resamplesFor(kind: 'ratio' | 'reduce', samples: number): number {
  return Math.min(RESAMPLES[kind], Math.max(FEWEST_RESAMPLES, Math.floor(MOST_DRAWS / samples)));
}

export interface ScoreOptions {
  /** Of the bootstrap. Default 1. */
  readonly seed?: number;
}

/** Value and interval of `scores`, one a sample. */
export function scoreAll(metric: Metric, scores: readonly unknown[], options: ScoreOptions = {}): Scored {
  const kind = kindOf(metric, scores);
  if (kind === 'boolean') {
    const right = scores.filter(Boolean).length;
    const interval = finishInterval(metric, wilsonInterval(right, scores.length));
    return { value: finite(finish(metric, right / scores.length)), interval, format: metric.format ?? 'percent' };
  }
  const statistic = statisticOf(metric, scores, kind);
  const value = finish(metric, statistic(all(scores.length)));
  const draws = bootstrap(scores.length, (i) => finish(metric, statistic(i)), {
    seed: options.seed ?? 1,
    resamples: resamplesFor(kind, scores.length),
  });
  const interval =
    kind === 'ratio'
      ? bcaInterval(draws, value, jackknife(metric, scores as (number | Share)[]))
      : percentileInterval(draws);
  return { value: finite(value), interval: interval ?? null, format: metric.format ?? 'number' };
}

/** How much worse `variant` is than `original`, scores of the same samples in the same order. */
export function compareScores(
  metric: Metric,
  original: readonly unknown[],
  variant: readonly unknown[],
  options: ScoreOptions & { readonly limit?: number | undefined } = {},
): DropEvidence | null {
  const kind = kindOf(metric, original);
  const sign = metric.higherIsBetter ? 1 : -1;
  const judged =
    kind === 'boolean' && !metric.finish
      ? compareRight(original as readonly boolean[], variant as readonly boolean[], sign)
      : compareResampled(metric, kind === 'boolean' ? 'ratio' : kind, original, variant, sign, options.seed ?? 1);
  if (!judged) return null;
  const { value, interval, test } = judged;
  const significant = test.pValue < 0.05 && value !== 0;
  return {
    value,
    interval,
    test,
    verdict: !significant ? 'no difference measured' : value > 0 ? 'worse' : 'better',
    gate: options.limit === undefined ? null : gateOf(options.limit, value, interval),
  };
}

type Judged = { readonly value: number; readonly interval: Interval | null; readonly test: PairedTest };

function compareRight(original: readonly boolean[], variant: readonly boolean[], sign: number): Judged {
  const counts = { both: 0, onlyFirst: 0, onlySecond: 0, neither: 0 };
  for (let i = 0; i < original.length; i++) {
    if (original[i]) variant[i] ? counts.both++ : counts.onlyFirst++;
    else variant[i] ? counts.onlySecond++ : counts.neither++;
  }
  const { onlyFirst, onlySecond } = counts;
  const interval = pairedDifferenceInterval(counts);
  return {
    value: (sign * (onlyFirst - onlySecond)) / original.length,
    interval: sign > 0 ? interval : { ...interval, low: -interval.high, high: -interval.low },
    test: {
      ...mcnemarTest(onlyFirst, onlySecond),
      onlyOriginalRight: onlyFirst,
      onlyVariantRight: onlySecond,
    },
  };
}

function compareResampled(
  metric: Metric,
  kind: 'ratio' | 'reduce',
  original: readonly unknown[],
  variant: readonly unknown[],
  sign: number,
  seed: number,
): Judged | undefined {
  const a = statisticOf(metric, original, kind);
  const b = statisticOf(metric, variant, kind);
  // The same samples are drawn for both: what they have in common cancels.
  const difference: Statistic = (i) => sign * (finish(metric, a(i)) - finish(metric, b(i)));
  const value = difference(all(original.length));
  if (!Number.isFinite(value)) return undefined;
  const draws = bootstrap(original.length, difference, { seed, resamples: resamplesFor(kind, original.length) });
  return {
    value,
    interval: percentileInterval(draws, 'paired-bootstrap') ?? null,
    test: { name: 'paired-bootstrap', pValue: bootstrapPValue(draws), onlyOriginalRight: null, onlyVariantRight: null },
  };
}

function gateOf(limit: number, value: number, interval: Interval | null): DropGate {
  // A drop of exactly the limit holds; the slack is rounding of the last place.
  const slack = 1e-12;
  if (value > limit + slack) return { limit, verdict: 'fails' };
  return { limit, verdict: interval && interval.high <= limit + slack ? 'proven' : 'holds' };
}

type Kind = 'boolean' | 'ratio' | 'reduce';

function kindOf(metric: Metric, scores: readonly unknown[]): Kind {
  if (metric.reduce) return 'reduce';
  const first = scores[0];
  if (typeof first === 'boolean') return 'boolean';
  if (typeof first === 'number' || isShare(first)) return 'ratio';
  throw new PareError(
    'bad-option',
    `Metric "${metric.name}" scores a sample with ${first === null ? 'null' : typeof first}. Return a boolean, a number or ` +
      '{ sum, weight }, or give the metric a `reduce`.',
  );
}

function isShare(score: unknown): score is Share {
  const share = score as Share | null | undefined;
  return typeof share?.sum === 'number' && typeof share.weight === 'number';
}

function statisticOf(metric: Metric, scores: readonly unknown[], kind: Kind): Statistic {
  if (kind === 'reduce') {
    const reduce = metric.reduce?.bind(metric) as (scores: readonly unknown[]) => number;
    return (indices) => reduce(Array.from(indices, (i) => scores[i]));
  }
  const { sums, weights } = sharesOf(metric, scores);
  return (indices) => {
    let sum = 0;
    let weight = 0;
    for (let k = 0; k < indices.length; k++) {
      const i = indices[k] as number;
      sum += sums[i] as number;
      weight += weights[i] as number;
    }
    return sum / weight;
  };
}

function sharesOf(metric: Metric, scores: readonly unknown[]): { sums: Float64Array; weights: Float64Array } {
  const sums = new Float64Array(scores.length);
  const weights = new Float64Array(scores.length);
  for (const [i, score] of scores.entries()) {
    if (typeof score === 'object' && !isShare(score)) {
      throw new PareError(
        'bad-option',
        `Metric "${metric.name}" does not return the same kind of score for every sample.`,
      );
    }
    sums[i] = isShare(score) ? score.sum : Number(score);
    weights[i] = isShare(score) ? score.weight : 1;
  }
  return { sums, weights };
}

/** The metric without each sample in turn. */
function jackknife(metric: Metric, scores: readonly (number | Share)[]): Float64Array {
  const { sums, weights } = sharesOf(metric, scores);
  const sum = sums.reduce((x, y) => x + y, 0);
  const weight = weights.reduce((x, y) => x + y, 0);
  return sums.map((s, i) => finish(metric, (sum - s) / (weight - (weights[i] as number))));
}

function finishInterval(metric: Metric, interval: Interval): Interval {
  return { ...interval, low: finish(metric, interval.low), high: finish(metric, interval.high) };
}

const finish = (metric: Metric, value: number): number => (metric.finish ? metric.finish(value) : value);
const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
const all = (n: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => i);
