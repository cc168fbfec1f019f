import { describe, expect, it } from 'vitest';
import { cubicSchedule, iterativeSchedule, oneShotSchedule } from './schedule.js';

describe('schedules of sparsity', () => {
  it('one-shot prunes at once, or when told', () => {
    expect([0, 0.5, 1].map(oneShotSchedule(0.8))).toEqual([0.8, 0.8, 0.8]);
    expect([0, 0.49, 0.5, 1].map(oneShotSchedule(0.8, 0.5))).toEqual([0, 0, 0.8, 0.8]);
  });

  it('cubic follows the formula of Zhu and Gupta between its ends, and is constant outside', () => {
    const schedule = cubicSchedule(0.9, { initial: 0.1, begin: 0.2, end: 0.7 });
    expect(schedule(0)).toBeCloseTo(0.1, 12);
    // Half way an eighth of the difference is left.
    expect(schedule(0.45)).toBeCloseTo(0.9 - 0.8 / 8, 12);
    expect(schedule(0.7)).toBeCloseTo(0.9, 12);
    expect(schedule(1)).toBeCloseTo(0.9, 12);
  });

  it('iterative removes the same share of the rest in each round, the first at once, and ends where it should', () => {
    const schedule = iterativeSchedule(0.9, 3);
    const left = [0, 1 / 3, 2 / 3].map((t) => 1 - schedule(t));
    expect(left[1]! / left[0]!).toBeCloseTo(left[0]!, 12);
    expect(left[2]! / left[1]!).toBeCloseTo(left[0]!, 12);
    expect(left[2]).toBeCloseTo(0.1, 12);
    expect(schedule(1)).toBeCloseTo(0.9, 12);
    // A round begins at its first step, however the quotient is rounded.
    for (let step = 0; step < 29; step++) {
      expect(iterativeSchedule(0.9, 29)(step / 29)).toBeCloseTo(1 - 0.1 ** ((step + 1) / 29), 12);
    }
  });

  it('never falls', () => {
    for (const schedule of [oneShotSchedule(0.7, 0.3), cubicSchedule(0.7), iterativeSchedule(0.7, 4)]) {
      const course = Array.from({ length: 101 }, (_, i) => schedule(i / 100));
      expect(course.every((s, i) => i === 0 || s >= course[i - 1]!)).toBe(true);
    }
  });

  it('refuses what is no sparsity, no interval and no number of rounds', () => {
    expect(() => oneShotSchedule(1)).toThrow('below 1');
    expect(() => cubicSchedule(0.5, { initial: -0.1 })).toThrow('at least 0');
    expect(() => cubicSchedule(0.5, { begin: 0.5, end: 0.5 })).toThrow('cannot begin');
    expect(() => iterativeSchedule(0.5, 1.5)).toThrow('whole number');
  });
});
