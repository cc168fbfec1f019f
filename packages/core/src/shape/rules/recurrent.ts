import type { DType } from '../../dtype.js';
import type { Dim } from '../../ir/type.js';
import { type Known, type Op, type Rule, type RuleTable, tensor } from '../op.js';

/** Output sequence, last hidden state and last cell state (that only an LSTM has). */
export function recurrentOutputs(op: Op, dtype: DType | undefined, hidden: Dim): readonly Known[] {
  const directions = op.string('direction', 'forward') === 'bidirectional' ? 2 : 1;
  const batchFirst = op.int('layout', 0) === 1;
  const [first, second] = [op.dim(0, 0), op.dim(0, 1)];
  const [length, batch] = batchFirst ? [second, first] : [first, second];
  const sequence = batchFirst ? [batch, length, directions, hidden] : [length, directions, batch, hidden];
  const state = batchFirst ? [batch, directions, hidden] : [directions, batch, hidden];
  return [tensor(dtype, sequence), tensor(dtype, state), tensor(dtype, state)];
}

/** Input 2 is the recurrence weight [directions, gates*hidden, hidden]. */
const recurrent: Rule = (op) => recurrentOutputs(op, op.dtype(0), op.int('hidden_size') ?? op.dim(2, 2));

export const recurrence: RuleTable = { RNN: recurrent, GRU: recurrent, LSTM: recurrent };
