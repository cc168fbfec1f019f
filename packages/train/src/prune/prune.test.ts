import { datasetOf, type Feeds, GraphBuilder, type Model, type Sample, seededRandom, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { iterativeSchedule, oneShotSchedule } from '@pare/transforms';
import { afterAll, describe, expect, it } from 'vitest';
import { decodeCheckpoint, encodeCheckpoint } from '../checkpoint.js';
import { combine, crossEntropy } from '../loss/index.js';
import { constantSchedule } from '../schedule/index.js';
import { train } from '../train.js';
import type { CheckpointStore, TrainOptions } from '../train-options.js';
import { lossGradients } from './gradients.js';
import { slimming } from './slimming.js';
import { trainSparse } from './train-sparse.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const constant = (b: GraphBuilder, size: number, value: number, name: string) =>
  b.constant(Tensor.of('float32', [size], new Float32Array(size).fill(value)), name);

/** 8 numbers -> 24 with BatchNormalization -> 4 classes. */
function network(): Model {
  const b = new GraphBuilder({ seed: 2 });
  const h = b.op('MatMul', [b.input('x', 'float32', ['batch', 8]), b.random([8, 24], { name: 'w1' })]);
  const norm = [1, 0, 0, 1].map((v, i) => constant(b, 24, v, `norm${i}`));
  const relu = b.op('Relu', [b.op('BatchNormalization', [h, ...norm])]);
  return b.output('logits', b.op('MatMul', [relu, b.random([24, 4], { name: 'w2' })])).model();
}

function samples(count: number, seed: number): Sample[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, () => {
    const data = Float32Array.from({ length: 8 }, () => random.normal());
    const label = ((data[0] as number) > 0 ? 1 : 0) + ((data[1] as number) > 0 ? 2 : 0);
    return { inputs: { x: { dtype: 'float32', dims: [8], data } }, label };
  });
}

const settings: Omit<TrainOptions, 'loss'> & { loss: TrainOptions['loss'] } = {
  engine,
  data: datasetOf(samples(256, 1), { name: 'quadrants' }),
  validation: datasetOf(samples(128, 2), { name: 'held out' }),
  loss: crossEntropy(),
  epochs: 6,
  batchSize: 32,
  schedule: () => constantSchedule(0.01),
};

const zeros = (model: Model, name: string): number =>
  (model.graph.value(name)?.initializer?.numbers() ?? []).filter((v) => v === 0).length;

describe('trainSparse', () => {
  it.each([
    ['gradually', undefined],
    ['in rounds', (share: number) => iterativeSchedule(share, 3)],
    ['at once', (share: number) => oneShotSchedule(share)],
  ] as const)('prunes %s to exactly the share, keeps it, and still answers', async (_, course) => {
    const model = network();
    const result = await trainSparse(model, { ...settings, sparsity: { sparsity: 0.75 }, course });
    expect(zeros(model, 'w1') + zeros(model, 'w2')).toBe(Math.round(0.75 * (8 * 24 + 24 * 4)));
    expect(result.epochs.at(-1)?.score).toBeGreaterThan(0.55);
  });

  it('keeps no weights from before the share was complete', async () => {
    const { best } = await trainSparse(network(), { ...settings, sparsity: { sparsity: 0.9 } });
    expect(best).toBeGreaterThan(4);
    await expect(
      trainSparse(network(), {
        ...settings,
        sparsity: { sparsity: 0.9 },
        course: (share) => oneShotSchedule(share, 1),
      }),
    ).rejects.toThrow('Let it end earlier');
  });

  it('resumes to the same bits, masks included', async () => {
    const kept: { checkpoint?: Uint8Array[] } = {};
    const store: CheckpointStore = {
      save: async (checkpoint) => {
        kept.checkpoint = encodeCheckpoint(checkpoint).map((bytes) => bytes.slice());
      },
      latest: async () => kept.checkpoint && decodeCheckpoint(Uint8Array.from(Buffer.concat(kept.checkpoint))),
    };
    const sparsity = { sparsity: 0.8 };
    const [whole, resumed] = [network(), network()];
    await trainSparse(whole, { ...settings, sparsity });
    const stop = new AbortController();
    const onProgress = ({ step }: { readonly step: number }): void => {
      if (step === 19) stop.abort();
    };
    const checkpoints = { store, every: 0 };
    const broken = trainSparse(network(), { ...settings, sparsity, checkpoints, signal: stop.signal, onProgress });
    await expect(broken).rejects.toMatchObject({ code: 'aborted' });
    await trainSparse(resumed, { ...settings, sparsity, checkpoints: { store, resume: true } });
    for (const name of ['w1', 'w2', 'norm0', 'norm2']) {
      expect(resumed.graph.value(name)?.initializer?.bytes).toEqual(whole.graph.value(name)?.initializer?.bytes);
    }
  });

  it('keeps an N:M pattern while it trains', async () => {
    const model = network();
    await trainSparse(model, { ...settings, sparsity: { pattern: '2:4' } });
    const w = model.graph.value('w1')?.initializer?.numbers() ?? [];
    for (let out = 0; out < 24; out++) {
      for (let block = 0; block < 2; block++) {
        const four = [0, 1, 2, 3].map((i) => w[(block * 4 + i) * 24 + out]);
        expect(four.filter((v) => v !== 0).length).toBe(2);
      }
    }
  });
});

describe('lossGradients', () => {
  it('gives the gradient of the mean loss: differences of the loss agree', async () => {
    const model = network();
    const data = datasetOf(samples(64, 3), { name: 'few' });
    const gradients = await lossGradients(model, { engine, data, loss: crossEntropy(), samples: 64 });
    const lossAt = async (by: number): Promise<number> => {
      const copy = model.clone();
      const value = copy.graph.value('w2');
      const numbers = Float32Array.from(value?.initializer?.numbers() ?? []);
      numbers[5] = (numbers[5] as number) + by;
      if (value) copy.graph.setInitializer(value, Tensor.of('float32', [24, 4], numbers));
      const session = await engine.open(copy);
      let sum = 0;
      for (const { inputs, label } of samples(64, 3)) {
        const x = { ...(inputs.x as NonNullable<typeof inputs.x>), dims: [1, 8] };
        const { logits } = await session.run({ x } satisfies Feeds);
        const row = Array.from(logits?.data as Float32Array);
        sum += Math.log(row.reduce((s, v) => s + Math.exp(v), 0)) - (row[label as number] as number);
      }
      await session.close();
      return sum / 64;
    };
    const numeric = ((await lossAt(0.05)) - (await lossAt(-0.05))) / 0.1;
    expect(gradients.get('w2')?.[5]).toBeCloseTo(numeric, 3);
  });
});

describe('slimming', () => {
  it('draws the scales of BatchNormalization towards zero', async () => {
    const gammas = async (weight: number): Promise<number> => {
      const model = network();
      const loss = combine([
        [1, crossEntropy()],
        [weight, slimming(model)],
      ]);
      await train(model, { ...settings, loss });
      return (model.graph.value('norm0')?.initializer?.numbers() ?? []).reduce((sum, v) => sum + Math.abs(v), 0);
    };
    expect(await gammas(0.1)).toBeLessThan((await gammas(1e-9)) - 3);
    const b = new GraphBuilder();
    b.output('y', b.op('Relu', [b.input('x', 'float32', [1])]));
    expect(() => slimming(b.model())).toThrow('no BatchNormalization');
  });
});
