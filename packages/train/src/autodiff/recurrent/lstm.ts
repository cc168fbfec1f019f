import type { Value } from '@pare/core';
import { once } from '../rule.js';
import type { Activation, Direction, Walk } from './direction.js';

const ACTIVATIONS = ['Sigmoid', 'Tanh', 'Tanh'];

/**
 * With gates i, o, f and candidate g, the activations of the columns of a = x Wᵀ + h Rᵀ + b:
 *
 *     c' = f c + i g,   h' = o k,   k = tanh(c')
 *     dc' = dh' o (1 - k²) + dc' of the step after,   dc = dc' f
 *     da = (dc' g i*, dh' k o*, dc' c f*, dc' i g*),   dh = da R
 *
 * where i* is the slope of the gate. Peepholes add P c to a of i and f, and P c' to a of o. What dh' and dc' are multiplied
 * with does not depend on them and is computed for all steps at once: the walk is one product and a few sums a step. So are
 * the gates, from the states that the forward pass left; only c has to be walked for again.
 *
 * Hochreiter and Schmidhuber, Neural Computation 9 (1997); Gers, Schraudolph and Schmidhuber, JMLR 3 (2002), for peepholes.
 */
export function walkLstm(d: Direction): Walk {
  const { emit } = d;
  const { i, o, forget, candidate, before, cell, peepholes, f, g, h } = forward(d);
  const k = h.of(cell);
  const [di, df] = [emit.mul(candidate, f.slope(i)), emit.mul(before, f.slope(forget))];
  const out = emit.mul(k, f.slope(o));
  const slopes = d.apart(d.running(emit.concat([di, out, df, emit.mul(i, g.slope(candidate))], 1)));

  let toCell = emit.mul(o, h.slope(k));
  let kept = forget;
  if (peepholes) {
    toCell = emit.add(toCell, emit.mul(out, peepholes[1]));
    kept = emit.op('Sum', [kept, emit.mul(di, peepholes[0]), emit.mul(df, peepholes[2])]);
  }
  const toCells = d.apart(d.running(toCell));
  const keeps = d.apart(d.running(kept, 1));

  const deltas: Value[] = [];
  let cellGradient = (): Value | null => d.lastGradient(2);
  const hidden = d.walk((t, dh) => {
    const dc = d.plus(emit.mul(dh, toCells[t] as Value), cellGradient()) as Value;
    const delta = emit.mul(emit.concat([dc, dh, dc, dc], 1), slopes[t] as Value);
    deltas[t] = delta;
    cellGradient = () => emit.mul(dc, keeps[t] as Value);
    return (c) => d.times(delta, d.r(), d.around(t, dh, c));
  });

  const all = once(() => d.together(deltas));
  return {
    inputs: all,
    recurrent: all,
    h: hidden,
    c: () => cellGradient() as Value,
    p: () => {
      const [ofI, ofO, ofF] = d.blocks(all(), 4) as [Value, Value, Value];
      const products = [emit.mul(ofI, before), emit.mul(ofO, cell), emit.mul(ofF, before)];
      return emit.concat(
        products.map((v) => emit.sum(v, [0], false)),
        0,
      );
    },
  };
}

/** What the forward pass went through, [T * N, H] each. */
interface Forward {
  readonly i: Value;
  readonly o: Value;
  readonly forget: Value;
  readonly candidate: Value;
  /** The cell before each step, and after it. */
  readonly before: Value;
  readonly cell: Value;
  /** Of i, o and f, [H] each. */
  readonly peepholes: readonly [Value, Value, Value] | null;
  readonly f: Activation;
  readonly g: Activation;
  readonly h: Activation;
}

function forward(d: Direction): Forward {
  const { emit } = d;
  const [f, g, h] = ACTIVATIONS.map((_, i) => d.activation(i, ACTIVATIONS)) as [Activation, Activation, Activation];
  const bias = d.biases() && emit.add(...(d.biases() as [Value, Value]));
  const a = d.timesTransposed(d.previous(), d.r(), d.timesTransposed(d.x(), d.w(), bias));
  const [ai, ao, af, ac] = d.blocks(a, 4) as [Value, Value, Value, Value];
  const candidate = g.of(ac);
  const weights = d.optional(7);
  const peepholes = weights
    ? ([0, 1, 2].map((i) => emit.slice(weights, [0], [i * d.hidden], [(i + 1) * d.hidden])) as [Value, Value, Value])
    : null;

  if (!peepholes) {
    const [i, forget] = [f.of(ai), f.of(af)];
    const [keeps, adds] = [d.apart(forget), d.apart(emit.mul(i, candidate))];
    const cells = walkCells(d, (t, c) => emit.add(emit.mul(keeps[t] as Value, c), adds[t] as Value));
    return { i, o: f.of(ao), forget, candidate, ...cells, peepholes, f, g, h };
  }
  const [inputs, forgets, candidates] = [d.apart(ai), d.apart(af), d.apart(candidate)];
  const gates: { i: Value[]; forget: Value[] } = { i: [], forget: [] };
  const cells = walkCells(d, (t, c) => {
    const i = f.of(emit.add(inputs[t] as Value, emit.mul(c, peepholes[0])));
    const forget = f.of(emit.add(forgets[t] as Value, emit.mul(c, peepholes[2])));
    gates.i[t] = i;
    gates.forget[t] = forget;
    return emit.add(emit.mul(forget, c), emit.mul(i, candidates[t] as Value));
  });
  const o = f.of(emit.add(ao, emit.mul(cells.cell, peepholes[1])));
  const [i, forget] = [d.together(gates.i), d.together(gates.forget)];
  return { i, o, forget, candidate, ...cells, peepholes, f, g, h };
}

/** Goes through the cells: `step` gives that after step `t` from that before it. */
function walkCells(d: Direction, step: (t: number, c: Value) => Value): { before: Value; cell: Value } {
  const before: Value[] = [];
  const after: Value[] = [];
  let c = d.optional(6) ?? d.emit.fill([d.batch, d.hidden], 0, d.x());
  for (const t of d.order) {
    before[t] = c;
    const next = step(t, c);
    const ended = d.endedAt()?.[t];
    c = ended ? d.emit.where(ended, c, next) : next;
    after[t] = c;
  }
  return { before: d.together(before), cell: d.together(after) };
}
