import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Adjoint, Rule } from '../rule.js';
import { flip } from './slice.js';

/** Pad: the padding is cut off and, where it is a copy of elements inside, added to them. */
export const PAD: Readonly<Record<string, Rule>> = {
  Pad: (op) => [() => unpad(op), null, () => paddingValue(op), null],
};

/** The gradients of padding as they are added to an axis: `part`, from index `at` on. */
interface Return {
  readonly part: Value;
  readonly at: number;
}

interface Mode {
  /** The greatest padding that copies each element once at most. */
  readonly most: (extent: number) => number;
  readonly before: (e: Emitter, part: Value, axis: number, extent: number) => Return;
  readonly after: (e: Emitter, part: Value, axis: number, extent: number) => Return;
}

const lengthOf = (e: Emitter, part: Value, axis: number): number => e.shape(part)[axis] as number;

/** Where each mode took its padding from. */
const COPYING: Readonly<Record<string, Mode>> = {
  reflect: {
    most: (extent) => extent - 1,
    before: (e, part, axis) => ({ part: flip(e, part, axis), at: 1 }),
    after: (e, part, axis, extent) => ({ part: flip(e, part, axis), at: extent - 1 - lengthOf(e, part, axis) }),
  },
  wrap: {
    most: (extent) => extent,
    before: (e, part, axis, extent) => ({ part, at: extent - lengthOf(e, part, axis) }),
    after: (_, part) => ({ part, at: 0 }),
  },
  edge: {
    most: () => Infinity,
    before: (e, part, axis) => ({ part: e.sum(part, [axis]), at: 0 }),
    after: (e, part, axis, extent) => ({ part: e.sum(part, [axis]), at: extent - 1 }),
  },
};

function unpad(op: Adjoint): Value {
  const e = op.emit;
  const name = op.node.string('mode', 'constant');
  const { before, after } = padding(op);
  // Negative padding cuts; its adjoint is a border of zeros.
  const opposite = (counts: readonly number[]): number[] => counts.map((n) => 0 - n);
  if (name === 'constant') return e.pad(op.g(), opposite(before), opposite(after));
  const mode = COPYING[name] ?? op.node.fail(`has the unknown mode "${name}"`);
  return op.shape().reduce((g, extent, axis) => {
    const [b, a] = [before[axis] as number, after[axis] as number];
    if (b === 0 && a === 0) return g;
    refuseFarPadding(op, extent, b, a, mode.most(extent));
    const cut = (start: number, end: number): Value => e.slice(g, [axis], [start], [end]);
    const back = ({ part, at }: Return): Value => {
      const zeros = e.shape(part).map(() => 0);
      return e.pad(part, zeros.with(axis, at), zeros.with(axis, extent - at - lengthOf(e, part, axis)));
    };
    const parts = [cut(b, b + extent)];
    if (b > 0) parts.push(back(mode.before(e, cut(0, b), axis, extent)));
    if (a > 0) parts.push(back(mode.after(e, cut(b + extent, b + extent + a), axis, extent)));
    return e.op('Sum', parts);
  }, op.g());
}

/** Lengths before and after each axis. */
function padding(op: Adjoint): { before: number[]; after: number[] } {
  const rank = op.shape().length;
  const pads = op.numbers(1) ?? [];
  const axes = op.numbers(3) ?? [...Array(rank).keys()];
  const before = Array<number>(rank).fill(0);
  const after = Array<number>(rank).fill(0);
  for (const [i, given] of axes.entries()) {
    const axis = given < 0 ? given + rank : given;
    before[axis] = pads[i] as number;
    after[axis] = pads[i + axes.length] as number;
  }
  return { before, after };
}

function refuseFarPadding(op: Adjoint, extent: number, before: number, after: number, most: number): void {
  if (Math.min(before, after) >= 0 && Math.max(before, after) <= most) return;
  const mode = op.node.string('mode');
  throw new PareError(
    'unsupported',
    `${op.node.label} pads an axis of length ${extent} by ${before} and ${after} in the mode "${mode}"; there is a gradient ` +
      `only from 0 to ${most}. Write it as several Pads, and what is negative as a Slice.`,
  );
}

/** The gradient of the constant that is written around: of all that does not come from the input. */
function paddingValue(op: Adjoint): Value {
  const e = op.emit;
  const total = (x: Value): Value => e.sum(x, [...e.shape(x).keys()], false);
  return e.reshape(e.sub(total(op.g()), total(unpad(op))), op.shape(2));
}
