import { type Dim, equalDims, productDim, type Shape } from '@pare/core';
import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';
import type { Cut } from '../cut.js';

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

/** New lengths by place, of the axes that lose channels. */
function newLengths(axes: readonly Axis[], cut: Cut): Map<number, number> {
  const lengths = new Map<number, number>();
  for (const [i, axis] of axes.entries()) {
    const count = axis ? cut.kept(axis).length : 0;
    if (axis && count < axis.length) lengths.set(i, count);
  }
  return lengths;
}

const reshape: ChannelRule = (op) => {
  const axes = reshapeAxes(op);
  if (!axes) return [];
  if (!op.canOverwriteShape(1)) return [op.pinAll(axes, 'has a shape that is computed')];
  op.onCut((cut) => op.overwriteShape(1, newLengths(axes, cut)));
  return [axes];
};

/** Data broadcast to a shape; a length of 1 there leaves an axis as it is. */
const expand: ChannelRule = (op) => {
  const to = op.outputShape(0);
  const missing = (to?.length ?? 0) - (op.shape(0)?.length ?? 0);
  if (!to || !op.canOverwriteShape(1)) return [op.pinAll(op.axes(0), 'has a shape that is computed')];
  const axes = to.map((dim, i): Axis => {
    const axis = i < missing ? null : op.axis(0, i - missing);
    return axis && axis.length !== dim ? op.pin(axis, 'repeats them') : axis;
  });
  const told = op.length(1, 0) ?? 0;
  op.onCut((cut) => {
    const places = [...newLengths(axes, cut).keys()].map((i) => i - (to.length - told));
    op.overwriteShape(1, new Map(places.filter((i) => i >= 0).map((i) => [i, 1])));
  });
  return [axes];
};

/** Axes that keep their length pass. */
const resize: ChannelRule = (op) => {
  const to = op.outputShape(0) ?? [];
  const sizes = op.node.opType === 'Resize' && op.has(3) ? 3 : undefined;
  const axes = op.axes(0).map((axis, i): Axis => {
    const same = axis && equalDims(to[i] ?? null, axis.length) === true;
    return same && (!sizes || op.canOverwriteShape(sizes)) ? axis : op.pin(axis, 'resizes along them');
  });
  if (sizes) {
    const named = op.node.ints('axes')?.map((axis) => (axis < 0 ? axis + axes.length : axis)) ?? [...axes.keys()];
    op.onCut((cut) => {
      const lengths = [...newLengths(axes, cut)].map(([i, n]) => [named.indexOf(i), n] as const);
      op.overwriteShape(sizes, new Map(lengths.filter(([i]) => i >= 0)));
    });
  }
  return [axes];
};

/** Channels are `block x block x C`, or with mode CRD `C x block x block`; blocks become places in the picture. */
const depthToSpace: ChannelRule = (op) => {
  const blocks = op.node.int('blocksize', 1) ** 2;
  const channels = op.axis(0, 1);
  const count = (channels?.length ?? 0) / blocks;
  const isCrd = op.node.string('mode', 'DCR') === 'CRD';
  const factors = op.split(channels, isCrd ? [count, blocks] : [blocks, count]);
  op.pin(factors[isCrd ? 1 : 0] ?? null, 'makes places of them');
  return [[op.axis(0, 0), factors[isCrd ? 0 : 1] ?? null]];
};

/** Channels become `block x block x C`. */
const spaceToDepth: ChannelRule = (op) => {
  const channels = op.axis(0, 1);
  const merged = op.merge([null, channels], [op.node.int('blocksize', 1) ** 2, channels?.length ?? 0]);
  return [[op.axis(0, 0), merged]];
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
  Expand: expand,
  Resize: resize,
  Upsample: resize,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
};
