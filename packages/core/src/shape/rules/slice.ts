import { type Dim, type Shape, staticShape } from '../../ir/type.js';
import { addDim, ceilDivDim, dimBounds, floorDivDim, maxDim, minDim, mulDim, subDim, sumDim } from '../dim.js';
import {
  normalizeAxes,
  normalizeAxis,
  type Op,
  type Rule,
  type RuleTable,
  tensor,
  unknownShape,
  withDim,
} from '../op.js';
import { smallShape } from '../values.js';
import { axesOf, shapeInput } from './reshape.js';

/** A bound beyond this means "to the end": exporters write the greatest int32 or int64. */
const END = 2 ** 31 - 1;

/** Start, end and step of the slice of one axis; null: unknown. */
interface Range {
  readonly start: Dim;
  readonly end: Dim;
  readonly step: Dim;
}

/** A start or end counted from the front, where it is known to be counted from there or from the back; may be negative. */
function fromFront(index: Dim, length: Dim): Dim {
  if (typeof index === 'number') return index < 0 ? addDim(length, index) : index;
  const [low, high] = dimBounds(index);
  if (low >= 0) return index;
  if (high < 0) return addDim(length, index);
  // length - 1 and length - 2 become 0 in the end also when they are negative, and so count from the back.
  const rest = subDim(length, index);
  return rest === 1 || rest === 2 ? index : null;
}

/** Number of elements that `range` takes from an axis of `length`. */
function sliceLength(length: Dim, { start, end, step }: Range): Dim {
  if (typeof step !== 'number' || step === 0) return null;
  if (step > 0) return ceilDivDim(forwardLength(length, start, end), step);
  // Backwards only in numbers, or all of an axis of any length: x[::-1].
  if (typeof start !== 'number' || typeof end !== 'number') return null;
  if (!isBackwards(end)) return null;
  if ((start >= END || start === -1) && end <= -END) return ceilDivDim(length, -step);
  if (typeof length !== 'number') return null;
  return takenFrom(length, start, end, step).count;
}

/** Length between `start` and `end`, both clamped to [0, length]. */
function forwardLength(length: Dim, start: Dim, end: Dim): Dim {
  const toEnd = typeof end === 'number' && end >= END;
  if ((typeof start === 'number' && start >= END) || (typeof end === 'number' && end <= -END)) return 0;
  const last = toEnd ? length : minDim(fromFront(end, length), length);
  if (typeof start === 'number' && start <= -END) return maxDim(last, 0);
  // x[-k:] has at most k elements.
  if (toEnd && typeof start === 'number' && start < 0) return minDim(length, -start);
  const first = fromFront(start, length);
  // One clamp of each is enough: the difference is clamped, the end is at most the length, the start here at least 0.
  return maxDim(subDim(last, dimBounds(first)[0] < 0 ? maxDim(first, 0) : first), 0);
}

/** ONNX Runtime reads the greatest integer as "to the end" also backwards, where it is the beginning; NumPy does not. */
const isBackwards = (end: number): boolean => end < END;

/** The first index that a slice of numbers takes, and how many. */
function takenFrom(length: number, start: number, end: number, step: number): { first: number; count: number } {
  const clamp = (i: number, least: number, most: number): number =>
    Math.min(Math.max(i < 0 ? i + length : i, least), most);
  const first = step > 0 ? clamp(start, 0, length) : clamp(start, 0, length - 1);
  const last = step > 0 ? clamp(end, 0, length) : clamp(end, -1, length);
  return { first, count: length === 0 ? 0 : Math.max(0, Math.ceil((last - first) / step)) };
}

function sliceRanges(op: Op, rank: number): (Range | undefined)[] | undefined {
  const old = op.version < 10 && op.node.opType === 'Slice';
  const starts = old ? op.ints('starts') : shapeInput(op, 1);
  const ends = old ? op.ints('ends') : shapeInput(op, 2);
  const count = starts?.length ?? ends?.length;
  const given = old ? op.ints('axes') : axesOf(op, 0, 3);
  if (given === null || count === undefined) return undefined;
  const numbers = given ? staticShape(given) : Array.from({ length: count }, (_, i) => i);
  const axes = numbers && normalizeAxes(numbers, rank);
  if (!axes) return undefined;
  const steps = op.has(4) && !old ? shapeInput(op, 4) : undefined;
  const ranges = new Array<Range | undefined>(rank);
  for (const [i, axis] of axes.entries()) {
    const step = op.has(4) && !old ? (steps?.[i] ?? null) : 1;
    ranges[axis] = { start: starts?.[i] ?? null, end: ends?.[i] ?? null, step };
  }
  return ranges;
}

const slice: Rule = (op) => {
  const input = op.shape(0);
  if (!input) return [tensor(op.dtype(0))];
  const ranges = sliceRanges(op, input.length);
  if (!ranges) return [tensor(op.dtype(0), unknownShape(input.length))];
  const shape = input.map((length, axis) => {
    const range = ranges[axis];
    return range ? sliceLength(length, range) : length;
  });
  return [tensor(op.dtype(0), shape, sliceValues(op, input, ranges))];
};

/** Contents of a slice. */
function sliceValues(op: Op, input: Shape, ranges: readonly (Range | undefined)[]): readonly Dim[] | undefined {
  const values = op.values(0);
  const from = smallShape(input);
  if (!values || !from) return undefined;
  if (values.length === 0) return [];
  let offsets = [0];
  for (const [axis, length] of from.entries()) {
    const { start, end, step } = ranges[axis] ?? { start: 0, end: length, step: 1 };
    if (typeof start !== 'number' || typeof end !== 'number' || typeof step !== 'number') return undefined;
    if (step === 0 || (step < 0 && !isBackwards(end))) return undefined;
    const { first, count } = takenFrom(length, start, end, step);
    offsets = offsets.flatMap((offset) => Array.from({ length: count }, (_, i) => offset * length + first + i * step));
  }
  return offsets.map((i) => values[i] ?? null);
}

const split: Rule = (op) => {
  const input = op.shape(0);
  const count = op.outputCount;
  const axis = input && normalizeAxis(op.int('axis', 0), input.length);
  if (!input || axis === undefined) return Array.from({ length: count }, () => tensor(op.dtype(0)));
  const sizes = splitSizes(op, input[axis] as Dim, count);
  let offset: Dim = 0;
  return sizes.map((size) => {
    const values = op.rank(0) === 1 ? pieceOf(op.values(0), offset, size) : undefined;
    offset = addDim(offset, size);
    return tensor(op.dtype(0), withDim(input, axis, size), values);
  });
};

const pieceOf = (values: readonly Dim[] | undefined, offset: Dim, size: Dim): readonly Dim[] | undefined =>
  typeof offset === 'number' && typeof size === 'number' ? values?.slice(offset, offset + size) : undefined;

function splitSizes(op: Op, length: Dim, count: number): readonly Dim[] {
  const given = op.version < 13 ? op.ints('split') : op.has(1) ? (op.values(1) ?? unknownShape(count)) : undefined;
  if (given) {
    // A single unknown part is what the others leave.
    const open = given.indexOf(null);
    if (open < 0 || given.indexOf(null, open + 1) >= 0 || given.length !== count) {
      return Array.from({ length: count }, (_, i) => given[i] ?? null);
    }
    const others = sumDim(given.filter((_, i) => i !== open));
    return given.map((d, i) => (i === open ? subDim(length, others) : d));
  }
  const parts = op.int('num_outputs', count);
  // The last part is the smaller one when the length does not divide evenly (from version 18 on; before, it must).
  const part = op.version < 18 ? floorDivDim(length, parts) : ceilDivDim(length, parts);
  const last = op.version < 18 ? part : subDim(length, mulDim(part, parts - 1));
  return Array.from({ length: count }, (_, i) => (i < parts - 1 ? part : last));
}

/** `input` with `pads` added: the beginnings, then the ends, of the axes in `axes` (default all). */
function padded(input: Shape, pads: readonly Dim[] | undefined, axes: readonly number[] | undefined): Shape {
  if (!axes || pads?.length !== 2 * axes.length) return unknownShape(input.length);
  let shape = input;
  for (const [i, axis] of axes.entries()) {
    const added = addDim(pads[i] as Dim, pads[i + axes.length] as Dim);
    shape = withDim(shape, axis, addDim(shape[axis] as Dim, added));
  }
  return shape;
}

/** Pads are input 1 from version 11 on, and axes input 3 from version 18 on. */
const pad: Rule = (op) => {
  const input = op.shape(0);
  if (op.version < 11) {
    const pads = op.ints(op.version < 2 ? 'paddings' : 'pads');
    return [tensor(op.dtype(0), input ? padded(input, pads, [...input.keys()]) : undefined)];
  }
  if (!input) return [tensor(op.dtype(0))];
  const given = op.has(3) && op.version >= 18 ? staticShape(op.values(3)) : [...input.keys()];
  return [tensor(op.dtype(0), padded(input, shapeInput(op, 1), given && normalizeAxes(given, input.length)))];
};

/** Pad of com.microsoft: pads are input 1. */
export const padInput: Rule = (op) => {
  const input = op.shape(0);
  return [tensor(op.dtype(0), input && padded(input, shapeInput(op, 1), [...input.keys()]))];
};

const centerCropPad: Rule = (op) => {
  const input = op.shape(0);
  if (!input) return [tensor(op.dtype(0))];
  const axes = normalizeAxes(op.ints('axes') ?? input.map((_, i) => i), input.length);
  const target = op.values(1);
  const shape = axes && input.map((d, i) => (axes.includes(i) ? (target?.[axes.indexOf(i)] ?? null) : d));
  return [tensor(op.dtype(0), shape)];
};

/** Crop of the last two axes: `border` is left, top, right, bottom, or `scale` is height, width. */
const crop: Rule = (op) => {
  const input = op.shape(0);
  if (input?.length !== 4) return [tensor(op.dtype(0))];
  const border = op.ints('border') ?? [];
  const [left = 0, top = 0, right = 0, bottom = 0] = border;
  const scale = op.ints('scale');
  const size =
    scale?.length === 2 ? scale : [subDim(input[2] as Dim, top + bottom), subDim(input[3] as Dim, left + right)];
  return [tensor(op.dtype(0), [input[0] as Dim, input[1] as Dim, ...size])];
};

export const slicing: RuleTable = {
  Slice: slice,
  DynamicSlice: slice,
  Split: split,
  Pad: pad,
  CenterCropPad: centerCropPad,
  Crop: crop,
};
