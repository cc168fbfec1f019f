import { GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel } from '../../../test/run-model.js';
import { channelGroups, type Removal, removeChannels } from './groups.js';
import { reconstructChannels } from './reconstruct.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Weights [rows, columns...] where each row of `factors` is the row before times its factor. */
function dependent(b: GraphBuilder, dims: readonly number[], factors: Readonly<Record<number, number>>): Value {
  const weight = b.random(dims);
  const data = Float32Array.from(weight.initializer?.numbers() ?? []);
  const row = data.length / (dims[0] as number);
  for (const [to, factor] of Object.entries(factors)) {
    for (let i = Number(to) * row; i < (Number(to) + 1) * row; i++) data[i] = factor * (data[i - row] as number);
  }
  b.graph.setInitializer(weight, Tensor.of('float32', dims, data));
  return weight;
}

async function errorOf(model: Model, dims: readonly number[], removal: Removal, reconstruct: boolean): Promise<number> {
  const samples = [1, 2, 3, 4].map((seed) => ({ x: normal(dims, seed) }));
  const test = { x: normal(dims, 9) };
  const pruned = model.clone();
  if (reconstruct) expect(await reconstructChannels(pruned, removal, { engine, samples, damping: 1e-7 })).toEqual([]);
  removeChannels(pruned, removal);
  const [a, b] = [await runModel(engine, model, test), await runModel(engine, pruned, test)];
  const [truth, found] = [a.y?.data, b.y?.data] as [Float32Array, Float32Array];
  return Math.sqrt(
    truth.reduce((s, v, i) => s + (v - (found[i] as number)) ** 2, 0) / truth.reduce((s, v) => s + v * v, 0),
  );
}

describe('channels that others can make up for', () => {
  it.each(['plain', 'grouped', 'transposed'])('go without a trace: %s convolution', async (kind) => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['n', 3, 6, 6]);
    // Relu keeps the proportion of channel 5 to channel 4, and of 1 to 0.
    const hidden = b.op('Relu', [b.op('Conv', [x, dependent(b, [8, 3, 3, 3], { 1: 0.5, 5: 2 })])]);
    const y =
      kind === 'transposed'
        ? b.op('ConvTranspose', [hidden, b.random([8, 2, 3, 3])], { group: 2 })
        : kind === 'grouped'
          ? b.op('Conv', [hidden, b.random([6, 4, 3, 3])], { pads: [1, 1, 1, 1], group: 2 })
          : b.op('Conv', [hidden, b.random([6, 8, 3, 3])], { pads: [1, 1, 1, 1] });
    const model = b.output('y', y, 'float32').model({ opset: 17 });
    // With two groups, column 1 of both goes at once: channels 1 and 5.
    const removal = channelGroups(model).groups.map(({ members }) =>
      [...(members[0]?.indices.keys() ?? [])].filter((unit) =>
        members[0]?.indices[unit]?.every((i) => i === 1 || i === 5),
      ),
    );
    expect(removal.flat().length).toBe(kind === 'plain' ? 2 : 1);
    expect(await errorOf(model, [2, 3, 6, 6], removal, false)).toBeGreaterThan(0.05);
    expect(await errorOf(model, [2, 3, 6, 6], removal, true)).toBeLessThan(1e-3);
  });

  it('leave their mean in the bias, which may be new', async () => {
    for (const bias of [true, false]) {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', ['n', 5]);
      // Hidden unit 2 has no weights: it is constant.
      const w = dependent(b, [6, 5], { 2: 0 });
      const constant = Tensor.of('float32', [6], [0, 0, 3, 0, 0, 0]);
      const hidden = b.op('Relu', [b.op('Gemm', [x, w, b.constant(constant)], { transB: 1 })]);
      const last = bias ? [b.random([4])] : [];
      const y = b.op('Gemm', [hidden, b.random([6, 4]), ...last]);
      const model = b.output('y', y, 'float32').model({ opset: 17 });
      expect(await errorOf(model, [16, 5], [[2]], false)).toBeGreaterThan(0.1);
      expect(await errorOf(model, [16, 5], [[2]], true)).toBeLessThan(1e-3);
    }
  });
});

it('makes up for what the layers before still lack, layer after layer', async () => {
  const b = new GraphBuilder({ seed: 5 });
  let x = b.input('x', 'float32', ['n', 8]);
  for (let i = 0; i < 4; i++) x = b.op('Tanh', [b.op('Gemm', [x, b.random([i === 0 ? 8 : 16, 16], { scale: 0.2 })])]);
  const model = b.output('y', b.op('MatMul', [x, b.random([16, 4])]), 'float32').model({ opset: 17 });
  const removal = channelGroups(model).groups.map(() => [0, 3, 4, 9, 10]);
  const samples = [{ x: normal([300, 8], 1) }];
  const test = { x: normal([100, 8], 2) };
  const truth = (await runModel(engine, model, test)).y?.data as Float32Array;
  const errors = [];
  for (const sequential of [undefined, false, true]) {
    const pruned = model.clone();
    const passes: number[] = [];
    const options = { engine, samples, onProgress: (done: number) => passes.push(done) };
    if (sequential !== undefined) await reconstructChannels(pruned, removal, { ...options, sequential });
    removeChannels(pruned, removal);
    const found = (await runModel(engine, pruned, test)).y?.data as Float32Array;
    errors.push(truth.reduce((sum, v, i) => sum + (v - (found[i] as number)) ** 2, 0));
    expect(passes).toEqual(sequential === undefined ? [] : sequential ? [1, 2, 3, 4] : [1]);
  }
  const [plain = 0, once = 0, sequential = 0] = errors;
  expect(once).toBeLessThan(plain);
  expect(sequential).toBeLessThan(0.9 * once);
});

it('is at the optimum: no other weights of the layer behind come nearer on the samples', async () => {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 6]);
  const hidden = b.op('Tanh', [b.op('MatMul', [x, b.random([6, 10])])]);
  const model = b.output('y', b.op('MatMul', [hidden, b.random([10, 3])]), 'float32').model({ opset: 17 });
  const sample = { x: normal([200, 6], 4) };
  const removal = [[1, 4, 7, 8]];
  const pruned = model.clone();
  await reconstructChannels(pruned, removal, { engine, samples: [sample], damping: 1e-9 });
  removeChannels(pruned, removal);
  const truth = (await runModel(engine, model, sample)).y?.data as Float32Array;
  const errorWith = async (change: number, at: number): Promise<number> => {
    const copy = pruned.clone();
    const weight = [...copy.graph.initializers].find(({ initializer }) => `${initializer?.dims}` === '6,3') as Value;
    const data = Float32Array.from(weight.initializer?.numbers() ?? []);
    data[at] = (data[at] as number) + change;
    copy.graph.setInitializer(weight, Tensor.of('float32', [6, 3], data));
    const found = (await runModel(engine, copy, sample)).y?.data as Float32Array;
    return truth.reduce((sum, v, i) => sum + (v - (found[i] as number)) ** 2, 0);
  };
  const error = await errorWith(0, 0);
  for (const at of [0, 5, 10, 17]) {
    expect(await errorWith(0.05, at)).toBeGreaterThan(error);
    expect(await errorWith(-0.05, at)).toBeGreaterThan(error);
  }
});
