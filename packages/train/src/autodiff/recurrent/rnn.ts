import type { Value } from '@pare/core';
import { once } from '../rule.js';
import type { Direction, Walk } from './direction.js';

/**
 * h' = f(a), a = x Wᵀ + h Rᵀ + b: da = dh' f*(a), dh = da R. The slope f* follows from h', so nothing is computed again.
 *
 * Werbos, Backpropagation Through Time: What It Does and How to Do It, Proc. IEEE 78 (1990).
 */
export function walkRnn(d: Direction): Walk {
  const { emit } = d;
  const slopes = d.apart(d.running(d.activation(0, ['Tanh']).slope(d.states())));
  const deltas: Value[] = [];
  const h = d.walk((t, dh) => {
    const delta = emit.mul(dh, slopes[t] as Value);
    deltas[t] = delta;
    return (c) => d.times(delta, d.r(), d.around(t, dh, c));
  });
  const all = once(() => d.together(deltas));
  return { inputs: all, recurrent: all, h };
}
