import { PareError, type Value } from '@pare/core';
import type { Adjoint, Rule } from '../rule.js';

/** Sums of products over named indices. */
export const EINSUM: Readonly<Record<string, Rule>> = {
  Einsum: (op) => {
    const terms = parse(op);
    return op.node.inputs.map((_, k) => () => pullback(op, terms, k));
  },
};

/** The indices of each operand and of the result, one letter an axis. */
interface Terms {
  readonly inputs: readonly string[];
  readonly output: string;
}

/**
 * dL/dx_k = Einsum of g and the other operands, onto the indices of x_k. Indices that are in no other term were summed alone:
 * along them the gradient repeats.
 */
function pullback(op: Adjoint, { inputs, output }: Terms, k: number): Value {
  const e = op.emit;
  const own = inputs[k] as string;
  const others = [...inputs.keys()].filter((i) => i !== k);
  const sources = [output, ...others.map((i) => inputs[i] as string)];
  const shared = [...own].filter((index) => sources.some((term) => term.includes(index))).join('');
  const values = [op.g(), ...others.map((i) => op.x(i))];
  const sum = e.op('Einsum', values, { equation: `${sources.join(',')}->${shared}` });
  if (shared.length === own.length) return sum;
  const lengths = [...own].map((index, axis) =>
    shared.includes(index) ? (e.shape(sum)[shared.indexOf(index)] as number) : op.shape(k)[axis],
  ) as number[];
  const apart = [...own].map((index, axis) => (shared.includes(index) ? (lengths[axis] as number) : 1));
  return e.expand(e.reshape(sum, apart), lengths);
}

/** The equation with letters for the axes of an ellipsis and with the result written out. */
function parse(op: Adjoint): Terms {
  const equation = op.node.string('equation', '').replaceAll(' ', '');
  const [left = '', right] = equation.split('->');
  const written = left.split(',');
  const hidden = written.map((term, k) => (term.includes('...') ? op.shape(k).length - (term.length - 3) : 0));
  const free = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'].filter((c) => !equation.includes(c));
  const names = free.slice(0, Math.max(0, ...hidden)).join('');
  // Axes of an ellipsis broadcast from the last one on.
  const inputs = written.map((term, k) => term.replace('...', names.slice(names.length - (hidden[k] as number))));
  const letters = [...left].filter((c) => /[A-Za-z]/.test(c));
  const once = letters.filter((c) => letters.indexOf(c) === letters.lastIndexOf(c)).sort();
  const output = right === undefined ? names + once.join('') : right.replace('...', names);
  for (const term of [...inputs, output]) {
    if (new Set(term).size === term.length) continue;
    throw new PareError(
      'unsupported',
      `${op.node.label} takes a diagonal ("${equation}"), which has no gradient rule: write it as Mul with a mask and ReduceSum.`,
    );
  }
  return { inputs, output };
}
