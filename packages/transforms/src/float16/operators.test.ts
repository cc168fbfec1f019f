import { type AttributeLike, float, GraphBuilder, type HostTensor, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { float16 } from './float16.js';
import { operatorNames } from './operators.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;
/** Builds one node of the operator on x float32[2, 4, 6, 6], values in (0.1, 0.9); returns what to look at. */
type Build = (b: GraphBuilder, x: Value, op: string) => Value;

const f32 = (dims: readonly number[], seed = 3): Tensor => {
  const values = (normal(dims, seed).data as Float32Array).map((v) => 0.5 + 0.2 * Math.tanh(v));
  return Tensor.of('float32', dims, values);
};
const ints = (values: readonly number[]): Tensor => Tensor.of('int64', [values.length], values);
const scalar = (v: number): Tensor => Tensor.of('float32', [], [v]);

const cases = new Map<string, { build: Build; opset: number; random?: boolean }>();
function add(names: string, build: Build, opset = 21, extra: { random?: boolean } = {}): void {
  for (const name of names.split(' ')) cases.set(name, { build, opset, ...extra });
}
const unary =
  (attributes: Attributes = {}, inputs: readonly (Tensor | null)[] = []): Build =>
  (b, x, op) =>
    b.op(op.replace('com.microsoft.', ''), [x, ...inputs], attributes, op.startsWith('com.') ? 'com.microsoft' : '');

add('Abs Ceil Erf Exp Floor Log Neg Reciprocal Relu Sigmoid Sign Softmax LogSoftmax Hardmax Sqrt Tanh Round', unary());
add('Acos Asin Atan Cos Sin Tan Asinh Atanh Cosh Sinh Elu HardSigmoid HardSwish Mish Selu Softplus Softsign', unary());
add('LeakyRelu Shrink Identity Flatten Transpose Shape Size NonZero IsNaN IsInf Gelu Dropout', unary());
add('GlobalAveragePool GlobalMaxPool LpNormalization ArgMax ArgMin Trilu', unary());
add('MeanVarianceNormalization', unary(), 21);
add('ThresholdedRelu', unary({ alpha: float(0.5) }));
add('Acosh', (b, x) => b.op('Acosh', [b.op('Add', [x, scalar(1)])]));
add('GlobalLpPool', unary());
add('Swish', unary(), 24);
add('Clip', unary({}, [scalar(0.3), scalar(0.6)]));
add('LRN', unary({ size: 3 }));
add('Add Sub Mul Div Pow Max Min Mean Sum Equal Greater Less GreaterOrEqual LessOrEqual', unary({}, [f32([6])]));
add('PRelu', unary({}, [f32([4, 1, 1])]));
add('Mod', unary({ fmod: 1 }, [f32([6])]));
add(
  'ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare',
  unary({}, [ints([2, 3])]),
);
add('ReduceProd', unary({}, [ints([1])]));
add('BatchNormalization', unary({}, [f32([4]), f32([4]), f32([4]), f32([4])]));
add('InstanceNormalization', unary({}, [f32([4]), f32([4])]));
add('LayerNormalization', unary({}, [f32([6]), f32([6])]));
add('GroupNormalization', unary({ num_groups: 2 }, [f32([4]), f32([4])]));
add('RMSNormalization', unary({}, [f32([6])]), 23);
add('AveragePool LpPool MaxPool', unary({ kernel_shape: [2, 2] }));
add('MaxUnpool', (b, x) => {
  const pooled = b.node('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] }, { outputs: 2 });
  return b.op('MaxUnpool', [pooled.output, pooled.outputs[1] as Value], { kernel_shape: [2, 2], strides: [2, 2] });
});
add('Concat', (b, x) => b.op('Concat', [x, f32([2, 1, 6, 6])], { axis: 1 }));
add('DepthToSpace SpaceToDepth', unary({ blocksize: 2 }));
add('Expand', unary({}, [ints([3, 1, 2, 4, 6, 6].slice(1))]));
add('Gather', unary({ axis: 1 }, [ints([1, 3])]));
add('GatherElements', unary({ axis: 0 }, [Tensor.of('int64', [1, 1, 1, 2], [1, 0])]));
add('GatherND', unary({}, [Tensor.of('int64', [1, 2], [1, 3])]));
add('Pad', unary({}, [ints([0, 0, 1, 1, 0, 0, 1, 2]), scalar(0.5)]));
add('Reshape', unary({}, [ints([8, -1])]));
add('ScatterElements', unary({}, [Tensor.of('int64', [1, 1, 1, 2], [1, 0]), f32([1, 1, 1, 2])]));
add('ScatterND', unary({}, [Tensor.of('int64', [1, 1], [1]), f32([1, 4, 6, 6])]));
add('Slice', unary({}, [ints([1]), ints([5]), ints([2])]));
add('Split', (b, x) => b.node('Split', [x], { num_outputs: 2, axis: 1 }, { outputs: 2 }).outputs[1] as Value);
add('Squeeze', (b, x) => b.op('Squeeze', [b.op('Unsqueeze', [x, ints([0])]), ints([0])]));
add('Unsqueeze', unary({}, [ints([0])]));
add('Tile', unary({}, [ints([1, 2, 1, 1])]));
add('TopK', (b, x) => b.node('TopK', [x, ints([2])], {}, { outputs: 2 }).output);
add('Where', (b, x) => b.op('Where', [Tensor.of('bool', [6], [1, 0, 1, 1, 0, 0]), x, f32([6])]));
add('Compress', unary({ axis: 3 }, [Tensor.of('bool', [6], [1, 0, 1, 1, 0, 0])]));
add('OneHot', (b, x) => {
  const values = b.op('Slice', [b.op('Flatten', [x]), ints([0, 0]), ints([1, 2])]);
  return b.op('OneHot', [ints([1, 0, 2]), ints([3]), b.op('Reshape', [values, ints([2])])]);
});
add('ReverseSequence', (b, x) => b.op('ReverseSequence', [x, ints([2, 1, 2, 1])]));
add('CenterCropPad', unary({ axes: [2, 3] }, [ints([4, 8])]));
add('Col2Im', (b, x) => b.op('Col2Im', [b.op('Reshape', [x, ints([2, 16, 9])]), ints([6, 6]), ints([4, 4])]));
add('Cast', unary({ to: 7 }));
add('CastLike', (b, x) => b.op('CastLike', [ints([1, 2, 3]), x]));
add('ConstantOfShape', (b, x) => b.op('Add', [x, b.op('ConstantOfShape', [b.op('Shape', [x])], { value: f32([1]) })]));
add('EyeLike', (b, x) => {
  const square = b.op('Slice', [b.op('Flatten', [x]), ints([0, 0]), ints([2, 2])]);
  return b.op('Add', [square, b.op('EyeLike', [square], { dtype: 1 })]);
});
add('RandomNormalLike', unary({ dtype: 1 }), 21, { random: true });
add('Resize', unary({}, [null, Tensor.of('float32', [4], [1, 1, 2, 1.5])]));
add('Upsample', unary({}, [Tensor.of('float32', [4], [1, 1, 2, 3])]), 9);
add('DequantizeLinear', (b, x) => {
  const codes = Tensor.of(
    'int8',
    [6, 3],
    Array.from({ length: 18 }, (_, i) => i * 7 - 60),
  );
  const weight = b.op('DequantizeLinear', [codes, Tensor.of('float32', [3], [0.01, 0.02, 0.03])], { axis: 1 });
  return b.op('MatMul', [x, weight]);
});
add('MatMul', unary({}, [f32([6, 3])]));
add('Gemm', (b, x) => b.op('Gemm', [b.op('Flatten', [x]), f32([144, 3]), f32([3])]));
add('Conv', unary({}, [f32([3, 4, 3, 3]), f32([3])]));
add('ConvTranspose', unary({}, [f32([4, 3, 3, 3]), f32([3])]));
add('DeformConv', (b, x) => b.op('DeformConv', [x, f32([3, 4, 1, 1]), f32([2, 2, 6, 6])]));
add('Einsum', (b, x) => b.op('Einsum', [x, f32([6, 3])], { equation: 'nchw,wk->nchk' }));
const recurrent =
  (gates: number): Build =>
  (b, x, op) => {
    const sequence = b.op('Reshape', [x, ints([4, 2, 36])]);
    return b.op(op, [sequence, f32([1, gates * 5, 36]), f32([1, gates * 5, 5]), f32([1, gates * 10])], {
      hidden_size: 5,
    });
  };
add('LSTM', recurrent(4));
add('GRU', recurrent(3));
add('RNN', recurrent(1));
add('Attention', (b, x) => b.op('Attention', [x, x, x]), 23);
add('RotaryEmbedding', (b, x) => b.op('RotaryEmbedding', [x, f32([2, 6, 3]), f32([2, 6, 3])]), 23);
add('com.microsoft.Gelu com.microsoft.FastGelu com.microsoft.QuickGelu', unary());
add('com.microsoft.BiasGelu', unary({}, [f32([6])]));
add('com.microsoft.FusedMatMul', unary({ alpha: float(0.5) }, [f32([6, 3])]));
add('com.microsoft.FusedConv', unary({ activation: 'Relu' }, [f32([3, 4, 3, 3]), f32([3])]));
add('com.microsoft.FusedGemm', (b, x) =>
  b.op('FusedGemm', [b.op('Flatten', [x]), f32([144, 3]), f32([3])], { activation: 'Relu' }, 'com.microsoft'),
);
const rows = (b: GraphBuilder, x: Value): Value => b.op('Reshape', [x, ints([2, 4, 36])]);
add('com.microsoft.SkipLayerNormalization', (b, x) =>
  b.op('SkipLayerNormalization', [rows(b, x), f32([2, 4, 36]), f32([36]), f32([36])], {}, 'com.microsoft'),
);
add('com.microsoft.SkipSimplifiedLayerNormalization', (b, x) =>
  b.op('SkipSimplifiedLayerNormalization', [rows(b, x), f32([2, 4, 36]), f32([36])], {}, 'com.microsoft'),
);
add('com.microsoft.Attention', (b, x) =>
  b.op('Attention', [rows(b, x), f32([36, 108]), f32([108])], { num_heads: 4 }, 'com.microsoft'),
);
add('com.microsoft.MultiHeadAttention', (b, x) =>
  b.op('MultiHeadAttention', [rows(b, x), rows(b, x), rows(b, x)], { num_heads: 4 }, 'com.microsoft'),
);
add('com.microsoft.GroupQueryAttention', (b, x) => {
  const q = b.op('Reshape', [x, ints([1, 9, 32])]);
  const past = Tensor.of('float32', [1, 2, 0, 16], []);
  const inputs = [q, q, q, past, past, Tensor.of('int32', [1], [8]), Tensor.of('int32', [1], [9])];
  const attributes = { num_heads: 2, kv_num_heads: 2 };
  return b.node('GroupQueryAttention', inputs, attributes, { outputs: 3, domain: 'com.microsoft' }).output;
});
add('com.microsoft.RotaryEmbedding', (b, x) =>
  b.op('RotaryEmbedding', [x, ints([0]), f32([6, 3]), f32([6, 3])], {}, 'com.microsoft'),
);
add('com.microsoft.MatMulNBits', (b, x) => {
  const flat = b.op('Reshape', [x, ints([9, 32])]);
  const codes = Tensor.of(
    'uint8',
    [3, 1, 16],
    Array.from({ length: 48 }, (_, i) => (i * 37) % 256),
  );
  return b.op('MatMulNBits', [flat, codes, f32([3])], { K: 32, N: 3, bits: 4, block_size: 32 }, 'com.microsoft');
});
add('com.microsoft.GatherBlockQuantized', (b, x) => {
  const codes = Tensor.of(
    'uint8',
    [5, 16],
    Array.from({ length: 80 }, (_, i) => (i * 37) % 256),
  );
  const attributes = { gather_axis: 0, quantize_axis: 1, block_size: 32, bits: 4 };
  const table = b.op('GatherBlockQuantized', [codes, ints([1, 4]), f32([5, 1])], attributes, 'com.microsoft');
  return b.op('Concat', [b.op('Reshape', [x, ints([9, 32])]), table], { axis: 0 });
});

/** Operators of the newest opsets, which this ONNX Runtime does not know yet. */
const FUTURE = new Set(['Celu']);

describe('the table of 16-bit operators, against ONNX Runtime', () => {
  it('has a case for every operator', () => {
    expect([...operatorNames.keys()].filter((name) => !cases.has(name) && !FUTURE.has(name))).toEqual([]);
  });

  it.each([...cases])('%s', async (name, { build, opset, random }) => {
    const b = new GraphBuilder();
    const dims = [2, 4, 6, 6];
    const y = build(b, b.input('x', 'float32', dims), name);
    b.output('y', y);
    const model = b.model({ opset });
    // Values that float16 holds exactly, so that comparisons and ties come out the same.
    const half = Uint16Array.from(toHalf((await f32(dims, 5).toArray()) as Float32Array));
    const x: HostTensor = { dtype: 'float32', dims, data: Float32Array.from(half, fromHalf) };
    const before = (await runModel(engine, model, { x })).y;
    // Inputs and outputs in float16 leave no reason to stay in float32; small ranges leave no doubt.
    const ranges = new Map([...model.graph.values].map((v) => [v.name, { min: 0, max: 1 }]));
    const [result] = await model.transform(float16({ keepIo: false, ranges }));
    expect(result?.notes.join('\n')).not.toMatch(/float32, because/);
    expect([...model.allNodes()].filter((node) => node.is('Cast') && node.int('to') === 1)).toEqual([]);
    const after = (await runModel(engine, model, { x: { dtype: 'float16', dims, data: half } })).y;
    expect(after?.dims).toEqual(before?.dims);
    if (before?.dtype !== 'float32') expect(after?.data).toEqual(before?.data);
    else {
      expect(after?.dtype).toBe('float16');
      const values = Float32Array.from(after?.data as Uint16Array, fromHalf);
      if (random) return;
      if ((before.data as Float32Array).every((v) => v === 0)) expect(values).toEqual(before.data);
      else expect(sqnr(before, { ...before, data: values })).toBeGreaterThan(48);
    }
  });
});

/** By the definition of the format, independent of the kernels. */
function fromHalf(bits: number): number {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15));
}

/** For normal values. */
function toHalf(values: Float32Array): number[] {
  return Array.from(values, (v) => {
    const exponent = Math.floor(Math.log2(Math.abs(v)));
    return (v < 0 ? 0x8000 : 0) + ((exponent + 15) << 10) + Math.round((Math.abs(v) / 2 ** exponent - 1) * 1024);
  });
}
