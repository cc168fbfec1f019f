import type { MeasuredVariant } from '@pare/verify';
import { describe, expect, it } from 'vitest';
import { type Judgement, judge } from './judge.js';

interface Case {
  name?: string;
  bytes?: number;
  ratio?: number;
  /** Half width of the ratio's interval. */
  spread?: number;
  drop?: number;
  worse?: boolean;
  p95?: number;
  cosine?: number;
  nan?: number;
  saturates?: boolean;
  scored?: boolean;
  timed?: boolean;
}

/** A measured variant in which only what the judge looks at is filled with care. */
function variant(c: Case, isOriginal = false): MeasuredVariant {
  const ratio = c.ratio ?? 1;
  const spread = c.spread ?? 0.05;
  const interval = { low: ratio - spread, high: ratio + spread, level: 0.95, method: 'bootstrap-percentile' as const };
  const verdict = interval.low > 1 ? 'faster' : interval.high < 1 ? 'slower' : 'no difference measured';
  const drop = {
    value: c.drop ?? 0,
    interval: null,
    test: { name: 'mcnemar' as const, pValue: 1, onlyOriginalRight: 0, onlyVariantRight: 0 },
    verdict: c.worse ? ('worse' as const) : ('no difference measured' as const),
    gate: null,
  };
  return {
    name: c.name ?? (isOriginal ? 'original' : 'variant'),
    isOriginal,
    bytes: c.bytes ?? 1e6,
    accuracy: (c.scored ?? true) ? { metric: 'top-1', format: 'percent', drop: isOriginal ? null : drop } : null,
    numerics: isOriginal
      ? null
      : {
          outputs: [{ name: 'y', cosine: c.cosine ?? 1, nonFiniteOriginal: 0, nonFiniteVariant: c.nan ?? 0 }],
          saturation: c.saturates ? { verdict: 'saturates', reason: 'SQNR falls by 16 dB.' } : null,
        },
    stability: null,
    performance:
      (c.timed ?? true)
        ? { latency: { p95: c.p95 ?? 10 }, speedup: isOriginal ? null : { ratio, interval, verdict } }
        : null,
  } as unknown as MeasuredVariant;
}

const run = (cases: Case[], gates = {}, goal: 'latency' | 'size' = 'latency'): Judgement =>
  judge([variant({ bytes: 10e6 }, true), ...cases.map((c) => variant(c))], gates, goal);
const statuses = (j: Judgement): string[] => j.verdicts.map((v) => v.status);

describe('judge', () => {
  it('recommends the fastest that holds the gates', () => {
    const j = run(
      [
        { name: 'static', ratio: 2, drop: 0.03, worse: true },
        { name: 'dynamic', ratio: 1.5, drop: 0.002 },
        { name: 'fp16', ratio: 0.9, bytes: 5e6 },
      ],
      { maxDrop: 0.01 },
    );
    expect(j.recommendation.variant).toBe('dynamic');
    expect(statuses(j)).toEqual(['accepted', 'refused', 'recommended', 'refused']);
    expect(j.verdicts[3]?.reasons[0]).toMatch(/Slower than the original: 0\.90× .* ask for size/);
    expect(j.verdicts[1]?.reasons[0]).toMatch(/top-1 drops by 3\.00 %, more than the 1\.00 % allowed/);
  });

  it('keeps the original when nothing is measurably faster, however small', () => {
    const j = run([{ ratio: 1.02, spread: 0.05, bytes: 2e6 }], {});
    expect(j.recommendation.variant).toBe('original');
    expect(j.recommendation.reason).toMatch(/No variant .* measurably faster/);
    expect(statuses(j)).toEqual(['recommended', 'accepted']);
  });

  it('takes the smallest that is not slower when the goal is size', () => {
    const j = run(
      [
        { name: 'int4', ratio: 0.5, bytes: 2e6 },
        { name: 'int8', ratio: 1.01, bytes: 3e6 },
        { name: 'fp16', ratio: 1.4, bytes: 5e6 },
      ],
      {},
      'size',
    );
    expect(j.recommendation.variant).toBe('int8');
  });

  it('settles speeds it cannot tell apart by accuracy, then by size', () => {
    const level = [
      { name: 'a', ratio: 2.02, spread: 0.1, drop: 0.009, worse: true, bytes: 3e6 },
      { name: 'b', ratio: 2, spread: 0.1, bytes: 4e6 },
      { name: 'c', ratio: 1.98, spread: 0.1, bytes: 3.5e6 },
    ];
    expect(run(level, { maxDrop: 0.01 }).recommendation.variant).toBe('c');
  });

  it('refuses what is neither smaller nor faster, what is not finite, and what saturates', () => {
    const j = run([
      { bytes: 10e6, ratio: 1 },
      { bytes: 3e6, ratio: 2, nan: 4 },
      { bytes: 3e6, ratio: 2, saturates: true },
    ]);
    expect(statuses(j)).toEqual(['recommended', 'refused', 'refused', 'refused']);
    expect(j.verdicts.map((v) => v.reasons[0])).toEqual([
      expect.anything(),
      expect.stringMatching(/Neither smaller \(10\.0 MB against 10\.0 MB\) nor faster/),
      expect.stringMatching(/4 NaN or infinite/),
      expect.stringMatching(/saturate on this CPU/),
    ]);
  });

  it('checks latency, size and cosine gates, and asks for a cosine when nothing was scored', () => {
    const gates = { maxP95Ms: 20, maxBytes: 4e6, minCosine: 0.999 };
    const j = run([{ bytes: 5e6, p95: 30, cosine: 0.99, ratio: 2 }], gates);
    expect(j.verdicts[1]?.reasons).toHaveLength(3);
    expect(statuses(run([{ ratio: 2, bytes: 3e6, cosine: 0.98, scored: false }]))).toEqual(['recommended', 'refused']);
    expect(statuses(run([{ ratio: 2, bytes: 3e6, cosine: 0.98 }]))).toEqual(['accepted', 'recommended']);
  });

  it('without a goal lets speed and size refuse nothing beyond the gates', () => {
    const slow = [{ bytes: 12e6, ratio: 0.5 }];
    const gates = { maxP95Ms: 20 };
    const judged = (cases: Case[]): Judgement =>
      judge([variant({ bytes: 10e6 }, true), ...cases.map((c) => variant(c))], gates, null);
    expect(statuses(judged(slow))).toEqual(['recommended', 'accepted']);
    expect(statuses(judged([{ ...slow[0], p95: 30 }]))).toEqual(['recommended', 'refused']);
    expect(statuses(judged([{ ...slow[0], nan: 1 }]))).toEqual(['recommended', 'refused']);
  });

  it('says when the original that stays fails a gate itself', () => {
    const { recommendation } = run([{ bytes: 9e6 }], { maxBytes: 5e6, maxDrop: 0 });
    expect(recommendation.variant).toBe('original');
    expect(recommendation.reason).toBe(
      'No variant holds the gates. But it fails itself: It has 10.0 MB, over the limit of 5.00 MB.',
    );
  });

  it('goes by size where speed could not be measured, says so, and promises none', () => {
    const untimed = (cases: Case[], gates = {}, goal: 'latency' | 'size' | null = 'latency'): Judgement =>
      judge(
        [variant({ bytes: 10e6, timed: false }, true), ...cases.map((c) => variant({ ...c, timed: false }))],
        gates,
        goal,
      );
    const cases = [
      { name: 'fp16', bytes: 5e6 },
      { name: 'int4', bytes: 1.5e6, drop: 0.04, worse: true },
      { name: 'int8', bytes: 2.6e6 },
      { name: 'fp32', bytes: 9.9e6 },
    ];
    for (const goal of ['latency', 'size', null] as const) {
      const { verdicts, recommendation } = untimed(cases, { maxDrop: 0.01 }, goal);
      expect(recommendation.variant).toBe('int8');
      expect(recommendation.reason).toBe(
        'The smallest that holds the gates, with no word on its speed, which was not measured: 26 % of the size, no difference in top-1 measured.',
      );
      expect(verdicts.map((v) => v.status).slice(0, 4)).toEqual(['accepted', 'accepted', 'refused', 'recommended']);
      expect(verdicts[1]?.reasons).toEqual([expect.stringMatching(/speed not measured/)]);
    }
    expect(untimed(cases).verdicts[4]?.reasons).toEqual(['Not smaller: 9.90 MB against 10.0 MB.']);
    const none = untimed([{ bytes: 11e6 }], {}, null).recommendation;
    expect(none).toEqual({
      variant: 'original',
      reason: expect.stringMatching(/is smaller, and speed was not measured/),
    });
    const gated = untimed(cases, { maxP95Ms: 50 });
    expect(gated.recommendation.variant).toBe('original');
    expect(gated.verdicts[3]?.reasons[0]).toMatch(/latency was not measured, so the gate on p95 cannot hold/);
  });

  it('says so when there is nothing to choose from', () => {
    expect(run([]).recommendation).toEqual({
      variant: 'original',
      reason: expect.stringMatching(/No variant could be built/),
    });
  });
});
