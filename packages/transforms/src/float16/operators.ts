import type { Node } from '@pare/core';

/**
 * What an operator gains from 16 bits. `heavy`: it multiplies by weights, halving bytes and, where the target has 16-bit
 * arithmetic, time. `light`: elementwise and reductions. `move`: copies, selects or only looks.
 */
export type Gain = 'heavy' | 'light' | 'move';

/** An operator whose float32 inputs and outputs can all become 16-bit floats together. */
export interface OperatorRow {
  readonly gain: Gain;
  /** First opset whose specification allows float16, and bfloat16; 0 where it never does. */
  readonly float16: number;
  readonly bfloat16: number;
  /** Inputs that stay float32 whatever happens: scales and regions are float32 in the specification, or lose meaning. */
  readonly keep?: readonly number[];
  /** Outputs that stay float32: statistics. */
  readonly keepOutputs?: readonly number[];
  /** Attribute that names the type of the output. */
  readonly dtype?: 'to' | 'dtype' | 'output_datatype';
  /** Attribute that holds a tensor of the type of the output. */
  readonly tensor?: 'value';
}

type Versions = readonly [float16: number, bfloat16: number];
const V1: Versions = [1, 13];

const rows = new Map<string, OperatorRow>();
function add(gain: Gain, [float16, bfloat16]: Versions, names: string, extra: Partial<OperatorRow> = {}): void {
  for (const name of names.split(' ')) rows.set(name, { gain, float16, bfloat16, ...extra });
}

/*
 * Versions are those of the type constraints in the ONNX operator specification (1.23). Each operator was tried alone in
 * onnxruntime-node 1.30 (operators.test.ts does it again). An operator that is not here stays in float32. Left out on purpose, though the specification allows them:
 * - GridSample, AffineGrid, RoiAlign, MaxRoiPool, CumSum, Range: coordinates and positions; 11 bits are not enough for them.
 * - RandomNormal, RandomUniform: allowed, but ONNX Runtime's CPU provider has no float16 kernel and inserts no casts for them.
 * - RandomUniformLike, Multinomial, Bernoulli: their random numbers change with the type.
 * - QuantizeLinear, QLinearMatMul: quantized parts stay as they are.
 * - STFT, DFT, MelWeightMatrix, the windows, Det, Unique, losses, sequences and optionals: no kernel gains by it.
 */
add('heavy', V1, 'MatMul Gemm');
add('heavy', [1, 22], 'Conv ConvTranspose LSTM GRU RNN');
add('heavy', [12, 28], 'Einsum');
add('heavy', [19, 22], 'DeformConv');
add('heavy', [23, 23], 'Attention RotaryEmbedding');

add('light', V1, 'Abs Add Ceil Clip Div Dropout Erf Exp Floor Log LogSoftmax Max Mean Min Mul Neg Pow Reciprocal Relu');
add('light', V1, 'Sigmoid Sign Softmax Sqrt Sub Sum Tanh LRN Hardmax Equal Greater Less Mod IsNaN');
add('light', V1, 'ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum');
add('light', V1, 'ReduceSumSquare MeanVarianceNormalization');
add('light', [1, 14], 'BatchNormalization');
add('light', [1, 16], 'LeakyRelu PRelu');
add('light', [12, 16], 'GreaterOrEqual LessOrEqual');
add(
  'light',
  [1, 22],
  'AveragePool GlobalAveragePool GlobalLpPool GlobalMaxPool LpPool MaxPool MaxUnpool Elu HardSigmoid',
);
add('light', [1, 22], 'InstanceNormalization LpNormalization Selu Softplus Softsign');
add('light', [7, 22], 'Acos Asin Atan Cos Sin Tan Acosh Asinh Atanh Cosh Sinh ThresholdedRelu Round HardSwish Mish');
add('light', [17, 17], 'LayerNormalization', { keepOutputs: [1, 2] });
add('light', [20, 20], 'Gelu IsInf');
add('light', [21, 21], 'GroupNormalization');
add('light', [23, 23], 'RMSNormalization Swish');
add('light', [9, 0], 'Shrink');
add('light', [28, 28], 'Celu');

add('move', V1, 'ArgMax ArgMin Concat DepthToSpace Expand Flatten Gather GatherElements GatherND Identity NonZero Pad');
add(
  'move',
  V1,
  'Reshape ScatterElements ScatterND Shape Size Slice SpaceToDepth Split Squeeze Tile Transpose Unsqueeze',
);
add('move', [1, 24], 'TopK');
add('move', [9, 16], 'Where');
add('move', [9, 28], 'Compress OneHot');
add('move', [10, 28], 'ReverseSequence');
add('move', [14, 14], 'Trilu');
add('move', [18, 18], 'CenterCropPad Col2Im');
add('move', [1, 13], 'Cast', { dtype: 'to' });
add('move', [15, 15], 'CastLike');
add('move', [9, 20], 'ConstantOfShape', { tensor: 'value' });
add('move', [9, 22], 'EyeLike', { dtype: 'dtype' });
add('move', [1, 22], 'RandomNormalLike', { dtype: 'dtype' });
add('light', [10, 13], 'Resize', { keep: [1, 2] });
add('light', [1, 0], 'Upsample', { keep: [1] });
// Weights only: whether its input is one is looked at elsewhere.
add('move', [19, 19], 'DequantizeLinear');

// ONNX Runtime's own operators (com.microsoft has one version; its operator documentation lists the types).
add('heavy', [1, 1], 'com.microsoft.MatMulNBits');
add('heavy', [1, 0], 'com.microsoft.Attention com.microsoft.MultiHeadAttention com.microsoft.FusedMatMul');
add('heavy', [1, 0], 'com.microsoft.GroupQueryAttention com.microsoft.FusedConv com.microsoft.FusedGemm');
add('light', [1, 0], 'com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.BiasGelu com.microsoft.QuickGelu');
add('light', [1, 0], 'com.microsoft.SkipLayerNormalization com.microsoft.SkipSimplifiedLayerNormalization', {
  keepOutputs: [1, 2],
});
add('light', [1, 0], 'com.microsoft.RotaryEmbedding');
add('move', [1, 1], 'com.microsoft.GatherBlockQuantized');

/** The row of `node` when its operator, at `opset` of the default domain, has a 16-bit form of type `to`. */
export function operatorRow(node: Node, opset: number, to: 'float16' | 'bfloat16'): OperatorRow | undefined {
  const row = rows.get(node.domain ? `${node.domain}.${node.opType}` : node.opType);
  const since = row?.[to] ?? 0;
  return since > 0 && (node.domain !== '' || since <= opset) ? row : undefined;
}

/** The names in the table, for tests that try each one in ONNX Runtime. */
export const operatorNames: ReadonlyMap<string, OperatorRow> = rows;
