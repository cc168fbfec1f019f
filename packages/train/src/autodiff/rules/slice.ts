import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Rule } from '../rule.js';

/** Operators that cut out of a tensor: the gradient goes back to where it was cut, between zeros. */
export const SLICE: Readonly<Record<string, Rule>> = {
  Slice: (op) => [
    () => {
      const e = op.emit;
      const dims = op.shape();
      const [starts = [], , axes = starts.keys(), steps = []] = [1, 2, 3, 4].map((i) => op.numbers(i));
      const before = dims.map(() => 0);
      let g = op.g();
      for (const [i, given] of [...axes].entries()) {
        const axis = given < 0 ? given + dims.length : given;
        const extent = dims[axis] as number;
        const count = e.shape(g)[axis] as number;
        const step = steps[i] ?? 1;
        if (count === 0) continue;
        const start = starts[i] as number;
        const first = Math.min(Math.max(start < 0 ? start + extent : start, 0), extent - 1);
        before[axis] = step > 0 ? first : first + (count - 1) * step;
        g = spread(e, step > 0 ? g : flip(e, g, axis), axis, Math.abs(step));
      }
      // Behind the last element the spread may reach beyond the axis; negative padding cuts it.
      const after = dims.map((d, i) => d - (before[i] as number) - (e.shape(g)[i] as number));
      return e.pad(g, before, after);
    },
    null,
    null,
    null,
    null,
  ],
};

/** The elements of `axis` in reverse. */
export function flip(e: Emitter, x: Value, axis: number): Value {
  return (e.shape(x)[axis] as number) > 1 ? e.slice(x, [axis], [-1], [-(2 ** 31)], [-1]) : x;
}

/** Each element of `axis` followed by `step - 1` zeros. */
function spread(e: Emitter, x: Value, axis: number, step: number): Value {
  if (step === 1) return x;
  const dims = e.shape(x);
  const zeros = dims.map(() => 0);
  const apart = e.reshape(x, dims.toSpliced(axis + 1, 0, 1));
  const padded = e.pad(apart, [...zeros, 0], [...zeros, 0].with(axis + 1, step - 1));
  return e.reshape(padded, dims.with(axis, (dims[axis] as number) * step));
}
