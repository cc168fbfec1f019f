import type { Dim, Shape } from '../../ir/type.js';
import { staticShape } from '../../ir/type.js';
import { normalizeAxes, normalizeAxis, type Rule, type RuleTable, tensor, unknownShape } from '../op.js';
import { add, type BinaryFunction, max, min, mul } from '../values.js';
import { axesOf } from './reshape.js';

/** Shape of a reduction over `axes`, all when there are none; null: unknown axes. */
export function reducedShape(
  input: Shape | undefined,
  axes: readonly Dim[] | null | undefined,
  keep: boolean,
): Shape | undefined {
  if (!input) return undefined;
  // Axes that are there but of unknown count may be none, which means all.
  if (axes === null) return keep ? unknownShape(input.length) : undefined;
  if (!axes || axes.length === 0) return keep ? input.map(() => 1) : [];
  const known = staticShape(axes);
  if (!known) return unknownShape(keep ? input.length : Math.max(0, input.length - axes.length));
  const gone = normalizeAxes(known, input.length);
  if (!gone) return undefined;
  return keep ? input.map((d, i) => (gone.includes(i) ? 1 : d)) : input.filter((_, i) => !gone.includes(i));
}

/** A reduction whose axes are an input from version `since` on. */
const reduce =
  (since: number, fn?: BinaryFunction): Rule =>
  (op) => {
    const input = op.shape(0);
    const dtype = op.dtype(0);
    const given = axesOf(op, since);
    const keep = op.int('keepdims', 1) !== 0;
    const noop = op.version >= since && op.int('noop_with_empty_axes', 0) !== 0;
    const empty = given === undefined || given?.length === 0;
    if (noop && empty) return [tensor(dtype, input, op.values(0))];
    const values = op.values(0);
    // The order of summation matters to the rounding of fractions, not to integers.
    const exact = values?.every((v) => typeof v !== 'number' || Number.isInteger(v));
    const whole = input?.length === 1 && given !== null && values && values.length > 0 && exact && fn && dtype;
    const total = whole ? [values.reduce((a, b) => fn(a, b, dtype))] : undefined;
    return [tensor(dtype, reducedShape(input, given, keep), total)];
  };

const argument: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && normalizeAxis(op.int('axis', 0), input.length);
  if (!input || axis === undefined) return [tensor('int64')];
  return [tensor('int64', reducedShape(input, [axis], op.int('keepdims', 1) !== 0))];
};

export const reduction: RuleTable = {
  ReduceSum: reduce(13, add),
  ReduceProd: reduce(18, mul),
  ReduceMax: reduce(18, max),
  ReduceMin: reduce(18, min),
  ReduceMean: reduce(18),
  ReduceL1: reduce(18),
  ReduceL2: reduce(18),
  ReduceLogSum: reduce(18),
  ReduceLogSumExp: reduce(18),
  ReduceSumSquare: reduce(18),
  ArgMax: argument,
  ArgMin: argument,
  Det: (op) => [tensor(op.dtype(0), op.shape(0)?.slice(0, -2))],
};
