import { type DType, dtypeOfCode } from '../../dtype.js';
import type { Dim, Shape } from '../../ir/type.js';
import { broadcastShapes } from '../broadcast.js';
import { addDim, floorDivDim, mulDim, subDim } from '../dim.js';
import { normalizeAxis, type Op, type Rule, type RuleTable, tensor, unknownShape, withDim } from '../op.js';
import { constants } from './constant.js';
import { conv, convShape, convTranspose, globalPool, pool } from './conv.js';
import { unary } from './elementwise.js';
import { gatherND, gatherShape } from './gather.js';
import { gemmShape, matmul, matmulShape } from './matmul.js';
import { recurrentOutputs } from './recurrent.js';
import { reducedShape } from './reduction.js';
import { concatShape } from './reshape.js';
import { padInput } from './slice.js';
import { vision } from './vision.js';

/** Matrix product of input 0 and a packed weight of which the attributes K and N are the rows and columns. */
const packedMatmul: Rule = (op) => {
  const a = op.shape(0);
  const columns = op.int('N') ?? null;
  return [tensor(op.dtype(0), a && a.length > 0 ? [...a.slice(0, -1), columns] : undefined)];
};

/** Product with transposed operands; `transBatch` moves the first axis behind the batch. */
const fusedMatmul: Rule = (op) => {
  const operand = (index: number, letter: 'A' | 'B'): Shape | undefined => {
    let shape = op.shape(index);
    if (!shape || shape.length < 2) return shape;
    if (op.int(`transBatch${letter}`, 0)) {
      shape = [...shape.slice(1, -1), shape[0] as Dim, shape.at(-1) as Dim];
    }
    if (!op.int(`trans${letter}`, 0)) return shape;
    return [...shape.slice(0, -2), shape.at(-1) as Dim, shape.at(-2) as Dim];
  };
  return [tensor(op.dtype(0) ?? op.dtype(1), matmulShape(operand(0, 'A'), operand(1, 'B')))];
};

/** Quantized Gemm: A, scale, zero point, B, scale, zero point, C, and for a quantized result its scale and zero point. */
const qGemm: Rule = (op) => [tensor(op.has(8) ? op.dtype(8) : 'float32', gemmShape(op, 0, 3))];

/** Elementwise on quantized operands: A, scale, zero point, B, scale, zero point. */
const qBinary: Rule = (op) => [tensor(op.dtype(0) ?? op.dtype(3), broadcastShapes(op.shape(0), op.shape(3)))];

/** Concatenation of quantized tensors: scale, zero point, then three inputs for each tensor. */
const qConcat: Rule = (op) => {
  const shapes: (Shape | undefined)[] = [];
  for (let i = 2; i < op.inputCount; i += 3) shapes.push(op.shape(i));
  const rank = shapes.find((s) => s)?.length;
  const axis = rank === undefined ? undefined : normalizeAxis(op.int('axis', 0), rank);
  return [tensor(op.dtype(1), rank === undefined || axis === undefined ? undefined : concatShape(shapes, axis, rank))];
};

const qWhere: Rule = (op) => [tensor(op.dtype(1), broadcastShapes(op.shape(0), op.shape(1), op.shape(4)))];

const reduceWithAxes =
  (dtype: (op: Op) => DType | undefined): Rule =>
  (op) => [tensor(dtype(op), reducedShape(op.shape(0), op.ints('axes'), op.int('keepdims', 1) !== 0))];

const gatherBlockQuantized: Rule = (op) => {
  const data = op.shape(0);
  if (!data || data.length === 0) return [tensor(op.dtype(2))];
  // Elements of less than 8 bits are packed into bytes along the last axis.
  const perElement = op.dtype(0) === 'uint8' ? 8 / op.int('bits', 4) : op.dtype(0) === undefined ? null : 1;
  const unpacked = withDim(data, data.length - 1, mulDim(data.at(-1) ?? null, perElement));
  return [tensor(op.dtype(2), gatherShape(unpacked, op.shape(1), op.int('gather_axis', 0)))];
};

const convTransposeWithPads: Rule = (op) => {
  const [result] = convTranspose(op);
  const rank = op.rank(0);
  return op.has(2) && rank !== undefined && rank > 2
    ? [tensor(op.dtype(0), [op.dim(0, 0), mulDim(op.dim(1, 1), op.int('group', 1)), ...unknownShape(rank - 2)])]
    : [result];
};

const cropAndResize: Rule = (op) => {
  const size = op.values(3);
  return [tensor(op.dtype(0), [op.dim(1, 0), op.dim(0, 1), size?.[0] ?? null, size?.[1] ?? null])];
};

const expandDims: Rule = (op) => {
  const input = op.shape(0);
  const axis = op.scalar(1);
  if (!input) return [tensor(op.dtype(0))];
  const at = axis === undefined ? undefined : normalizeAxis(axis, input.length + 1);
  const shape = at === undefined ? unknownShape(input.length + 1) : [...input.slice(0, at), 1, ...input.slice(at)];
  return [tensor(op.dtype(0), shape)];
};

const unfold: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && normalizeAxis(op.int('dim', -1), input.length);
  const size = op.int('size');
  if (!input || axis === undefined || size === undefined) return [tensor(op.dtype(0))];
  const count = addDim(floorDivDim(subDim(input[axis] as Dim, size), op.int('step', 1)), 1);
  return [tensor(op.dtype(0), [...withDim(input, axis, count), size])];
};

const unique: Rule = (op) => {
  const count = op.fresh();
  return [tensor(op.dtype(0), [count]), tensor('int64', op.shape(0)), tensor('int64', [count])];
};

const sparseToDense: Rule = (op) => {
  const rows = op.dim(0, op.int('transA', 0) ? 1 : 0);
  const columns = op.dim(1, op.int('transB', 0) ? 0 : 1);
  return [tensor(op.dtype(1), op.rank(1) === 2 && op.rank(0) === 2 ? [rows, columns] : undefined)];
};

const dynamicQuantizeLstm: Rule = (op) => {
  // The recurrence weight is [directions, hidden, 4*hidden] here.
  return recurrentOutputs(op, op.dtype(0), op.int('hidden_size') ?? op.dim(2, 1));
};

const nhwcConv: Rule = (op) => [tensor(op.dtype(0), convShape(op, 0, 1))];

const wordConvEmbedding: Rule = (op) => {
  const input = op.shape(0);
  return [tensor(op.dtype(1), input && [...input.slice(0, -1), op.dim(1, 0)])];
};

const tokenizer: Rule = (op) => {
  const input = op.shape(0);
  return [tensor('string', input && [...input, op.fresh()])];
};

/** The weight is a blob; input 2 says its shape. */
const matmulOfBlob: Rule = (op) => {
  const a = op.shape(0);
  const columns = op.values(2)?.[1] ?? null;
  return [tensor(op.dtype(0), a && a.length > 0 ? [...a.slice(0, -1), columns] : undefined)];
};

export const microsoft: RuleTable = {
  Pad: padInput,
  Range: constants.Range as Rule,
  MatMulFpQ4: matmulOfBlob,
  AttnLSTM: (op) => recurrentOutputs(op, op.dtype(0), op.int('hidden_size') ?? op.dim(2, 2)),
  MatMulNBits: packedMatmul,
  MatMulBnb4: (op) => (op.int('transB', 1) === 0 ? [tensor(op.dtype(0))] : packedMatmul(op)),
  FusedMatMul: fusedMatmul,
  FusedMatMulActivation: fusedMatmul,
  TransposeMatMul: fusedMatmul,
  FusedGemm: (op) => [tensor(op.dtype(0), gemmShape(op, 0, 1))],
  QGemm: qGemm,
  MatMulInteger16: matmul(0, 1, () => 'int32'),
  MatMulIntegerToFloat: matmul(0, 1, (op) => op.dtype(2)),
  DynamicQuantizeMatMul: matmul(0, 1, (op) => op.dtype(0)),
  SparseToDenseMatMul: sparseToDense,
  GatherBlockQuantized: gatherBlockQuantized,
  QuantizeLinear: (op) => [tensor(op.has(2) ? op.dtype(2) : 'uint8', op.shape(0))],
  DequantizeLinear: (op) => [tensor(op.dtype(1), op.shape(0))],
  DynamicQuantizeLSTM: dynamicQuantizeLstm,

  QLinearAdd: qBinary,
  QLinearMul: qBinary,
  QLinearSigmoid: unary(),
  QLinearLeakyRelu: unary(),
  QLinearSoftmax: unary(),
  QLinearConcat: qConcat,
  QLinearWhere: qWhere,
  QLinearGlobalAveragePool: globalPool,
  QLinearAveragePool: (op) => [pool(op)[0]],
  QLinearReduceMean: reduceWithAxes((op) => op.dtype(0)),
  ReduceSumInteger: reduceWithAxes((op) => (op.dtype(0)?.startsWith('u') ? 'uint32' : op.dtype(0) && 'int32')),
  QLinearConv: (op) => [tensor(op.dtype(7), convShape(op, 0, 3))],

  FusedConv: conv,
  NhwcConv: nhwcConv,
  NhwcFusedConv: nhwcConv,
  NhwcMaxPool: (op) => [pool(op)[0]],
  MaxpoolWithMask: (op) => [pool(op)[0]],
  ConvTransposeWithDynamicPads: convTransposeWithPads,
  CropAndResize: cropAndResize,
  GridSample: vision.GridSample as Rule,
  GatherND: gatherND,
  Unique: unique,
  ExpandDims: expandDims,
  UnfoldTensor: unfold,
  Inverse: unary(),
  Trilu: unary(),
  SampleOp: unary(),
  CDist: (op) => [tensor(op.dtype(0), [op.dim(0, 0), op.dim(1, 0)])],
  MurmurHash3: (op) => [tensor(op.int('positive', 1) !== 0 ? 'uint32' : 'int32', op.shape(0))],
  Tokenizer: tokenizer,
  WordConvEmbedding: wordConvEmbedding,
  DynamicTimeWarping: () => [tensor('int32', [2, null])],
  DequantizeWithOrder: (op) => [tensor(dtypeOfCode(op.int('to', 0)), op.shape(0))],
  NGramRepeatBlock: (op) => [tensor(op.dtype(1), op.shape(1))],
};
