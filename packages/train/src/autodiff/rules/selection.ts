import { float, type Value } from '@pare/core';
import { type Adjoint, once, type Rule } from '../rule.js';

/** Operators that pass one of several elements on: the gradient goes where the element came from. */
export const SELECTION: Readonly<Record<string, Rule>> = {
  Where: (op) => [null, () => op.emit.where(op.x(0), op.g(), 0), () => op.emit.where(op.x(0), 0, op.g())],
  Clip: (op) => [() => inside(op), () => bound(op, 1, 'Less'), () => bound(op, 2, 'Greater')],
  Max: extreme,
  Min: extreme,
};

/** Strictly inside the bounds; what was clipped, or lies on a bound, stops. */
function inside(op: Adjoint): Value {
  const e = op.emit;
  const [y, g] = [op.y(), op.g()];
  const bounds = [1, 2].map((i) => (op.has(i) ? { value: op.x(i), at: e.numbers(op.x(i))?.[0] } : undefined));
  const [low, high] = bounds.map((bound) => (Math.abs(bound?.at ?? 0) === Infinity ? undefined : bound));
  if (low?.at !== undefined && high?.at !== undefined && e.dtype(y) === 'float32') {
    const within = near(op, (low.at + high.at) / 2, (high.at - low.at) / 2);
    if (within) return e.mul(g, within);
  }
  const above = low && (low.at === 0 ? y : e.sub(y, low.value));
  const below = high && e.sub(high.value, y);
  // Between two finite bounds the product is positive; Min of the two would say the same, and takes twice the time.
  if (above && below && low.at !== undefined && high.at !== undefined) return e.mul(g, e.step(e.mul(above, below)));
  return [above, below].reduce((sum: Value, room) => (room ? e.mul(sum, e.step(room)) : sum), g);
}

/**
 * 1 where |y - middle| < radius, else 0: passes that read one tensor each, the least that ONNX Runtime can do. Undefined where
 * rounding would put a bound inside, which no bounds of common networks do (0 and 6, -1 and 1).
 */
function near(op: Adjoint, middle: number, radius: number): Value | undefined {
  const e = op.emit;
  const isExact = [middle, radius, middle - radius, middle + radius].every((v) => Math.fround(v) === v);
  if (!isExact || !(radius > 0) || radius > 2 ** 20) return undefined;
  const distance = e.op('Abs', [middle === 0 ? op.y() : e.sub(op.y(), middle)]);
  const steep = 2 ** 100;
  return e.op('HardSigmoid', [distance], { alpha: float(-steep), beta: float(steep * radius) });
}

/** The gradient of what lies beyond a bound belongs to the bound. */
function bound(op: Adjoint, index: number, beyond: 'Less' | 'Greater'): Value {
  const e = op.emit;
  return e.where(e.compare(beyond, op.x(0), op.x(index)), op.g(), 0);
}

/** Max and Min of any number of tensors: those that reach the extreme share the gradient evenly, as in PyTorch. */
function extreme(op: Adjoint): ReturnType<Rule> {
  const e = op.emit;
  const reaches = op.node.inputs.map((_, i) =>
    once(() => e.cast(e.compare('Equal', op.x(i), op.y()), e.dtype(op.y()))),
  );
  const share = once(() =>
    e.div(
      op.g(),
      reaches.map((r) => r()).reduce((a, b) => e.add(a, b)),
    ),
  );
  return reaches.map((r) => () => e.mul(share(), r()));
}
