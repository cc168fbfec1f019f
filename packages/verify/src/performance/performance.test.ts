import { type Feeds, type HostTensor, PareError, type Session, seededRandom } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { decimate, summarizeLatencies } from './latency.js';
import { measurePerformance, repeatBatch } from './measure.js';
import { timeInterleaved } from './rounds.js';
import { measureSpeedup } from './speedup.js';

/** A session whose runs take `latency(run)` ms by its own clock; every call is written into `log`. */
function fakeSession(name: string, latency: (run: number, feeds: Feeds) => number, log: string[] = []): Session {
  let run = 0;
  return {
    inputs: [],
    outputs: [],
    loadMs: 12,
    run: async () => ({}),
    time: async (feeds, times) => {
      log.push(name);
      return Float64Array.from({ length: times }, () => latency(run++, feeds));
    },
    close: async () => undefined,
  };
}

describe('rounds', () => {
  it('interleave, and rotate who goes first', async () => {
    const log: string[] = [];
    const models = ['A', 'B', 'C'].map((name) => ({ session: fakeSession(name, () => 10, log), feeds: {} }));
    await timeInterleaved(models, { budgetMs: 60, minRounds: 6 });
    const rounds = log.slice(-18).join('');
    expect(rounds).toBe('ABCBCACABABCBCACAB');
  });
  it('give every model the same number of rounds, and fill the budget', async () => {
    const slow = { session: fakeSession('slow', () => 100), feeds: {} };
    const fast = { session: fakeSession('fast', () => 1), feeds: {} };
    const [a, b] = await timeInterleaved([slow, fast], { budgetMs: 1000, minRounds: 6, maxRounds: 30 });
    expect(a?.rounds.map((r) => r.length)).toEqual(new Array(10).fill(1));
    expect(b?.rounds.map((r) => r.length)).toEqual(new Array(10).fill(100));
    expect(b?.warmupRuns).toBeGreaterThanOrEqual(100);
  });
  it('run few rounds of what is slow, but enough', async () => {
    const [only] = await timeInterleaved([{ session: fakeSession('s', () => 5000), feeds: {} }], { budgetMs: 1000 });
    expect(only?.rounds.length).toBe(6);
    expect(only?.warmupRuns).toBe(2);
  });
  it('stop on request', async () => {
    const controller = new AbortController();
    const session = fakeSession('s', (run) => {
      if (run === 5) controller.abort();
      return 50;
    });
    const timing = timeInterleaved([{ session, feeds: {} }], { signal: controller.signal });
    await expect(timing).rejects.toMatchObject({ code: 'aborted' });
  });
});

describe('speed-up', () => {
  const random = seededRandom(6);
  /** Round medians of a machine that slows down by half over time, with noise. */
  const drift = (ms: number, noise: number): number[] =>
    Array.from({ length: 20 }, (_, i) => ms * (1 + i / 40) * (1 + noise * random.normal()));
  it('sees through drift that both share', () => {
    const { ratio, interval, verdict } = measureSpeedup(drift(10, 0.01), drift(8, 0.01));
    expect(ratio).toBeCloseTo(1.25, 1);
    expect(verdict).toBe('faster');
    expect(interval.low).toBeGreaterThan(1.2);
    expect(interval.high).toBeLessThan(1.3);
  });
  it('says slower, and nothing where there is nothing', () => {
    expect(measureSpeedup(drift(8, 0.01), drift(10, 0.01)).verdict).toBe('slower');
    expect(measureSpeedup(drift(10, 0.05), drift(10, 0.05)).verdict).toBe('no difference measured');
  });
  it('is wrong about equal models about as often as it says', () => {
    let wrong = 0;
    for (let trial = 0; trial < 200; trial++) {
      if (measureSpeedup(drift(10, 0.03), drift(10, 0.03), trial).verdict !== 'no difference measured') wrong++;
    }
    expect(wrong / 200).toBeLessThan(0.12);
  });
  it('does not call one percent a difference, however certain', () => {
    const percent = measureSpeedup(drift(10, 0.0001), drift(9.9, 0.0001));
    expect(percent.interval.low).toBeGreaterThan(1);
    expect(percent.verdict).toBe('no difference measured');
  });
  it('is not thrown by single hiccups', () => {
    const variant = drift(8, 0.01);
    variant[3] = 500;
    variant[11] = 900;
    expect(measureSpeedup(drift(10, 0.01), variant)).toMatchObject({ verdict: 'faster' });
  });
  it('claims no more than the ends with few rounds', () => {
    expect(measureSpeedup([10, 10, 10], [8, 10, 12]).interval).toMatchObject({ low: 10 / 12, high: 1.25 });
  });
});

describe('summary', () => {
  it('percentiles of 1 to 100', () => {
    const s = summarizeLatencies(Array.from({ length: 100 }, (_, i) => 100 - i));
    expect(s).toMatchObject({ runs: 100, min: 1, max: 100, mean: 50.5, p50: 50.5 });
    expect(s.p90).toBeCloseTo(90.1, 9);
    expect(s.p99).toBeCloseTo(99.01, 9);
  });
  it('a decimated distribution keeps ends and quantiles', () => {
    const random = seededRandom(1);
    const all = Array.from({ length: 20000 }, () => Math.exp(random.normal()));
    const few = decimate(all);
    expect(few.length).toBe(500);
    expect(few[0]).toBe(Math.min(...all));
    expect(few.at(-1)).toBe(Math.max(...all));
    expect(Math.abs((few[250] as number) - summarizeLatencies(all).p50)).toBeLessThan(0.02);
    expect(decimate([3, 1, 2])).toEqual([1, 2, 3]);
  });
});

describe('measuring', () => {
  const feeds = { x: { dtype: 'float32', dims: [1, 2], data: Float32Array.of(1, 2) } as HostTensor };
  const batchOf = (f: Feeds): number => f.x?.dims[0] as number;

  it('puts latency, throughput, cold start and speed-up together', async () => {
    // Ten times as long at first; a batch costs less than its samples one by one.
    const session = (ms: number): Session =>
      fakeSession('s', (run, f) => (run === 0 ? 10 : 1) * ms * (1 + 0.5 * (batchOf(f) - 1)));
    const feedsOfBatch = (batch: number): Feeds => repeatBatch(feeds, batch);
    const [a, b] = await measurePerformance(
      [4, 2].map((ms) => ({ session: session(ms), feeds, feedsOfBatch })),
      { budgetMs: 400, batches: [1, 3] },
    );
    expect(a?.latency.p50).toBe(4);
    expect(a?.coldStart).toEqual({ loadMs: 12, firstRunMs: 40 });
    expect(a?.speedup).toBeNull();
    expect(b?.speedup).toMatchObject({ ratio: 2, verdict: 'faster' });
    expect(b?.throughput).toEqual([
      { batch: 1, p50: 2, samplesPerSecond: 500 },
      { batch: 3, p50: 4, samplesPerSecond: 750 },
    ]);
    expect(a?.freshProcess).toBeNull();
  });
  it('leaves out a batch size that the model refuses, and a process that dies', async () => {
    const session = fakeSession('s', (_, f) => {
      if (batchOf(f) > 4) throw new PareError('engine', 'ONNX Runtime: no.');
      return 5;
    });
    const fresh = async (): Promise<never> => {
      throw new PareError('engine', 'died');
    };
    const subject = { session, feeds, feedsOfBatch: (batch: number) => repeatBatch(feeds, batch), fresh };
    const [only] = await measurePerformance([subject], { budgetMs: 100 });
    expect(only?.throughput.map((t) => t.batch)).toEqual([1, 4]);
    expect(only?.freshProcess).toBeNull();
  });
  it('repeats a batch of any type', () => {
    const tensors: Feeds = {
      x: { dtype: 'int64', dims: [2, 1], data: BigInt64Array.of(5n, 6n) },
      q: { dtype: 'string', dims: [1, 1], data: ['a'] },
    };
    expect(repeatBatch(tensors, 3)).toEqual({
      x: { dtype: 'int64', dims: [3, 1], data: BigInt64Array.of(5n, 5n, 5n) },
      q: { dtype: 'string', dims: [3, 1], data: ['a', 'a', 'a'] },
    });
  });
});
