import { type Dim, equalDims, productDim, type Shape } from '@pare/core';
import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';

/** Axes of the input and of the output that hold the same elements in the same order. */
interface Group {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** The finest groups of neighbouring axes between `from` and `to`: equal products of lengths, whatever named lengths are. */
export function alignAxes(from: Shape, to: Shape): Group[] {
  const groups: Group[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const [p, q] = shortestGroup(from.slice(i), to.slice(j));
    groups.push({ from: range(i, i + p), to: range(j, j + q) });
    i += p;
    j += q;
  }
  return groups;
}

function shortestGroup(from: Shape, to: Shape): [number, number] {
  for (let total = 1; total < from.length + to.length; total++) {
    // Pairs first: one axis that stays itself.
    if (total === 1 && from.length > 0 && to.length > 0 && equalDims(from[0] as Dim, to[0] as Dim)) return [1, 1];
    for (let p = Math.min(total, from.length); p >= Math.max(0, total - to.length); p--) {
      if (equalDims(productDim(from.slice(0, p)), productDim(to.slice(0, total - p)))) return [p, total - p];
    }
  }
  return [from.length, to.length];
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** The channels of the output when input 0 is read row by row in another shape. */
function reshapeAxes(op: ChannelOp): readonly Axis[] | undefined {
  const from = op.shape(0);
  const to = op.outputShape(0);
  const axes = op.axes(0);
  if (!from || !to) return void op.pinAll(axes, 'has an unknown shape');
  const out: Axis[] = to.map(() => null);
  for (const [i, group] of alignAxes(from, to).entries()) {
    const [first = 0] = group.to;
    if (group.from.length === 1 && group.to.length === 1) {
      out[first] = axes[group.from[0] as number] ?? null;
      continue;
    }
    const inputs = group.from.map((axis) => axes[axis] ?? null);
    if (inputs.every((axis) => axis === null)) continue;
    const lengths = numbers(group.from.map((axis) => from[axis] ?? null));
    const target = numbers(group.to.map((axis) => to[axis] ?? null));
    if (!lengths || !target) {
      op.pinAll(inputs, 'mixes them with an axis of unknown length');
      continue;
    }
    const flat = op.merge(inputs, lengths);
    if (target.length === 1) out[first] = flat;
    else for (const [k, axis] of op.split(flat, target, `.${i}`).entries()) out[first + k] = axis;
  }
  return out;
}

const numbers = (dims: Shape): number[] | undefined =>
  dims.every((d) => typeof d === 'number') ? (dims as number[]) : undefined;

const reshape: ChannelRule = (op) => {
  const axes = reshapeAxes(op);
  if (!axes) return [];
  if (!op.integers(1) && op.opset < 11) return [op.pinAll(axes, 'has a shape that is computed')];
  op.onCut((cut) => {
    const changed = axes.flatMap((axis, i) => {
      const count = axis ? cut.kept(axis).length : 0;
      return axis && count < axis.length ? [[i, count] as const] : [];
    });
    if (changed.length === 0) return;
    const given = op.integers(1);
    if (given) {
      const next = [...given];
      for (const [i, count] of changed) if ((next[i] as number) > 0) next[i] = count;
      op.setIntegers(1, next);
      return;
    }
    // A computed shape: the new lengths are put over the computed ones.
    const { node, graph } = op;
    const places = op.integerConstant(changed.map(([i]) => i));
    const counts = op.integerConstant(changed.map(([, count]) => count));
    const { output } = graph.addNode('ScatterElements', [node.inputs[1] ?? null, places, counts], { before: node });
    node.setInput(1, output);
  });
  return [axes];
};

/** Squeeze, Unsqueeze and Flatten say nothing of lengths. */
const view: ChannelRule = (op) => {
  const axes = reshapeAxes(op);
  return axes ? [axes] : [];
};

const transpose: ChannelRule = (op) => {
  const axes = op.axes(0);
  const perm = op.node.ints('perm') ?? [...axes.keys()].reverse();
  return [perm.map((axis) => axes[axis] ?? null)];
};

export const reshaping: ChannelRules = {
  Reshape: reshape,
  Flatten: view,
  Squeeze: view,
  Unsqueeze: view,
  Transpose: transpose,
};
