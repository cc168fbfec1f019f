import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { constantSchedule, cosineSchedule, oneCycleSchedule, stepSchedule, warmUp } from './schedule.js';

// What PyTorch makes of the same options is in test/optimizers.test.ts.
describe('schedules', () => {
  it('are finite, never negative and end where they should, however short', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 40 }), fc.double({ min: 0, max: 1, noNaN: true }), (steps, rise) => {
        const cases = [
          [oneCycleSchedule({ learningRate: 0.1, steps, rise }), rise < 1 ? 0.1 / 25 / 1e4 : undefined],
          [cosineSchedule({ learningRate: 0.1, steps, last: 0.01 }), 0.01],
          [warmUp(steps, cosineSchedule({ learningRate: 0.1, steps })), 0],
          [stepSchedule({ learningRate: 0.1, every: steps, factor: 0.5 }), 0.1 * 0.5 ** Math.floor(100 / steps)],
        ] as const;
        for (const [schedule, last] of cases) {
          for (let step = 0; step <= 100; step++) {
            expect(schedule(step)).toBeGreaterThanOrEqual(0);
            expect(schedule(step)).toBeLessThanOrEqual(0.1 + 1e-15);
          }
          if (last !== undefined && steps > 1) expect(schedule(100)).toBeCloseTo(last, 12);
        }
      }),
      { seed: 1 },
    );
  });

  it('warm up in a straight line to the first rate of what follows', () => {
    const schedule = warmUp(4, constantSchedule(0.8), 0.25);
    for (const [step, rate] of [0.2, 0.35, 0.5, 0.65, 0.8, 0.8].entries()) expect(schedule(step)).toBeCloseTo(rate, 12);
  });

  it('refuse lengths below one step', () => {
    expect(() => cosineSchedule({ learningRate: 1, steps: 0 })).toThrow('The option steps of a schedule is 0');
    expect(() => stepSchedule({ learningRate: 1, every: Number.NaN })).toThrow('The option every');
    expect(() => warmUp(0, constantSchedule(1))).toThrow('The option steps');
    expect(() => oneCycleSchedule({ learningRate: 1, steps: 9, rise: 2 })).toThrow('give 0 to 1');
  });
});
