import { type Node, PareError } from '@pare/core';

/**
 * What a convolution y = Conv(x, w) is, axis by axis: x [batch, groups * channels, inputs...], w [groups * filters, channels,
 * kernel...], y [batch, groups * filters, outputs...]. Padding is exact: `(outputs - 1) * stride + (kernel - 1) * dilation + 1 =
 * begin + inputs + end` on every axis, so that an `end` below zero counts inputs that no window reaches.
 */
export interface ConvGeometry {
  readonly batch: number;
  readonly groups: number;
  /** Channels of x in a group. */
  readonly channels: number;
  /** Channels of y in a group. */
  readonly filters: number;
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly begin: readonly number[];
  readonly end: readonly number[];
}

/** Geometry of `node`, a Conv, from the shapes of x, w and y. */
export function convGeometry(
  node: Node,
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
): ConvGeometry {
  return geometry(node, x, w, y, (axis, room) => padBegin(node, axis, room));
}

/**
 * Geometry of the convolution whose input gradient `node`, a ConvTranspose, computes: what `node` calls y is its input, and what
 * `node` calls x its output; the weight is the same.
 */
export function transposedGeometry(
  node: Node,
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
): ConvGeometry {
  const spatial = x.length - 2;
  const extra = node.ints('output_padding') ?? new Array<number>(spatial).fill(0);
  return geometry(node, y, w, x, (axis, room) => {
    // With `output_shape` the padding is whatever gives that shape (ONNX operators, ConvTranspose).
    const total = room + (extra[axis] as number);
    if (!node.ints('output_shape')) return padBegin(node, axis, total);
    return node.string('auto_pad', 'NOTSET') === 'SAME_UPPER' ? Math.floor(total / 2) : total - Math.floor(total / 2);
  });
}

/** `beginOf` tells the padding before axis i where `room` is that on both sides together. */
function geometry(
  node: Node,
  x: readonly number[],
  w: readonly number[],
  y: readonly number[],
  beginOf: (axis: number, room: number) => number,
): ConvGeometry {
  const [batch, , ...inputs] = x as [number, number, ...number[]];
  const [, , ...outputs] = y as [number, number, ...number[]];
  const [all, channels, ...kernel] = w as [number, number, ...number[]];
  if (kernel.length === 0 || kernel.length !== inputs.length) {
    throw new PareError(
      'bad-model',
      `${node.label} has an input of rank ${x.length} and a weight of rank ${w.length}.`,
    );
  }
  const groups = node.int('group', 1);
  const ones = new Array<number>(kernel.length).fill(1);
  const strides = node.ints('strides') ?? ones;
  const dilations = node.ints('dilations') ?? ones;
  const room = kernel.map((k, i) => {
    const covered = ((outputs[i] as number) - 1) * (strides[i] as number) + (k - 1) * (dilations[i] as number) + 1;
    return covered - (inputs[i] as number);
  });
  const begin = room.map((r, i) => beginOf(i, r));
  const end = room.map((r, i) => r - (begin[i] as number));
  return { batch, groups, channels, filters: all / groups, inputs, outputs, kernel, strides, dilations, begin, end };
}

function padBegin(node: Node, axis: number, room: number): number {
  const auto = node.string('auto_pad', 'NOTSET');
  const total = Math.max(0, room);
  if (auto === 'SAME_UPPER') return Math.floor(total / 2);
  if (auto === 'SAME_LOWER') return total - Math.floor(total / 2);
  return auto === 'VALID' ? 0 : (node.ints('pads')?.[axis] ?? 0);
}

/** Channels of x. */
export const inputChannels = (c: ConvGeometry): number => c.groups * c.channels;
/** Channels of y. */
export const outputChannels = (c: ConvGeometry): number => c.groups * c.filters;

/** Dimensions of x, w and y. */
export const inputDims = (c: ConvGeometry): number[] => [c.batch, inputChannels(c), ...c.inputs];
export const weightDims = (c: ConvGeometry): number[] => [outputChannels(c), c.channels, ...c.kernel];
export const outputDims = (c: ConvGeometry): number[] => [c.batch, outputChannels(c), ...c.outputs];

/** Whether each output sees one input position: kernel 1, no padding, and no input that is skipped at the end. */
export const isPointwise = (c: ConvGeometry): boolean => c.kernel.every((k, i) => k === 1 && c.begin[i] === 0);
export const isStrided = (c: ConvGeometry): boolean => c.strides.some((s) => s !== 1);
/** One channel a group on both sides. */
export const isDepthwise = (c: ConvGeometry): boolean => c.groups > 1 && c.channels === 1 && c.filters === 1;

/** A key that is equal for convolutions of equal geometry: what measurements are stored by. */
export function geometryKey(c: ConvGeometry): string {
  const { batch, groups, channels, filters } = c;
  const axes = c.kernel.map(
    (k, i) => `${c.inputs[i]}+${c.begin[i]}+${c.end[i]}k${k}s${c.strides[i]}d${c.dilations[i]}`,
  );
  return `n${batch}g${groups}c${channels}f${filters}:${axes.join(',')}`;
}

export const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);

/** Every position in a box of `dims`, the last axis fastest. */
export function positions(dims: readonly number[]): number[][] {
  return dims.reduce<number[][]>(
    (all, d) => all.flatMap((lead) => Array.from({ length: d }, (_, i) => [...lead, i])),
    [[]],
  );
}
