import {
  datasetOf,
  type Engine,
  GraphBuilder,
  type Model,
  type Sample,
  type Session,
  seededRandom,
  Tensor,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint } from './checkpoint.js';
import { augment } from './data/index.js';
import { crossEntropy, mse } from './loss/index.js';
import { sgd } from './optimizer/index.js';
import { constantSchedule } from './schedule/index.js';
import { train } from './train.js';
import type { CheckpointStore, TrainOptions } from './train-options.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const floats = (dims: number[], fill: number): Tensor =>
  Tensor.of('float32', dims, new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(fill));

/** Pictures of 6 x 6 -> convolution, BatchNormalization, dropout -> 3 classes. */
function network(): Model {
  const b = new GraphBuilder({ seed: 5 });
  const x = b.input('x', 'float32', ['batch', 1, 6, 6]);
  const conv = b.op('Conv', [x, b.random([6, 1, 3, 3], { name: 'kernel' })], { pads: [1, 1, 1, 1] });
  const norm = [1, 0, 0, 1].map((v, i) => b.constant(floats([6], v), `norm${i}`));
  const pooled = b.op('GlobalAveragePool', [b.op('Relu', [b.op('BatchNormalization', [conv, ...norm])])]);
  const dropped = b.op('Dropout', [b.op('Flatten', [pooled]), floats([], 0.2)]);
  const logits = b.op('Gemm', [dropped, b.random([6, 3], { name: 'head' }), b.constant(floats([3], 0), 'bias')]);
  return b.output('logits', logits).model();
}

/** A bright row, a bright column, or noise. */
function pictures(count: number, seed: number): Sample[] {
  const random = seededRandom(seed);
  return Array.from({ length: count }, (_, n) => {
    const label = n % 3;
    const data = Float32Array.from({ length: 36 }, () => 0.3 * random.normal());
    const at = random.integer(6);
    for (let i = 0; i < 6; i++) {
      if (label === 0) data[at * 6 + i] = 1.5;
      if (label === 1) data[i * 6 + at] = 1.5;
    }
    return { inputs: { x: { dtype: 'float32', dims: [1, 6, 6], data } }, label };
  });
}

const data = datasetOf(pictures(150, 1), { name: 'pictures' });
const validation = datasetOf(pictures(60, 2), { name: 'held out' });
const settings: TrainOptions = {
  engine,
  data,
  validation,
  loss: crossEntropy(),
  epochs: 3,
  batchSize: 32,
  optimizer: sgd({ momentum: 0.9 }),
  schedule: () => constantSchedule(0.1),
  augment: augment({ crop: 1 }),
};

/** The bytes of every weight and statistic. */
function bits(model: Model): string {
  return [...model.graph.initializers]
    .map((v) => `${v.name} ${Buffer.from(v.initializer?.bytes ?? []).toString('hex')}`)
    .join('\n');
}

describe('train', () => {
  it('learns, says how, and leaves the best weights of the validation samples', async () => {
    const model = network();
    const seen: number[] = [];
    const result = await train(model, { ...settings, epochs: 12, onProgress: ({ step }) => seen.push(step) });
    expect(seen).toEqual(Array.from({ length: 48 }, (_, i) => i + 1));
    expect(result).toMatchObject({ score: 'accuracy', steps: 48, samples: 150 });
    expect(result.notes).toEqual(['Each epoch leaves out 22 samples, others each time, that do not fill a batch.']);
    const scores = result.epochs.map((e) => e.score as number);
    expect(scores[result.best - 1]).toBe(Math.max(...scores));
    expect(Math.max(...scores)).toBeGreaterThan(0.85);
    expect(
      model.graph
        .value('norm2')
        ?.initializer?.numbers()
        ?.some((v) => v !== 0),
    ).toBe(true);
  });

  it('keeps the model as it came when no epoch scores better', async () => {
    const model = network();
    await train(model, { ...settings, epochs: 12 });
    const trained = bits(model);
    const { best, start, epochs } = await train(model, {
      ...settings,
      epochs: 2,
      schedule: () => constantSchedule(50),
    });
    expect(Math.max(...epochs.map(({ score = 1 }) => score))).toBeLessThan(start ?? 0);
    expect(best).toBe(0);
    expect(bits(model)).toBe(trained);
  });

  it('sets samples apart to judge on when it is told how many', async () => {
    const { epochs, samples } = await train(network(), { ...settings, validation: 30 });
    expect(samples).toBe(120);
    expect(epochs.every((epoch) => Number.isInteger(Math.round((epoch.score ?? 0.5) * 30 * 1e6) / 1e6))).toBe(true);
  });

  it('gives the same bits with the same seed, in one part or two run at the same time, and others with another', async () => {
    const trained = async (more: Partial<TrainOptions>): Promise<string> => {
      const model = network();
      await train(model, { ...settings, ...more });
      return bits(model);
    };
    const first = await trained({ shards: 2 });
    expect(await trained({ shards: 2 })).toBe(first);
    expect(await trained({ shards: 2, seed: 2 })).not.toBe(first);
  });

  it('resumes to the bits of a run that was not interrupted, wherever it broke off', async () => {
    const whole = network();
    const undisturbed = await train(whole, { ...settings, average: 0.9 });
    for (const at of [1, 5, 8, 11]) {
      const store = memoryStore();
      const stop = new AbortController();
      const broken = network();
      const run = train(broken, {
        ...settings,
        average: 0.9,
        checkpoints: { store, every: 0 },
        signal: stop.signal,
        onProgress: ({ step }) => step === at && stop.abort(),
      });
      await expect(run).rejects.toMatchObject({ code: 'aborted' });
      expect(bits(broken)).toBe(bits(network()));
      const resumed = network();
      const result = await train(resumed, { ...settings, average: 0.9, checkpoints: { store, resume: true } });
      expect(bits(resumed)).toBe(bits(whole));
      expect(result.curve).toEqual(undisturbed.curve);
      expect(result.notes).toContain(`Resumed at step ${at}.`);
    }
  });

  it('resumes to the same bits when it broke off in the middle of a step, or while it was judged', async () => {
    const whole = network();
    const undisturbed = await train(whole, settings);
    // Sessions run for steps and for judging: four of each of three epochs, and one before and after each.
    for (const at of [1, 3, 5, 6, 7, 11]) {
      const store = memoryStore();
      const stop = new AbortController();
      let runs = 0;
      const breaking: Engine = {
        ...engine,
        name: engine.name,
        open: async (...args) => {
          const session = await engine.open(...args);
          const run: Session['run'] = (...feeds) => {
            if (++runs === at) stop.abort();
            return session.run(...feeds);
          };
          return { ...session, inputs: session.inputs, outputs: session.outputs, run, close: () => session.close() };
        },
        close: () => engine.close(),
      };
      const broken = { ...settings, engine: breaking, checkpoints: { store }, signal: stop.signal };
      await expect(train(network(), broken)).rejects.toMatchObject({ code: 'aborted' });
      const resumed = network();
      const result = await train(resumed, { ...settings, checkpoints: { store, resume: true } });
      expect(bits(resumed)).toBe(bits(whole));
      expect(result.epochs.map((e) => [e.loss, e.score])).toEqual(undisturbed.epochs.map((e) => [e.loss, e.score]));
      expect(result.start).toBe(undisturbed.start);
      expect(result.notes.some((note) => note.startsWith('Resumed'))).toBe(true);
    }
  });

  it('resumes only what it was', async () => {
    const store = memoryStore();
    await train(network(), { ...settings, epochs: 1, checkpoints: { store, every: 0 } });
    const again = train(network(), { ...settings, epochs: 2, checkpoints: { store, resume: true } });
    await expect(again).rejects.toThrow('The checkpoint is of another run: its epochs is 1, and now 2.');
  });

  it('takes the same course in any units of the weights, with relative rates', async () => {
    // The same network twice: once it reads numbers a hundred times as large, with weights a hundredth as large.
    const course = async (unit: number): Promise<readonly number[]> => {
      const b = new GraphBuilder({ seed: 2 });
      const first = b.random([36, 8], { name: 'first', scale: 0.3 / unit });
      const h = b.op('Relu', [b.op('MatMul', [b.op('Flatten', [b.input('x', 'float32', ['n', 1, 6, 6])]), first])]);
      const model = b.output('y', b.op('MatMul', [h, b.random([8, 3], { name: 'second', scale: 0.5 })])).model();
      const scaled = pictures(96, 4).map(({ inputs, label }): Sample => {
        const { dims, data: pixels } = inputs.x as { dims: readonly number[]; data: Float32Array };
        return { inputs: { x: { dtype: 'float32', dims, data: pixels.map((v) => v * unit) } }, label };
      });
      const { curve } = await train(model, {
        engine,
        data: datasetOf(scaled),
        loss: crossEntropy(),
        epochs: 3,
        batchSize: 32,
        rates: 'relative',
        schedule: () => constantSchedule(0.05),
      });
      return curve;
    };
    const [plain, scaled] = [await course(1), await course(100)];
    expect(plain.at(-1)).toBeLessThan((plain[0] as number) * 0.95);
    for (const [i, loss] of plain.entries()) expect(scaled[i]).toBeCloseTo(loss, 3);
  });

  it('stops early, accumulates, freezes BatchNormalization, judges a regression by its loss', async () => {
    const patient = await train(network(), {
      ...settings,
      epochs: 30,
      patience: 2,
      schedule: () => constantSchedule(1e-9),
    });
    expect(patient.epochs.length).toBeLessThan(30);
    expect(patient.notes.at(-1)).toMatch(/^Stopped after epoch \d+: no better score for 2 epochs\.$/);

    const accumulated = await train(network(), { ...settings, accumulate: 3, clipNorm: 1, batchNorm: 'frozen' });
    expect(accumulated.steps).toBe(12);

    const values = pictures(64, 3).map(({ inputs }, i) => {
      const truth = Float32Array.from([i % 2, 0, 1]);
      return { inputs, label: { dtype: 'float32' as const, dims: [3], data: truth } };
    });
    const pairs = datasetOf(values, { name: 'pairs' });
    const regression = await train(network(), { ...settings, data: pairs, validation: pairs, loss: mse(), epochs: 4 });
    expect(regression.score).toBe('mse');
    expect(regression.epochs.at(-1)?.score).toBeLessThan(regression.epochs[0]?.score as number);
  });

  it.each<[string, Partial<TrainOptions>, string | RegExp]>([
    ['no samples', { data: datasetOf([], { name: 'nothing' }) }, 'nothing has no samples'],
    [
      'a label out of range',
      { data: datasetOf([...pictures(40, 1), { ...pictures(1, 1)[0], label: 3 } as Sample]) },
      /has the class 3, but the model has 3 classes/,
    ],
    [
      'NaN',
      {
        data: datasetOf([
          {
            inputs: { x: { dtype: 'float32', dims: [1, 6, 6], data: new Float32Array(36).fill(Number.NaN) } },
            label: 0,
          },
        ]),
      },
      /NaN/,
    ],
    [
      'another shape',
      {
        data: datasetOf([
          { inputs: { x: { dtype: 'float32', dims: [1, 5, 6], data: new Float32Array(30) } }, label: 0 },
        ]),
      },
      /\[1, 5, 6\]|1, 5, 6/,
    ],
    ['no epochs', { epochs: 0 }, 'The option epochs is 0'],
  ])('refuses %s in one sentence', async (_, more, message) => {
    const model = network();
    const run = train(model, { ...settings, ...more });
    await expect(run).rejects.toThrow(message);
    expect(bits(model)).toBe(bits(network()));
  });

  it('refuses a batch of one where BatchNormalization would see one value a channel', async () => {
    const b = new GraphBuilder();
    const h = b.op('MatMul', [b.input('x', 'float32', ['batch', 36]), b.random([36, 3], { name: 'w' })]);
    const norm = [1, 0, 0, 1].map((v, i) => b.constant(floats([3], v), `norm${i}`));
    const model = b.output('y', b.op('BatchNormalization', [h, ...norm])).model();
    const flat = pictures(4, 1).map(({ inputs, label }) => ({
      inputs: { x: { ...(inputs.x as NonNullable<typeof inputs.x>), dims: [36] } },
      label,
    }));
    const run = train(model, { engine, data: datasetOf(flat), loss: crossEntropy(), epochs: 1, batchSize: 1 });
    await expect(run).rejects.toThrow('would see one value a channel (input [1, 3]), whose variance is 0');
  });
});

/** Keeps the newest checkpoint as the bytes of its file. */
function memoryStore(): CheckpointStore {
  let bytes: Uint8Array | undefined;
  return {
    async save(checkpoint: Checkpoint) {
      bytes = Uint8Array.from(Buffer.concat(encodeCheckpoint(checkpoint)));
    },
    latest: async () => bytes && decodeCheckpoint(bytes),
  };
}
