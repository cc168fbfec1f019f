import { type Feeds, float, GraphBuilder, type Model, type Node, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { calibrate } from './calibrate.js';
import { type QuantizeStaticOptions, quantizeStatic } from './static.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Seeded numbers in [-scale, scale]. */
function uniform(count: number, seed: number, scale = 1): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * ((state + 0.5) / 2 ** 31 - 1);
  });
}
const image = (seed: number, scale = 1): Feeds => ({
  x: { dtype: 'float32', dims: [1, 3, 8, 8], data: uniform(192, seed, scale) },
});
const IMAGES = Array.from({ length: 8 }, (_, i) => image(i + 1));

interface Style {
  /** How the model holds its weights. */
  readonly weights?: 'initializer' | 'constant' | 'identity';
  readonly opset?: number;
}

/** Convolutions (one of them grouped), a residual sum, pooling, and a product with a bias. */
function network({ weights = 'initializer', opset = 17 }: Style = {}): Model {
  const b = new GraphBuilder({ seed: 5 });
  const weight = (dims: readonly number[], name: string): Value => {
    const value = b.random(dims, { name, scale: 0.3 });
    if (weights === 'identity') return b.op('Identity', [value]);
    if (weights === 'initializer') return value;
    const constant = b.op('Constant', [], { value: value.initializer as Tensor });
    b.graph.removeValue(value);
    return constant;
  };
  const conv = (x: Value, dims: readonly number[], group = 1, name = ''): Value =>
    b.node('Conv', [x, weight(dims, 'w'), weight([dims[0] as number], 'b')], { pads: [1, 1, 1, 1], group }, { name })
      .output;
  const x = b.input('x', 'float32', ['n', 3, 8, 8]);
  const a = b.op('Relu', [conv(x, [8, 3, 3, 3], 1, 'first')]);
  const c = b.op('Relu', [b.op('Add', [conv(a, [8, 2, 3, 3], 4, 'grouped'), a])]);
  const pooled = b.op('Flatten', [b.op('MaxPool', [c], { kernel_shape: [4, 4], strides: [4, 4] })]);
  const y = b.node('Gemm', [pooled, weight([5, 32], 'w'), weight([5], 'b')], { transB: 1 }, { name: 'head' }).output;
  return b.output('y', y, 'float32', ['n', 5]).model({ opset });
}

const nodesOf = (model: Model, opType: string): Node[] => [...model.graph.nodes()].filter((n) => n.opType === opType);

async function quantized(model: Model, options: Partial<QuantizeStaticOptions> = {}) {
  const copy = model.clone();
  const [result] = await copy.transform(quantizeStatic({ samples: IMAGES, method: 'min-max', ...options }), { engine });
  return { model: copy, notes: result?.notes ?? [], changed: result?.changed ?? 0 };
}

async function answers(
  model: Model,
  optimization: 'all' | 'disabled' = 'all',
  samples: readonly Feeds[] = IMAGES,
): Promise<Float32Array> {
  const session = await engine.open(model, { optimization });
  const all: number[] = [];
  for (const feeds of samples) {
    for (const { data } of Object.values(await session.run(feeds))) all.push(...(data as Float32Array));
  }
  await session.close();
  return Float32Array.from(all);
}

/** Signal-to-noise ratio in decibels. */
function sqnr(expected: Float32Array, got: Float32Array): number {
  let signal = 0;
  let noise = 0;
  expected.forEach((v, i) => {
    signal += v * v;
    noise += (v - (got[i] as number)) ** 2;
  });
  return 10 * Math.log10(signal / noise);
}

describe('quantizeStatic', () => {
  it('computes what rounding by the formulas of ONNX gives', async () => {
    // One Conv and one Gemm, by hand: fake quantization in TypeScript against the runtime without its optimizer.
    const b = new GraphBuilder({ seed: 9 });
    const [w, bias, v] = [b.random([4, 3, 3, 3]), b.random([4]), b.random([4 * 64, 6])];
    const conv = b.op('Relu', [
      b.op('Conv', [b.input('x', 'float32', ['n', 3, 8, 8]), w, bias], { pads: [1, 1, 1, 1] }),
    ]);
    const model = b.output('y', b.op('Gemm', [b.op('Flatten', [conv]), v])).model();
    const options = { guard: 'none', clipSearch: false, biasCorrection: false } as const;
    const got = await answers((await quantized(model, options)).model, 'disabled');

    const { tensors } = await calibrate(model, IMAGES, { engine, method: 'min-max' });
    const rounder = (name: string) => {
      const { min, max } = tensors.get(name) as { min: number; max: number };
      const scale = Math.fround((Math.max(0, max) - Math.min(0, min)) / 255);
      const zero = Math.round(-Math.min(0, min) / scale);
      return { scale, round: (x: number) => scale * (clamp(even(x / scale) + zero, 0, 255) - zero) };
    };
    const perChannel = (values: Float32Array, channelOf: (i: number) => number, channels: number) => {
      const scales = new Float64Array(channels);
      for (const [i, x] of values.entries()) {
        scales[channelOf(i)] = Math.max(scales[channelOf(i)] as number, Math.abs(x));
      }
      const of = scales.map((s) => Math.fround(s / 127));
      return {
        scales: of,
        values: values.map((x, i) => (of[channelOf(i)] as number) * even(x / (of[channelOf(i)] as number))),
      };
    };
    const floats = (value: Value): Float32Array =>
      new Float32Array((value.initializer as Tensor).bytes?.slice().buffer as ArrayBuffer);
    const input = rounder('x');
    const hidden = rounder('Relu_out');
    const first = perChannel(floats(w), (i) => Math.floor(i / 27), 4);
    const second = perChannel(floats(v), (i) => i % 6, 6);
    const biases = floats(bias).map((x, c) => {
      const scale = input.scale * (first.scales[c] as number);
      return scale * even(x / scale);
    });
    const expected = IMAGES.flatMap(({ x }) => {
      const rounded = Array.from(x?.data as Float32Array, input.round);
      const relu = convolve(rounded, first.values, biases).map((y) => hidden.round(Math.max(0, y)));
      return Array.from({ length: 6 }, (_, n) =>
        relu.reduce((sum, y, k) => sum + y * (second.values[k * 6 + n] as number), 0),
      );
    });
    // A sum that lies on a rounding border may fall to either side: one step of one hidden activation at most.
    const step = hidden.scale * second.values.reduce((m, y) => Math.max(m, Math.abs(y)), 0);
    for (const [i, y] of got.entries()) expect(Math.abs(y - (expected[i] as number))).toBeLessThan(1.5 * step);
    const exact = got.filter((y, i) => Math.abs(y - (expected[i] as number)) < 1e-4).length;
    expect(exact / got.length).toBeGreaterThan(0.8);
  });

  it.each([
    {},
    { format: 'qoperator' },
    { activations: 'int8' },
    { activations: 'int8', symmetric: true },
    { weights: 'uint8' },
    { perChannel: false },
    { guard: 'reduced' },
    { guard: 'none', format: 'qoperator', perChannel: false },
    { activations: 'uint16' },
    { activations: 'int16', symmetric: true },
    { method: 'entropy' },
    { method: 'moving-average' },
    { method: 'auto' },
  ] as const)('stays near the float model, with integer kernels and without: %j', async (options) => {
    const model = network();
    const expected = await answers(model);
    const { model: integer, changed } = await quantized(model, options);
    expect(changed).toBe(6);
    const [fast, plain] = [await answers(integer), await answers(integer, 'disabled')];
    expect(sqnr(expected, plain)).toBeGreaterThan(leastSqnr('method' in options ? options.method : ''));
    // Kernels round at the borders of sums in another order, and add in integers.
    expect(sqnr(plain, fast)).toBeGreaterThan(35);
  });

  it('keeps names and types of inputs and outputs', async () => {
    const { model } = await quantized(network());
    const [input] = model.graph.inputs;
    const [output] = model.graph.outputs;
    expect([input?.name, input?.dtype, output?.name, output?.dtype]).toEqual(['x', 'float32', 'y', 'float32']);
  });

  it.each(['constant', 'identity'] as const)(
    'treats weights behind %s as the initializers they are',
    async (weights) => {
      const plain = await quantized(network());
      const other = await quantized(network({ weights }));
      expect(await answers(other.model)).toEqual(await answers(plain.model));
      const bytes = (m: Model): number =>
        [...m.graph.initializers].reduce((sum, v) => sum + (v.initializer?.byteLength ?? 0), 0);
      expect(bytes(other.model)).toBe(bytes(plain.model));
      // Nothing quantizes a weight at run time: QuantizeLinear reads activations only.
      for (const node of nodesOf(other.model, 'QuantizeLinear')) expect(node.inputs[0]?.constant).toBeUndefined();
      expect(nodesOf(other.model, 'Constant').length + nodesOf(other.model, 'Identity').length).toBe(0);
    },
  );

  it('quantizes a tied weight once, and an activation that several read once', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const w = b.random([8, 8]);
    const x = b.input('x', 'float32', ['n', 8]);
    const y = b.op('Add', [b.op('MatMul', [x, w]), b.op('MatMul', [b.op('Tanh', [b.op('MatMul', [x, w])]), w])]);
    const model = b.output('y', y, 'float32', ['n', 8]).model();
    const samples = IMAGES.map(({ x: feed }) => ({
      x: { dtype: 'float32' as const, dims: [24, 8], data: feed?.data as Float32Array },
    }));
    const result = await quantized(model, { samples });
    const stored = [...result.model.graph.initializers].filter((v) => v.dtype === 'int8' && v.shape?.length === 2);
    expect(stored).toHaveLength(1);
    expect(nodesOf(result.model, 'QuantizeLinear').filter((n) => n.inputs[0]?.name === 'x')).toHaveLength(1);
    expect(sqnr(await answers(model, 'all', samples), await answers(result.model, 'all', samples))).toBeGreaterThan(30);
  });

  it('reads tied embeddings through their Transpose', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const table = b.random([10, 8]);
    const x = b.input('x', 'float32', ['n', 8]);
    const logits = b.op('MatMul', [x, b.op('Transpose', [table], { perm: [1, 0] })]);
    const model = b
      .output('y', logits)
      .output('e', b.op('Gather', [table, [3]]), 'float32')
      .model();
    const samples = IMAGES.map(({ x: feed }) => ({
      x: { dtype: 'float32' as const, dims: [24, 8], data: feed?.data as Float32Array },
    }));
    const result = await quantized(model, { samples });
    expect(sqnr(await answers(model, 'all', samples), await answers(result.model, 'all', samples))).toBeGreaterThan(35);
    expect(table.name).toBe('weight');
    expect(result.model.graph.value('weight')?.initializer?.dtype).toBe('float32');
  });

  it('puts alpha and beta of Gemm into its constants', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const x = b.input('x', 'float32', ['n', 8]);
    const y = b.op('Gemm', [x, b.random([8, 4]), b.random([4])], { alpha: float(0.25), beta: float(-3) });
    const model = b.output('y', y, 'float32', ['n', 4]).model();
    const samples = IMAGES.map(({ x: feed }) => ({
      x: { dtype: 'float32' as const, dims: [24, 8], data: feed?.data as Float32Array },
    }));
    const result = await quantized(model, { samples });
    expect(sqnr(await answers(model, 'all', samples), await answers(result.model, 'all', samples))).toBeGreaterThan(35);
  });

  it('refuses before any calibration what no kernel computes', () => {
    let read = 0;
    const samples = {
      *[Symbol.iterator]() {
        read++;
        yield image(1);
      },
    };
    expect(() => quantizeStatic({ samples, activations: 'int8', weights: 'uint8' })).toThrow(/No kernel/);
    expect(() => quantizeStatic({ samples, activations: 'uint16', format: 'qoperator' })).toThrow(/8-bit/);
    expect(() => quantizeStatic({})).toThrow(/calibration data/);
    expect(read).toBe(0);
  });

  it('raises weight scales where a large bias over tiny weights would overflow int32', async () => {
    const b = new GraphBuilder({ seed: 2 });
    const weight = uniform(4 * 27, 3).map((v, i) => (i < 27 ? v * 1e-9 : v));
    const bias = Float32Array.of(300, 1, 1, 1);
    const y = b.op('Conv', [
      b.input('x', 'float32', ['n', 3, 8, 8]),
      b.constant(Tensor.of('float32', [4, 3, 3, 3], weight)),
      b.constant(Tensor.of('float32', [4], bias)),
    ]);
    const model = b.output('y', y).model();
    const result = await quantized(model);
    expect(result.notes.join('\n')).toMatch(/raised 1 weight scales so that the int32 bias cannot overflow/);
    const got = await answers(result.model, 'disabled');
    // The channel of the large bias is all bias; an overflow would turn it into something else.
    const { scale } = { scale: 301 / 255 };
    expect(Math.abs((got[0] as number) - 300)).toBeLessThan(scale);
  });

  it.each([9, 11, 12])('upgrades a model of opset %i', async (opset) => {
    const model = network({ opset, weights: 'constant' });
    const expected = await answers(model);
    const { model: integer, notes } = await quantized(model);
    expect(integer.opset).toBe(13);
    expect(notes[0]).toMatch(`from opset ${opset} to 13`);
    expect(sqnr(expected, await answers(integer))).toBeGreaterThan(28);
  });

  it('takes quantization operators of com.microsoft where the opset has no axis and cannot be upgraded', async () => {
    const model = network({ opset: 11 });
    // A local function keeps the model from being upgraded.
    const inner = new GraphBuilder();
    const body = inner.output('o', inner.op('Relu', [inner.input('i', 'float32')])).graph;
    const empty = {
      attributes: [],
      defaults: new Map(),
      opsets: new Map([['', 11]]),
      docString: '',
      metadata: new Map(),
    };
    model.functions.push({ domain: 'local', name: 'F', overload: '', body, ...empty });
    model.opsets.set('local', 1);
    const { model: integer, notes } = await quantized(model);
    expect(notes.join('\n')).toMatch(/com\.microsoft/);
    expect(new Set(nodesOf(integer, 'QuantizeLinear').map((n) => n.domain))).toEqual(new Set(['com.microsoft']));
    integer.functions.length = 0;
    integer.opsets.delete('local');
    expect(sqnr(await answers(network()), await answers(integer))).toBeGreaterThan(28);
    const old = network({ opset: 9 });
    old.functions.push(...model.functions);
    await expect(quantized(old)).rejects.toMatchObject({
      code: 'unsupported',
      message: expect.stringMatching(/opset 10 or newer; the model is opset 9/),
    });
  });

  it('leaves out what is excluded, and gives subgraphs what they captured', async () => {
    const b = new GraphBuilder({ seed: 4 });
    const x = b.input('x', 'float32', ['n', 3, 8, 8]);
    const a = b.node('Conv', [x, b.random([4, 3, 3, 3]), b.random([4])], {}, { name: 'a' }).output;
    const c = b.node('Conv', [a, b.random([4, 4, 3, 3]), b.random([4])], {}, { name: 'c' }).output;
    const branch = (name: string, op: string) => {
      const inner = new GraphBuilder({ name, outer: b });
      return inner.output(`${name}_out`, inner.op(op, [a]), 'float32', ['n', 4, 6, 6]).graph;
    };
    const yes = b.constant(Tensor.of('bool', [], [1]));
    const chosen = b.op('If', [yes], { then_branch: branch('yes', 'Neg'), else_branch: branch('no', 'Abs') });
    const model = b.output('y', chosen, 'float32').output('z', c).model();
    const result = await quantized(model, { exclude: [/^c$/] });
    expect(nodesOf(result.model, 'Conv').map((n) => n.inputs[1]?.producer?.opType)).toEqual([
      'DequantizeLinear',
      undefined,
    ]);
    expect(sqnr(await answers(model), await answers(result.model))).toBeGreaterThan(35);
  });

  it('takes the mean error of rounded weights out of the biases', async () => {
    const model = network();
    const bright = IMAGES.map((_, i) => ({
      x: { dtype: 'float32' as const, dims: [1, 3, 8, 8], data: uniform(192, i + 1).map((v) => v + 3) },
    }));
    const float32 = await answers(model, 'all', bright);
    const options = { samples: bright, perChannel: false, guard: 'reduced' } as const;
    const plain = await quantized(model, { ...options, biasCorrection: false });
    const corrected = await quantized(model, options);
    const gain =
      sqnr(float32, await answers(corrected.model, 'all', bright)) -
      sqnr(float32, await answers(plain.model, 'all', bright));
    expect(gain).toBeGreaterThan(1);
  });

  it('picks the method whose result is nearest to the float model', async () => {
    const model = network();
    const outlier = image(50);
    (outlier.x?.data as Float32Array)[7] = 60;
    const { notes } = await quantized(model, { samples: [...IMAGES, outlier], method: 'auto' });
    const note = notes.find((n) => n.startsWith('Ranges by')) ?? '';
    // "Ranges by mse 2.4: 28.2 dB on 9 calibration samples (min-max 24.1, percentile 99.999 26.5, ...)."
    const numbers = [...note.matchAll(/(-?\d+\.\d)(?: dB|,|\))/g)].map((m) => Number(m[1]));
    expect(numbers).toHaveLength(5);
    expect(numbers[0]).toBe(Math.max(...numbers));
  });

  it('names the weight that holds NaN', async () => {
    const model = network();
    const [weight] = model.graph.initializers;
    if (weight)
      model.graph.setInitializer(weight, Tensor.of('float32', [8, 3, 3, 3], uniform(216, 1).fill(Number.NaN, 3, 4)));
    const calibration = await calibrate(network(), IMAGES, { engine, method: 'min-max' });
    await expect(quantized(model, { calibration })).rejects.toMatchObject({
      code: 'bad-model',
      message: expect.stringMatching(/^Weight "w": /),
    });
  });
});

/** Entropy clips what min-max keeps, and a moving average hardly moves in eight samples: they aim at long calibration. */
const leastSqnr = (method: string): number => (['entropy', 'moving-average'].includes(method) ? 15 : 28);

const clamp = (v: number, low: number, high: number): number => Math.min(high, Math.max(low, v));

/** To nearest, ties to even. */
function even(v: number): number {
  const r = Math.round(v);
  return r - v === 0.5 && r % 2 !== 0 ? r - 1 : r;
}

/** 3x3 convolution of [3, 8, 8] with [4, 3, 3, 3], padded by one. */
function convolve(x: readonly number[], w: Float32Array, b: Float32Array): number[] {
  const out: number[] = [];
  for (let o = 0; o < 4; o++) {
    for (let r = 0; r < 8; r++) {
      for (let c = 0; c < 8; c++) {
        let sum = b[o] as number;
        for (let i = 0; i < 27; i++) {
          const [channel, dr, dc] = [Math.floor(i / 9), Math.floor((i % 9) / 3) - 1, (i % 3) - 1];
          if (r + dr < 0 || r + dr > 7 || c + dc < 0 || c + dc > 7) continue;
          sum += (x[channel * 64 + (r + dr) * 8 + c + dc] as number) * (w[o * 27 + i] as number);
        }
        out.push(sum);
      }
    }
  }
  return out;
}
