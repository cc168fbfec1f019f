import type { Node, Value } from '@pare/core';
import { removeUnusedValue } from './edit.js';
import { type Pass, type Rule, rewritePass } from './rewrite.js';
import { isUniformly } from './uniform.js';

/** Inputs that are zeros when they are left out, by operator. */
const ZERO_BY_DEFAULT: Readonly<Record<string, readonly number[]>> = { GRU: [5], LSTM: [5, 6], RNN: [5] };

/**
 * Leaves out inputs that hold what an operator takes for them anyway: the initial states of recurrent layers, which exporters
 * compute as zeros of the right shape.
 */
export function dropDefaultInputs(): Pass {
  const rules = Object.keys(ZERO_BY_DEFAULT).map((op): [string, Rule] => [op, dropZeros]);
  return rewritePass('drop-default-inputs', Object.fromEntries(rules));
}

const dropZeros: Rule = (node) => {
  const zeros = (ZERO_BY_DEFAULT[node.opType] ?? []).filter((index) => isZero(node.inputs[index], MAX_STEPS));
  if (zeros.length === 0) return undefined;
  for (const index of zeros) {
    const value = node.inputs[index] as Value;
    node.setInput(index, null);
    removeUnusedValue(value);
  }
  return `${node.label} no longer reads zeros where it would take zeros anyway.`;
};

const MAX_STEPS = 8;

/** Operators that give zeros when their first input (of Concat: every input) is zeros. */
const PASSES_ZEROS: ReadonlySet<string> = new Set([
  ...['Cast', 'Concat', 'Expand', 'Gather', 'Identity', 'Reshape', 'Slice', 'Split', 'Squeeze', 'Tile', 'Transpose'],
  'Unsqueeze',
]);

function isZero(value: Value | null | undefined, steps: number): boolean {
  if (!value) return false;
  if (value.constant) return isUniformly(0, value.constant);
  const { producer } = value;
  if (producer?.domain !== '' || steps === 0) return false;
  if (producer.opType === 'ConstantOfShape') return isZeroFill(producer);
  if (!PASSES_ZEROS.has(producer.opType)) return false;
  const inputs = producer.is('Concat') ? producer.inputs : producer.inputs.slice(0, 1);
  return inputs.every((input) => isZero(input, steps - 1));
}

function isZeroFill(node: Node): boolean {
  const fill = node.tensor('value');
  return !fill || isUniformly(0, fill);
}
