import { PareError } from '@pare/core';

/** Sparsity by progress of the training: from 0, before the first step, to 1, after the last. Never falls. */
export type SparsitySchedule = (progress: number) => number;

/** All at once, when `at` of the training is done. Default 0: before it. */
export function oneShotSchedule(final: number, at = 0): SparsitySchedule {
  checkSparsity(final);
  return (progress) => (progress >= at ? final : 0);
}

/**
 * From `initial` (default 0) to `final` between `begin` and `end` of the training (default 0 and 1), fast at first, while there is
 * much to spare: s = s_f + (s_0 - s_f) (1 - t)^3 (Zhu and Gupta, "To prune, or not to prune", 2017).
 */
export function cubicSchedule(
  final: number,
  {
    initial = 0,
    begin = 0,
    end = 1,
  }: { readonly initial?: number; readonly begin?: number; readonly end?: number } = {},
): SparsitySchedule {
  checkSparsity(initial);
  checkSparsity(final);
  if (!(begin < end)) throw new PareError('bad-option', `Pruning cannot begin at ${begin} and end at ${end}.`);
  return (progress) => {
    const t = Math.min(1, Math.max(0, (progress - begin) / (end - begin)));
    return final + (initial - final) * (1 - t) ** 3;
  };
}

/**
 * `rounds` of pruning and fine-tuning of equal length, each of which removes the same share of the weights that are left: after
 * round r 1 - (1 - s_f)^(r / rounds) (Frankle and Carbin, "The lottery ticket hypothesis", 2019). The first begins at once.
 */
export function iterativeSchedule(final: number, rounds: number): SparsitySchedule {
  checkSparsity(final);
  if (!(Number.isInteger(rounds) && rounds > 0)) {
    throw new PareError('bad-option', `Pruning goes in a whole number of rounds, not ${rounds}.`);
  }
  return (progress) => {
    const round = Math.min(rounds, Math.floor(progress * rounds + ROUNDING) + 1);
    return 1 - (1 - final) ** (round / rounds);
  };
}

/** Progress is a quotient of steps: the start of a round must not fall just below it. */
const ROUNDING = 1e-9;

function checkSparsity(sparsity: number): void {
  if (sparsity >= 0 && sparsity < 1) return;
  throw new PareError('bad-option', `A sparsity is at least 0 and below 1, not ${sparsity}.`);
}
