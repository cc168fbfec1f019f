import { floats } from '../../src/ir/attribute.js';
import { type CaseInput, f32, type Generator, i64, type OperatorCase, of, type Random, scalar } from './random.js';

type Attributes = Record<string, NonNullable<OperatorCase['attributes']>[string]>;

/** Lengths that the dilated kernel fits into at least once. */
const fitting = (r: Random, kernel: readonly number[], { dilations }: Attributes): number[] =>
  kernel.map((k, i) => (k - 1) * (((dilations as number[] | undefined) ?? [])[i] ?? 1) + r.int(1, 6));

/** Window attributes of a convolution or pooling over `rank` axes. */
function window(r: Random, rank: number, kernel: readonly number[]): Attributes {
  const attributes: Attributes = {};
  if (r.chance(0.7)) attributes.strides = r.dims(rank, 1, 3);
  const auto = r.chance(0.3) ? r.pick(['SAME_UPPER', 'SAME_LOWER', 'VALID', 'NOTSET']) : 'NOTSET';
  if (auto !== 'NOTSET') attributes.auto_pad = auto;
  else if (r.chance(0.6)) attributes.pads = [...kernel, ...kernel].map((k) => r.int(0, Math.max(0, k - 1)));
  if (r.chance(0.3) && !auto.startsWith('SAME')) attributes.dilations = r.dims(rank, 1, 2);
  return attributes;
}

const conv: Generator = (r) => {
  const rank = r.int(1, 3);
  const group = r.int(1, 2);
  const [n, c, m] = [r.int(1, 2), group * r.int(1, 2), group * r.int(1, 3)];
  const kernel = r.dims(rank, 1, 4);
  const attributes: Attributes = { ...window(r, rank, kernel), group };
  if (r.chance(0.5)) attributes.kernel_shape = kernel;
  return {
    op: 'Conv',
    inputs: [f32([n, c, ...fitting(r, kernel, attributes)]), f32([m, c / group, ...kernel])],
    attributes,
  };
};

const convTranspose: Generator = (r) => {
  const rank = r.int(1, 3);
  const group = r.int(1, 2);
  const [n, c, m] = [r.int(1, 2), group * r.int(1, 2), r.int(1, 3)];
  const kernel = r.dims(rank, 1, 4);
  const attributes: Attributes = { ...window(r, rank, kernel), group };
  const strides = (attributes.strides as number[] | undefined) ?? kernel.map(() => 1);
  if (r.chance(0.4)) attributes.output_padding = strides.map((s) => r.int(0, s - 1));
  const input = r.dims(rank, 1, 6);
  if (r.chance(0.2)) attributes.output_shape = input.map((d, i) => d * (strides[i] as number));
  return { op: 'ConvTranspose', inputs: [f32([n, c, ...input]), f32([c, m, ...kernel])], attributes };
};

const pool: Generator = (r) => {
  const rank = r.int(1, 3);
  const op = r.pick(['MaxPool', 'AveragePool', 'LpPool']);
  const kernel = r.dims(rank, 1, 4);
  const attributes: Attributes = { ...window(r, rank, kernel), kernel_shape: kernel };
  const opset = r.pick(op === 'MaxPool' ? [10, 12, 22] : op === 'LpPool' ? [11, 18, 22] : [10, 11, 19, 22]);
  if ((op === 'AveragePool' && opset < 19) || (op === 'LpPool' && opset < 18)) delete attributes.dilations;
  if (r.chance(0.5) && (op !== 'LpPool' || opset >= 18)) attributes.ceil_mode = 1;
  const outputs = op === 'MaxPool' && r.chance(0.4) ? 2 : 1;
  return {
    op,
    opset,
    inputs: [f32([r.int(1, 2), r.int(1, 3), ...fitting(r, kernel, attributes)])],
    attributes,
    outputs,
  };
};

const globalPool: Generator = (r) => ({
  op: r.pick(['GlobalMaxPool', 'GlobalAveragePool', 'GlobalLpPool']),
  inputs: [f32(r.dims(r.int(3, 5)))],
});

const matmul: Generator = (r) => {
  const [m, k, n] = r.dims(3) as [number, number, number];
  const batch = r.dims(r.int(0, 2));
  const part = (): number[] => batch.slice(r.int(0, batch.length)).map((d) => (r.chance(0.3) ? 1 : d));
  const a = r.chance(0.15) ? [k] : [...part(), m, k];
  const b = r.chance(0.15) ? [k] : [...part(), k, n];
  if (r.chance(0.25)) return { op: 'MatMulInteger', inputs: [of('uint8', a), of('int8', b)] };
  return { op: 'MatMul', inputs: [f32(a), f32(b)] };
};

const gemm: Generator = (r) => {
  const [m, k, n] = r.dims(3) as [number, number, number];
  const [transA, transB] = [r.int(0, 1), r.int(0, 1)];
  const inputs = [f32(transA ? [k, m] : [m, k]), f32(transB ? [n, k] : [k, n])];
  if (r.chance(0.5)) inputs.push(f32(r.pick([[n], [m, n], [1, n], [1]])));
  return { op: 'Gemm', inputs, attributes: { transA, transB } };
};

const einsum: Generator = (r) => {
  const sizes = Object.fromEntries([...'bijkl'].map((l) => [l, r.int(1, 4)]));
  const equation = r.pick([
    'bij,bjk->bik',
    'ij,jk',
    'bij->bji',
    'ij->',
    'ii->i',
    'i,j->ij',
    'bik,bjk->bij',
    '...ij,...jk->...ik',
    'bhij,bhjk',
  ]);
  const [left = ''] = equation.split('->');
  const batch = r.dims(r.int(0, 2));
  const inputs = left.split(',').map((term) => {
    const own = [...term.replace('...', '')].map((l) => sizes[l] ?? 2);
    return f32(term.startsWith('...') ? [...batch, ...own] : own);
  });
  return { op: 'Einsum', inputs, attributes: { equation } };
};

const resize: Generator = (r) => {
  const dims = [r.int(1, 2), r.int(1, 3), r.int(1, 8), r.int(1, 8)];
  const opset = r.pick([10, 11, 13, 18, 19]);
  const scale = (): number => r.pick([0.5, 1, 1.5, 2, 3, 0.6, 1.7, 0.3333333]);
  const scales = [1, 1, scale(), scale()];
  const floatsOf = (values: number[]): CaseInput => ({ dtype: 'float32', dims: [values.length], values });
  if (opset === 10) return { op: 'Resize', opset, inputs: [f32(dims), floatsOf(scales)] };
  const roi = opset === 11 ? floatsOf([]) : null;
  const attributes: Attributes = { mode: 'nearest' };
  const axes = opset >= 18 && r.chance(0.5) ? r.pick([[2, 3], [3], [-1, -2]]) : undefined;
  if (axes) attributes.axes = axes;
  if (r.chance(0.5)) {
    return { op: 'Resize', opset, inputs: [f32(dims), roi, floatsOf(axes ? axes.map(scale) : scales)], attributes };
  }
  const target = axes
    ? axes.map(() => r.int(1, 12))
    : [dims[0] as number, dims[1] as number, r.int(1, 12), r.int(1, 12)];
  if (opset >= 18 && axes && r.chance(0.7)) {
    attributes.keep_aspect_ratio_policy = r.pick(['stretch', 'not_larger', 'not_smaller']);
  }
  return {
    op: 'Resize',
    opset,
    inputs: [f32(dims), roi, opset === 11 ? floatsOf([]) : null, i64(...target)],
    attributes,
  };
};

const upsample: Generator = (r) => {
  const scales = [1, 1, r.pick([1, 1.5, 2, 3.3]), r.pick([1, 2, 2.7])];
  const dims = [1, 2, r.int(1, 6), r.int(1, 6)];
  return r.chance(0.5)
    ? { op: 'Upsample', opset: 7, inputs: [f32(dims)], attributes: { scales: floats(scales) } }
    : { op: 'Upsample', opset: 9, inputs: [f32(dims), { dtype: 'float32', dims: [4], values: scales }] };
};

const recurrent: Generator = (r) => {
  const op = r.pick(['RNN', 'GRU', 'LSTM']);
  const gates = { RNN: 1, GRU: 3, LSTM: 4 }[op] as number;
  const [length, batch, input, hidden] = r.dims(4, 1, 4) as [number, number, number, number];
  const direction = r.pick(['forward', 'reverse', 'bidirectional']);
  const d = direction === 'bidirectional' ? 2 : 1;
  return {
    op,
    inputs: [f32([length, batch, input]), f32([d, gates * hidden, input]), f32([d, gates * hidden, hidden])],
    attributes: { hidden_size: hidden, direction },
    outputs: op === 'LSTM' ? 3 : 2,
  };
};

const normalization: Generator = (r) => {
  const dims = r.dims(r.int(3, 4));
  const channels = dims[1] as number;
  const axis = r.int(-dims.length, dims.length - 1);
  const scale = dims.slice(axis < 0 ? axis + dims.length : axis);
  return r.pick<OperatorCase>([
    { op: 'LayerNormalization', inputs: [f32(dims), f32(scale), f32(scale)], attributes: { axis }, outputs: 3 },
    { op: 'BatchNormalization', inputs: [f32(dims), ...[0, 1, 2, 3].map(() => f32([channels]))] },
    { op: 'InstanceNormalization', inputs: [f32(dims), f32([channels]), f32([channels])] },
    { op: 'LpNormalization', inputs: [f32(dims)], attributes: { axis } },
    { op: 'LRN', inputs: [f32(r.dims(4))], attributes: { size: 3 } },
    { op: 'MeanVarianceNormalization', inputs: [f32(r.dims(4))] },
    { op: 'RMSNormalization', opset: 23, inputs: [f32(dims), f32(scale)], attributes: { axis } },
    { op: 'GroupNormalization', inputs: [f32([2, 4, 3, 3]), f32([4]), f32([4])], attributes: { num_groups: 2 } },
  ]);
};

const unary: Generator = (r) => ({
  op: r.pick([
    'Relu',
    'Sigmoid',
    'Softmax',
    'Erf',
    'Floor',
    'Sqrt',
    'Elu',
    'HardSwish',
    'Mish',
    'Gelu',
    'Sign',
    'Dropout',
    'IsNaN',
    'Hardmax',
    'Trilu',
    'Identity',
    'Clip',
  ]),
  inputs: [f32(r.dims(r.int(2, 4), 0))],
});

const cast: Generator = (r) => ({
  op: 'Cast',
  inputs: [of(r.pick(['float32', 'int64', 'bool', 'uint8']), r.dims(r.int(0, 3)))],
  attributes: { to: r.pick([1, 2, 3, 6, 7, 9, 10, 11]) },
});

const quantize: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const type = r.pick(['uint8', 'int8', 'uint16', 'int16'] as const);
  return r.pick<OperatorCase>([
    { op: 'QuantizeLinear', inputs: [f32(dims), f32([]), of(type, [])] },
    { op: 'QuantizeLinear', inputs: [f32(dims), f32([])] },
    { op: 'QuantizeLinear', inputs: [f32(dims), f32([])], attributes: { output_dtype: 3 } },
    { op: 'DequantizeLinear', inputs: [of(type, dims), f32([]), of(type, [])] },
    { op: 'DequantizeLinear', inputs: [of('int32', dims), f32([])] },
    { op: 'DynamicQuantizeLinear', inputs: [f32(dims)], outputs: 3 },
  ]);
};

const quantizedConv: Generator = (r) => {
  const kernel = r.dims(2, 1, 3);
  const [c, m] = [r.int(1, 3), r.int(1, 3)];
  const x = of('uint8', [1, c, ...r.dims(2, 3, 8)]);
  const w = of('int8', [m, c, ...kernel]);
  const attributes = window(r, 2, kernel);
  if (r.chance(0.5)) return { op: 'ConvInteger', inputs: [x, of('uint8', w.dims)], attributes };
  const one = scalar('float32', 1);
  const zero = scalar('uint8', 0);
  return { op: 'QLinearConv', inputs: [x, one, zero, w, one, scalar('int8', 0), one, zero], attributes };
};

const quantizedMatmul: Generator = (r) => {
  const [m, k, n] = r.dims(3) as [number, number, number];
  const [one, zero] = [scalar('float32', 1), scalar('uint8', 0)];
  const batch = r.dims(r.int(0, 2));
  return {
    op: 'QLinearMatMul',
    inputs: [of('uint8', [...batch, m, k]), one, zero, of('uint8', [k, n]), one, zero, one, zero],
  };
};

const signal: Generator = (r) => {
  const length = r.int(2, 9);
  const half = r.int(0, 1);
  return r.pick<OperatorCase>([
    { op: 'DFT', opset: 17, inputs: [f32([2, length, 1])], attributes: { onesided: half } },
    {
      op: 'DFT',
      opset: 20,
      inputs: [f32([2, length, 3, 1]), null, scalar('int64', r.pick([1, -3, 2]))],
      attributes: { onesided: half },
    },
    {
      op: 'DFT',
      opset: 20,
      inputs: [f32([2, length, 1]), scalar('int64', r.int(1, 12))],
      attributes: { onesided: half },
    },
    {
      op: 'STFT',
      opset: 17,
      inputs: [f32([2, 32, 1]), scalar('int64', r.int(1, 6)), null, scalar('int64', r.int(2, 9))],
      attributes: { onesided: half },
    },
    {
      op: 'STFT',
      opset: 17,
      inputs: [f32([2, 32, 1]), scalar('int64', r.int(1, 6)), f32([r.int(2, 9)])],
      attributes: { onesided: half },
    },
    { op: r.pick(['HannWindow', 'HammingWindow', 'BlackmanWindow']), inputs: [scalar('int64', r.int(1, 9))] },
    {
      op: 'MelWeightMatrix',
      inputs: [
        scalar('int64', r.int(1, 4)),
        scalar('int64', r.int(8, 17)),
        scalar('int64', 8000),
        scalar('float32', 0),
        scalar('float32', 4000),
      ],
    },
  ]);
};

const attention: Generator = (r) => {
  const [batch, length, keys, size, valueSize] = r.dims(5, 1, 4) as [number, number, number, number, number];
  const heads = r.int(1, 3);
  if (r.chance(0.5)) {
    return {
      op: 'Attention',
      opset: 23,
      inputs: [
        f32([batch, heads, length, size]),
        f32([batch, heads, keys, size]),
        f32([batch, heads, keys, valueSize]),
      ],
      outputs: 4,
    };
  }
  const past = r.int(1, 3);
  return {
    op: 'Attention',
    opset: 23,
    inputs: [
      f32([batch, length, heads * size]),
      f32([batch, keys, heads * size]),
      f32([batch, keys, heads * valueSize]),
      null,
      f32([batch, heads, past, size]),
      f32([batch, heads, past, valueSize]),
    ],
    attributes: { q_num_heads: heads, kv_num_heads: heads },
    outputs: 4,
  };
};

const vision: Generator = (r) => {
  const [n, c, h, w] = r.dims(4) as [number, number, number, number];
  const rois = r.int(1, 4);
  return r.pick<OperatorCase>([
    {
      op: 'RoiAlign',
      inputs: [
        f32([n, c, h, w]),
        f32([rois, 4]),
        { dtype: 'int64', dims: [rois], values: new Array<number>(rois).fill(0) },
      ],
      attributes: { output_height: 3, output_width: 2 },
    },
    { op: 'GridSample', inputs: [f32([n, c, h, w]), f32([n, r.int(1, 5), r.int(1, 5), 2])] },
    { op: 'AffineGrid', inputs: [f32([n, 2, 3]), i64(n, c, h, w)] },
    { op: 'MaxRoiPool', inputs: [f32([n, c, h, w]), f32([rois, 5])], attributes: { pooled_shape: [2, 3] } },
    { op: 'Col2Im', inputs: [f32([1, 4 * c, 9]), i64(4, 4), i64(2, 2)] },
    { op: 'DeformConv', inputs: [f32([1, 1, 3, 3]), f32([1, 1, 2, 2]), f32([1, 8, 2, 2])] },
    { op: 'CenterCropPad', inputs: [f32([n, c, h]), i64(r.int(1, 6), r.int(1, 6))], attributes: { axes: [0, 2] } },
    { op: 'Det', inputs: [f32([n, c, 2, 2])] },
  ]);
};

const nonMaxSuppression: Generator = (r) => ({
  op: 'NonMaxSuppression',
  inputs: [f32([1, 4, 4]), f32([1, 1, 4]), scalar('int64', r.int(1, 3))],
});

export const networkCases: Readonly<Record<string, Generator>> = {
  conv,
  convTranspose,
  pool,
  globalPool,
  matmul,
  gemm,
  einsum,
  resize,
  upsample,
  recurrent,
  normalization,
  unary,
  cast,
  quantize,
  quantizedConv,
  quantizedMatmul,
  signal,
  attention,
  vision,
  nonMaxSuppression,
};
