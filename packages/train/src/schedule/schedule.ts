import { PareError } from '@pare/core';

/**
 * The learning rate of a step, counted from 0. A pure function: a resumed run meets the same rates. Beyond its last step a
 * schedule stays where it ended.
 */
export type Schedule = (step: number) => number;

/** The same rate at every step. */
export function constantSchedule(learningRate: number): Schedule {
  return () => learningRate;
}

export interface StepScheduleOptions {
  readonly learningRate: number;
  /** Steps between two drops. */
  readonly every: number;
  /** Factor of each drop. Default 0.1. */
  readonly factor?: number;
}

/** learningRate * factor^floor(step / every). */
export function stepSchedule({ learningRate, every, factor = 0.1 }: StepScheduleOptions): Schedule {
  atLeastOne('every', every);
  return (step) => learningRate * factor ** Math.floor(step / every);
}

export interface CosineScheduleOptions {
  readonly learningRate: number;
  /** Steps until the last rate. */
  readonly steps: number;
  /** The last rate. Default 0. */
  readonly last?: number;
}

/** Half a cosine wave from `learningRate` down to `last` (Loshchilov and Hutter 2017, without restarts). */
export function cosineSchedule({ learningRate, steps, last = 0 }: CosineScheduleOptions): Schedule {
  atLeastOne('steps', steps);
  return (step) => anneal(learningRate, last, Math.min(1, step / steps));
}

export interface OneCycleScheduleOptions {
  /** The highest rate. */
  readonly learningRate: number;
  /** Steps of the whole cycle. */
  readonly steps: number;
  /** Share of the steps that rise. Default 0.3. */
  readonly rise?: number;
  /** The first rate is the highest divided by this. Default 25. */
  readonly startDivisor?: number;
  /** The last rate is the first divided by this. Default 1e4. */
  readonly endDivisor?: number;
}

/**
 * One cycle (Smith and Topin 2018) in two phases of cosines, with the definition of PyTorch's OneCycleLR: the peak is at step
 * rise * steps - 1, the end at step steps - 1.
 */
export function oneCycleSchedule({
  learningRate,
  steps,
  rise = 0.3,
  startDivisor = 25,
  endDivisor = 1e4,
}: OneCycleScheduleOptions): Schedule {
  atLeastOne('steps', steps);
  if (!(rise >= 0 && rise <= 1))
    throw new PareError('bad-option', `The share of rising steps is ${rise}: give 0 to 1.`);
  const start = learningRate / startDivisor;
  const end = start / endDivisor;
  const peak = Math.max(0, rise * steps - 1);
  const stop = steps - 1;
  return (step) => {
    if (step < peak) return anneal(start, learningRate, step / peak);
    return anneal(learningRate, end, stop > peak ? Math.min(1, (step - peak) / (stop - peak)) : 0);
  };
}

/**
 * Rises linearly over `steps` steps from `factor` times the first rate of `schedule` to that rate, then follows it from its own
 * step 0. `factor` is 0.1 by default.
 */
export function warmUp(steps: number, schedule: Schedule, factor = 0.1): Schedule {
  atLeastOne('steps', steps);
  return (step) => (step < steps ? schedule(0) * (factor + (1 - factor) * (step / steps)) : schedule(step - steps));
}

/** From `a` to `b` along half a cosine wave, at `share` of the way. */
function anneal(a: number, b: number, share: number): number {
  return b + ((a - b) / 2) * (1 + Math.cos(Math.PI * share));
}

function atLeastOne(name: string, value: number): void {
  if (!(value >= 1)) throw new PareError('bad-option', `The option ${name} of a schedule is ${value}: give 1 or more.`);
}
