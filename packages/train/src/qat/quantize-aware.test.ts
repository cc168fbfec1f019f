import { type Dataset, datasetOf, GraphBuilder, type Model, PareError, seededRandom, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { crossEntropy } from '../loss/index.js';
import { oneCycleSchedule } from '../schedule/index.js';
import { train } from '../train.js';
import { fakeQuantize } from './fake-quantize.js';
import { quantizeAware } from './quantize-aware.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const CLASSES = 4;
const SIDE = 8;

/** Pictures of a bright bar in one of four directions, in noise. */
function pictures(count: number, seed: number): Dataset {
  const random = seededRandom(seed);
  const samples = Array.from({ length: count }, (_, n) => {
    const label = n % CLASSES;
    const at = 1 + random.integer(SIDE - 2);
    const data = Float32Array.from({ length: SIDE * SIDE }, (_, i) => {
      const [r, c] = [Math.floor(i / SIDE), i % SIDE];
      const on = [r === at, c === at, (r + c) % SIDE === at, (r + SIDE - c) % SIDE === at][label];
      return (on ? 1 : 0) + 0.45 * random.normal();
    });
    return { inputs: { x: { dtype: 'float32' as const, dims: [1, SIDE, SIDE], data } }, label };
  });
  return datasetOf(samples);
}

function network(): Model {
  const b = new GraphBuilder({ seed: 3 });
  const vector = (n: number, value: number) => b.constant(Tensor.of('float32', [n], new Float32Array(n).fill(value)));
  let x = b.input('x', 'float32', ['batch', 1, SIDE, SIDE]);
  let channels = 1;
  for (const width of [8, 16, 16]) {
    const y = b.op('Conv', [x, b.random([width, channels, 3, 3])], {
      pads: [1, 1, 1, 1],
      strides: channels === 8 ? [2, 2] : [1, 1],
    });
    const norm = [vector(width, 1), vector(width, 0), vector(width, 0), vector(width, 1)];
    x = b.op('Relu', [b.op('BatchNormalization', [y, ...norm])]);
    channels = width;
  }
  const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [x])]);
  const y = b.op('Gemm', [pooled, b.random([CLASSES, channels]), vector(CLASSES, 0)], { transB: 1 });
  return b.output('y', y, 'float32', ['batch', CLASSES]).model();
}

async function accuracyOf(model: Model, data: Dataset): Promise<number> {
  const session = await engine.open(model);
  let [right, count] = [0, 0];
  for await (const { inputs, label } of data) {
    const x = inputs.x as { dtype: 'float32'; dims: number[]; data: Float32Array };
    const { y } = await session.run({ x: { ...x, dims: [1, ...x.dims] } });
    const scores = Array.from((y?.data ?? []) as Float32Array);
    right += scores.indexOf(Math.max(...scores)) === label ? 1 : 0;
    count++;
  }
  await session.close();
  return right / count;
}

describe('quantizeAware', () => {
  const [data, validation, test] = [pictures(640, 1), pictures(160, 2), pictures(200, 3)];
  const common = { data, validation, engine, loss: crossEntropy(), batchSize: 32, seed: 5 };
  const schedule = (steps: number) => oneCycleSchedule({ learningRate: 1e-2, steps });
  let float: Model;
  beforeAll(async () => {
    float = network();
    await train(float, { ...common, epochs: 4, schedule });
  });

  it('learns what rounding to two bits has destroyed, and exports it', async () => {
    const truth = await accuracyOf(float, test);
    const model = float.clone();
    const { training, plan } = await quantizeAware(model, {
      ...common,
      precision: 'w2a2',
      firstAndLast: 2,
      epochs: 4,
      schedule,
    });
    const best = training.epochs[training.best - 1]?.score ?? 0;
    expect(truth).toBeGreaterThan(0.9);
    expect(training.start).toBeLessThan(truth - 0.2);
    expect(best).toBeGreaterThan((training.start ?? 1) + 0.15);
    // What was judged on validation samples is what runs, up to roundings that fall to the other side.
    expect(Math.abs((await accuracyOf(model, validation)) - best)).toBeLessThan(0.03);
    expect(await accuracyOf(model, test)).toBeGreaterThan(truth - 0.12);
    expect(plan.weights.map(({ bits }) => bits)).toEqual([2, 2, 2, 2]);
  });

  it('keeps what it started with when training makes it worse', async () => {
    const model = float.clone();
    const reference = float.clone();
    const far = () => () => 3;
    const { training } = await quantizeAware(model, { ...common, precision: 'w8a8', epochs: 1, schedule: far });
    expect(training.best).toBe(0);
    expect(await accuracyOf(model, validation)).toBeCloseTo(training.start as number, 1);
    expect(await accuracyOf(model, validation)).toBeCloseTo(await accuracyOf(reference, validation), 1);
  });

  it('trains weights alone', async () => {
    const model = float.clone();
    const { training } = await quantizeAware(model, { ...common, precision: 'w2', epochs: 2 });
    expect(await accuracyOf(model, validation)).toBeGreaterThanOrEqual((training.start as number) - 1e-9);
  });
});

describe('fakeQuantize', () => {
  const refusal = async (model: Model, options: Parameters<typeof fakeQuantize>[1]): Promise<PareError> => {
    const error = await fakeQuantize(model, options).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(PareError);
    return error as PareError;
  };

  it('says what is missing', async () => {
    expect((await refusal(network(), { precision: 'w4a4' })).message).toContain('give `samples` and `engine`');
    expect((await refusal(network(), { precision: 'int4' })).code).toBe('bad-option');
    const excluded = await refusal(network(), { precision: 'w4', exclude: ['Conv', 'Gemm'] });
    expect(excluded.message).toContain('No node with weights');
  });
});
