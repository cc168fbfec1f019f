import { elementCount } from '../../ir/tensor.js';
import { type Dim, type Shape, staticShape } from '../../ir/type.js';
import { broadcastShapes } from '../broadcast.js';
import { addDim, floorDivDim, mulDim, productDim } from '../dim.js';
import {
  type Known,
  MAX_VALUES,
  normalizeAxes,
  normalizeAxis,
  type Op,
  type Rule,
  type RuleTable,
  tensor,
  unknownShape,
} from '../op.js';
import { broadcastValues, smallShape } from '../values.js';

/** Number of elements of a 1-D shape tensor: the rank that it describes. */
function lengthOf(op: Op, index: number): number | undefined {
  const length = op.shape(index)?.length === 1 ? op.dim(index, 0) : undefined;
  return typeof length === 'number' && length <= 64 ? length : undefined;
}

/** The elements of a shape-like input, unknown ones null; undefined when not even their count is known. */
export function shapeInput(op: Op, index: number): readonly Dim[] | undefined {
  const values = op.values(index);
  if (values) return values;
  const rank = lengthOf(op, index);
  return rank === undefined ? undefined : unknownShape(rank);
}

const reshape: Rule = (op) => {
  const input = op.shape(0);
  const target = op.version < 5 ? op.ints('shape') : shapeInput(op, 1);
  if (!target) return [tensor(op.dtype(0))];
  return [tensor(op.dtype(0), reshapeTo(input, target, op.int('allowzero', 0) !== 0), op.values(0))];
};

/** 0 copies a dimension of the input (unless `allowZero`), -1 takes what is left. */
function reshapeTo(input: Shape | undefined, target: readonly Dim[], allowZero: boolean): Shape {
  const shape = target.map((d, i) => (d === 0 && !allowZero ? (input?.[i] ?? null) : d));
  const rest = shape.indexOf(-1);
  const unknown = shape.filter((d) => d === null).length;
  // An unknown element may be the -1: then it says what is left as well.
  const open = rest >= 0 ? rest : unknown === 1 ? shape.indexOf(null) : -1;
  if (open < 0 || (rest >= 0 && unknown > 0) || !input) return shape.map((d) => (d === -1 ? null : d));
  return shape.map((d, i) => (i === open ? remaining(input, shape, open) : d));
}

/** The elements of `input` divided by those of `shape` without axis `open`. */
function remaining(input: Shape, shape: Shape, open: number): Dim {
  const dividend = [...input];
  const divisor: Dim[] = [];
  for (const d of shape.filter((_, i) => i !== open)) {
    const same = typeof d === 'string' ? dividend.indexOf(d) : -1;
    if (same >= 0) dividend.splice(same, 1);
    else divisor.push(d);
  }
  // The division leaves no rest in a model that runs, so that its floor is the quotient.
  return floorDivDim(productDim(dividend), productDim(divisor));
}

const flatten: Rule = (op) => {
  const input = op.shape(0);
  if (!input) return [tensor(op.dtype(0), unknownShape(2))];
  const given = op.int('axis', 1);
  const axis = given < 0 ? given + input.length : given;
  return [tensor(op.dtype(0), [productDim(input.slice(0, axis)), productDim(input.slice(axis))], op.values(0))];
};

/**
 * Axes from the attribute (before version `since`) or from input `index`; undefined when left out, and an array of nulls
 * when only their count is known, null when not even that.
 */
export function axesOf(op: Op, since: number, index = 1): readonly Dim[] | null | undefined {
  if (op.version < since) return op.ints('axes');
  return op.has(index) ? (shapeInput(op, index) ?? null) : undefined;
}

function squeezed(input: Shape | undefined, axes: readonly Dim[] | null | undefined): Shape | undefined {
  if (!input || axes === null) return undefined;
  // Without axes every 1 goes: which ones is known only of a static shape.
  if (!axes || axes.length === 0) return staticShape(input)?.filter((d) => d !== 1);
  const known = staticShape(axes);
  if (!known) return unknownShape(Math.max(0, input.length - axes.length));
  const gone = normalizeAxes(known, input.length);
  return gone && input.filter((_, i) => !gone.includes(i));
}

function unsqueezed(input: Shape | undefined, axes: readonly Dim[] | null | undefined): Shape | undefined {
  if (!input || !axes) return undefined;
  const rank = input.length + axes.length;
  const known = staticShape(axes);
  if (!known) return unknownShape(rank);
  const added = normalizeAxes(known, rank);
  const rest = [...input];
  return added && Array.from({ length: rank }, (_, i) => (added.includes(i) ? 1 : (rest.shift() ?? null)));
}

const squeeze: Rule = (op) => [tensor(op.dtype(0), squeezed(op.shape(0), axesOf(op, 13)), op.values(0))];
const unsqueeze: Rule = (op) => [tensor(op.dtype(0), unsqueezed(op.shape(0), axesOf(op, 13)), op.values(0))];

const transpose: Rule = (op) => {
  const input = op.shape(0);
  const perm = op.ints('perm') ?? input?.map((_, i) => input.length - 1 - i);
  if (!perm) return [tensor(op.dtype(0))];
  const shape = perm.map((axis) => input?.[axis] ?? null);
  return [tensor(op.dtype(0), shape, transposeValues(op.input(0), perm))];
};

function transposeValues(input: Known | undefined, perm: readonly number[]): readonly Dim[] | undefined {
  const from = input?.type?.kind === 'tensor' ? smallShape(input.type.shape) : undefined;
  if (!from || !input?.values || from.length !== perm.length) return undefined;
  if (input.values.length === 0) return [];
  const strides = from.map((_, axis) => elementCount(from.slice(axis + 1)));
  let indices = [0];
  for (const axis of perm) {
    const [length, stride] = [from[axis] ?? 0, strides[axis] ?? 0];
    indices = indices.flatMap((base) => Array.from({ length }, (_, i) => base + i * stride));
  }
  return indices.map((i) => input.values?.[i] ?? null);
}

const expand: Rule = (op) => {
  const input = op.shape(0);
  const target = shapeInput(op, 1);
  const shape = target && broadcastShapes(input, target);
  return [tensor(op.dtype(0), shape, broadcastValues(op.input(0), shape))];
};

const tile: Rule = (op) => {
  const input = op.shape(0);
  const repeats = op.version < 6 ? undefined : op.values(1);
  const rank = input?.length ?? (op.version < 6 ? undefined : lengthOf(op, 1));
  const shape =
    input && repeats
      ? input.map((d, i) => mulDim(d, repeats[i] ?? null))
      : rank === undefined
        ? undefined
        : unknownShape(rank);
  const count = repeats?.[0];
  const values = op.values(0);
  const tiled =
    input?.length === 1 &&
    values &&
    typeof count === 'number' &&
    count >= 0 &&
    count * (values.length + 1) <= MAX_VALUES;
  return [tensor(op.dtype(0), shape, tiled ? new Array<readonly Dim[]>(count).fill(values).flat() : undefined)];
};

const depthToSpace: Rule = (op) => {
  const [n, c, h, w] = op.shape(0) ?? unknownShape(4);
  const block = op.int('blocksize', 1);
  return [
    tensor(op.dtype(0), [
      n ?? null,
      floorDivDim(c ?? null, block * block),
      mulDim(h ?? null, block),
      mulDim(w ?? null, block),
    ]),
  ];
};

const spaceToDepth: Rule = (op) => {
  const [n, c, h, w] = op.shape(0) ?? unknownShape(4);
  const block = op.int('blocksize', 1);
  return [
    tensor(op.dtype(0), [
      n ?? null,
      mulDim(c ?? null, block * block),
      floorDivDim(h ?? null, block),
      floorDivDim(w ?? null, block),
    ]),
  ];
};

const concat: Rule = (op) => {
  const count = op.inputCount;
  const shapes = Array.from({ length: count }, (_, i) => op.shape(i));
  const dtype = shapes.map((_, i) => op.dtype(i)).find((d) => d);
  const rank = shapes.find((s) => s)?.length;
  const axis = rank === undefined ? undefined : normalizeAxis(op.int('axis', op.version < 4 ? 1 : 0), rank);
  if (rank === undefined || axis === undefined) return [tensor(dtype)];
  return [tensor(dtype, concatShape(shapes, axis, rank), axis === 0 ? concatValues(op, rank) : undefined)];
};

/** Of two lengths that must be equal, the one that says more, or says it in fewer words. */
function simpler(a: Dim, b: Dim): Dim {
  if (a === null || typeof a === 'number' || b === null) return a ?? b;
  return typeof b === 'number' || b.length < a.length ? b : a;
}

/** Shapes joined along `axis`; the other axes must agree, so any known one tells. */
export function concatShape(shapes: readonly (Shape | undefined)[], axis: number, rank: number): Shape {
  return Array.from({ length: rank }, (_, i) => {
    const lengths = shapes.map((s) => s?.[i] ?? null);
    if (i === axis) return lengths.reduce(addDim, 0);
    return lengths.reduce(simpler, null);
  });
}

/** Contents of a concatenation of vectors: pieces of known length whose content is unknown leave gaps. */
function concatValues(op: Op, rank: number): readonly Dim[] | undefined {
  const values: Dim[] = [];
  for (let i = 0; i < op.inputCount; i++) {
    const length = rank === 1 ? op.dim(i, 0) : null;
    const piece =
      op.values(i) ?? (typeof length === 'number' && length <= MAX_VALUES ? unknownShape(length) : undefined);
    if (!piece) return undefined;
    values.push(...piece);
  }
  return values;
}

export const reshaping: RuleTable = {
  Reshape: reshape,
  Flatten: flatten,
  Squeeze: squeeze,
  Unsqueeze: unsqueeze,
  Transpose: transpose,
  Expand: expand,
  Tile: tile,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  Concat: concat,
};
