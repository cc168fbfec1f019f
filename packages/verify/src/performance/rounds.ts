import { type Feeds, type Session, throwIfAborted } from '@pare/core';
import { median } from '../statistics/quantile.js';

/** A model to time, open, with what it is fed. */
export interface Timed {
  readonly session: Session;
  readonly feeds: Feeds;
}

/** What the rounds measured of one model. */
export interface TimedRounds {
  readonly warmupRuns: number;
  /** Latencies in ms of each round. */
  readonly rounds: readonly Float64Array[];
}

export interface RoundsOptions {
  /** Time to spend on each model, ms. Default 3000. */
  readonly budgetMs?: number;
  /** Fewest rounds, whatever the budget. Default 6. */
  readonly minRounds?: number;
  /** Most rounds. Default 30. */
  readonly maxRounds?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** Warm-up lasts so many runs at least, and a tenth of the budget. */
const WARMUP_RUNS = 2;

/**
 * Times models in interleaved rounds, A B C, B C A, C A B, ...: what happens to the machine happens to all of them, and no
 * one always runs after the same other. Runs a round are chosen so that the rounds fill the budget.
 * @throws PareError `engine`; `aborted`.
 */
export async function timeInterleaved(models: readonly Timed[], options: RoundsOptions = {}): Promise<TimedRounds[]> {
  const { budgetMs = 3000, minRounds = 6, maxRounds = 30, signal } = options;
  const plans: { warmupRuns: number; runs: number; rounds: Float64Array[] }[] = [];
  let rounds = maxRounds;
  for (const { session, feeds } of models) {
    throwIfAborted(signal);
    const { runs: warmupRuns, ms } = await warmUp(session, feeds, budgetMs / 10);
    // As many rounds as fit with one run each; beyond that, several runs a round.
    rounds = Math.min(rounds, Math.max(minRounds, Math.floor(budgetMs / ms)));
    plans.push({ warmupRuns, runs: ms, rounds: [] });
  }
  for (const plan of plans) plan.runs = Math.max(1, Math.min(1000, Math.round(budgetMs / rounds / plan.runs)));
  for (let round = 0; round < rounds; round++) {
    for (let k = 0; k < models.length; k++) {
      throwIfAborted(signal);
      const i = (round + k) % models.length;
      const { session, feeds } = models[i] as Timed;
      const plan = plans[i] as (typeof plans)[number];
      plan.rounds.push(await session.time(feeds, plan.runs));
      options.onProgress?.(round * models.length + k + 1, rounds * models.length);
    }
  }
  return plans.map(({ warmupRuns, rounds: measured }) => ({ warmupRuns, rounds: measured }));
}

/** Runs until the budget is used; returns how often, and the typical time of a run. */
async function warmUp(session: Session, feeds: Feeds, budgetMs: number): Promise<{ runs: number; ms: number }> {
  let [runs, spent, ms] = [0, 0, Number.POSITIVE_INFINITY];
  while (runs < WARMUP_RUNS || spent < budgetMs) {
    const rest = Math.max(1, Math.min(100, Math.floor((budgetMs - spent) / ms)));
    const times = await session.time(feeds, Number.isFinite(ms) ? rest : 1);
    runs += times.length;
    spent += times.reduce((a, b) => a + b, 0);
    ms = Math.max(1e-3, Math.min(ms, median(times)));
  }
  return { runs, ms };
}
