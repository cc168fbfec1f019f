import type { Value } from '@pare/core';
import { once } from '../rule.js';
import type { Activation, Direction, Walk } from './direction.js';

const ACTIVATIONS = ['Sigmoid', 'Tanh'];

/**
 * With gates z, r = sigmoid of the columns of x Wᵀ + h Rᵀ + b and candidate n:
 *
 *     h' = (1 - z) n + z h
 *     n = tanh(x Wᵀ + b + r q),  q = h Rᵀ + b     with linear_before_reset, as cuDNN and PyTorch do
 *     n = tanh(x Wᵀ + b + (r h) Rᵀ)               without, as Cho et al. do
 *
 * The gates follow from the states that the forward pass left, for all steps at once; so does what dh' is multiplied with.
 *
 * Cho et al., arXiv:1406.1078; the gradient is the chain rule.
 */
export function walkGru(d: Direction, linearBeforeReset: boolean): Walk {
  return linearBeforeReset ? walkLinear(d) : walkReset(d);
}

function walkLinear(d: Direction): Walk {
  const { emit } = d;
  const [f, g] = activations(d);
  const biases = d.biases();
  const [xz, xr, xn] = d.blocks(d.timesTransposed(d.x(), d.w(), biases?.[0] ?? null), 3) as [Value, Value, Value];
  const [hz, hr, q] = d.blocks(d.timesTransposed(d.previous(), d.r(), biases?.[1] ?? null), 3) as [Value, Value, Value];
  const z = f.of(emit.add(xz, hz));
  const r = f.of(emit.add(xr, hr));
  const n = g.of(emit.add(xn, emit.mul(r, q)));

  // Everything is a multiple of dh'.
  const toZ = d.running(emit.mul(emit.sub(d.previous(), n), f.slope(z)));
  const toN = d.running(emit.mul(emit.sub(1, z), g.slope(n)));
  const toR = emit.mul(toN, emit.mul(q, f.slope(r)));
  const slopes = d.apart(emit.concat([toZ, toR, emit.mul(toN, r)], 1));
  const keeps = d.apart(d.running(z, 1));
  const states: Value[] = [];
  const deltas: Value[] = [];
  const h = d.walk((t, dh) => {
    states[t] = dh;
    const delta = emit.mul(emit.concat([dh, dh, dh], 1), slopes[t] as Value);
    deltas[t] = delta;
    return (c) => d.times(delta, d.r(), d.plus(emit.mul(dh, keeps[t] as Value), c));
  });
  return {
    inputs: once(() => {
      const all = d.together(states);
      return emit.mul(emit.concat([all, all, all], 1), emit.concat([toZ, toR, toN], 1));
    }),
    recurrent: once(() => d.together(deltas)),
    h,
  };
}

function walkReset(d: Direction): Walk {
  const { emit, hidden } = d;
  const [f, g] = activations(d);
  const rows = (v: Value, from: number, to: number): Value => emit.slice(v, [0], [from * hidden], [to * hidden]);
  const gateR = rows(d.r(), 0, 2);
  const candidateR = rows(d.r(), 2, 3);
  const bias = d.biases() && emit.add(...(d.biases() as [Value, Value]));
  const [xz, xr, xn] = d.blocks(d.timesTransposed(d.x(), d.w(), bias), 3) as [Value, Value, Value];
  const [hz, hr] = d.blocks(d.timesTransposed(d.previous(), gateR, null), 2) as [Value, Value];
  const z = f.of(emit.add(xz, hz));
  const r = f.of(emit.add(xr, hr));
  const reset = emit.mul(r, d.previous());
  const n = g.of(d.timesTransposed(reset, candidateR, xn));

  const toZ = emit.mul(emit.sub(d.previous(), n), f.slope(z));
  const slopes = d.apart(d.running(emit.concat([toZ, emit.mul(d.previous(), f.slope(r))], 1)));
  const toN = d.apart(d.running(emit.mul(emit.sub(1, z), g.slope(n))));
  const keeps = d.apart(d.running(z, 1));
  const resets = d.apart(r);
  const gates: Value[] = [];
  const candidates: Value[] = [];
  const h = d.walk((t, dh) => {
    const dn = emit.mul(dh, toN[t] as Value);
    const dReset = emit.op('MatMul', [dn, candidateR]);
    const delta = emit.mul(emit.concat([dh, dReset], 1), slopes[t] as Value);
    candidates[t] = dn;
    gates[t] = delta;
    return (c) => {
      const direct = emit.add(emit.mul(dh, keeps[t] as Value), emit.mul(dReset, resets[t] as Value));
      return d.times(delta, gateR, d.plus(direct, c));
    };
  });
  const [allGates, allCandidates] = [once(() => d.together(gates)), once(() => d.together(candidates))];
  const all = once(() => emit.concat([allGates(), allCandidates()], 1));
  return {
    inputs: all,
    recurrent: all,
    r: () => emit.concat([d.outer(allGates(), d.previous()), d.outer(allCandidates(), reset)], 0),
    h,
  };
}

const activations = (d: Direction): [Activation, Activation] => [
  d.activation(0, ACTIVATIONS),
  d.activation(1, ACTIVATIONS),
];
