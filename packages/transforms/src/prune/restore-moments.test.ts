import { type Feeds, float, GraphBuilder, type HostTensor, type Model, Tensor, tensorType } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../../test/run-model.js';
import { pruneWeights } from './prune-weights.js';
import { restoreMoments } from './restore-moments.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Layers of each kind; `with` and without a bias. */
function network(): Model {
  const b = new GraphBuilder({ seed: 3 });
  const vector = (n: number): Tensor => Tensor.of('float32', [n], normal([n], n, 0.3).data as Float32Array);
  const x = b.input('x', 'float32', ['n', 3, 8, 8]);
  const layer = (name: string, op: string, inputs: Parameters<GraphBuilder['op']>[1], attributes = {}) =>
    b.node(op, inputs, attributes, { name, outputs: [name] }).output;
  const conv = layer('conv', 'Conv', [x, b.random([16, 3, 3, 3])], { pads: [1, 1, 1, 1] });
  const grouped = layer('grouped', 'Conv', [b.op('Relu', [conv]), b.random([16, 8, 3, 3]), vector(16)], { group: 2 });
  const up = layer('up', 'ConvTranspose', [b.op('Relu', [grouped]), b.random([16, 6, 2, 2])], {
    group: 2,
    strides: [2, 2],
  });
  const flat = b.op('Flatten', [b.op('GlobalAveragePool', [b.op('Relu', [up])])]);
  const gemm = layer('gemm', 'Gemm', [flat, b.random([20, 12]), vector(20)], {
    transB: 1,
    alpha: float(2),
    beta: float(0.5),
  });
  const product = b.op('MatMul', [b.op('Relu', [gemm]), b.random([20, 7])]);
  const added = layer('added', 'Add', [b.constant(vector(7)), product]);
  return b.output('y', b.op('Relu', [added]), 'float32', ['n', 7]).model({ opset: 17 });
}

const LAYERS = ['conv', 'grouped', 'up', 'gemm', 'added'] as const;
const samples: Feeds[] = Array.from({ length: 4 }, (_, i) => ({ x: normal([6, 3, 8, 8], i + 1) }));

/** Mean and deviation of each channel (axis 1) of each layer over all samples, number by number. */
async function moments(model: Model): Promise<Map<string, { readonly mean: number[]; readonly deviation: number[] }>> {
  const copy = model.clone();
  for (const name of LAYERS) {
    const value = copy.graph.value(name)!;
    value.type ??= tensorType('float32');
    copy.graph.addOutput(value);
  }
  const seen = new Map<string, number[][]>();
  for (const sample of samples) {
    const outputs = await runModel(engine, copy, sample);
    for (const name of LAYERS) {
      const { data, dims } = outputs[name] as HostTensor;
      const inner = dims.slice(2).reduce((a, d) => a * d, 1);
      const channels = seen.get(name) ?? Array.from({ length: dims[1]! }, () => []);
      seen.set(name, channels);
      for (const [i, v] of (data as Float32Array).entries()) channels[Math.floor(i / inner) % dims[1]!]!.push(v);
    }
  }
  const average = (values: readonly number[]): number => values.reduce((a, v) => a + v, 0) / values.length;
  return new Map(
    [...seen].map(([name, channels]) => {
      const mean = channels.map(average);
      const deviation = channels.map((values, c) => Math.sqrt(average(values.map((v) => (v - mean[c]!) ** 2))));
      return [name, { mean, deviation }];
    }),
  );
}

async function zerosOf(model: Model): Promise<boolean[][]> {
  const weights = [...model.graph.nodes()].flatMap((node) => {
    const tensor = node.inputs[1]?.constant;
    return tensor && node.opType !== 'Add' ? [tensor] : [];
  });
  return Promise.all(weights.map(async (w) => Array.from((await w.toArray()) as Float32Array, (v) => v === 0)));
}

describe('restoreMoments', () => {
  it('gives each layer the means and deviations of the reference, with the same zeros in the same graph', async () => {
    const dense = network();
    const model = network();
    await model.transform(pruneWeights({ sparsity: 0.4, distribution: 'uniform' }));
    const zeros = await zerosOf(model);
    const [result] = await model.transform(restoreMoments({ reference: dense, samples }), { engine });
    expect(result).toMatchObject({ changed: 5, notes: [expect.stringMatching(/of 5 layers .* in 5 passes/)] });
    const [wanted, got] = [await moments(dense), await moments(model)];
    for (const name of LAYERS) {
      const { mean, deviation } = wanted.get(name)!;
      const scale = Math.max(...deviation);
      for (const [c, m] of mean.entries()) {
        expect(Math.abs(got.get(name)!.mean[c]! - m) / scale, `${name} ${c}`).toBeLessThan(1e-4);
        expect(Math.abs(got.get(name)!.deviation[c]! - deviation[c]!) / scale, `${name} ${c}`).toBeLessThan(1e-4);
      }
    }
    expect(await zerosOf(model)).toEqual(zeros);
    expect([...model.graph.nodes()].map((node) => node.opType)).toEqual(
      [...dense.graph.nodes()].map((node) => node.opType),
    );
  });

  it('leaves an unchanged model as it answers', async () => {
    const model = network();
    await model.transform(restoreMoments({ reference: network(), samples }), { engine });
    const [truth, test] = [await runModel(engine, network(), samples[0]!), await runModel(engine, model, samples[0]!)];
    expect(sqnr(truth.y, test.y)).toBeGreaterThan(90);
  });

  it('comes after pruning where there are samples and an engine, and pays', async () => {
    const truth = await runModel(engine, network(), { x: normal([6, 3, 8, 8], 9) });
    const quality = async (restore?: boolean): Promise<number> => {
      const model = network();
      await model.transform(pruneWeights({ sparsity: 0.4, samples, restore }), { engine });
      return sqnr(truth.y, (await runModel(engine, model, { x: normal([6, 3, 8, 8], 9) })).y);
    };
    expect(await quality()).toBe(await quality(true));
    expect(await quality()).toBeGreaterThan((await quality(false)) + 2);
  });

  it('keeps a channel that lost all its weights at its mean, and tied weights as they are', async () => {
    const b = new GraphBuilder({ seed: 1 });
    const x = b.input('x', 'float32', ['n', 4]);
    const tied = b.random([4, 4], { name: 'tied' });
    const twice = b.op('Gemm', [b.op('Gemm', [x, tied]), tied]);
    const dead = Tensor.of('float32', [4, 2], [1, 0, 1, 0, 1, 0, 1, 0]);
    const model = b.output('y', b.op('Gemm', [twice, dead]), 'float32', ['n', 2]).model();
    const reference = model.clone();
    const value = reference.graph.value(model.graph.last!.inputs[1]!.name)!;
    reference.graph.setInitializer(value, Tensor.of('float32', [4, 2], [1, 1, 1, 2, 1, 3, 1, 4]));
    const inputs = [{ x: normal([16, 4], 5) }];
    const [result] = await model.transform(restoreMoments({ reference, samples: inputs }), { engine });
    expect(result?.changed).toBe(1);
    const [y, wanted] = await Promise.all(
      [model, reference].map(async (m) => (await runModel(engine, m, inputs[0]!)).y),
    );
    const second = (t: HostTensor | undefined): number[] =>
      Array.from(t!.data as Float32Array).filter((_, i) => i % 2 === 1);
    const mean = second(wanted).reduce((a, v) => a + v, 0) / 16;
    for (const v of second(y)) expect(v).toBeCloseTo(mean, 4);
  });

  it('needs an engine, and samples that can be read again', async () => {
    function* once(): Generator<Feeds> {
      yield* samples;
    }
    const restore = restoreMoments({ reference: network(), samples });
    await expect(network().transform(restore)).rejects.toMatchObject({ code: 'bad-option' });
    const pruned = (options: object): Promise<unknown> =>
      network().transform(pruneWeights({ sparsity: 0.5, ...options }), { engine });
    await expect(pruned({ samples: once() })).rejects.toThrow('read several times');
    await expect(pruned({ restore: true })).rejects.toThrow('give samples');
    await expect(pruned({ samples: [] })).rejects.toMatchObject({ code: 'bad-data' });
    // One pass is enough for the score alone.
    await pruned({ samples: once(), score: 'wanda', restore: false });
  });
});
