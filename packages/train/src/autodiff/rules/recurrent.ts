import { PareError, type Value } from '@pare/core';
import { Direction, type Walk } from '../recurrent/direction.js';
import { walkGru } from '../recurrent/gru.js';
import { walkLstm } from '../recurrent/lstm.js';
import { walkRnn } from '../recurrent/rnn.js';
import { type Adjoint, once, type Pullback, type Rule } from '../rule.js';

/** Recurrent layers: backpropagation through time, one direction after the other. Sequences are [T, N, inputs]. */
export const RECURRENT: Readonly<Record<string, Rule>> = {
  RNN: (op) => recurrent(op, 1, walkRnn),
  GRU: (op) => recurrent(op, 3, (d) => walkGru(d, op.node.int('linear_before_reset', 0) !== 0)),
  LSTM: (op) => recurrent(op, 4, walkLstm),
};

/** Gradients of X, W, R, B, sequence_lens, initial_h, initial_c and P. */
function recurrent(op: Adjoint, gates: number, walk: (d: Direction) => Walk): readonly Pullback[] {
  const { emit } = op;
  refuseUncovered(op);
  const directions = op.node.string('direction', 'forward') === 'bidirectional' ? 2 : 1;
  const walked = once(() =>
    Array.from({ length: directions }, (_, i) => {
      const direction = new Direction(op, i, gates);
      return { direction, walk: walk(direction) };
    }),
  );
  /** What each direction gives, beside each other on the first axis. */
  const each = (index: number, of: (direction: Direction, walk: Walk) => Value): Value => {
    const parts = walked().map(({ direction, walk }) => of(direction, walk));
    return emit.reshape(emit.concat(parts, 0), op.shape(index));
  };
  return [
    () => {
      const parts = walked().map(({ direction, walk }) => emit.op('MatMul', [walk.inputs(), direction.w()]));
      return emit.reshape(parts.length === 1 ? (parts[0] as Value) : emit.op('Sum', parts), op.shape());
    },
    () => each(1, (d, walk) => d.outer(walk.inputs(), d.x())),
    () => each(2, (d, walk) => walk.r?.() ?? d.outer(walk.recurrent(), d.previous())),
    () =>
      each(3, (_, walk) => {
        const ofInputs = emit.sum(walk.inputs(), [0], false);
        const same = walk.recurrent === walk.inputs;
        return emit.concat([ofInputs, same ? ofInputs : emit.sum(walk.recurrent(), [0], false)], 0);
      }),
    null,
    () => each(5, (_, walk) => walk.h()),
    () => each(6, (_, walk) => walk.c?.() as Value),
    () => each(7, (_, walk) => walk.p?.() as Value),
  ];
}

function refuseUncovered(op: Adjoint): void {
  const { node } = op;
  const refuse = (what: string): never => {
    throw new PareError('unsupported', `${node.label} has no gradient with ${what}: write it in other operators.`);
  };
  // ONNX Runtime does not compute it on a CPU either.
  if (node.int('layout', 0) !== 0) refuse('layout 1');
  if (node.int('input_forget', 0) !== 0) refuse('coupled input and forget gates (input_forget)');
  for (const name of ['clip', 'activation_alpha', 'activation_beta']) if (node.attributes.has(name)) refuse(name);
}
