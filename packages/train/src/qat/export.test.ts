import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feeds, GraphBuilder, type Model, seededRandom, serializeModel, Tensor, type Value } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { InferenceSession } from 'onnxruntime-node';
import { afterAll, describe, expect, it } from 'vitest';
import { gradient, gradientName } from '../autodiff/index.js';
import { exportQuantized } from './export.js';
import { type FakeQuantizeOptions, fakeQuantize } from './fake-quantize.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Layers in a few words; weights and normalizations seeded, some with a negative gamma. */
class Net extends GraphBuilder {
  readonly #random = seededRandom(7);

  vector(n: number, draw: (normal: number) => number): Value {
    return this.constant(
      Tensor.of(
        'float32',
        [n],
        Array.from({ length: n }, () => draw(this.#random.normal())),
      ),
    );
  }

  conv(x: Value, from: number, to: number, options: { size?: number; group?: number; stride?: number } = {}): Value {
    const { size = 3, group = 1, stride = 1 } = options;
    const pads = Array<number>(4).fill((size - 1) / 2);
    const weight = this.random([to, from / group, size, size]);
    return this.op('Conv', [x, weight], { pads, group, strides: [stride, stride], kernel_shape: [size, size] });
  }

  norm(x: Value, n: number): Value {
    const gamma = this.vector(n, (v) => 1 + v);
    const variance = this.vector(n, (v) => 0.5 + v * v);
    return this.op('BatchNormalization', [
      x,
      gamma,
      this.vector(n, (v) => v / 2),
      this.vector(n, (v) => v / 2),
      variance,
    ]);
  }

  relu(x: Value): Value {
    return this.op('Relu', [x]);
  }

  done(y: Value, opset = 17): Model {
    return this.output('y', y, 'float32').model({ opset, irVersion: 8 });
  }
}

const NETS: Readonly<
  Record<string, { readonly dims: readonly number[]; readonly build: (n: Net, x: Value) => Value }>
> = {
  'a Conv with BatchNormalization': { dims: [3, 8, 8], build: (n, x) => n.relu(n.norm(n.conv(x, 3, 8), 8)) },
  'a residual net': {
    dims: [3, 8, 8],
    build: (n, x) => {
      const a = n.relu(n.norm(n.conv(x, 3, 8), 8));
      const b = n.norm(n.conv(n.relu(n.norm(n.conv(a, 8, 8), 8)), 8, 8), 8);
      const c = n.relu(n.op('Add', [a, b]));
      const d = n.relu(n.norm(n.conv(c, 8, 16, { stride: 2 }), 16));
      const pooled = n.op('Flatten', [n.op('GlobalAveragePool', [d])]);
      return n.op('Gemm', [pooled, n.random([5, 16]), n.vector(5, (v) => v)], { transB: 1 });
    },
  },
  'depthwise Conv, Relu6, MaxPool and Concat': {
    dims: [4, 8, 8],
    build: (n, x) => {
      const clip = (v: Value): Value => n.op('Clip', [v, Tensor.of('float32', [], [0]), Tensor.of('float32', [], [6])]);
      const a = clip(n.norm(n.conv(x, 4, 8, { size: 1 }), 8));
      const b = clip(n.norm(n.conv(a, 8, 8, { group: 8 }), 8));
      const c = n.op('Concat', [n.conv(b, 8, 4, { size: 1 }), n.relu(n.conv(b, 8, 4))], { axis: 1 });
      return n.conv(n.op('MaxPool', [c], { kernel_shape: [2, 2], strides: [2, 2] }), 8, 4);
    },
  },
  'weights behind Transpose, one of them shared': {
    dims: [32],
    build: (n, x) => {
      const [a, b] = [n.random([48, 32]), n.random([48, 32])];
      const turned = (v: Value): Value => n.op('Transpose', [v], { perm: [1, 0] });
      const h = n.relu(n.op('Gemm', [x, turned(a), n.vector(48, (v) => v)]));
      const g = n.relu(n.op('MatMul', [n.relu(n.op('Gemm', [h, turned(b)], { transB: 1 })), turned(b)]));
      const both = n.op('Gemm', [g, b]);
      return n.norm(n.op('Gemm', [both, a], { transB: 1 }), 48);
    },
  },
  'a transformer block': {
    dims: [6, 32],
    build: (n, x) => {
      const linear = (v: Value, from: number, to: number): Value =>
        n.op('Add', [n.op('MatMul', [v, n.random([from, to], { scale: from ** -0.5 })]), n.vector(to, (w) => w / 4)]);
      const normal = (v: Value): Value =>
        n.op('LayerNormalization', [v, n.vector(32, (w) => 1 + w / 4), n.vector(32, (w) => w / 4)]);
      const h = normal(x);
      const scores = n.op('MatMul', [linear(h, 32, 32), n.op('Transpose', [linear(h, 32, 32)], { perm: [0, 2, 1] })]);
      const scaled = n.op('Mul', [scores, Tensor.of('float32', [], [32 ** -0.5])]);
      const mixed = n.op('MatMul', [n.op('Softmax', [scaled], { axis: -1 }), linear(h, 32, 32)]);
      const y = n.op('Add', [x, linear(mixed, 32, 32)]);
      return n.op('Add', [y, linear(n.relu(linear(normal(y), 32, 64)), 64, 32)]);
    },
  },
};

const [SAMPLES, TESTS] = [16, 64];

function feeds(dims: readonly number[], count: number, seed: number): Feeds {
  const random = seededRandom(seed);
  const data = Float32Array.from({ length: count * dims.reduce((a, b) => a * b, 1) }, () => random.normal());
  return { x: { dtype: 'float32', dims: [count, ...dims], data } };
}

async function answers(model: Model, dims: readonly number[]): Promise<Float32Array> {
  const session = await engine.open(model);
  const out = await session.run(feeds(dims, TESTS, 2));
  await session.close();
  return out.y?.data as Float32Array;
}

async function both(name: string, options: Omit<FakeQuantizeOptions, 'samples' | 'engine'>) {
  const { dims, build } = NETS[name] as (typeof NETS)[string];
  const net = new Net();
  const model = net.done(build(net, net.input('x', 'float32', ['batch', ...dims])));
  const float = await answers(model, dims);
  const samples = Array.from({ length: SAMPLES }, (_, i) => feeds(dims, 1, 10 + i));
  const plan = await fakeQuantize(model, { ...options, samples, engine });
  const fake = await answers(model, dims);
  const before = model.graph.size;
  await exportQuantized(model, JSON.parse(JSON.stringify(plan)));
  return { float, fake, real: await answers(model, dims), model, plan, before };
}

const largest = (values: readonly number[]): number => Math.max(...values.map(Math.abs));

/** Signal to noise in dB. */
function sqnr(truth: Float32Array, other: Float32Array): number {
  let [signal, noise] = [0, 1e-30];
  truth.forEach((v, i) => {
    signal += v * v;
    noise += (v - (other[i] as number)) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

/** Operator types after ONNX Runtime's own graph optimisation. */
async function optimizedOperators(model: Model): Promise<string[]> {
  const folder = await mkdtemp(join(tmpdir(), 'pare-qat-'));
  try {
    const optimizedModelFilePath = join(folder, 'optimized.onnx');
    const bytes = await serializeModel(model).file.bytes();
    const session = await InferenceSession.create(bytes, { optimizedModelFilePath, logSeverityLevel: 4 });
    await session.release();
    return operators(await readModel(optimizedModelFilePath));
  } finally {
    await rm(folder, { recursive: true });
  }
}

const operators = (model: Model): string[] => [...model.graph.nodes()].map((node) => node.opType);

describe('exportQuantized', () => {
  it.each(['w8a8', 'w4a8', 'w4a4', 'w2a4', 'w3a3'])(
    'gives the answers of fake quantization in one layer: %s',
    async (precision) => {
      const { fake, real, plan, model } = await both('a Conv with BatchNormalization', { precision, firstAndLast: 2 });
      const step = Math.max(...fake) / 255;
      const different = fake.filter((v, i) => Math.abs(v - (real[i] as number)) > step * 0.01);
      // Sums near the edge between two integers may fall to either side: the bias is rounded to steps of the sum.
      expect(different.length / fake.length).toBeLessThan(precision === 'w4a8' || precision === 'w8a8' ? 2e-3 : 2e-2);
      expect(Math.max(...fake.map((v, i) => Math.abs(v - (real[i] as number))))).toBeLessThan(step * 1.01);
      expect(plan.weights.map(({ users }) => users.length)).toEqual([1]);
      expect(operators(model)).not.toContain('BatchNormalization');
    },
  );

  it.each(Object.keys(NETS).flatMap((name) => ['w8a8', 'w4a8', 'w4a4'].map((precision) => [name, precision] as const)))(
    'gives the answers of fake quantization: %s, %s',
    async (name, precision) => {
      const { float, fake, real } = await both(name, { precision });
      // A step of 4 bits is coarse, and one that falls to the other side is seen by every layer behind it.
      expect(sqnr(fake, real)).toBeGreaterThan(precision === 'w4a4' ? 28 : 34);
      expect(sqnr(fake, real)).toBeGreaterThan(sqnr(float, fake) + 6);
    },
  );

  it.each(Object.keys(NETS).flatMap((name) => ['w8', 'w4', 'w2'].map((precision) => [name, precision] as const)))(
    'multiplies float activations with integer weights exactly: %s, %s',
    async (name, precision) => {
      const { fake, real } = await both(name, { precision });
      expect(sqnr(fake, real)).toBeGreaterThan(100);
    },
  );

  it('learns zero points where they are asked for', async () => {
    const { fake, real, plan } = await both('a transformer block', { precision: 'w8a8', learnZeroPoints: true });
    expect(plan.activations.filter(({ zeroPoint }) => typeof zeroPoint === 'string').length).toBeGreaterThan(2);
    expect(sqnr(fake, real)).toBeGreaterThan(34);
  });
});

describe('fakeQuantize', () => {
  it.each(Object.keys(NETS).flatMap((name) => ['w4a4', 'w4'].map((precision) => [name, precision] as const)))(
    'leaves nothing without a gradient: %s, %s',
    async (name, precision) => {
      const { dims, build } = NETS[name] as (typeof NETS)[string];
      const net = new Net();
      const y = build(net, net.input('x', 'float32', ['batch', ...dims]));
      const loss = net.op('ReduceMean', [net.op('Mul', [y, y])], { keepdims: 0 });
      const model = net.output('loss', loss, 'float32', []).done(y);
      const samples = [feeds(dims, 1, 3)];
      const plan = await fakeQuantize(model, { precision, samples, engine, learnZeroPoints: true });
      const wrt = Object.keys(plan.parameters);
      const batch = feeds(dims, 8, 4);
      const inputShapes = { x: [8, ...dims] };
      const session = await engine.open(await gradient(model, { loss: 'loss', wrt, inputShapes }));
      const values = wrt.map(async (parameter) => {
        const tensor = model.graph.value(parameter)?.initializer ?? expect.fail(parameter);
        return [parameter, { dtype: tensor.dtype, dims: tensor.dims, data: await tensor.toArray() }] as const;
      });
      const out = await session.run({ ...batch, ...Object.fromEntries(await Promise.all(values)) });
      await session.close();
      for (const parameter of wrt) {
        const found = Array.from((out[gradientName(parameter)]?.data ?? [Number.NaN]) as Float32Array);
        expect(found.every(Number.isFinite), parameter).toBe(true);
        // Where nothing was clipped, a zero point has no say.
        if (!parameter.includes('zero_point')) expect(largest(found), parameter).toBeGreaterThan(0);
      }
    },
  );
});

describe('the exported model', () => {
  it('computes in the integer kernels of ONNX Runtime, and holds few bits a weight', async () => {
    const { model } = await both('a residual net', { precision: 'w4a4' });
    const sizes = [...model.graph.initializers].filter(({ dtype }) => dtype === 'uint8' || dtype === 'int8');
    const bytes = (name: RegExp): number =>
      sizes.filter((v) => name.test(v.name)).reduce((sum, v) => sum + (v.initializer?.byteLength ?? 0), 0);
    // First and last layer in bytes (3 * 8 * 9 + 5 * 16), the others in halves (2 * 8 * 8 * 9 + 8 * 16 * 9).
    expect(bytes(/_quantized/)).toBe(3 * 8 * 9 + 5 * 16 + (2 * 8 * 8 * 9 + 8 * 16 * 9) / 2);
    const kernels = await optimizedOperators(model);
    expect(kernels.filter((op) => op === 'QLinearConv').length).toBe(4);
    expect(kernels.filter((op) => op === 'Conv' || op === 'FusedConv')).toEqual([]);
  });

  it('keeps sums at 8 bits and rounds once more for what is multiplied', async () => {
    const { plan } = await both('a residual net', { precision: 'w4a4' });
    // The stem's result, which the Add reads too; what is between the two Convs; the sum, which a Conv alone reads.
    expect(plan.activations.flatMap(({ bits, readers }) => (bits === 4 ? [readers] : []))).toEqual([
      [expect.objectContaining({ index: 0 })],
      'all',
      'all',
    ]);
    expect(plan.weights.map((w) => w.bits)).toEqual([8, 4, 4, 4, 8]);
    expect(plan.weights.map((w) => w.limit)).toEqual([64, 7, 7, 7, 64]);
  });
});
