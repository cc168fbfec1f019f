import { type Feeds, type HostTensor, PareError, type Session } from '@pare/core';
import type { FreshProcess, PerformanceEvidence, ThroughputRow } from '../evidence.js';
import { median } from '../statistics/quantile.js';
import { decimate, summarizeLatencies } from './latency.js';
import { type Timed, type TimedRounds, timeInterleaved } from './rounds.js';
import { measureSpeedup } from './speedup.js';

/** A model whose performance is measured. The first of a list is the original that the others are compared with. */
export interface PerformanceSubject {
  readonly session: Session;
  /** One run of batch size `batch`. */
  readonly feeds: Feeds;
  /** The first run of the session, ms, when it has run already; else it is measured here. */
  readonly firstRunMs?: number;
  /** The same samples repeated to a larger batch; undefined where the model's batch is fixed. */
  readonly feedsOfBatch?: ((batch: number) => Feeds) | undefined;
  /** Loads and runs it in a process of its own; undefined where there are no processes. */
  readonly fresh?: (() => Promise<FreshProcess>) | undefined;
}

export interface MeasureOptions {
  /** Batch size of `feeds`. Default 1. */
  readonly batch?: number;
  readonly threads?: number;
  /** Time for the latency rounds, ms a model; throughput of each batch size takes a quarter more. Default 3000. */
  readonly budgetMs?: number;
  /** Batch sizes beyond `batch` whose throughput is measured. Default 4 and 16. */
  readonly batches?: readonly number[];
  readonly seed?: number;
  readonly signal?: AbortSignal | undefined;
  /** `done` of `total` steps of `what`. */
  readonly onProgress?: ((what: string, done: number, total: number) => void) | undefined;
}

/**
 * Latency in interleaved rounds, throughput by batch size, cold start, and (where given) a fresh process, of all `subjects`
 * side by side.
 * @throws PareError `engine`; `aborted`.
 */
export async function measurePerformance(
  subjects: readonly PerformanceSubject[],
  options: MeasureOptions = {},
): Promise<PerformanceEvidence[]> {
  const { batch = 1, threads = 1, budgetMs = 3000, batches = [4, 16], seed = 1, signal, onProgress } = options;
  const firstRuns: number[] = [];
  for (const { session, feeds, firstRunMs } of subjects) {
    firstRuns.push(firstRunMs ?? ((await session.time(feeds, 1))[0] as number));
  }
  const timed = await timeInterleaved(subjects, {
    budgetMs,
    signal,
    onProgress: (done, total) => onProgress?.('latency', done, total),
  });
  const throughput = await measureThroughput(subjects, timed, {
    batch,
    batches,
    budgetMs: budgetMs / 4,
    signal,
    onProgress,
  });
  const medians = timed.map((t) => t.rounds.map((round) => median(round)));
  const evidence: PerformanceEvidence[] = [];
  for (const [i, subject] of subjects.entries()) {
    const all = flatten(timed[i] as TimedRounds);
    const roundMedians = medians[i] as number[];
    if (subject.fresh) onProgress?.('fresh process', i, subjects.length);
    const freshProcess = await runFresh(subject);
    if (subject.fresh) onProgress?.('fresh process', i + 1, subjects.length);
    evidence.push({
      batch,
      threads,
      rounds: roundMedians.length,
      warmupRuns: (timed[i] as TimedRounds).warmupRuns,
      latency: summarizeLatencies(all),
      distribution: decimate(all),
      roundMedians,
      throughput: throughput[i] as ThroughputRow[],
      coldStart: { loadMs: subject.session.loadMs, firstRunMs: firstRuns[i] as number },
      freshProcess,
      speedup: i === 0 ? null : measureSpeedup(medians[0] as number[], roundMedians, seed),
    });
  }
  return evidence;
}

async function measureThroughput(
  subjects: readonly PerformanceSubject[],
  timed: readonly TimedRounds[],
  options: Required<Pick<MeasureOptions, 'batch' | 'batches' | 'budgetMs'>> &
    Pick<MeasureOptions, 'signal' | 'onProgress'>,
): Promise<ThroughputRow[][]> {
  const row = (size: number, rounds: TimedRounds): ThroughputRow => {
    const p50 = median(flatten(rounds));
    return { batch: size, p50, samplesPerSecond: (1000 * size) / p50 };
  };
  const rows = timed.map((t) => [row(options.batch, t)]);
  const sizes = options.batches.filter((size) => size !== options.batch);
  for (const [k, size] of sizes.entries()) {
    options.onProgress?.('throughput', k, sizes.length);
    const able: { readonly index: number; readonly timed: Timed }[] = [];
    for (const [index, { session, feedsOfBatch }] of subjects.entries()) {
      if (!feedsOfBatch) continue;
      const model = { session, feeds: feedsOfBatch(size) };
      if (await canRun(model)) able.push({ index, timed: model });
    }
    const measured = await timeInterleaved(
      able.map((a) => a.timed),
      { budgetMs: options.budgetMs, minRounds: 3, maxRounds: 5, signal: options.signal },
    );
    for (const [i, { index }] of able.entries()) rows[index]?.push(row(size, measured[i] as TimedRounds));
    options.onProgress?.('throughput', k + 1, sizes.length);
  }
  return rows;
}

/** Null when there are no processes, or the model fails in one (memory): the runs here have shown that it works. */
async function runFresh(subject: PerformanceSubject): Promise<FreshProcess | null> {
  try {
    return (await subject.fresh?.()) ?? null;
  } catch (error) {
    if (error instanceof PareError && error.code === 'engine') return null;
    throw error;
  }
}

/** Models that promise any batch size may still refuse one (a fixed Reshape inside, not enough memory). */
async function canRun({ session, feeds }: Timed): Promise<boolean> {
  try {
    await session.time(feeds, 1);
    return true;
  } catch (error) {
    if (error instanceof PareError && error.code === 'engine') return false;
    throw error;
  }
}

function flatten({ rounds }: TimedRounds): Float64Array {
  const all = new Float64Array(rounds.reduce((n, r) => n + r.length, 0));
  let at = 0;
  for (const round of rounds) {
    all.set(round, at);
    at += round.length;
  }
  return all;
}

/** The first sample of `feeds` (whose first axis is the batch) repeated `batch` times. */
export function repeatBatch(feeds: Feeds, batch: number): Feeds {
  const repeated: Record<string, HostTensor> = {};
  for (const [name, tensor] of Object.entries(feeds)) {
    const size = tensor.data.length / (tensor.dims[0] ?? 1);
    const dims = [batch, ...tensor.dims.slice(1)];
    if (!ArrayBuffer.isView(tensor.data)) {
      const one = tensor.data.slice(0, size);
      repeated[name] = { ...tensor, dims, data: Array.from({ length: batch }, () => one).flat() };
      continue;
    }
    const data = tensor.data as Float32Array;
    const out = new (data.constructor as Float32ArrayConstructor)(size * batch);
    for (let i = 0; i < batch; i++) out.set(data.subarray(0, size), i * size);
    repeated[name] = { ...tensor, dims, data: out };
  }
  return repeated;
}
