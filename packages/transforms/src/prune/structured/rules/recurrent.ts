import type { ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';

/**
 * X [T, B, I], W [D, g*H, I], R [D, g*H, H], bias [D, 2*g*H], lengths, states [D, B, H], peepholes [D, 3*H], for `g` gates: a unit
 * is a row of every gate, a column of R, and an element of every state. Both directions lose the same units.
 */
const recurrent =
  (gates: number): ChannelRule =>
  (op) => {
    const units = op.axis(2, 2, 'input');
    const repeated = (times: number): Axis => units && Int32Array.from(new Array(times).fill([...units]).flat());
    op.tie(op.axis(0, 2), op.axis(1, 2, 'input'));
    op.tie(repeated(gates), op.axis(1, 1, 'output'), op.axis(2, 1, 'output'));
    if (op.has(3)) op.tie(repeated(2 * gates), op.axis(3, 1));
    for (const state of [5, 6]) if (op.has(state)) op.tie(units, op.axis(state, 2));
    if (op.has(7)) op.tie(repeated(3), op.axis(7, 1));
    op.onCut((cut) => {
      if (units) op.node.setAttribute('hidden_size', cut.kept(units).length);
    });
    // The sequence has one axis more than a state: time.
    return op.node.outputs.map((_, i) => [...new Array(i === 0 ? 3 : 2).fill(null), units]);
  };

export const recurrence: ChannelRules = { LSTM: recurrent(4), GRU: recurrent(3), RNN: recurrent(1) };
