import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type Feeds,
  Graph,
  GraphBuilder,
  type HostTensor,
  Model,
  parseModel,
  serializeModel,
  Tensor,
  tensorType,
} from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { kernels } from '../kernels/index.js';
import { type QuantizeWeightsOptions, quantizeWeights } from './weight-only.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const operators = (model: Model): string[] => [...model.allNodes()].map((node) => node.opType);
const initializer = (model: Model, name: string): Tensor | undefined =>
  [...model.graph.initializers].find((v) => v.name === name)?.initializer;
const bytesOf = async (model: Model): Promise<number> => serializeModel(model).file.byteLength;

/** Floats of a float32 or float16 tensor. */
async function floats(tensor: Tensor): Promise<Float32Array> {
  const bytes = await tensor.load();
  return tensor.dtype === 'float16' ? kernels().fromFloat16(bytes) : new Float32Array(bytes.slice().buffer);
}

/** Element `i` of a packed tensor of `bits` bits. */
const code = (packed: Uint8Array, i: number, bits: number): number =>
  (packed[Math.floor((i * bits) / 8)]! >> ((i * bits) % 8)) & (2 ** bits - 1);

/**
 * The weight `name` of shape [rows, cols] as the integers, scales and zero points in `model` say, decoded here from the
 * specifications of the operators alone. `along`: the axis of the blocks; `style` the operator that reads it.
 */
async function decode(
  model: Model,
  name: string,
  [rows, cols]: readonly [number, number],
  { bits = 4, blockSize = 32 }: QuantizeWeightsOptions,
  along: 0 | 1,
  style: 'MatMulNBits' | 'GatherBlockQuantized' | 'DequantizeLinear',
): Promise<Float32Array> {
  const values = initializer(model, `${name}_Q${bits}`)!;
  const packed = await values.load();
  const scales = await floats(initializer(model, `${name}_scales`)!);
  const zeros = await initializer(model, `${name}_zero_points`)?.load();
  const length = along === 0 ? rows : cols;
  const perRun = Math.ceil(length / blockSize);
  const out = new Float32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < cols; c++) {
      const [run, k] = along === 0 ? [c, r] : [r, c];
      const b = Math.floor(k / blockSize);
      const inOrder = style === 'DequantizeLinear';
      const parameter = inOrder && along === 0 ? b * cols + c : run * perRun + b;
      const element = style === 'MatMulNBits' ? run * perRun * blockSize + k : r * cols + c;
      // Zero points of the operators of com.microsoft start at a byte for each run.
      const zeroRow = Math.ceil((perRun * bits) / 8);
      const zero = zeros
        ? code(inOrder ? zeros : zeros.subarray(run * zeroRow), inOrder ? parameter : b, bits)
        : values.dtype === 'int4'
          ? 0
          : 2 ** (bits - 1);
      let q = code(packed, element, bits);
      if (values.dtype === 'int4' && q > 7) q -= 16;
      out[r * cols + c] = scales[parameter]! * (q - zero);
    }
  }
  return out;
}

/** A model with one product of x[3, K] with W, built as `kind` says; `weight` replaces the random values. */
function productModel(
  kind: 'MatMul' | 'Gemm' | 'Gemm transB' | 'transposed',
  [K, N]: readonly [number, number],
  options: { weight?: Float32Array; dtype?: 'float32' | 'float16'; constantNode?: boolean } = {},
): Model {
  const b = new GraphBuilder();
  const dtype = options.dtype ?? 'float32';
  const x = b.input('x', dtype, ['n', K]);
  const turned = kind === 'Gemm transB' || kind === 'transposed';
  const dims = turned ? [N, K] : [K, N];
  const w = options.weight ?? (normal(dims, 7, 0.1).data as Float32Array);
  const tensor = Tensor.of(dtype, dims, dtype === 'float16' ? kernels().toFloat16(w) : w);
  const weight = options.constantNode
    ? b.graph.addNode('Constant', [], { attributes: { value: tensor }, outputs: ['w'] }).output
    : b.constant(tensor, 'w');
  const bias = () => b.constant(Tensor.of('float32', [N], normal([N], 9).data as Float32Array), 'bias');
  const y =
    kind === 'MatMul'
      ? b.op('MatMul', [x, b.op('Identity', [weight])])
      : kind === 'transposed'
        ? b.op('MatMul', [x, b.op('Transpose', [weight], { perm: [1, 0] })])
        : b.op('Gemm', [x, weight, bias()], { transB: turned ? 1 : 0 });
  return b.output('y', y, dtype, ['n', N]).model();
}

const KINDS = ['MatMul', 'Gemm', 'Gemm transB', 'transposed'] as const;
const close = (a: HostTensor | undefined, b: HostTensor | undefined) => expect(sqnr(a, b)).toBeGreaterThan(90);

describe.each([
  { bits: 2 },
  { bits: 4 },
  { bits: 8 },
  { bits: 4, symmetric: true },
  { bits: 8, symmetric: true },
  { bits: 2, symmetric: true, blockSize: 16 },
  { bits: 4, blockSize: 128 },
] satisfies QuantizeWeightsOptions[])('MatMulNBits %o', (options) => {
  // K and N that divide into blocks and registers, and ones that do not.
  const shapes = [
    [128, 64],
    [300, 37],
  ] as const;
  it.each(KINDS)('computes %s with the dequantized weight', async (kind) => {
    for (const [K, N] of shapes) {
      const turned = kind === 'Gemm transB' || kind === 'transposed';
      const model = productModel(kind, [K, N]);
      const feeds: Feeds = { x: normal([3, K]) };
      const truth = await runModel(engine, model, feeds);
      const [result] = await model.transform(quantizeWeights(options));
      expect(result?.changed).toBe(1);
      expect(operators(model)).toEqual(kind.startsWith('Gemm') ? ['MatMulNBits', 'Add'] : ['MatMulNBits']);
      const output = await runModel(engine, model, feeds);
      const dims = turned ? ([N, K] as const) : ([K, N] as const);
      const weight = await decode(model, 'w', dims, options, turned ? 1 : 0, 'MatMulNBits');
      close((await runModel(engine, productModel(kind, [K, N], { weight }), feeds)).y, output.y);
      expect(sqnr(truth.y, output.y)).toBeGreaterThan({ 2: 5, 4: 17, 8: 40 }[options.bits]);
    }
  });
});

describe('quantizeWeights to matmulnbits', () => {
  it('takes float16 weights, with float16 scales', async () => {
    const feeds: Feeds = {
      x: { dtype: 'float16', dims: [3, 96], data: kernels().toFloat16(normal([3, 96]).data as Float32Array) },
    };
    const model = productModel('MatMul', [96, 40], { dtype: 'float16' });
    await model.transform(quantizeWeights());
    expect(initializer(model, 'w_scales')?.dtype).toBe('float16');
    const weight = await decode(model, 'w', [96, 40], {}, 0, 'MatMulNBits');
    const wide = async (m: Model): Promise<HostTensor> => {
      const { y } = await runModel(engine, m, feeds);
      return { dtype: 'float32', dims: [3, 40], data: kernels().fromFloat16(y?.data as Uint16Array) };
    };
    expect(
      sqnr(await wide(productModel('MatMul', [96, 40], { dtype: 'float16', weight })), await wide(model)),
    ).toBeGreaterThan(55);
  });

  it('takes weights from Constant nodes, and removes them', async () => {
    const model = productModel('Gemm', [64, 32], { constantNode: true });
    await model.transform(quantizeWeights());
    expect(operators(model)).toEqual(['MatMulNBits', 'Add']);
    expect([...model.graph.initializers].map((v) => v.name).sort()).toEqual([
      'bias',
      'w_Q4',
      'w_scales',
      'w_zero_points',
    ]);
  });

  it('looks rows up in a quantized table, also with negative indices', async () => {
    for (const options of [
      {},
      { bits: 8 },
      { bits: 2, symmetric: true },
      { symmetric: true, blockSize: 16 },
    ] as const) {
      const table = normal([50, 72], 5);
      const build = (values: Float32Array) => {
        const b = new GraphBuilder();
        const ids = b.input('ids', 'int64', ['n', 2]);
        const w = b.constant(Tensor.of('float32', [50, 72], values), 'w');
        return b.output('y', b.op('Gather', [w, ids], { axis: 0 }), 'float32', ['n', 2, 72]).model();
      };
      const feeds: Feeds = { ids: { dtype: 'int64', dims: [2, 2], data: BigInt64Array.of(0n, 49n, -1n, 7n) } };
      const model = build(table.data as Float32Array);
      await model.transform(quantizeWeights(options));
      expect(operators(model)).toEqual(['GatherBlockQuantized']);
      const weight = await decode(model, 'w', [50, 72], options, 1, 'GatherBlockQuantized');
      close((await runModel(engine, build(weight), feeds)).y, (await runModel(engine, model, feeds)).y);
    }
  });

  /** An embedding that is also the output projection, through a Transpose. */
  function tied(cols: number): Model {
    const b = new GraphBuilder();
    const ids = b.input('ids', 'int64', ['n']);
    const w = b.random([90, cols], { name: 'w' });
    const rows = b.op('Gather', [w, ids]);
    return b
      .output('y', b.op('MatMul', [rows, b.op('Transpose', [w], { perm: [1, 0] })]), 'float32', ['n', 90])
      .model();
  }

  it('keeps tied embeddings one tensor', async () => {
    const feeds: Feeds = { ids: { dtype: 'int64', dims: [3], data: BigInt64Array.of(0n, 89n, 4n) } };
    for (const options of [{}, { bits: 8, symmetric: true }, { format: 'dequantize', bits: 8 }] as const) {
      const model = tied(64);
      const truth = await runModel(engine, model, feeds);
      await model.transform(quantizeWeights(options));
      const large = [...model.graph.initializers].filter((v) => v.initializer!.size >= 90 * 32);
      expect(large).toHaveLength(1);
      expect(sqnr(truth.y, (await runModel(engine, model, feeds)).y)).toBeGreaterThan(options.bits === 8 ? 35 : 15);
    }
    // Rows that do not fill their blocks are stored differently by the two operators: two tensors, and still right.
    const model = tied(72);
    const truth = await runModel(engine, model, feeds);
    await model.transform(quantizeWeights());
    expect(sqnr(truth.y, (await runModel(engine, model, feeds)).y)).toBeGreaterThan(15);
  });

  it('quantizes a weight once for all its readers, in subgraphs too', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 64]);
    const condition = b.input('condition', 'bool', []);
    const w = b.random([64, 64], { name: 'w' });
    const first = b.op('MatMul', [x, w]);
    const branch = (scale: number): Graph => {
      const inner = new GraphBuilder({ outer: b, name: `branch${scale}` });
      const product = inner.op('MatMul', [first, w]);
      const factor = inner.constant(Tensor.of('float32', [], [scale]));
      return inner.output(`out${scale}`, inner.op('Mul', [product, factor]), 'float32', [2, 64]).graph;
    };
    b.output('y', b.op('If', [condition], { then_branch: branch(1), else_branch: branch(2) }), 'float32', [2, 64]);
    const model = b.model();
    const feeds: Feeds = { x: normal([2, 64]), condition: { dtype: 'bool', dims: [], data: Uint8Array.of(0) } };
    for (const options of [{}, { format: 'dequantize' }, { format: 'dequantize', bits: 8 }] as const) {
      const copy = model.clone();
      const truth = await runModel(engine, copy, feeds);
      const [result] = await copy.transform(quantizeWeights(options));
      expect(result?.changed).toBe(3);
      const ofWeight = [...copy.graph.initializers].filter((v) => v.name.startsWith('w_'));
      expect(ofWeight).toHaveLength(options.format && 'bits' in options ? 2 : 3);
      expect(sqnr(truth.y, (await runModel(engine, copy, feeds)).y)).toBeGreaterThan(15);
    }
  });

  it('leaves alone what it cannot do, and says why', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4, 64]);
    const w = b.random([64, 64], { name: 'w' });
    const half = { type: 'float', value: 0.5 } as const;
    const outputs = [
      b.node('MatMul', [x, x], {}, { name: 'both activations' }),
      b.node('MatMul', [x, b.random([3, 64, 64])], {}, { name: 'stack' }),
      b.node('Gemm', [x, w], { alpha: half }, { name: 'alpha' }),
      b.node('Gemm', [x, b.random([4, 512])], { transA: 1 }, { name: 'transA' }),
      b.node('MatMul', [x, b.random([64, 4])], {}, { name: 'small' }),
      b.node('Gather', [b.random([3, 400]), b.constant([1])], { axis: 1 }, { name: 'columns' }),
      b.node('MatMul', [x, b.constant(Tensor.of('float64', [64, 64], new Float64Array(4096)))], {}, { name: 'double' }),
    ];
    for (const [i, node] of outputs.entries()) b.output(`y${i}`, node.output);
    const model = b.model();
    const [result] = await model.transform(quantizeWeights({ blockSize: 256 }));
    expect(result?.changed).toBe(0);
    expect(result?.notes).toEqual([
      'MatMul "both activations" stays in float: its weight is not constant.',
      'MatMul "stack" stays in float: its weight is a stack of matrices.',
      'Gemm "alpha" stays in float: its alpha or beta is not 1.',
      'Gemm "transA" stays in float: it transposes its activation.',
      'MatMul "small" stays in float: its weight has 256 elements only.',
      'MatMul "double" stays in float: its weight is float64.',
      'Gather "columns" stays in float: it does not pick rows of a matrix.',
    ]);
  });

  it('touches only the nodes that are selected', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 64]);
    const first = b.node('MatMul', [x, b.random([64, 64])], {}, { name: 'encoder/first' });
    const second = b.node('MatMul', [first.output, b.random([64, 64])], {}, { name: 'decoder/second' });
    const model = b.output('y', second.output, 'float32', [2, 64]).model();
    const left = async (options: QuantizeWeightsOptions) => {
      const copy = model.clone();
      await copy.transform(quantizeWeights(options));
      return operators(copy);
    };
    expect(await left({ include: [/^encoder/] })).toEqual(['MatMulNBits', 'MatMul']);
    expect(await left({ exclude: ['encoder/first'] })).toEqual(['MatMul', 'MatMulNBits']);
    expect(await left({ include: ['Gather'] })).toEqual(['MatMul', 'MatMul']);
  });

  it('refuses a weight with NaN when it is written, and names it', async () => {
    const weight = normal([64, 64]).data as Float32Array;
    weight[77] = Number.NaN;
    for (const options of [{}, { format: 'dequantize', bits: 8 }] as const) {
      const model = productModel('MatMul', [64, 64], { weight });
      await model.transform(quantizeWeights(options));
      await expect(serializeModel(model).file.bytes()).rejects.toThrow(/"w" holds 1 NaN.*exclude/);
    }
  });

  it('computes each weight once a writing, and again for another', async () => {
    let loads = 0;
    const values = new Uint8Array((normal([64, 64]).data as Float32Array).buffer);
    const produce = (): Uint8Array => {
      loads++;
      return values;
    };
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 64]);
    const w = b.constant(
      new Tensor('float32', [64, 64], { kind: 'producer', byteLength: values.byteLength, produce }),
      'w',
    );
    const model = b.output('y', b.op('MatMul', [x, w]), 'float32', [2, 64]).model();
    await model.transform(quantizeWeights());
    expect(loads).toBe(0);
    const first = await serializeModel(model).file.bytes();
    expect(loads).toBe(1);
    expect(await serializeModel(model).file.bytes()).toEqual(first);
    expect(loads).toBe(2);
  });

  it('makes the same of weights that are still in a file', async () => {
    for (const options of [{}, { format: 'dequantize' }, { format: 'dequantize', bits: 8 }] as const) {
      for (const kind of KINDS) {
        const model = productModel(kind, [300, 38]);
        const read = await parseModel(await serializeModel(model).file.bytes());
        expect(initializer(read, 'w')?.data.kind).toBe('reference');
        for (const m of [model, read]) await m.transform(quantizeWeights(options));
        const names = [...model.graph.initializers].map((v) => v.name).filter((name) => name.startsWith('w_'));
        for (const name of names) {
          expect(await initializer(read, name)?.load()).toEqual(await initializer(model, name)?.load());
        }
      }
    }
  });

  it('makes the file about as small as its bits', async () => {
    const model = productModel('MatMul', [1024, 256]);
    const before = await bytesOf(model);
    await model.transform(quantizeWeights());
    // 4 bits, a float32 scale and 4 bits of zero point for 32 weights: 5.125 of 32 bits.
    expect((await bytesOf(model)) / before).toBeLessThan(0.165);
  });

  it('refuses options that no operator supports', async () => {
    const run = (options: QuantizeWeightsOptions, opset = 21) => {
      const model = new Model(new Graph('g'), new Map([['', opset]]));
      return model.transform(quantizeWeights(options));
    };
    await expect(run({ format: 'dequantize', bits: 2 })).rejects.toThrow(/2-bit/);
    await expect(run({ format: 'dequantize', bits: 8, blockSize: 32 })).rejects.toThrow(/8-bit blocks/);
    await expect(run({ format: 'cast', bits: 4 })).rejects.toThrow(/8 bits only/);
    await expect(run({ format: 'dequantize', accuracyLevel: 4 })).rejects.toThrow(/accuracyLevel/);
    await expect(run({ format: 'dequantize' }, 20)).rejects.toThrow(/opset 21; the model is opset 20/);
  });
});

describe('quantizeWeights to dequantize', () => {
  it.each(KINDS)('4 bits in blocks for %s', async (kind) => {
    for (const options of [
      { format: 'dequantize' },
      { format: 'dequantize', symmetric: true, blockSize: 64 },
    ] as const) {
      for (const [K, N] of [
        [128, 64],
        [300, 38],
      ] as const) {
        const turned = kind === 'Gemm transB' || kind === 'transposed';
        const model = productModel(kind, [K, N]);
        const feeds: Feeds = { x: normal([3, K]) };
        const truth = await runModel(engine, model, feeds);
        const [result] = await model.transform(quantizeWeights(options));
        expect(result?.changed).toBe(1);
        const dims = turned ? ([N, K] as const) : ([K, N] as const);
        const weight = await decode(model, 'w', dims, options, turned ? 1 : 0, 'DequantizeLinear');
        const exact = await runModel(engine, productModel(kind, [K, N], { weight }), feeds);
        close(exact.y, (await runModel(engine, model, feeds, { optimization: 'disabled' })).y);
        // With its optimizations ONNX Runtime may compute in int8.
        const output = await runModel(engine, model, feeds);
        expect(sqnr(exact.y, output.y)).toBeGreaterThan(30);
        expect(sqnr(truth.y, output.y)).toBeGreaterThan(15);
      }
    }
  });

  /** One model for each operator that has weights of 8 bits. */
  const CHANNELS: Record<string, (b: GraphBuilder) => void> = {
    MatMul: (b) =>
      b.output('y', b.op('MatMul', [b.input('x', 'float32', [2, 40]), b.random([40, 48], { name: 'w' })]), 'float32'),
    'MatMul stack': (b) =>
      b.output(
        'y',
        b.op('MatMul', [b.input('x', 'float32', [3, 2, 40]), b.random([3, 40, 48], { name: 'w' })]),
        'float32',
      ),
    'MatMul transposed': (b) => {
      const w = b.op('Transpose', [b.random([48, 40], { name: 'w' })], { perm: [1, 0] });
      b.output('y', b.op('MatMul', [b.input('x', 'float32', [2, 40]), w]), 'float32');
    },
    Gemm: (b) => {
      const y = b.op('Gemm', [b.input('x', 'float32', [2, 40]), b.random([48, 40], { name: 'w' }), b.random([48])], {
        transB: 1,
      });
      b.output('y', y, 'float32');
    },
    Conv: (b) => {
      const y = b.op('Conv', [b.input('x', 'float32', [1, 8, 9, 9]), b.random([16, 4, 5, 5], { name: 'w' })], {
        group: 2,
      });
      b.output('y', y, 'float32');
    },
    ConvTranspose: (b) =>
      b.output(
        'y',
        b.op('ConvTranspose', [b.input('x', 'float32', [1, 8, 5, 5]), b.random([8, 16, 3, 3], { name: 'w' })]),
        'float32',
      ),
    LSTM: (b) => {
      const x = b.input('x', 'float32', [3, 1, 24]);
      const node = b.node('LSTM', [x, b.random([2, 64, 24]), b.random([2, 64, 16])], {
        hidden_size: 16,
        direction: 'bidirectional',
      });
      b.output('y', node.output, 'float32');
    },
    Gather: (b) => {
      const ids = b.op('Cast', [b.input('x', 'float32', [3])], { to: 7 });
      b.output('y', b.op('Gather', [b.random([100, 3, 8], { name: 'w', scale: 1 }), ids]), 'float32');
    },
  };

  it.each(Object.keys(CHANNELS))(
    '8 bits a channel for %s, at any opset, with and without zero points',
    async (kind) => {
      const cases = [
        [11, 'dequantize'],
        [13, 'dequantize'],
        [9, 'cast'],
        [21, 'cast'],
      ] as const;
      for (const [opset, format] of cases) {
        for (const symmetric of [true, false]) {
          if (kind === 'Gather' && !symmetric) continue;
          const b = new GraphBuilder();
          CHANNELS[kind]!(b);
          const model = b.model({ opset });
          const dims = b.graph.inputs[0]!.shape as number[];
          const x =
            kind === 'Gather' ? { dtype: 'float32' as const, dims, data: Float32Array.of(0, 99, -3) } : normal(dims);
          const truth = await runModel(engine, model, { x });
          const before = await bytesOf(model);
          const [result] = await model.transform(quantizeWeights({ format, bits: 8, symmetric }));
          expect(result?.changed).toBe(1);
          const keeps = format === 'dequantize' && opset >= 13 && kind !== 'Gather';
          expect(operators(model).includes('DequantizeLinear')).toBe(keeps);
          expect(await bytesOf(model)).toBeLessThan(0.6 * before);
          // Scales of the channels, not one for all: the tests' weights are normal, so 8 bits give 44 dB and more.
          for (const optimization of ['disabled', 'basic'] as const) {
            expect(sqnr(truth.y, (await runModel(engine, model, { x }, { optimization })).y)).toBeGreaterThan(38);
          }
        }
      }
    },
  );

  it('is folded on loading when it is written with casts: the runtime sees a float weight', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pare-weights-'));
    try {
      const b = new GraphBuilder();
      CHANNELS.Conv!(b);
      const model = b.model();
      await model.transform(quantizeWeights({ format: 'cast' }));
      const path = join(folder, 'optimized.onnx');
      const options = { optimizedModelFilePath: path, graphOptimizationLevel: 'basic', logSeverityLevel: 4 } as const;
      const session = await InferenceSession.create(await serializeModel(model).file.bytes(), options);
      await session.release();
      expect(operators(await readModel(path))).toEqual(['Conv']);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('stores int8 weights of half the largest step, a scale a channel', async () => {
    const b = new GraphBuilder();
    CHANNELS.Conv!(b);
    const model = b.model();
    const w = await floats(initializer(model, 'w')!);
    await model.transform(quantizeWeights({ format: 'dequantize', bits: 8 }));
    const q = new Int8Array((await initializer(model, 'w_Q8')!.load()).buffer);
    const scales = await floats(initializer(model, 'w_scales')!);
    expect(scales).toHaveLength(16);
    const inner = w.length / 16;
    for (let c = 0; c < 16; c++) {
      const largest = Math.max(...w.subarray(c * inner, (c + 1) * inner).map(Math.abs));
      expect(scales[c]).toBeCloseTo(largest / 127, 7);
      for (let i = c * inner; i < (c + 1) * inner; i++) {
        expect(Math.abs(q[i]! * scales[c]! - w[i]!)).toBeLessThanOrEqual(0.5001 * scales[c]!);
      }
    }
  });

  it('declares the type of what it adds', async () => {
    const model = productModel('MatMul', [64, 32]);
    await model.transform(quantizeWeights({ format: 'dequantize', bits: 8 }));
    expect(model.graph.value('w_Q8')?.type).toEqual(tensorType('int8', [64, 32]));
    expect(operators(model)).toEqual(['DequantizeLinear', 'MatMul']);
  });
});
