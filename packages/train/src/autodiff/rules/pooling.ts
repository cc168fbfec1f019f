import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import type { Adjoint, Rule } from '../rule.js';
import { type AxisMap, axisMap, transposeMaps } from '../separable.js';

/** Pooling: [N, C, spatial...], windows over the spatial axes. */
export const POOLING: Readonly<Record<string, Rule>> = {
  MaxPool: (op) => [() => (tiles(op) ? maxOfTiles(op) : maxOfWindows(op))],
  // y = M x with a matrix a spatial axis: dx = Mᵀ g.
  AveragePool: (op) => [() => (tiles(op) ? averageOfTiles(op) : transposeMaps(op.emit, op.g(), averageMaps(op)))],
  // y = (sum |x|^p)^(1/p) over the window: dx = sign(x) |x|^(p-1) times what flows into x of g y^(1-p).
  LpPool: (op) => [
    () => {
      const spread = (v: Value): Value =>
        transposeMaps(
          op.emit,
          v,
          windowMaps(op, () => 1),
        );
      return norm(op, spread);
    },
  ],
  GlobalAveragePool: (op) => [() => op.emit.expand(op.emit.div(op.g(), product(op.shape().slice(2)) || 1), op.shape())],
  GlobalMaxPool: (op) => [() => globalMax(op)],
  GlobalLpPool: (op) => [() => norm(op, (v) => op.emit.expand(v, op.shape()))],
  // y[indices] = x
  MaxUnpool: (op) => {
    const { emit } = op;
    const flat = (v: Value): Value => emit.reshape(v, [emit.size(v)]);
    return [
      () => emit.reshape(emit.op('GatherElements', [flat(op.g()), flat(op.x(1))], { axis: 0 }), op.shape()),
      null,
      null,
    ];
  },
};

/** The windows along one spatial axis: window `o` reads `o * stride - begin + j * dilation` for each `j < kernel`. */
interface Windows {
  readonly axis: number;
  readonly kernel: number;
  readonly stride: number;
  readonly dilation: number;
  readonly begin: number;
  readonly end: number;
  readonly inputs: number;
  readonly outputs: number;
}

function windows(op: Adjoint): Windows[] {
  const { node } = op;
  const kernel = node.ints('kernel_shape') ?? node.fail('has no kernel_shape');
  const auto = node.string('auto_pad', 'NOTSET');
  return kernel.map((k, i) => {
    const inputs = op.shape()[2 + i] as number;
    const outputs = op.emit.shape(op.y())[2 + i] as number;
    const stride = node.ints('strides')?.[i] ?? 1;
    const dilation = node.ints('dilations')?.[i] ?? 1;
    let begin = auto === 'NOTSET' ? (node.ints('pads')?.[i] ?? 0) : 0;
    let end = auto === 'NOTSET' ? (node.ints('pads')?.[kernel.length + i] ?? 0) : 0;
    if (auto.startsWith('SAME')) {
      const total = Math.max(0, (outputs - 1) * stride + (k - 1) * dilation + 1 - inputs);
      begin = auto === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2);
      end = total - begin;
    }
    return { axis: 2 + i, kernel: k, stride, dilation, begin, end, inputs, outputs };
  });
}

/** Whether each element is in one window: no overlap, no gap, no padding. */
function tiles(op: Adjoint): boolean {
  return windows(op).every(
    (w) => w.stride === w.kernel && w.dilation === 1 && w.begin === 0 && w.inputs === w.outputs * w.kernel,
  );
}

/**
 * The gradient of each maximum goes to the elements that equal it, in equal parts: one of its subgradients. Indices of the
 * maxima are not needed then, and ONNX Runtime pools several times as fast without them.
 */
function maxOfTiles(op: Adjoint): Value {
  const { emit } = op;
  const kernel = windows(op).map((w) => w.kernel);
  const winners = emit.compare('Equal', op.x(), repeat(emit, op.y(), kernel));
  const share = emit.op('AveragePool', [emit.cast(winners, 'float32')], { kernel_shape: kernel, strides: kernel });
  const count = emit.cast(emit.mul(share, product(kernel)), emit.dtype(op.x()) === 'float64' ? 'float64' : 'float32');
  return emit.where(winners, repeat(emit, emit.div(op.g(), count), kernel), 0);
}

/** The gradient goes to the maximum's index, which counts in the whole of x. */
function maxOfWindows(op: Adjoint): Value {
  const { emit } = op;
  if (op.node.int('storage_order', 0) !== 0) {
    throw new PareError('unsupported', `${op.node.label} has no gradient with storage_order 1: set it to 0.`);
  }
  const flat = (v: Value): Value => emit.reshape(v, [emit.size(v)]);
  const zeros = emit.fill([product(op.shape())], 0, op.x());
  const inputs = [zeros, flat(op.extraOutput(1)), flat(op.g())];
  const overlap = windows(op).some((w) => w.stride < (w.kernel - 1) * w.dilation + 1);
  const scattered = emit.op('ScatterElements', inputs, { axis: 0, reduction: overlap ? 'add' : 'none' });
  return emit.reshape(scattered, op.shape());
}

/** The gradient goes to the first maximum of each channel. */
function globalMax(op: Adjoint): Value {
  const { emit } = op;
  const [n, c, ...spatial] = op.shape() as [number, number, ...number[]];
  const rows = (v: Value): Value => emit.reshape(v, [n, c, emit.size(v) / Math.max(n * c, 1)]);
  const at = emit.op('ArgMax', [rows(op.x())], { axis: 2, keepdims: 1 });
  const zeros = emit.fill([n, c, product(spatial)], 0, op.x());
  return emit.reshape(emit.op('ScatterElements', [zeros, at, rows(op.g())], { axis: 2 }), op.shape());
}

function averageOfTiles(op: Adjoint): Value {
  const kernel = windows(op).map((w) => w.kernel);
  return repeat(op.emit, op.emit.div(op.g(), product(kernel)), kernel);
}

function averageMaps(op: Adjoint): AxisMap[] {
  const includePad = op.node.int('count_include_pad', 0) !== 0;
  return windowMaps(op, (w, first) => {
    const [low, high] = includePad ? [-w.begin, w.inputs + w.end] : [0, w.inputs];
    const reads = Array.from({ length: w.kernel }, (_, j) => first + j * w.dilation);
    return 1 / Math.max(1, reads.filter((i) => i >= low && i < high).length);
  });
}

/** Matrices of a sum over windows; `weight` tells what a window that begins at `first` multiplies its sum with. */
function windowMaps(op: Adjoint, weight: (w: Windows, first: number) => number): AxisMap[] {
  return windows(op).map((w) => {
    const map = axisMap(w.axis, w.outputs, w.inputs);
    for (let o = 0; o < w.outputs; o++) {
      const first = o * w.stride - w.begin;
      for (let j = 0; j < w.kernel; j++) {
        const i = first + j * w.dilation;
        if (i >= 0 && i < w.inputs) map.weights[o * w.inputs + i] = weight(w, first);
      }
    }
    return map;
  });
}

/** dx of y = (sum |x|^p)^(1/p); `spread` sums for each element of x what is given for the windows that it is in. */
function norm(op: Adjoint, spread: (v: Value) => Value): Value {
  const { emit } = op;
  const p = op.node.int('p', 2);
  const [x, y] = [op.x(), op.y()];
  if (p === 1) return emit.mul(spread(op.g()), emit.op('Sign', [x]));
  // At y = 0 there is no gradient: zero is as good as any.
  const inverse = emit.where(emit.compare('Equal', y, 0), 0, emit.op('Pow', [y, emit.scalar(1 - p, y)]));
  const flow = spread(emit.mul(op.g(), inverse));
  if (p === 2) return emit.mul(flow, x);
  const power = emit.op('Pow', [emit.op('Abs', [x]), emit.scalar(p - 2, x)]);
  return emit.mul(flow, emit.mul(x, power));
}

/**
 * Each element of the trailing axes `factors[i]` times along axis `i`. Concatenation of single elements: much quicker in ONNX
 * Runtime than Expand, and a little quicker than Resize.
 */
function repeat(emit: Emitter, value: Value, factors: readonly number[]): Value {
  const dims = [...emit.shape(value)];
  const lead = dims.length - factors.length;
  let result = value;
  for (const [i, factor] of [...factors.entries()].toReversed()) {
    if (factor === 1) continue;
    const inner = product(dims.slice(lead + i + 1));
    const rows = emit.reshape(result, [product(dims.slice(0, lead + i + 1)), inner]);
    result = emit.concat(new Array<Value>(factor).fill(rows), 1);
    dims[lead + i] = (dims[lead + i] as number) * factor;
  }
  return emit.reshape(result, dims);
}

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
