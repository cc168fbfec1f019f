import type { Numbers } from '@pare/core';

/**
 * KL(p || q) in nats of one row, where p and q are the softmax of `original` and `variant`. Rows that are a probability
 * distribution already (the model ends in a softmax) are taken as they are.
 */
export function rowDivergence(original: Numbers, variant: Numbers): number {
  const p = logProbabilities(original);
  const q = logProbabilities(variant);
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const lp = p[i] as number;
    // p log p -> 0 as p -> 0.
    if (lp > -745) sum += Math.exp(lp) * (lp - Math.max(q[i] as number, LOG_TINY));
  }
  // Rounding may leave a hair below zero; KL is never negative.
  return Math.max(0, sum);
}

/** Logarithm of the smallest positive float32: a probability that the variant rounds to zero is not infinitely wrong. */
const LOG_TINY = Math.log(2 ** -149);

function logProbabilities(row: Numbers): Float64Array {
  const out = new Float64Array(row.length);
  if (isDistribution(row)) {
    for (let i = 0; i < row.length; i++) out[i] = Math.log(row[i] as number);
    return out;
  }
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < row.length; i++) max = Math.max(max, row[i] as number);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += Math.exp((row[i] as number) - max);
  const log = Math.log(sum) + max;
  for (let i = 0; i < row.length; i++) out[i] = (row[i] as number) - log;
  return out;
}

/** Non-negative and summing to one, within half precision's rounding. */
export function isDistribution(row: ArrayLike<number>): boolean {
  let sum = 0;
  for (let i = 0; i < row.length; i++) {
    const v = row[i] as number;
    if (!(v >= 0)) return false;
    sum += v;
  }
  return Math.abs(sum - 1) < 2e-3;
}
