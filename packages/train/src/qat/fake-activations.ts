import { inferTypes, type Model, type Value } from '@pare/core';
import { activeRange, affineParameters, type Calibration, isNonNegative } from '@pare/transforms';
import type { ActivationBits } from './bits.js';
import type { PlannedActivation } from './plan.js';
import type { Planner } from './planner.js';
import type { Levels } from './rounding.js';

/** Scale and zero point to start from, and what is written in their place. */
interface Grid {
  readonly step: number;
  readonly zeroPoint: number;
  readonly most: number;
  /** Nothing can be below zero: no lower bound is needed. */
  readonly nonNegative: boolean;
}

/** Puts fake quantization behind the activations of `rounded`, with the ranges of `calibration`. */
export function fakeQuantizeActivations(
  planner: Planner,
  rounded: readonly ActivationBits[],
  calibration: Calibration,
  learnZeroPoints: boolean,
): PlannedActivation[] {
  const count = elementCounts(planner.model);
  const made = new Map<string, Written>();
  // Everything is decided by what the nodes read now, before anything moves.
  const entries = rounded.map((entry) => {
    const { owner, bits } = entry;
    const key = `${owner.name} ${bits}`;
    const written =
      made.get(key) ?? writeScale(planner, entry, gridOf(owner, bits, calibration), count(owner), learnZeroPoints);
    made.set(key, written);
    const readers = entry.readers === 'all' ? ('all' as const) : entry.readers.map((use) => planner.reader(use));
    return { entry, written, readers, name: entry.value.name };
  });
  return entries.map(({ entry: { value, bits, readers: uses, carried }, written, readers, name }) => {
    const { scale, levels, zeroPoint } = written;
    const result = carried ? undefined : planner.writer.activation(value, scale, levels, uses).name;
    return { value: name, rounded: result, scale: scale.name, bits, zeroPoint, readers };
  });
}

interface Written {
  readonly scale: Value;
  readonly levels: Levels;
  readonly zeroPoint: number | string;
}

function writeScale(
  planner: Planner,
  { owner, bits }: ActivationBits,
  { step, zeroPoint, most, nonNegative }: Grid,
  count: number,
  learnZeroPoints: boolean,
): Written {
  const { writer, parameters } = planner;
  const name = `${owner.name}_${bits}bit`;
  const scale = writer.scale(name, [], [step]);
  planner.trainScale(scale, count, most, [step]);
  if (!learnZeroPoints || nonNegative) {
    const levels = { lo: nonNegative ? undefined : -zeroPoint, hi: most - zeroPoint };
    return { scale, zeroPoint, levels };
  }
  const { parameter, rounded } = writer.zeroPoint(name, zeroPoint, most);
  parameters[parameter.name] = { decay: false, learningRate: 1, gradientScale: 1 / Math.sqrt(count * most) };
  return { scale, zeroPoint: parameter.name, levels: { lo: 0, hi: most, zeroPoint: rounded } };
}

function gridOf(owner: Value, bits: number, calibration: Calibration): Grid {
  const most = 2 ** bits - 1;
  const target = { qmin: 0, qmax: most, symmetric: false };
  const seen = calibration.range(owner.name, target);
  const active = activeRange(owner);
  const range = { lo: Math.max(seen.lo, active.lo), hi: Math.min(seen.hi, active.hi) };
  const { scale: step, zeroPoint } = affineParameters(range, target);
  return { step, zeroPoint, most, nonNegative: zeroPoint === 0 && isNonNegative(owner) };
}

/** How many numbers of one sample a value has, as far as shapes tell: the batch axis does not count. */
function elementCounts(model: Model): (value: Value) => number {
  const inference = inferTypes(model);
  return (value) => {
    const type = inference.typeOf(value);
    const dims = (type?.kind === 'tensor' ? type.shape : undefined) ?? [];
    return dims.slice(1).reduce<number>((product, d) => product * (typeof d === 'number' ? d : 1), 1);
  };
}
