import { GraphBuilder, type Model, PareError, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel } from '../../../test/run-model.js';
import { countMacs, countParameters } from './cost.js';
import { type PruneChannelsOptions, pruneChannels } from './prune-channels.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Convolutions of 16, 24, 32 and 16 channels with BatchNormalization, then a classifier; weights of growing size. */
function network(): Model {
  const b = new GraphBuilder();
  let x = b.input('x', 'float32', ['n', 3, 8, 8]);
  let from = 3;
  for (const [i, to] of [16, 24, 32, 16].entries()) {
    const vectors = [1, 0.1, 0.1, 0].map((scale) => b.random([to], { scale }));
    const variance = b.op('Exp', [vectors.pop() as Value]);
    x = b.op('Conv', [x, b.random([to, from, 3, 3], { scale: 0.1 * (i + 1) })], { pads: [1, 1, 1, 1] });
    x = b.op('Relu', [b.op('BatchNormalization', [x, ...vectors, variance])]);
    from = to;
  }
  const flat = b.op('Flatten', [b.op('GlobalAveragePool', [x])]);
  const y = b.op('Gemm', [flat, b.random([16, 10]), b.random([10])]);
  return b.output('y', y, 'float32', ['n', 10]).model({ opset: 17 });
}

async function pruned(options: PruneChannelsOptions): Promise<{ model: Model; notes: string; widths: number[] }> {
  const model = network();
  const [result] = await model.transform(pruneChannels(options), { engine });
  const convs = [...model.graph.nodes()].filter((node) => node.is('Conv'));
  const widths = convs.map(({ inputs }) => inputs[1]?.constant?.dims[0] as number);
  return { model, notes: result?.notes.join('\n') ?? '', widths };
}

describe('goals', () => {
  it('are reached, and passed by less than the last unit brings', async () => {
    const before = network();
    const macs = await pruned({ goal: { macs: 0.5 } });
    const left = countMacs(macs.model, {}) / countMacs(before, {});
    expect(left).toBeLessThanOrEqual(0.5);
    expect(left).toBeGreaterThan(0.45);
    const parameters = await pruned({ goal: { parameters: 0.3 } });
    const kept = countParameters(parameters.model) / countParameters(before);
    expect(kept).toBeLessThanOrEqual(0.7);
    expect(kept).toBeGreaterThan(0.65);
    const channels = await pruned({ goal: { channels: 0.25 } });
    expect(channels.widths.reduce((a, b) => a + b)).toBe(88 * 0.75);
    expect(channels.notes).toContain('25.0 % of the channels went');
  });

  it('of latency are measured, by the caller or by the engine', async () => {
    let asked = 0;
    const measure = async (model: Model): Promise<number> => {
      asked++;
      return 5 + countParameters(model);
    };
    const { model } = await pruned({ goal: { latency: 0.4, measure } });
    expect(5 + countParameters(model)).toBeLessThanOrEqual(0.6 * (5 + countParameters(network())));
    expect(asked).toBeLessThan(12);
    await expect(pruned({ goal: { latency: 0.4 } })).rejects.toThrow(/give `samples`/);
    // A share that any smaller network reaches.
    const { widths } = await pruned({
      goal: { latency: 0.01 },
      samples: [{ x: normal([8, 3, 8, 8]) }],
      reconstruct: false,
    });
    expect(widths.reduce((a, b) => a + b)).toBeLessThan(88);
  });

  it('that are none are refused', () => {
    const goals = [{}, { macs: 0.5, channels: 0.5 }, { macs: 0 }, { macs: 1 }, { channels: Number.NaN }];
    for (const goal of goals) expect(() => pruneChannels({ goal: goal as { macs: number } })).toThrow(PareError);
  });

  it('that cannot be reached leave the model as it was', async () => {
    const model = network();
    const size = countParameters(model);
    const goal = pruneChannels({ goal: { macs: 0.9 }, keepAtLeast: 12 });
    await expect(model.transform(goal)).rejects.toThrow(
      /^At most \d+\.\d % of the multiply-accumulates can go, not 90\.0 %/,
    );
    expect(countParameters(model)).toBe(size);
  });
});

describe('rankings', () => {
  it('uniform: the same share of each layer', async () => {
    expect((await pruned({ goal: { channels: 0.5 }, ranking: 'uniform' })).widths).toEqual([8, 12, 16, 8]);
  });

  it('isomorphic: the same share of each kind, by scores as they are', async () => {
    const { widths } = await pruned({ goal: { channels: 0.4 }, ranking: 'isomorphic' });
    // The first three are of a kind; the last goes into the classifier.
    const [a = 0, b = 0, c = 0, last = 0] = widths;
    expect((a + b + c) / 72).toBeCloseTo(0.6, 1);
    expect(last / 16).toBeCloseTo(0.6, 1);
  });

  it('keep channels in round numbers, and as many as they are told', async () => {
    for (const ranking of ['global', 'uniform', 'isomorphic'] as const) {
      const { widths } = await pruned({ goal: { macs: 0.5 }, ranking, roundTo: 8, keepAtLeast: 8 });
      for (const width of widths) expect([8, 16, 24, 32]).toContain(width);
    }
  });
});

it('leaves what is excluded, and says so', async () => {
  const { widths, notes } = await pruned({ goal: { channels: 0.3 }, exclude: [/^Conv_out_1$/] });
  expect(widths[1]).toBe(24);
  expect(notes).toContain('The channels of Conv "Conv_out_1" stay: Conv "Conv_out_1" is excluded.');
});

it('takes only what is included', async () => {
  const { widths } = await pruned({ goal: { channels: 0.3 }, include: ['Conv_out_2'] });
  expect(widths.toSpliced(2, 1)).toEqual([16, 24, 16]);
  expect(widths[2]).toBeLessThan(32);
});

it('repairs with samples, better than without', async () => {
  const samples = [1, 2, 3, 4].map((seed) => ({ x: normal([8, 3, 8, 8], seed) }));
  const test = { x: normal([32, 3, 8, 8], 99) };
  const truth = (await runModel(engine, network(), test)).y?.data as Float32Array;
  const errorOf = async (options: Partial<PruneChannelsOptions>): Promise<number> => {
    const { model } = await pruned({ goal: { channels: 0.3 }, ...options });
    const found = (await runModel(engine, model, test)).y?.data as Float32Array;
    return truth.reduce((sum, v, i) => sum + (v - (found[i] as number)) ** 2, 0);
  };
  const plain = await errorOf({});
  expect(await errorOf({ samples, reestimate: false })).toBeLessThan(0.9 * plain);
  expect(await errorOf({ samples })).toBeLessThan(0.9 * plain);
});
