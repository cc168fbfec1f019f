import { type Feeds, GraphBuilder, type Model, type Node, serializeModel, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { calibrate } from './calibrate.js';
import { Calibration } from './calibration-result.js';
import { type QuantizeStaticOptions, quantizeStatic } from './static.js';

const engine = nodeEngine();
afterAll(() => engine.close());

function uniform(count: number, seed: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 31 - 1;
  });
}
const samples: Feeds[] = Array.from({ length: 6 }, (_, i) => ({
  x: { dtype: 'float32', dims: [1, 3, 8, 8], data: uniform(192, i + 1) },
}));
const image = (b: GraphBuilder): Value => b.input('x', 'float32', ['n', 3, 8, 8]);
const conv = (b: GraphBuilder, x: Value, inputs: number, outputs: number, name = ''): Value =>
  b.node('Conv', [x, b.random([outputs, inputs, 3, 3]), b.random([outputs])], { pads: [1, 1, 1, 1] }, { name }).output;

const nodesOf = (model: Model, opType: string): Node[] => [...model.graph.nodes()].filter((n) => n.opType === opType);
const bytesOf = (model: Model): Promise<Uint8Array> => serializeModel(model).file.bytes();

async function quantized(model: Model, options: Partial<QuantizeStaticOptions> = {}): Promise<Model> {
  const copy = model.clone();
  await copy.transform(quantizeStatic({ samples, method: 'min-max', ...options }), { engine });
  return copy;
}

async function answers(model: Model): Promise<number[]> {
  const session = await engine.open(model, { optimization: 'disabled' });
  const all: number[] = [];
  for (const feeds of samples) {
    for (const { data } of Object.values(await session.run(feeds))) all.push(...(data as Float32Array));
  }
  await session.close();
  return all;
}

/** Names of the scale and zero point with which the reader `node` sees its input. */
const parametersRead = (node: Node, index = 0): (string | undefined)[] =>
  (node.inputs[index]?.producer?.inputs ?? []).slice(1, 3).map((v) => v?.name);
/** Those with which what `node` gives is quantized. */
const parametersWritten = (node: Node): (string | undefined)[] =>
  (node.output.consumers[0]?.inputs ?? []).slice(1, 3).map((v) => v?.name);

describe('the QDQ form', () => {
  it.each([
    ['Relu', [], 0, undefined],
    ['Clip', [0, 0.25], 0, 0.25],
    ['Clip', [-0.25, 0.5], -0.25, 0.5],
  ] as const)('has %s%j done by saturation, and its bounds as the range', async (opType, bounds, low, high) => {
    const b = new GraphBuilder({ seed: 1 });
    const a = b.op(opType, [conv(b, image(b), 3, 4), ...bounds.map((v) => b.constant(Tensor.of('float32', [], [v])))]);
    const model = b.output('y', conv(b, a, 4, 2)).model();
    const integer = await quantized(model);
    expect(nodesOf(integer, opType)).toHaveLength(0);
    const [first] = nodesOf(integer, 'Conv');
    const [scale, zeroPoint] = await Promise.all(
      (first?.output.consumers[0]?.inputs.slice(1) ?? []).map(async (v) =>
        Number((await v?.initializer?.toArray())?.[0]),
      ),
    );
    const [s, z] = [scale as number, zeroPoint as number];
    expect(Math.abs((0 - z) * s - low)).toBeLessThanOrEqual(s / 2);
    if (high !== undefined) expect(Math.abs((255 - z) * s - high)).toBeLessThanOrEqual(s / 2);
    const [expected, got] = [await answers(model), await answers(integer)];
    const largest = Math.max(...expected.map(Math.abs));
    for (const [i, v] of got.entries()) expect(Math.abs(v - (expected[i] as number))).toBeLessThan(0.05 * largest);
  });

  it('keeps a Relu that a range around zero does not do the work of', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const model = b.output('y', conv(b, b.op('Relu', [conv(b, image(b), 3, 4)]), 4, 2)).model();
    expect(nodesOf(await quantized(model, { activations: 'int8', symmetric: true }), 'Relu')).toHaveLength(1);
  });

  it('gives MaxPool one scale for both sides, and Concat one for all that only it reads', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const a = conv(b, image(b), 3, 4);
    const pooled = b.op('MaxPool', [conv(b, a, 4, 4)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
    const joined = b.op('Concat', [pooled, conv(b, a, 4, 2, 'joined')], { axis: 1 });
    const integer = await quantized(b.output('y', conv(b, joined, 6, 2)).model());
    const [pool] = nodesOf(integer, 'MaxPool') as [Node];
    expect(parametersWritten(pool)).toEqual(parametersRead(pool));
    const [concat] = nodesOf(integer, 'Concat') as [Node];
    expect(parametersRead(concat, 1)).toEqual(parametersWritten(concat));
    expect(parametersRead(concat, 0)).toEqual(parametersRead(pool));
    expect(parametersRead(concat, 0)).not.toEqual(parametersWritten(concat));
  });

  it('quantizes once what two convolutions and a graph output read', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const a = conv(b, image(b), 3, 4, 'shared');
    const model = b
      .output('a', a, 'float32')
      .output('y', conv(b, a, 4, 2), 'float32')
      .output('z', conv(b, a, 4, 2), 'float32')
      .model();
    const integer = await quantized(model);
    const written = nodesOf(integer, 'QuantizeLinear').map((n) => n.inputs[0]?.producer?.name || n.inputs[0]?.name);
    expect(written.filter((name) => name === 'shared')).toHaveLength(1);
    expect(written.filter((name) => name === 'x')).toHaveLength(1);
    expect(integer.graph.outputs.map((v) => [v.name, v.dtype])).toEqual(
      ['a', 'y', 'z'].map((name) => [name, 'float32']),
    );
  });

  it('leaves the nodes of a branch as they are, and gives them what they capture', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const a = conv(b, image(b), 3, 4);
    const branch = (name: string): GraphBuilder => {
      const inner = new GraphBuilder({ name, outer: b, seed: name.length });
      return inner.output(`${name}_out`, conv(inner, a, 4, 2), 'float32');
    };
    const yes = b.constant(Tensor.of('bool', [], [1]));
    const y = b.op('If', [yes], { then_branch: branch('yes').graph, else_branch: branch('no').graph });
    const model = b.output('y', y, 'float32').model();
    const integer = await quantized(model);
    const inner = [...integer.graph.graphs()].filter((g) => g !== integer.graph);
    expect(inner.map((g) => [...g.nodes()].map((n) => n.opType))).toEqual([['Conv'], ['Conv']]);
    // The branch adds no rounding of its own: what it reads differs by half a step at most, times its weights.
    const step = (await scaleOf(integer, 'Conv_out')) / 2;
    const [then] = inner as [(typeof inner)[0]];
    const weight = (await [...then.nodes()][0]?.inputs[1]?.initializer?.toArray()) as Float32Array;
    const gain = Math.max(
      ...[0, 1].map((o) => weight.slice(o * 36, (o + 1) * 36).reduce((m, v) => m + Math.abs(v), 0)),
    );
    const [expected, got] = [await answers(model), await answers(integer)];
    const errors = got.map((v, i) => Math.abs(v - (expected[i] as number)));
    // The captured values themselves come from an integer convolution, whose input and weight are rounded too.
    expect(Math.max(...errors)).toBeLessThan(3 * step * gain);
    expect(Math.max(...errors)).toBeGreaterThan(0);
  });

  it('shrinks the file to about a quarter, wherever the weights are held', async () => {
    const held = (how: 'initializer' | 'constant' | 'identity'): Model => {
      const b = new GraphBuilder({ seed: 1 });
      const [w, v] = [uniform(64 * 27, 1), uniform(64 * 64 * 9, 2)].map((data, i) => {
        const tensor = Tensor.of('float32', [64, i === 0 ? 3 : 64, 3, 3], data);
        if (how === 'constant') return b.op('Constant', [], { value: tensor });
        return how === 'identity' ? b.op('Identity', [b.constant(tensor)]) : b.constant(tensor);
      }) as [Value, Value];
      const a = b.op('Relu', [b.op('Conv', [image(b), w], { pads: [1, 1, 1, 1] })]);
      return b.output('y', b.op('Conv', [a, v], { pads: [1, 1, 1, 1] })).model();
    };
    const sizes: number[] = [];
    for (const how of ['initializer', 'constant', 'identity'] as const) {
      const model = held(how);
      const size = (await bytesOf(await quantized(model))).length;
      expect(size / (await bytesOf(model)).length, how).toBeLessThan(0.28);
      sizes.push(size);
    }
    // Only names differ.
    expect(Math.max(...sizes) / Math.min(...sizes)).toBeLessThan(1.01);
  });

  it('leaves a model without products as it is, to the byte', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const model = b.output('y', b.op('Softmax', [b.op('Relu', [image(b)])]), 'float32').model();
    const before = await bytesOf(model);
    const [result] = await model.transform(quantizeStatic({ samples, method: 'min-max' }), { engine });
    expect(result?.changed).toBe(0);
    expect(result?.notes.join()).toMatch(/nothing was done/);
    expect(await bytesOf(model)).toEqual(before);
  });

  it('comes out finite and near where one channel is dead and one bias is huge', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const weight = uniform(4 * 27, 3).map((v, i) => (i < 27 ? 0 : i < 54 ? v * 1e-12 : v));
    const a = b.op('Conv', [
      image(b),
      b.constant(Tensor.of('float32', [4, 3, 3, 3], weight)),
      b.constant(Tensor.of('float32', [4], [0, 100, -100, 0.5])),
    ]);
    const model = b.output('y', a, 'float32').model();
    const [expected, got] = [await answers(model), await answers(await quantized(model))];
    const step = (Math.max(...expected) - Math.min(...expected)) / 255;
    for (const [i, v] of got.entries()) expect(Math.abs(v - (expected[i] as number))).toBeLessThan(1.5 * step);
  });
});

describe('a calibration', () => {
  const network = (): Model => {
    const b = new GraphBuilder({ seed: 7 });
    const a = b.op('Relu', [conv(b, image(b), 3, 4)]);
    return b.output('y', conv(b, a, 4, 2), 'float32').model();
  };

  it('gives the same model after a round trip through JSON', async () => {
    const calibration = await calibrate(network(), samples, { engine, method: 'percentile', keyed: true });
    const again = Calibration.fromJSON(JSON.parse(JSON.stringify(calibration.toJSON())));
    const options = { samples: undefined, method: undefined };
    const direct = await quantized(network(), { ...options, calibration });
    const cached = await quantized(network(), { ...options, calibration: again });
    expect(await bytesOf(cached)).toEqual(await bytesOf(direct));
  });

  it('gives the same percentiles in whatever order the samples come', async () => {
    const target = { qmin: 0, qmax: 255, symmetric: false };
    const options = { engine, method: 'percentile', percentile: 99.5 } as const;
    const forth = await calibrate(network(), samples, options);
    const back = await calibrate(network(), samples.toReversed(), options);
    for (const name of forth.tensors.keys()) {
      const [a, c] = [forth.range(name, target), back.range(name, target)];
      // Bins may lie elsewhere when the range grows in another order; they are a thousandth of it at most.
      const bin = (a.hi - a.lo) / 1000;
      expect(Math.abs(a.lo - c.lo), name).toBeLessThanOrEqual(bin);
      expect(Math.abs(a.hi - c.hi), name).toBeLessThanOrEqual(bin);
    }
  });

  it('of another model is refused by the name of what it has not seen, and the model stays', async () => {
    const b = new GraphBuilder({ seed: 7 });
    const other = b.output('y', b.op('MatMul', [b.input('another', 'float32', ['n', 4]), b.random([4, 4])])).model();
    const calibration = await calibrate(network(), samples, { engine, method: 'min-max' });
    const before = await bytesOf(other);
    await expect(other.transform(quantizeStatic({ calibration }), { engine })).rejects.toMatchObject({
      code: 'bad-option',
      message: expect.stringMatching(/has not observed "another"/),
    });
    expect(await bytesOf(other)).toEqual(before);
  });
});

async function scaleOf(model: Model, name: string): Promise<number> {
  const scale = model.graph.value(`${name}_scale`)?.initializer;
  return Number((await scale?.toArray())?.[0]);
}
