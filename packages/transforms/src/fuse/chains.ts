import { type DType, dtypeInfo, dtypeOfCode, type Node, Tensor, type Value } from '@pare/core';
import { hasOneUse, madeBy, removeUnusedValue, replaceValue } from '../simplify/edit.js';
import { type Pass, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';

/** Two operators of the same kind in a row that are one: Slices, Concats, Casts, and what does nothing the second time. */
export function mergeChains(): Pass {
  return rewritePass('merge-chains', {
    Slice: mergeSlices,
    Concat: [mergeConcats, joinSplit],
    Cast: mergeCasts,
    ...Object.fromEntries(['Abs', 'Ceil', 'Floor', 'Relu', 'Round', 'Sign'].map((op) => [op, onceIsEnough])),
    ...Object.fromEntries(['Neg', 'Not', 'BitwiseNot'].map((op) => [op, undone])),
  });
}

const onceIsEnough: Rule = (node) => {
  const first = madeBy(node.inputs[0], node.opType, node);
  if (!first) return undefined;
  const { label } = node;
  return replaceValue(node.output, first.output) ? `${label} repeats ${first.label} and was removed.` : undefined;
};

const undone: Rule = (node) => {
  const first = madeBy(node.inputs[0], node.opType, node);
  const source = first?.inputs[0];
  if (!first || !source) return undefined;
  const what = `${first.label} and ${node.label}`;
  return replaceValue(node.output, source) ? `${what} undo each other and were removed.` : undefined;
};

interface Slicing {
  start: number;
  end: number;
  step: number;
}

const mergeSlices: Rule = (node, scope) => {
  const first = madeBy(node.inputs[0], 'Slice', node);
  // Slices that share a first step take it each on their own: it goes with the last of them.
  const isShared = first && [...first.output.uses].every((use) => use.node.is('Slice') && use.index === 0);
  if (!first || !isShared || first.output.isGraphOutput || !node.graph) return undefined;
  const inner = slicingOf(first, scope);
  const outer = slicingOf(node, scope);
  if (!inner || !outer) return undefined;
  const merged = new Map(inner);
  for (const [axis, slicing] of outer) {
    const before = inner.get(axis);
    const both = before ? sliceOfSlice(before, slicing) : slicing;
    if (!both) return undefined;
    merged.set(axis, both);
  }
  const what = `${first.label} and ${node.label}`;
  const all = [...merged].sort(([a], [b]) => a - b);
  const starts = all.map(([, s]) => s.start);
  const ends = all.map(([, s]) => s.end);
  const axes = all.map(([axis]) => axis);
  const unused = [node.inputs[0] as Value, ...node.inputs.slice(1)];
  if (scope.opset < 10) {
    node.setAttribute('starts', starts);
    node.setAttribute('ends', ends);
    node.setAttribute('axes', axes);
    node.setInput(0, first.inputs[0] ?? null);
  } else {
    const list = (name: string, values: number[]): Value =>
      (node.graph as NonNullable<Node['graph']>).addInitializer(name, Tensor.of('int64', [values.length], values));
    const steps = all.map(([, s]) => s.step);
    const stepped = steps.some((s) => s !== 1) ? [list('steps', steps)] : [];
    node.setInputs([
      first.inputs[0] ?? null,
      list('starts', starts),
      list('ends', ends),
      list('axes', axes),
      ...stepped,
    ]);
  }
  for (const value of unused) if (value) removeUnusedValue(value);
  return `${what} became one.`;
};

/** What `node` slices along each axis, when all of it is constant. */
function slicingOf(node: Node, scope: Scope): Map<number, Slicing> | undefined {
  const rank = scope.rank(node.inputs[0]);
  const starts = node.ints('starts') ?? scope.places(node.inputs[1]);
  const ends = node.ints('ends') ?? scope.places(node.inputs[2]);
  const axes = node.ints('axes') ?? (node.inputs[3] ? scope.integers(node.inputs[3]) : starts?.map((_, i) => i));
  const steps = node.inputs[4] ? scope.integers(node.inputs[4]) : starts?.map(() => 1);
  if (rank === undefined || !starts || !ends || !axes || !steps) return undefined;
  return new Map(
    axes.map((axis, i) => [
      axis < 0 ? axis + rank : axis,
      { start: starts[i] as number, end: ends[i] as number, step: steps[i] as number },
    ]),
  );
}

/** Slices without steps whose ends are counted from the front. */
function sliceOfSlice(inner: Slicing, outer: Slicing): Slicing | undefined {
  const plain = [inner, outer].every((s) => s.step === 1 && s.start >= 0 && s.end >= 0);
  if (!plain) return undefined;
  const start = inner.start + outer.start;
  return { start, end: Math.min(inner.end, inner.start + outer.end), step: 1 };
}

const mergeConcats: Rule = (node, scope) => {
  const rank = scope.rank(node.output);
  if (rank === undefined) return undefined;
  const axisOf = (concat: Node): number => (concat.int('axis', 0) + rank) % rank;
  const parts = node.inputs.map((input) => {
    const inner = madeBy(input, 'Concat', node);
    return inner && input && hasOneUse(input) && axisOf(inner) === axisOf(node) ? inner : undefined;
  });
  if (parts.every((part) => !part)) return undefined;
  const merged = parts.filter((part): part is Node => part !== undefined);
  const what = merged.map((part) => part.label).join(', ');
  node.setInputs(node.inputs.flatMap((input, i) => parts[i]?.inputs ?? [input]));
  for (const part of merged) removeUnusedValue(part.output);
  return `${what} became part of ${node.label}.`;
};

/** A Concat of all that a Split gave, in its order. */
const joinSplit: Rule = (node, scope) => {
  const split = madeBy(node.inputs[0], 'Split', node);
  const source = split?.inputs[0];
  const rank = scope.rank(node.output);
  if (!split || !source || rank === undefined || split.outputs.length !== node.inputs.length) return undefined;
  const axis = (n: Node): number => (n.int('axis', 0) + rank) % rank;
  if (axis(split) !== axis(node) || !node.inputs.every((input, i) => input === split.outputs[i])) return undefined;
  const what = `${split.label} and ${node.label}`;
  return replaceValue(node.output, source) ? `${what} undo each other and were removed.` : undefined;
};

const mergeCasts: Rule = (node, scope) => {
  const first = madeBy(node.inputs[0], 'Cast', node);
  const source = first?.inputs[0];
  if (!first || !source || !isLossless(scope.dtype(source), dtypeOfCode(first.int('to', 0)))) return undefined;
  const what = `${first.label} and ${node.label}`;
  node.setInput(0, source);
  removeUnusedValue(first.output);
  return `${what} became one Cast.`;
};

/** Significant bits and whether there is a sign, of the types that hold integers or floats exactly. */
const FLOAT_BITS: Partial<Record<DType, number>> = { bfloat16: 8, float16: 11, float32: 24, float64: 53 };
const FLOAT_RANGE: Partial<Record<DType, number>> = { bfloat16: 8, float16: 5, float32: 8, float64: 11 };

/** Whether every value of `from` is a value of `to`. */
export function isLossless(from: DType | undefined, to: DType | undefined): boolean {
  if (!from || !to || from === 'string' || to === 'string') return false;
  if (from === to) return true;
  if (to === 'bool') return false;
  const [fromBits, toBits] = [FLOAT_BITS[from], FLOAT_BITS[to]];
  if (fromBits && toBits) return fromBits <= toBits && (FLOAT_RANGE[from] as number) <= (FLOAT_RANGE[to] as number);
  if (fromBits) return false;
  const size = from === 'bool' ? 1 : dtypeInfo(from).bits;
  const isSigned = from.startsWith('int');
  if (!/^(bool|u?int\d+)$/.test(from)) return false;
  if (toBits) return size - (isSigned ? 1 : 0) <= toBits && (to !== 'float16' || size <= 11);
  if (!/^u?int\d+$/.test(to)) return false;
  if (to.startsWith('uint')) return !isSigned && size <= dtypeInfo(to).bits;
  return size - (isSigned ? 1 : 0) <= dtypeInfo(to).bits - 1;
}
