import { type CaseInput, f32, type Generator, i64, of, type Random, scalar, toInt64 } from './random.js';

/** A shape that broadcasts with `dims`: some axes are 1, some leading ones are missing. */
function broadcastable(r: Random, dims: readonly number[]): number[] {
  return dims.slice(r.int(0, dims.length)).map((d) => (r.chance(0.3) ? 1 : d));
}

const binary =
  (ops: readonly string[], dtype: 'float32' | 'int64' | 'bool'): Generator =>
  (r) => {
    const dims = r.dims(r.int(0, 4), 0);
    const [a, b] = r.shuffle([broadcastable(r, dims), broadcastable(r, dims)]) as [number[], number[]];
    return { op: r.pick(ops), inputs: [of(dtype, a), of(dtype, b)] };
  };

const where: Generator = (r) => {
  const dims = r.dims(r.int(0, 4));
  return {
    op: 'Where',
    inputs: [of('bool', broadcastable(r, dims)), f32(broadcastable(r, dims)), f32(broadcastable(r, dims))],
  };
};

const variadic: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  return {
    op: r.pick(['Max', 'Min', 'Sum', 'Mean']),
    inputs: Array.from({ length: r.int(1, 4) }, () => f32(broadcastable(r, dims))),
  };
};

/** A random factorization of `total` into `count` factors. */
function factors(r: Random, total: number, count: number): number[] {
  const out: number[] = [];
  let rest = total;
  for (let i = 1; i < count; i++) {
    const divisors = Array.from({ length: rest }, (_, k) => k + 1).filter((k) => rest % k === 0);
    const d = r.pick(divisors);
    out.push(d);
    rest /= d;
  }
  return r.shuffle([...out, rest]);
}

const reshape: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const total = dims.reduce((a, b) => a * b, 1);
  const target = factors(r, total, r.int(1, 4)).map((d, i) => (d === dims[i] && r.chance(0.4) ? 0 : d));
  if (r.chance(0.5)) target[r.int(0, target.length - 1)] = -1;
  return { op: 'Reshape', opset: r.pick([5, 13, 14, 19, 21]), inputs: [f32(dims), i64(...target)] };
};

const emptyReshape: Generator = (r) => {
  const dims = r.dims(3, 0, 2);
  return {
    op: 'Reshape',
    inputs: [f32(dims), i64(...r.shuffle([r.int(-1, 2), r.int(0, 2), r.int(0, 2)]))],
    attributes: { allowzero: r.int(0, 1) },
  };
};

const flatten: Generator = (r) => {
  const dims = r.dims(r.int(1, 4), 0);
  return { op: 'Flatten', inputs: [f32(dims)], attributes: { axis: r.int(-dims.length, dims.length) } };
};

const squeeze: Generator = (r) => {
  const dims = r.dims(r.int(1, 5)).map((d) => (r.chance(0.5) ? 1 : d));
  const ones = dims.flatMap((d, i) => (d === 1 && r.chance(0.7) ? [r.chance(0.5) ? i : i - dims.length] : []));
  const opset = r.pick([11, 13, 21]);
  if (r.chance(0.2)) return { op: 'Squeeze', opset, inputs: [f32(dims)] };
  return opset === 11
    ? { op: 'Squeeze', opset, inputs: [f32(dims)], attributes: { axes: ones } }
    : { op: 'Squeeze', opset, inputs: [f32(dims), i64(...ones)] };
};

const unsqueeze: Generator = (r) => {
  const dims = r.dims(r.int(0, 3));
  const rank = dims.length + r.int(1, 3);
  const axes = r
    .shuffle(Array.from({ length: rank }, (_, i) => i))
    .slice(0, rank - dims.length)
    .map((i) => (r.chance(0.5) ? i : i - rank));
  const opset = r.pick([11, 13, 21]);
  return opset === 11
    ? { op: 'Unsqueeze', opset, inputs: [f32(dims)], attributes: { axes } }
    : { op: 'Unsqueeze', opset, inputs: [f32(dims), i64(...axes)] };
};

const transpose: Generator = (r) => {
  const dims = r.dims(r.int(1, 5), 0);
  const perm = r.shuffle(dims.map((_, i) => i));
  return { op: 'Transpose', inputs: [f32(dims)], attributes: r.chance(0.8) ? { perm } : {} };
};

const expand: Generator = (r) => {
  const dims = r.dims(r.int(0, 4));
  return { op: 'Expand', inputs: [f32(broadcastable(r, dims)), i64(...broadcastable(r, dims))] };
};

const tile: Generator = (r) => {
  const dims = r.dims(r.int(1, 4), 0);
  return { op: 'Tile', inputs: [f32(dims), i64(...dims.map(() => r.int(0, 3)))] };
};

const concat: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const axis = r.int(0, dims.length - 1);
  const inputs = Array.from({ length: r.int(1, 4) }, () => f32(dims.map((d, i) => (i === axis ? r.int(0, 4) : d))));
  return { op: 'Concat', inputs, attributes: { axis: r.chance(0.5) ? axis : axis - dims.length } };
};

const split: Generator = (r) => {
  const dims = r.dims(r.int(1, 3), 2, 9);
  const axis = r.int(0, dims.length - 1);
  const count = r.int(1, 3);
  const length = dims[axis] as number;
  const opset = r.pick([11, 13, 18]);
  const sizes = Array.from({ length: count }, (_, i) => (i < count - 1 ? Math.floor(length / count) : 0));
  sizes[count - 1] = length - sizes.reduce((a, b) => a + b, 0);
  if (opset === 18 && r.chance(0.5)) {
    return { op: 'Split', opset, inputs: [f32(dims)], attributes: { axis, num_outputs: count }, outputs: count };
  }
  if (opset !== 18 && length % count === 0 && r.chance(0.4)) {
    return { op: 'Split', opset, inputs: [f32(dims)], attributes: { axis }, outputs: count };
  }
  return opset === 11
    ? { op: 'Split', opset, inputs: [f32(dims)], attributes: { axis, split: sizes }, outputs: count }
    : { op: 'Split', opset, inputs: [f32(dims), i64(...sizes)], attributes: { axis }, outputs: count };
};

/** The limits of int32 and int64 (as numbers), which exporters write for "all". */
const BOUNDS = [-(2 ** 63), -(2 ** 31), 2 ** 31 - 1, 2 ** 63];

const slice: Generator = (r) => {
  const dims = r.dims(r.int(1, 4), 0, 7);
  const bound = (d: number): number => (r.chance(0.2) ? r.pick(BOUNDS) : r.int(-d - 2, d + 2));
  const axes = r.shuffle(dims.map((_, i) => i)).slice(0, r.int(1, dims.length));
  const starts = axes.map((a) => bound(dims[a] as number));
  const ends = axes.map((a) => bound(dims[a] as number));
  if (r.chance(0.3)) {
    return {
      op: 'Slice',
      opset: 9,
      inputs: [f32(dims)],
      attributes: { starts: starts.map(toInt64), ends: ends.map(toInt64), axes },
    };
  }
  const inputs: (CaseInput | null)[] = [f32(dims), i64(...starts), i64(...ends), i64(...axes)];
  if (r.chance(0.6)) inputs.push(i64(...axes.map(() => r.pick([1, 2, 3, -1, -2, -3]))));
  return { op: 'Slice', opset: r.pick([10, 13]), inputs };
};

const pad: Generator = (r) => {
  const dims = r.dims(r.int(1, 4), 2);
  const opset = r.pick([10, 11, 13, 18, 21]);
  const axes =
    opset >= 18 && r.chance(0.5) ? r.shuffle(dims.map((_, i) => i)).slice(0, r.int(1, dims.length)) : undefined;
  const pads = Array.from({ length: 2 * (axes ?? dims).length }, () => r.int(-1, 3));
  if (opset === 10) return { op: 'Pad', opset, inputs: [f32(dims)], attributes: { pads } };
  const inputs: (CaseInput | null)[] = [f32(dims), i64(...pads)];
  if (axes) inputs.push(null, i64(...axes.map((a) => (r.chance(0.5) ? a : a - dims.length))));
  return { op: 'Pad', opset, inputs };
};

const depthToSpace: Generator = (r) => {
  const block = r.int(1, 3);
  const [n, c, h, w] = r.dims(4) as [number, number, number, number];
  return r.chance(0.5)
    ? { op: 'DepthToSpace', inputs: [f32([n, c * block * block, h, w])], attributes: { blocksize: block } }
    : { op: 'SpaceToDepth', inputs: [f32([n, c, h * block, w * block])], attributes: { blocksize: block } };
};

const gather: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const axis = r.int(-dims.length, dims.length - 1);
  return { op: 'Gather', inputs: [f32(dims), of('int64', r.dims(r.int(0, 3), 0))], attributes: { axis } };
};

const gatherElements: Generator = (r) => {
  const dims = r.dims(r.int(1, 3));
  return {
    op: 'GatherElements',
    inputs: [
      f32(dims),
      of(
        'int64',
        dims.map((d) => r.int(1, d)),
      ),
    ],
    attributes: { axis: 0 },
  };
};

const gatherND: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const batch = r.int(0, dims.length - 1);
  const depth = r.int(1, dims.length - batch);
  const indices = [...dims.slice(0, batch), ...r.dims(r.int(0, 2)), depth];
  return { op: 'GatherND', inputs: [f32(dims), of('int64', indices)], attributes: { batch_dims: batch } };
};

const topK: Generator = (r) => {
  const dims = r.dims(r.int(1, 3));
  const axis = r.int(-dims.length, dims.length - 1);
  const k = r.int(0, dims.at(axis) as number);
  return { op: 'TopK', inputs: [f32(dims), i64(k)], attributes: { axis }, outputs: 2 };
};

const oneHot: Generator = (r) => {
  const dims = r.dims(r.int(1, 3));
  const axis = r.int(-dims.length - 1, dims.length);
  return {
    op: 'OneHot',
    inputs: [of('int64', dims), scalar('int64', r.int(1, 5)), { dtype: 'float32', dims: [2] }],
    attributes: { axis },
  };
};

const compress: Generator = (r) => {
  const dims = r.dims(r.int(1, 3));
  const axis = r.int(-dims.length, dims.length - 1);
  const flat = r.chance(0.3);
  const length = flat ? dims.reduce((a, b) => a * b, 1) : (dims.at(axis) as number);
  const values = Array.from({ length: r.int(1, length) }, () => r.int(0, 1));
  const condition: CaseInput = { dtype: 'bool', dims: [values.length], values };
  return { op: 'Compress', inputs: [f32(dims), condition], attributes: flat ? {} : { axis } };
};

const nonZero: Generator = (r) => ({ op: 'NonZero', inputs: [f32(r.dims(r.int(1, 3), 0))] });

const unique: Generator = (r) => {
  const dims = r.dims(r.int(1, 3));
  return {
    op: 'Unique',
    inputs: [f32(dims)],
    attributes: r.chance(0.5) ? { axis: r.int(-dims.length, dims.length - 1) } : {},
    outputs: 4,
  };
};

const shape: Generator = (r) => {
  const attributes: Record<string, number> = {};
  if (r.chance(0.5)) attributes.start = r.int(-5, 5);
  if (r.chance(0.5)) attributes.end = r.int(-5, 5);
  return { op: 'Shape', opset: 15, inputs: [f32(r.dims(r.int(0, 4), 0))], attributes };
};

const range: Generator = (r) => {
  const dtype = r.pick(['int64', 'int32', 'float32'] as const);
  const fraction = dtype === 'float32' ? r.pick([1, 0.1, 0.25, 0.3]) : 1;
  const [start, limit, step] = [r.int(-9, 9), r.int(-9, 9), r.pick([1, 2, 3, -1, -2, -5])];
  return { op: 'Range', inputs: [start, limit, step].map((v) => scalar(dtype, Math.fround(v * fraction))) };
};

const constantOfShape: Generator = (r) => ({ op: 'ConstantOfShape', inputs: [i64(...r.dims(r.int(1, 4), 0))] });

const reduce: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const op = r.pick(['ReduceSum', 'ReduceMean', 'ReduceMax', 'ReduceProd', 'ReduceL2', 'ReduceLogSumExp']);
  const opset = r.pick([11, 13, 18, 20]);
  const axes = r
    .shuffle(dims.map((_, i) => i))
    .slice(0, r.int(0, dims.length))
    .map((a) => (r.chance(0.5) ? a : a - dims.length));
  const keepdims = r.int(0, 1);
  const asInput = opset >= (op === 'ReduceSum' ? 13 : 18);
  if (!asInput) {
    return { op, opset, inputs: [f32(dims)], attributes: axes.length > 0 ? { axes, keepdims } : { keepdims } };
  }
  const attributes = { keepdims, noop_with_empty_axes: r.int(0, 1) };
  return { op, opset, inputs: r.chance(0.2) ? [f32(dims)] : [f32(dims), i64(...axes)], attributes };
};

const arg: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const attributes = { axis: r.int(-dims.length, dims.length - 1), keepdims: r.int(0, 1) };
  return { op: r.pick(['ArgMax', 'ArgMin']), inputs: [f32(dims)], attributes };
};

const cumSum: Generator = (r) => ({ op: 'CumSum', inputs: [f32(r.dims(3)), scalar('int64', r.int(-3, 2))] });

export const tensorCases: Readonly<Record<string, Generator>> = {
  arithmetic: binary(['Add', 'Sub', 'Mul', 'Div', 'Pow'], 'float32'),
  integers: binary(['Add', 'Mul', 'Equal', 'Less'], 'int64'),
  comparison: binary(['Equal', 'Less', 'Greater', 'LessOrEqual', 'GreaterOrEqual'], 'float32'),
  logic: binary(['And', 'Or', 'Xor'], 'bool'),
  where,
  variadic,
  reshape,
  emptyReshape,
  flatten,
  squeeze,
  unsqueeze,
  transpose,
  expand,
  tile,
  concat,
  split,
  slice,
  pad,
  depthToSpace,
  gather,
  gatherElements,
  gatherND,
  topK,
  oneHot,
  compress,
  nonZero,
  unique,
  shape,
  range,
  constantOfShape,
  reduce,
  arg,
  cumSum,
};
