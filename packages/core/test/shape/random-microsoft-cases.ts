import { type CaseInput, f32, type Generator, type OperatorCase, of, scalar } from './random.js';

const domain = 'com.microsoft';
const one = scalar('float32', 1);
const zero = scalar('uint8', 0);
const constant = (input: CaseInput): CaseInput => ({ ...input, constant: true });

const matmulNBits: Generator = (r) => {
  const [k, n] = [r.int(1, 40), r.int(1, 5)];
  const blockSize = r.pick([16, 32]);
  const bits = r.pick([2, 4, 8]);
  const blocks = Math.ceil(k / blockSize);
  return {
    op: 'MatMulNBits',
    domain,
    inputs: [
      f32([...r.dims(r.int(0, 2)), r.int(1, 3), k]),
      constant(of('uint8', [n, blocks, (blockSize * bits) / 8])),
      constant(f32([n * blocks])),
    ],
    attributes: { K: k, N: n, bits, block_size: blockSize },
  };
};

const gatherBlockQuantized: Generator = (r) => {
  const bits = r.pick([4, 8]);
  const [rows, columns] = [r.int(2, 6), 32];
  const packed = r.chance(0.5) || bits === 8;
  const data = packed ? of('uint8', [rows, (columns * bits) / 8]) : of('uint8', [rows, columns / 2]);
  return {
    op: 'GatherBlockQuantized',
    domain,
    inputs: [constant(data), of('int64', r.dims(r.int(0, 2))), constant(f32([rows, columns / 16]))],
    attributes: { bits, block_size: 16, gather_axis: 0, quantize_axis: 1 },
  };
};

const fusedMatmul: Generator = (r) => {
  const [m, k, n] = r.dims(3) as [number, number, number];
  const batch = r.dims(r.int(0, 2));
  const [transA, transB] = [r.int(0, 1), r.int(0, 1)];
  const [transBatchA, transBatchB] = batch.length > 0 && r.chance(0.4) ? [r.int(0, 1), r.int(0, 1)] : [0, 0];
  const operand = (rows: number, columns: number, trans: number, transBatch: number): number[] => {
    const [a, b] = trans ? [columns, rows] : [rows, columns];
    return transBatch ? [a, ...batch, b] : [...batch, a, b];
  };
  return {
    op: 'FusedMatMul',
    domain,
    inputs: [f32(operand(m, k, transA, transBatchA)), f32(operand(k, n, transB, transBatchB))],
    attributes: { transA, transB, transBatchA, transBatchB },
  };
};

const quantizedMatmul: Generator = (r) => {
  const [m, k, n] = r.dims(3) as [number, number, number];
  const batch = r.dims(r.int(0, 2));
  const [transA, transB] = [r.int(0, 1), r.int(0, 1)];
  const result = r.chance(0.5) ? [one, zero] : [];
  return r.pick<OperatorCase>([
    { op: 'DynamicQuantizeMatMul', domain, inputs: [f32([...batch, m, k]), of('uint8', [k, n]), f32([1])] },
    { op: 'MatMulIntegerToFloat', domain, inputs: [of('uint8', [...batch, m, k]), of('uint8', [k, n]), one, one] },
    {
      op: 'QGemm',
      domain,
      inputs: [
        of('uint8', transA ? [k, m] : [m, k]),
        one,
        zero,
        of('uint8', transB ? [n, k] : [k, n]),
        one,
        zero,
        null,
        ...result,
      ],
      attributes: { transA, transB },
    },
  ]);
};

const quantizedElementwise: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const other = dims.slice(r.int(0, dims.length - 1)).map((d) => (r.chance(0.3) ? 1 : d));
  const x = of('uint8', dims);
  const axis = r.int(-dims.length, dims.length - 1);
  const pieces = [1, 2].flatMap((extra) => [
    of(
      'uint8',
      dims.map((d, i) => (i === (axis + dims.length) % dims.length ? extra : d)),
    ),
    one,
    zero,
  ]);
  return r.pick<OperatorCase>([
    {
      op: r.pick(['QLinearAdd', 'QLinearMul']),
      domain,
      inputs: [x, one, zero, of('uint8', other), one, zero, one, zero],
    },
    { op: r.pick(['QLinearSigmoid', 'QLinearLeakyRelu']), domain, inputs: [x, one, zero, one, zero] },
    { op: 'QLinearSoftmax', domain, inputs: [x, one, zero, one, zero], attributes: { axis, opset: 13 } },
    { op: 'QLinearConcat', domain, inputs: [one, zero, ...pieces], attributes: { axis } },
    { op: 'QLinearWhere', domain, inputs: [of('bool', other), x, one, zero, of('uint8', other), one, zero, one, zero] },
    { op: 'QuantizeLinear', domain, inputs: [f32(dims), one, zero] },
    { op: 'DequantizeLinear', domain, inputs: [x, one, zero] },
  ]);
};

const quantizedPool: Generator = (r) => {
  const last = r.int(0, 1);
  const [n, c, h, w] = [1, r.int(1, 3), r.int(3, 8), r.int(3, 8)];
  const x = of('uint8', last ? [n, h, w, c] : [n, c, h, w]);
  const attributes = {
    channels_last: last,
    kernel_shape: r.dims(2, 1, 3),
    strides: r.dims(2, 1, 2),
    ceil_mode: r.int(0, 1),
  };
  return r.pick<OperatorCase>([
    { op: 'QLinearAveragePool', domain, inputs: [x, one, zero, one, zero], attributes },
    { op: 'QLinearGlobalAveragePool', domain, inputs: [x, one, zero, one, zero], attributes: { channels_last: last } },
    {
      op: 'NhwcMaxPool',
      domain,
      inputs: [of('uint8', [n, h, w, c])],
      attributes: { kernel_shape: attributes.kernel_shape, strides: attributes.strides },
    },
    {
      op: 'FusedConv',
      domain,
      inputs: [f32([n, c, h, w]), f32([2, c, ...attributes.kernel_shape])],
      attributes: { activation: 'Relu', strides: attributes.strides },
    },
  ]);
};

const activation: Generator = (r) => {
  const dims = r.dims(r.int(1, 4));
  const last = dims.at(-1) as number;
  return r.pick<OperatorCase>([
    { op: r.pick(['Gelu', 'QuickGelu', 'FastGelu']), domain, inputs: [f32(dims)] },
    { op: 'BiasGelu', domain, inputs: [f32(dims), f32([last])] },
    { op: 'Inverse', domain, inputs: [f32([2, 3, 3])] },
    { op: 'FusedGemm', domain, inputs: [f32([last, 3]), f32([3, 2])], attributes: { activation: 'Relu' } },
    { op: 'CDist', domain, inputs: [f32([last, 3]), f32([2, 3])], attributes: { metric: 'euclidean' } },
    { op: 'ExpandDims', domain, inputs: [f32(dims), scalar('int32', r.int(-dims.length - 1, dims.length))] },
    {
      op: 'Pad',
      domain,
      inputs: [
        f32(dims),
        { dtype: 'int64', dims: [2 * dims.length], values: [...dims, ...dims].map(() => r.int(0, 2)) },
      ],
    },
    { op: 'Unique', domain, inputs: [f32([last])], outputs: 3 },
  ]);
};

const lstm: Generator = (r) => {
  const [length, batch, input, hidden] = r.dims(4, 1, 4) as [number, number, number, number];
  const direction = r.pick(['forward', 'bidirectional']);
  const d = direction === 'bidirectional' ? 2 : 1;
  return {
    op: 'DynamicQuantizeLSTM',
    domain,
    inputs: [
      f32([length, batch, input]),
      constant(of('uint8', [d, input, 4 * hidden])),
      constant(of('uint8', [d, hidden, 4 * hidden])),
      null,
      null,
      null,
      null,
      null,
      constant(f32([d])),
      constant(of('uint8', [d])),
      constant(f32([d])),
      constant(of('uint8', [d])),
    ],
    attributes: { hidden_size: hidden, direction },
    outputs: 3,
  };
};

const transformer: Generator = (r) => {
  const [batch, length, heads] = r.dims(3, 1, 4) as [number, number, number];
  const head = r.pick([4, 8]);
  const hidden = heads * head;
  const x = f32([batch, length, hidden]);
  const row = f32([hidden]);
  const past = r.int(1, 3);
  const keys = r.int(1, 4);
  const ids = (...dims: number[]): CaseInput => of('int32', dims);
  return r.pick<OperatorCase>([
    { op: 'SkipLayerNormalization', domain, inputs: [x, x, row, row], outputs: 1 },
    { op: 'SkipSimplifiedLayerNormalization', domain, inputs: [x, x, row] },
    {
      op: 'EmbedLayerNormalization',
      domain,
      inputs: [
        ids(batch, length),
        ids(batch, length),
        f32([9, hidden]),
        f32([9, hidden]),
        f32([2, hidden]),
        row,
        row,
        ids(batch, length),
      ],
      outputs: 2,
    },
    {
      op: 'Attention',
      domain,
      inputs: [x, f32([hidden, 3 * hidden]), f32([3 * hidden])],
      attributes: { num_heads: heads },
    },
    {
      op: 'Attention',
      domain,
      inputs: [x, f32([hidden, 3 * hidden]), f32([3 * hidden]), null, f32([2, batch, heads, past, head])],
      attributes: { num_heads: heads, unidirectional: 1 },
      outputs: 2,
    },
    {
      op: 'QAttention',
      domain,
      inputs: [of('uint8', x.dims), of('uint8', [hidden, 3 * hidden]), f32([3 * hidden]), one, one, null, zero, zero],
      attributes: { num_heads: heads },
    },
    {
      op: 'MultiHeadAttention',
      domain,
      inputs: [x, f32([batch, keys, hidden]), f32([batch, keys, hidden])],
      attributes: { num_heads: heads },
    },
    {
      op: 'MultiHeadAttention',
      domain,
      inputs: [x, x, x, null, null, null, f32([batch, heads, past, head]), f32([batch, heads, past, head])],
      attributes: { num_heads: heads },
      outputs: 3,
    },
    {
      op: 'GroupQueryAttention',
      domain,
      inputs: [
        x,
        x,
        x,
        null,
        null,
        { dtype: 'int32', dims: [batch], values: new Array<number>(batch).fill(length - 1) },
        { dtype: 'int32', dims: [1], values: [length] },
      ],
      attributes: { num_heads: heads, kv_num_heads: heads },
      outputs: 1,
    },
    {
      op: 'RotaryEmbedding',
      domain,
      inputs: [x, { dtype: 'int64', dims: [1], values: [0] }, f32([16, head / 2]), f32([16, head / 2])],
      attributes: { num_heads: heads },
    },
  ]);
};

export const microsoftCases: Readonly<Record<string, Generator>> = {
  matmulNBits,
  gatherBlockQuantized,
  fusedMatmul,
  quantizedMatmulMicrosoft: quantizedMatmul,
  quantizedElementwise,
  quantizedPool,
  activation,
  lstm,
  transformer,
};
