import {
  type Engine,
  type Feeds,
  GraphBuilder,
  type HostTensor,
  type Model,
  type SessionOptions,
  Tensor,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { calibrate } from './calibrate.js';
import { observing } from './calibration-graph.js';
import { Calibration } from './calibration-result.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Convolutions, a residual sum and a product; images of any size. */
function network(opset = 17): Model {
  const b = new GraphBuilder({ seed: 3 });
  const x = b.input('x', 'float32', ['n', 3, 'h', 'w']);
  const conv = (input: typeof x, weight: typeof x, bias: typeof x) =>
    b.op('Conv', [input, weight, bias], { pads: [1, 1, 1, 1] });
  const a = b.op('Relu', [conv(x, b.random([4, 3, 3, 3]), b.random([4]))]);
  const c = b.op('Add', [conv(a, b.random([4, 4, 3, 3]), b.random([4])), a]);
  const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [conv(c, b.random([6, 4, 3, 3]), b.random([6]))])]);
  return b.output('y', b.op('Gemm', [pooled, b.random([6, 5]), b.random([5])]), 'float32', ['n', 5]).model({ opset });
}

function image(seed: number, height = 8, width = height, scale = 1): Feeds {
  let state = (seed * 0x9e3779b9) >>> 0;
  const data = Float32Array.from({ length: 3 * height * width }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return scale * ((state + 0.5) / 2 ** 31 - 1);
  });
  return { x: { dtype: 'float32', dims: [1, 3, height, width], data } };
}

/** Every element of every observed activation over all samples, by running the model with all of them as outputs. */
async function everything(
  model: Model,
  names: readonly string[],
  samples: readonly Feeds[],
): Promise<Map<string, HostTensor[]>> {
  const session = await engine.open(observing(model, names, []), { optimization: 'disabled' });
  const seen = new Map(names.map((name) => [name, [] as HostTensor[]]));
  for (const feeds of samples) {
    const outputs = await session.run(feeds, names);
    for (const name of names) seen.get(name)?.push(outputs[name] as HostTensor);
  }
  await session.close();
  return seen;
}

const floats = (tensors: readonly HostTensor[] | undefined): number[] =>
  (tensors ?? []).flatMap(({ data }) => Array.from(data as Float32Array));

describe('calibrate', () => {
  const samples = [image(1), image(2, 12, 6), image(3, 5), image(4, 9)];

  it.each([13, 17, 18])(
    'sees the extremes and channel means of all samples, of any shape (opset %i)',
    async (opset) => {
      const model = network(opset);
      const calibration = await calibrate(model, samples, { engine, method: 'min-max' });
      const names = [...calibration.tensors.keys()];
      expect(names).toHaveLength(6);
      const truth = await everything(model, names, samples);
      for (const [name, { min, max }] of calibration.tensors) {
        const all = floats(truth.get(name));
        expect(min, name).toBeCloseTo(Math.min(...all), 5);
        expect(max, name).toBeCloseTo(Math.max(...all), 5);
      }
      const [first] = calibration.channels.get('x')?.mean ?? [];
      const ofSamples = samples.map(({ x }) => {
        const data = x?.data as Float32Array;
        const channel = data.subarray(0, data.length / 3);
        return channel.reduce((a, b) => a + b, 0) / channel.length;
      });
      expect(first).toBeCloseTo(ofSamples.reduce((a, b) => a + b, 0) / samples.length, 5);
    },
  );

  it('counts every sample in its histograms, also one that is a hundred times larger', async () => {
    const model = network();
    const many = [...Array.from({ length: 9 }, (_, i) => image(i + 1)), image(10, 8, 8, 100)];
    const calibration = await calibrate(model, many, { engine, method: 'percentile' });
    const truth = await everything(model, [...calibration.tensors.keys()], many);
    for (const [name, { histogram, min, max }] of calibration.tensors) {
      const all = floats(truth.get(name));
      expect(histogram?.count, name).toBe(all.length);
      expect(max - min).toBeGreaterThan(0.99 * (Math.max(...all) - Math.min(...all)));
    }
  });

  it('gives other ranges by entropy than by min-max', async () => {
    const outlier = image(5);
    (outlier.x?.data as Float32Array)[0] = 40;
    const data = [...samples, outlier];
    const target = { qmin: 0, qmax: 255, symmetric: false };
    const entropy = await calibrate(network(), data, { engine, method: 'entropy' });
    const minMax = await calibrate(network(), data, { engine, method: 'min-max' });
    expect(minMax.range('x', target).hi).toBe(40);
    expect(entropy.range('x', target).hi).toBeLessThan(20);
  });

  it('keeps as much after a thousand samples as after one', async () => {
    const model = network();
    const one = await calibrate(model, [image(1)], { engine, method: 'percentile', keyed: true });
    const repeated = {
      *[Symbol.iterator]() {
        for (let i = 0; i < 300; i++) yield image(1);
      },
    };
    const many = await calibrate(model, repeated, { engine, method: 'percentile', keyed: true });
    expect(many.samples).toBe(300);
    const bytes = (c: Calibration): number => JSON.stringify(c.toJSON()).length;
    expect(bytes(many)).toBeLessThan(1.5 * bytes(one));
  });

  it.each(['min-max', 'percentile'] as const)(
    'names the activation and the sample that hold NaN (%s)',
    async (method) => {
      const bad = image(2);
      (bad.x?.data as Float32Array)[17] = Number.NaN;
      await expect(calibrate(network(), [image(1), bad], { engine, method })).rejects.toMatchObject({
        code: 'bad-data',
        message: expect.stringMatching(/^Activation "x" holds NaN in calibration sample 2:/),
      });
    },
  );

  it('refuses to calibrate with nothing, and names that the model does not have', async () => {
    await expect(calibrate(network(), [], { engine })).rejects.toMatchObject({ code: 'bad-data' });
    await expect(calibrate(network(), samples, { engine, tensors: ['z'] })).rejects.toThrow(/no activation named "z"/);
  });

  it('stops when asked to, and closes the session', async () => {
    const controller = new AbortController();
    let open = 0;
    const counting: Engine = {
      ...engine,
      name: engine.name,
      open: async (model, options?: SessionOptions) => {
        const session = await engine.open(model, options);
        open++;
        return Object.assign(Object.create(session), {
          run: session.run.bind(session),
          close: () => {
            open--;
            return session.close();
          },
        });
      },
      close: () => engine.close(),
    };
    const onProgress = (): void => controller.abort();
    const { signal } = controller;
    await expect(calibrate(network(), samples, { engine: counting, signal, onProgress })).rejects.toMatchObject({
      code: 'aborted',
    });
    expect(open).toBe(0);
  });
});

describe('the calibration cache', () => {
  const samples = [image(1), image(2)];
  const fresh = (model: Model, data: Iterable<Feeds>) => calibrate(model, data, { engine, method: 'mse', keyed: true });

  it('serves the same model, data and options without running the model', async () => {
    const made = await fresh(network(), samples);
    const cache = JSON.parse(JSON.stringify(made.toJSON()));
    const broken: Engine = {
      name: 'none',
      open: () => Promise.reject(new Error('was run')),
      close: async () => undefined,
    };
    const again = await calibrate(network(), samples, { engine: broken, method: 'mse', cache });
    const target = { qmin: 0, qmax: 255, symmetric: false };
    expect(again.refused).toBeUndefined();
    for (const name of made.tensors.keys()) expect(again.range(name, target)).toEqual(made.range(name, target));
    expect(again.channels).toEqual(made.channels);
  });

  it('is refused, with the reason, for another model, other data or other options', async () => {
    const cache = (await fresh(network(), samples)).toJSON();
    const other = network();
    const weight = [...other.graph.initializers][0];
    if (weight) other.graph.setInitializer(weight, Tensor.of('float32', [4, 3, 3, 3], new Float32Array(108)));
    expect((await calibrate(other, samples, { engine, method: 'mse', cache })).refused).toBe('the model');
    expect((await calibrate(network(), [image(1), image(3)], { engine, method: 'mse', cache })).refused).toBe(
      'the data',
    );
    expect((await calibrate(network(), samples, { engine, method: 'percentile', cache })).refused).toBe('the options');
  });

  it('cannot be keyed by data that can be read only once, nor be anything else than a cache', async () => {
    function* once() {
      yield image(1);
    }
    await expect(fresh(network(), once())).rejects.toMatchObject({ code: 'bad-option' });
    expect(() => Calibration.fromJSON({ format: 'another' } as never)).toThrow(/not a calibration cache/);
    expect(() => new Calibration('min-max').toJSON()).toThrow(/keyed: true/);
  });
});
