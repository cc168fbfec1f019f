import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import { type Axis, consecutive } from '../channel-space.js';

const fromFront = (axis: number, rank: number): number => (axis < 0 ? axis + rank : axis);

const concat: ChannelRule = (op) => {
  const inputs = [...op.node.inputs.keys()];
  const rank = op.shape(0)?.length ?? 0;
  const along = fromFront(op.node.int('axis', 0), rank);
  return [
    Array.from({ length: rank }, (_, axis): Axis => {
      const parts = inputs.map((index) => op.axis(index, axis));
      if (axis !== along) return op.tie(...parts);
      if (parts.every((part) => part === null)) return null;
      const lengths = inputs.map((index) => op.length(index, axis));
      if (lengths.includes(undefined)) return op.pin(join(parts), 'appends them to an unknown number of others');
      return join(parts.map((part, i) => part ?? op.fixed(lengths[i] as number)));
    }),
  ];
};

const join = (parts: readonly Axis[]): Int32Array => Int32Array.from(parts.flatMap((part) => [...(part ?? [])]));

/** Sizes on an input from opset 13, an attribute before; without them, equal parts. */
const split: ChannelRule = (op) => {
  const axes = op.axes(0);
  const along = fromFront(op.node.int('axis', 0), axes.length);
  const channels = axes[along] ?? null;
  const outputs = [...op.node.outputs.keys()];
  if (!channels) return outputs.map(() => axes);
  const equal = Math.ceil(channels.length / outputs.length);
  const sizes = op.has(1) ? op.integers(1) : (op.node.ints('split') ?? outputs.map(() => equal));
  if (!sizes) return op.pinAll([channels], 'splits them at places that are computed') && outputs.map(() => axes);
  const parts = consecutive(channels, sizes).map((part) => op.zone(part));
  op.onCut((cut) => {
    const next = parts.map((part) => cut.kept(part).length);
    if (`${next}` === `${parts.map((part) => part.length)}`) return;
    if (op.opset >= 13) op.setIntegers(1, next);
    else op.node.setAttribute('split', next);
    op.node.deleteAttribute('num_outputs');
  });
  return parts.map((part) => axes.map((axis, i) => (i === along ? part : axis)));
};

/** Starts, ends, axes and steps: inputs from opset 10, attributes before. */
const slice: ChannelRule = (op) => {
  const axes = [...op.axes(0)];
  const list = (index: number, name: string): number[] | undefined =>
    op.opset >= 10 ? (op.has(index) ? op.integers(index) : []) : (op.node.ints(name) ?? []);
  const starts = list(1, 'starts');
  const ends = list(2, 'ends');
  const given = list(3, 'axes');
  const steps = list(4, 'steps');
  const along = (given?.length ? given : [...axes.keys()].slice(0, starts?.length)).map((a) =>
    fromFront(a, axes.length),
  );
  for (const axis of given ? along : axes.keys()) {
    const channels = axes[axis] ?? null;
    const slot = along.indexOf(axis);
    if (!channels) continue;
    if (!starts || !ends || !given || !steps || (steps[slot] ?? 1) !== 1) {
      axes[axis] = op.pin(channels, 'takes some of them at places that are computed or apart');
      continue;
    }
    const start = clamp(starts[slot] as number, channels.length);
    const part = op.zone(channels.subarray(start, Math.max(start, clamp(ends[slot] as number, channels.length))));
    axes[axis] = part;
    op.onCut((cut) => {
      const before = cut.kept(channels.subarray(0, start)).length;
      const bounds: readonly [number, string, number][] = [
        [1, 'starts', before],
        [2, 'ends', before + cut.kept(part).length],
      ];
      if (cut.kept(channels).length === channels.length) return;
      for (const [index, name, place] of bounds) {
        const values = (list(index, name) as number[]).map((v, i) => (i === slot ? place : finite(v)));
        if (op.opset >= 10) op.setIntegers(index, values);
        else op.node.setAttribute(name, values);
      }
    });
  }
  return [axes];
};

const clamp = (place: number, length: number): number =>
  Math.min(Math.max(place < 0 ? place + length : place, 0), length);

/** "To the end" is often the largest integer, which is not exact as a number. */
const finite = (place: number): number => Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, place));

/** Constant indices pick channels; computed ones (words of a vocabulary) pick among all. */
const gather: ChannelRule = (op) => {
  const rank = op.shape(0)?.length ?? 0;
  const along = fromFront(op.node.int('axis', 0), rank);
  const others = [...new Array(rank).keys()].map((axis) => (axis === along ? null : op.axis(0, axis)));
  const indices = op.isConstant(1) ? op.integers(1) : undefined;
  const shape = op.shape(1) ?? [];
  const channels = op.isConstant(0) && !indices ? null : op.axis(0, along);
  const picked: Axis[] = shape.map(() => null);
  if (channels && (!indices || shape.length > 1)) op.pin(channels, 'picks some of them by computed places');
  else if (channels && indices) {
    const places = indices.map((i) => fromFront(i, channels.length));
    const part = Int32Array.from(places, (i) => channels[i] as number);
    if (shape.length === 0) op.pin(part, 'picks one of them');
    else picked[0] = op.zone(part);
    op.onCut((cut) => {
      const kept = cut.kept(channels);
      if (kept.length === channels.length) return;
      const next = cut.kept(part).map((i) => kept.indexOf(places[i] as number));
      op.setIntegers(1, next, shape.length === 0);
    });
  }
  return [[...others.slice(0, along), ...picked, ...others.slice(along + 1)]];
};

/** Padding along channels adds channels of a constant, which may go again. */
const pad: ChannelRule = (op) => {
  const axes = [...op.axes(0)];
  const pads = op.opset >= 11 ? op.integers(1) : (op.node.ints('pads') ?? op.node.ints('paddings'));
  const given = op.has(3) ? op.integers(3) : [...axes.keys()];
  if (!pads || !given) return [op.pinAll(axes, 'pads by lengths that are computed')];
  const along = given.map((axis) => fromFront(axis, axes.length));
  for (const [slot, axis] of along.entries()) {
    const channels = axes[axis] ?? null;
    const [before = 0, after = 0] = [pads[slot], pads[slot + along.length]];
    if (!channels || (before === 0 && after === 0)) continue;
    if (op.node.string('mode', 'constant') !== 'constant' || before < 0 || after < 0) {
      axes[axis] = op.pin(channels, 'mirrors or crops them');
      continue;
    }
    const [head, tail] = [op.fresh(before), op.fresh(after)];
    axes[axis] = join([head, channels, tail]);
    op.onCut((cut) => {
      const next = op.opset >= 11 ? [...(op.integers(1) as number[])] : [...(op.node.ints('pads') ?? [])];
      next[slot] = cut.kept(head).length;
      next[slot + along.length] = cut.kept(tail).length;
      if (op.opset >= 11) op.setIntegers(1, next);
      else op.node.setAttribute('pads', next);
    });
  }
  return [axes];
};

/** Each axis repeated as a whole, `repeats` times. */
const tile: ChannelRule = (op) => {
  const axes = op.axes(0);
  const repeats = op.integers(1);
  if (!repeats) return [op.pinAll(axes, 'repeats them a computed number of times')];
  return [axes.map((axis, i) => axis && join(new Array<Axis>(repeats[i] ?? 1).fill(axis)))];
};

/** Something along one axis that needs all of it: sorting, running sums. */
const along =
  (fallback: number, outputs = 1): ChannelRule =>
  (op) => {
    const axes = op.axes(0);
    const axis = op.node.opType === 'CumSum' ? (op.integers(1)?.[0] ?? 0) : op.node.int('axis', fallback);
    const kept = axes.map((channels, i) =>
      i === fromFront(axis, axes.length) ? op.pin(channels, 'needs all of them in order') : channels,
    );
    return Array.from({ length: outputs }, () => kept);
  };

/** Lengths are read. Where they only shape something again, shapes are put right there; anywhere else they must stay. */
const shape: ChannelRule = (op) => {
  const axes = op.axes(0);
  const first = fromFront(op.node.int('start', 0), axes.length);
  const last = fromFront(op.node.int('end', axes.length), axes.length);
  for (const axis of lengthsRead(op, op.node.output, [...axes.keys()].slice(first, last))) {
    op.pin(axes[axis] ?? null, 'reads how many there are');
  }
  return [];
};

/** Operators that are told a shape, by input; their rules put it right. */
const TOLD: Readonly<Record<string, number>> = { Reshape: 1, Expand: 1, Resize: 3 };

/** Which of `lengths` (one for each element of `value`) are read as numbers. */
function lengthsRead(op: ChannelOp, value: ChannelOp['node']['output'], lengths: readonly number[]): number[] {
  if (value.isGraphOutput) return [...lengths];
  return [...value.uses].flatMap(({ node, index }): readonly number[] => {
    if (TOLD[node.opType] === index) return [];
    if (node.graph !== op.graph) return lengths;
    const chosen = index === 0 ? op.integersOf(node.inputs[1]) : undefined;
    if (node.is('Gather') && chosen) {
      return lengthsRead(
        op,
        node.output,
        chosen.map((i) => lengths.at(i) as number),
      );
    }
    if (node.is('Slice') && index === 0 && chosen?.length === 1) {
      const end = node.inputs[4] ? undefined : op.integersOf(node.inputs[2])?.[0];
      return lengthsRead(op, node.output, end === undefined ? lengths : lengths.slice(chosen[0], end));
    }
    if (['Concat', 'Unsqueeze', 'Squeeze', 'Identity', 'Cast'].includes(node.opType) && !isToFloat(node)) {
      return lengthsRead(op, node.output, lengths);
    }
    return lengths;
  });
}

/** Lengths that become floats are used in arithmetic: the scale of an attention. */
const isToFloat = (node: ChannelOp['node']): boolean => node.is('Cast') && ![6, 7].includes(node.int('to', 0));

export const selection: ChannelRules = {
  Concat: concat,
  Split: split,
  Slice: slice,
  Gather: gather,
  Pad: pad,
  Tile: tile,
  CumSum: along(0),
  TopK: along(-1, 2),
  Shape: shape,
};
