import type { Rule } from '../rule.js';

/** Operators that pass one of several elements on: the gradient goes where the element came from. */
export const SELECTION: Readonly<Record<string, Rule>> = {
  Where: (op) => [null, () => op.emit.where(op.x(0), op.g(), 0), () => op.emit.where(op.x(0), 0, op.g())],
  // Strictly inside the bounds; what was clipped, or lies on a bound, stops.
  Clip: (op) => {
    const e = op.emit;
    const bounds = [
      ...(op.has(1) ? [() => e.compare('Greater', op.x(), op.x(1))] : []),
      ...(op.has(2) ? [() => e.compare('Less', op.x(), op.x(2))] : []),
    ];
    return [
      () => {
        const [first, second] = bounds.map((inside) => inside());
        if (!first) return op.g();
        return e.where(second ? e.op('And', [first, second]) : first, op.g(), 0);
      },
    ];
  },
};
