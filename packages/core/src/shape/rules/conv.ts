import type { Dim, Shape } from '../../ir/type.js';
import { addDim, ceilDivDim, floorDivDim, minDim, mulDim, subDim } from '../dim.js';
import { type Op, type Rule, type RuleTable, tensor, unknownShape } from '../op.js';

/** Attributes that convolutions and poolings share, one entry a spatial axis. */
interface Window {
  readonly kernel: readonly Dim[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly begin: readonly number[];
  readonly end: readonly number[];
  readonly autoPad: string;
}

/** Undefined when an attribute does not have an entry for each of `rank` axes. */
function windowOf(op: Op, rank: number, kernel: readonly Dim[]): Window | undefined {
  if (rank < 0) return undefined;
  const ones = new Array<number>(rank).fill(1);
  const autoPad = op.string('auto_pad', 'NOTSET');
  const zeros = new Array<number>(2 * rank).fill(0);
  const pads = autoPad === 'NOTSET' ? (op.ints('pads') ?? zeros) : zeros;
  const strides = op.ints('strides') ?? ones;
  const dilations = op.ints('dilations') ?? ones;
  const fits =
    kernel.length === rank && strides.length === rank && dilations.length === rank && pads.length === 2 * rank;
  if (!fits || strides.some((s) => s <= 0)) return undefined;
  return { kernel, strides, dilations, begin: pads.slice(0, rank), end: pads.slice(rank), autoPad };
}

/** Length that the dilated kernel covers on `axis`. */
const extent = (w: Window, axis: number): Dim =>
  addDim(mulDim(subDim(w.kernel[axis] as Dim, 1), w.dilations[axis] as number), 1);

function slide(length: Dim, w: Window, axis: number, ceil: boolean): Dim {
  const stride = w.strides[axis] as number;
  if (w.autoPad.startsWith('SAME')) return ceilDivDim(length, stride);
  const [begin, end] = [w.begin[axis] as number, w.end[axis] as number];
  const room = subDim(addDim(length, begin + end), extent(w, axis));
  // A window that does not fit: runtimes disagree on whether there is one. Symbolic lengths are taken to be long enough.
  if (typeof room === 'number' && room < 0) return null;
  if (!ceil) return addDim(floorDivDim(room, stride), 1);
  const count = addDim(ceilDivDim(room, stride), 1);
  const covered = extent(w, axis);
  // A window that would start in the padding behind the image is dropped.
  if (typeof covered === 'number' && end + stride - 1 < covered) return count;
  if (typeof count !== 'number' || typeof length !== 'number') return null;
  return (count - 1) * stride >= length + begin ? count - 1 : count;
}

/** Spatial dimensions of a convolution or pooling of `input`, [N, C, spatial...]. */
function slideAll(op: Op, input: Shape, kernel: readonly Dim[] | undefined, ceil = false): readonly Dim[] | undefined {
  const spatial = input.slice(2);
  const w = kernel && windowOf(op, spatial.length, kernel);
  return w && spatial.map((length, axis) => slide(length, w, axis, ceil));
}

/** Kernel of a convolution: the attribute, else the trailing dimensions of the weight. */
function kernelOf(op: Op, weight: Shape | undefined): readonly Dim[] | undefined {
  return op.ints('kernel_shape') ?? weight?.slice(2);
}

/** Shape of a convolution of input `x` with the weight at input `w`. */
export function convShape(op: Op, x: number, w: number): Shape | undefined {
  const weight = op.shape(w);
  return channelsFirst(op, x, (input) => {
    const spatial = slideAll(op, input, kernelOf(op, weight) ?? unknownShape(input.length - 2));
    return [input[0] as Dim, weight?.[0] ?? null, ...(spatial ?? unknownShape(input.length - 2))];
  });
}

export const conv: Rule = (op) => [tensor(op.dtype(0), convShape(op, 0, 1))];

export const convTranspose: Rule = (op) => {
  const [input, weight] = [op.shape(0), op.shape(1)];
  if (!input || input.length < 3) return [tensor(op.dtype(0))];
  const rank = input.length - 2;
  const channels = mulDim(weight?.[1] ?? null, op.int('group', 1));
  return [
    tensor(op.dtype(0), [input[0] as Dim, channels, ...(transposedSpatial(op, input, weight) ?? unknownShape(rank))]),
  ];
};

function transposedSpatial(op: Op, input: Shape, weight: Shape | undefined): readonly Dim[] | undefined {
  const rank = input.length - 2;
  const given = op.ints('output_shape');
  if (given && given.length >= rank) return given.slice(-rank);
  const w = windowOf(op, rank, kernelOf(op, weight) ?? unknownShape(rank));
  const extra = op.ints('output_padding') ?? new Array<number>(rank).fill(0);
  if (!w || extra.length !== rank) return undefined;
  return input.slice(2).map((length, axis) => {
    const stride = w.strides[axis] as number;
    const reach = addDim(extent(w, axis), extra[axis] as number);
    // As many as the strides ask for, unless the kernels leave gaps: the last gap is not filled.
    if (w.autoPad.startsWith('SAME')) return addDim(mulDim(length, stride), minDim(subDim(reach, stride), 0));
    const grown = addDim(mulDim(subDim(length, 1), stride), reach);
    return subDim(grown, (w.begin[axis] as number) + (w.end[axis] as number));
  });
}

/** Pooling with `kernel_shape`; a second output, when there is one, holds int64 indices. */
export const pool: Rule = (op) => {
  const shape = channelsFirst(op, 0, (input) => {
    const spatial = slideAll(op, input, op.ints('kernel_shape'), op.int('ceil_mode', 0) !== 0);
    return [...input.slice(0, 2), ...(spatial ?? unknownShape(Math.max(0, input.length - 2)))];
  });
  return [tensor(op.dtype(0), shape), tensor('int64', shape)];
};

/** Applies `fn` to the shape of input `index` as [N, C, spatial...], also where the channels come last. */
function channelsFirst(op: Op, index: number, fn: (shape: Shape) => Shape): Shape | undefined {
  const input = op.shape(index);
  const last = op.int('channels_last', 0) !== 0 || op.node.opType.startsWith('Nhwc');
  if (!input || input.length < 2) return undefined;
  if (!last) return fn(input);
  const [batch, channels, ...spatial] = fn([input[0] as Dim, input.at(-1) as Dim, ...input.slice(1, -1)]);
  return [batch as Dim, ...spatial, channels as Dim];
}

export const globalPool: Rule = (op) => {
  return [
    tensor(
      op.dtype(0),
      channelsFirst(op, 0, (input) => input.map((d, i) => (i < 2 ? d : 1))),
    ),
  ];
};

const maxUnpool: Rule = (op) => {
  const input = op.shape(0);
  const rank = input?.length;
  const given = op.values(2);
  if (op.has(2)) return [tensor(op.dtype(0), given ?? (rank === undefined ? undefined : unknownShape(rank)))];
  if (!input) return [tensor(op.dtype(0))];
  const w = windowOf(op, input.length - 2, op.ints('kernel_shape') ?? []);
  const spatial = input.slice(2).map((length, axis): Dim => {
    if (!w) return null;
    const grown = addDim(mulDim(subDim(length, 1), w.strides[axis] as number), w.kernel[axis] as Dim);
    return subDim(grown, (w.begin[axis] as number) + (w.end[axis] as number));
  });
  return [tensor(op.dtype(0), [...input.slice(0, 2), ...spatial])];
};

const maxRoiPool: Rule = (op) => {
  const size = op.ints('pooled_shape') ?? [null, null];
  return [tensor(op.dtype(0), [op.dim(1, 0), op.dim(0, 1), ...size])];
};

const col2im: Rule = (op) => {
  const image = op.values(1) ?? (typeof op.dim(1, 0) === 'number' ? unknownShape(op.dim(1, 0) as number) : undefined);
  const block = op.values(2);
  const channels = block ? floorDivDim(op.dim(0, 1), block.reduce(mulDim, 1)) : null;
  return [tensor(op.dtype(0), image && [op.dim(0, 0), channels, ...image])];
};

export const convolution: RuleTable = {
  Conv: conv,
  ConvTranspose: convTranspose,
  DeformConv: conv,
  ConvInteger: (op) => [tensor('int32', convShape(op, 0, 1))],
  QLinearConv: (op) => [tensor(op.dtype(7) ?? op.dtype(0), convShape(op, 0, 3))],
  MaxPool: pool,
  AveragePool: pool,
  LpPool: pool,
  GlobalMaxPool: globalPool,
  GlobalAveragePool: globalPool,
  GlobalLpPool: globalPool,
  MaxUnpool: maxUnpool,
  MaxRoiPool: maxRoiPool,
  Col2Im: col2im,
};
