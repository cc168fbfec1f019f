import { type Dataset, datasetOf, type HostTensor, type Port, type Sample, seededRandom } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { workerBatches } from '../node/index.js';
import {
  type Augmentation,
  augment,
  type BatchStream,
  epochOrder,
  evaluationBatches,
  type LabelSpec,
  mixSeed,
  type SampleBatch,
  TrainingData,
  trainingBatches,
} from './index.js';

const image: Port = { name: 'image', dtype: 'float32', dims: ['batch', 1, 4, 4] };
const classLabel: LabelSpec = { kind: 'class', dtype: 'int64', dims: [], classes: 3 };

/** Sample i is filled with i, and of class i % 3. */
const samples = (count: number): Sample[] =>
  Array.from({ length: count }, (_, i) => ({
    inputs: { image: { dtype: 'float32', dims: [1, 4, 4], data: new Float32Array(16).fill(i) } },
    label: i % 3,
  }));
/** The same through an iterator alone. */
const streamed = (list: readonly Sample[], size?: number): Dataset =>
  datasetOf(() => list, { name: 'stream', ...(size === undefined ? {} : { size }) });
const read = (
  list: readonly Sample[] | Dataset,
  options: Partial<Parameters<typeof TrainingData.read>[1]> = {},
): Promise<TrainingData> =>
  TrainingData.read('name' in list ? (list as Dataset) : datasetOf(list as Sample[], { name: 'train.npz' }), {
    inputs: [image],
    label: classLabel,
    ...options,
  });
const all = async (batches: AsyncIterable<SampleBatch>): Promise<SampleBatch[]> => {
  const list: SampleBatch[] = [];
  for await (const batch of batches) list.push(batch);
  return list;
};
const first = (tensor: HostTensor | undefined, stride = 16): number[] =>
  Array.from(tensor?.data as Float32Array, Number).filter((_, i) => i % stride === 0);

describe('order', () => {
  it('is a permutation that depends on seed and epoch alone', () => {
    const order = epochOrder(1000, 5, 2);
    expect([...order].sort((a, b) => a - b)).toEqual([...Array(1000).keys()]);
    expect(epochOrder(1000, 5, 2)).toEqual(order);
    for (const other of [epochOrder(1000, 5, 3), epochOrder(1000, 6, 2), epochOrder(1000, 5 + 2 ** 32, 2)]) {
      expect(other).not.toEqual(order);
    }
  });
  it('mixes every number into the seed', () => {
    const seeds = new Set<number>();
    for (let a = 0; a < 20; a++) for (let b = 0; b < 20; b++) for (let c = 0; c < 20; c++) seeds.add(mixSeed(a, b, c));
    // 8000 draws of 2^32: 0.007 collisions are expected.
    expect(seeds.size).toBe(8000);
    expect(mixSeed(1, 2)).not.toBe(mixSeed(2, 1));
  });
  it('puts every sample everywhere equally often', () => {
    const counts = new Float64Array(64);
    const rounds = 4000;
    for (let epoch = 0; epoch < rounds; epoch++) {
      const order = epochOrder(8, 1, epoch);
      for (let place = 0; place < 8; place++) {
        const cell = place * 8 + (order[place] as number);
        counts[cell] = (counts[cell] as number) + 1;
      }
    }
    const expected = rounds / 8;
    const chi2 = counts.reduce((sum, n) => sum + (n - expected) ** 2 / expected, 0);
    // 49 degrees of freedom: above 85.4 once in a thousand.
    expect(chi2).toBeLessThan(85.4);
  });
});

describe('training batches', () => {
  it('show every sample at most once an epoch, with its own label', async () => {
    const data = await read(samples(50));
    const stream = trainingBatches(data, { batchSize: 8, seed: 3 });
    expect(stream.steps).toBe(6);
    const batches = await all(stream.epoch(0));
    expect(batches.length).toBe(6);
    const seen = batches.flatMap((batch) => {
      expect(batch.inputs.image?.dims).toEqual([8, 1, 4, 4]);
      expect(batch.targets.label).toMatchObject({ dtype: 'int64', dims: [8] });
      const ids = first(batch.inputs.image);
      expect(first(batch.targets.label, 1)).toEqual(ids.map((i) => i % 3));
      expect([...batch.indices]).toEqual(ids);
      return ids;
    });
    expect(new Set(seen).size).toBe(48);
    const [other] = await all(stream.epoch(1));
    expect(other).not.toEqual(batches[0]);
  });

  it('begin in the middle with what an undisturbed run sees there', async () => {
    const data = await read(samples(50));
    const options = { batchSize: 8, seed: 3, augment: augment({ crop: 1, flip: 'both' }) };
    const whole = await all(trainingBatches(data, options).epoch(4));
    expect(await all(trainingBatches(data, options).epoch(4, 2))).toEqual(whole.slice(2));
  });

  it('are the same from memory, from random access and from worker threads of any number', async () => {
    const random = seededRandom(1);
    const list = samples(60).map((sample) => ({
      ...sample,
      inputs: {
        image: { dtype: 'float32' as const, dims: [1, 4, 4], data: Float32Array.from({ length: 16 }, random.normal) },
      },
    }));
    const variation: Augmentation = augment({
      crop: 2,
      flip: 'both',
      rotate: 20,
      cutout: 2,
      colour: { brightness: 1 },
    });
    const options = { batchSize: 7, seed: 11, augment: variation };
    const resident = await read(list);
    const paged = await read(list, { memory: 100 });
    expect(resident.columns).toBeDefined();
    expect(paged.columns).toBeUndefined();
    const streams: BatchStream[] = [
      trainingBatches(paged, options),
      workerBatches(resident, options),
      workerBatches(resident, { ...options, workers: 3 }),
    ];
    for (const epoch of [0, 1, 5]) {
      const wanted = await all(trainingBatches(resident, options).epoch(epoch));
      expect(wanted.length).toBe(8);
      for (const stream of streams) expect(await all(stream.epoch(epoch, 1))).toEqual(wanted.slice(1));
    }
    for (const stream of streams) await stream.close();
  });

  it('may be left before the end', async () => {
    const stream = workerBatches(await read(samples(50)), { batchSize: 5 });
    for await (const batch of stream.epoch(0)) {
      expect(batch.count).toBe(5);
      break;
    }
    expect((await all(stream.epoch(1))).length).toBe(10);
    await stream.close();
    await expect(all(stream.epoch(2))).rejects.toThrow('The thread that makes batches stopped.');
  });

  it('refuse what cannot work', async () => {
    const data = await read(samples(5));
    expect(() => trainingBatches(data, { batchSize: 6 })).toThrow(
      'train.npz has 5 samples, which do not fill one batch of 6: take a smaller batch size.',
    );
    expect(() => trainingBatches(data, { batchSize: 0 })).toThrow('The batch size is 0');
    expect(() => workerBatches(data, { batchSize: 2, workers: 0 })).toThrow('0 workers');
    expect(() => trainingBatches(data, { batchSize: 2, augment: augment({ input: 'x' }) })).toThrow(
      'Pictures to vary are float32 [C, H, W], and there is no such "x": a sample has "image" float32[1, 4, 4].',
    );
  });
});

describe('evaluation batches', () => {
  it('show every sample once, in order; the last batch is smaller, or filled up', async () => {
    const data = await read(samples(10));
    const partial = await all(evaluationBatches(data, { batchSize: 4 }));
    expect(partial.map((b) => [first(b.inputs.image), b.count])).toEqual([
      [[0, 1, 2, 3], 4],
      [[4, 5, 6, 7], 4],
      [[8, 9], 2],
    ]);
    const padded = await all(evaluationBatches(data, { batchSize: 4, pad: true }));
    expect(padded.map((b) => [first(b.inputs.image), b.count])[2]).toEqual([[8, 9, 9, 9], 2]);
  });
});

describe('reading', () => {
  it.each([undefined, 3, 700, 1000])('takes iterators that say %s samples, and there are 700', async (size) => {
    const data = await read(streamed(samples(700), size));
    expect(data.size).toBe(700);
    const batch = await data.batch([0, 300, 699]);
    expect(first(batch.inputs.image)).toEqual([0, 300, 699]);
    expect(first(batch.targets.label, 1)).toEqual([0, 0, 0]);
  });

  it('tells progress and stops on request', async () => {
    const seen: [number, number | undefined][] = [];
    await read(samples(600), { onProgress: (...args) => seen.push(args) });
    expect(seen).toEqual([
      [256, 600],
      [512, 600],
      [600, 600],
    ]);
    await expect(read(samples(3), { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  });

  it('works without labels', async () => {
    const data = await read(
      samples(4).map(({ inputs }) => ({ inputs })),
      { label: undefined },
    );
    expect((await data.batch([1])).targets).toEqual({});
    expect(data.batchShapes(32)).toEqual({ image: [32, 1, 4, 4] });
  });

  it('refuses more than fits the memory when it cannot read again', async () => {
    await expect(read(streamed(samples(700)), { memory: 64 * 300 })).rejects.toThrow(
      /^stream takes .* MiB or more in memory, above the limit of .* MiB, and has no random access/,
    );
    expect((await read(streamed(samples(700)), { memory: 64 * 701 })).columns).toBeDefined();
  });

  const bad = (change: (sample: Sample) => Partial<Sample>): Sample[] =>
    samples(5).map((sample, i) => (i === 3 ? { ...sample, ...change(sample) } : sample));
  const picture = (dims: number[], fill = 0): Partial<Sample> => ({
    inputs: { image: { dtype: 'float32', dims, data: new Float32Array(dims.reduce((a, b) => a * b)).fill(fill) } },
  });

  it.each<[string, Sample[], string]>([
    ['no samples', [], 'train.npz has no samples: there is nothing to train on.'],
    ['no label', bad(() => ({ label: undefined })), 'Sample 3 of train.npz has no label: every sample needs one'],
    [
      'a class out of range',
      bad(() => ({ label: 3 })),
      'Sample 3 of train.npz has the class 3, but the model has 3 classes: numbers run from 0 to 2.',
    ],
    ['a negative class', bad(() => ({ label: -1 })), 'Sample 3 of train.npz has the class -1, but the model has 3'],
    [
      'half a class',
      bad(() => ({ label: 0.5 })),
      'Sample 3 of train.npz has the label 0.5, which is not a whole class',
    ],
    ['a name without names', bad(() => ({ label: 'cat' })), 'has the label "cat", which is none of the 0 classes.'],
    [
      'a vector for a class',
      bad(() => ({ label: { dtype: 'float32', dims: [3], data: new Float32Array(3) } })),
      'has a label of the shape [3], and the loss takes []: give the number of the class, not a vector.',
    ],
    ['another shape', bad(() => picture([1, 4, 5])), 'Sample 3 of train.npz does not fit input "image"'],
    ['NaN', bad(() => picture([1, 4, 4], Number.NaN)), 'Sample 3 of train.npz has NaN in the array for input "image".'],
  ])('refuses %s', async (_, list, message) => {
    await expect(read(list)).rejects.toThrow(message);
  });

  it('refuses samples of different shapes, where the model would take each', async () => {
    const any: Port = { name: 'image', dtype: 'float32', dims: ['batch', 1, 4, 'width'] };
    await expect(
      read(
        bad(() => picture([1, 4, 5])),
        { inputs: [any] },
      ),
    ).rejects.toThrow(
      'Sample 3 of train.npz is [1, 4, 5] for input "image", and the first sample is [1, 4, 4]: samples of a batch need one shape.',
    );
  });

  it('refuses inputs of text', async () => {
    const list: Sample[] = [{ inputs: { image: { dtype: 'string', dims: [1], data: ['a'] } }, label: 0 }];
    await expect(read(list, { inputs: [{ name: 'image', dtype: 'string', dims: ['batch', 1] }] })).rejects.toThrow(
      'Input "image" takes text',
    );
  });

  it('refuses inputs without a batch axis', async () => {
    const list = samples(2).map((s) => ({
      ...s,
      inputs: { ...s.inputs, rate: { dtype: 'int64' as const, dims: [], data: BigInt64Array.of(1n) } },
    }));
    await expect(read(list, { inputs: [image, { name: 'rate', dtype: 'int64', dims: [] }] })).rejects.toThrow(
      'Input "rate" has no batch axis',
    );
  });
});

describe('labels', () => {
  const labelled = async (spec: LabelSpec, label: unknown, classes?: string[]): Promise<HostTensor | undefined> => {
    const [sample] = samples(1) as [Sample];
    const dataset = datasetOf([{ ...sample, label }], { name: 'val', ...(classes ? { classes } : {}) });
    return (await (await read(dataset, { label: spec })).batch([0])).targets.label;
  };
  const values = async (...args: Parameters<typeof labelled>): Promise<number[]> => first(await labelled(...args), 1);
  const tensor = (dims: number[], ...data: number[]): HostTensor => ({
    dtype: 'float64',
    dims,
    data: Float64Array.from(data),
  });

  it('takes classes as numbers, names, booleans and bigints', async () => {
    expect(await values(classLabel, 2)).toEqual([2]);
    expect(await values(classLabel, 2n)).toEqual([2]);
    expect(await values(classLabel, true)).toEqual([1]);
    expect(await values(classLabel, 'dog', ['cat', 'dog'])).toEqual([1]);
    await expect(values(classLabel, 'cow', ['cat', 'dog'])).rejects.toThrow('none of the 2 classes (cat, dog, ...)');
  });
  it('lets the class that is ignored pass', async () => {
    expect(await values({ ...classLabel, ignoreIndex: -100 }, -100)).toEqual([-100]);
  });
  it('takes a class a pixel', async () => {
    const spec: LabelSpec = { ...classLabel, dims: [2, 2] };
    expect(await labelled(spec, tensor([2, 2], 0, 1, 2, 0))).toEqual({
      dtype: 'int64',
      dims: [1, 2, 2],
      data: BigInt64Array.of(0n, 1n, 2n, 0n),
    });
    await expect(labelled(spec, tensor([2, 2], 0, 1, 7, 0))).rejects.toThrow('has the class 7');
    await expect(labelled(spec, tensor([4], 0, 1, 2, 0))).rejects.toThrow('has a label of the shape [4]');
    await expect(labelled(spec, 1)).rejects.toThrow('has the label 1, which is not a tensor of the shape [2, 2]');
  });
  it('takes numbers and tensors for regression', async () => {
    const spec: LabelSpec = { kind: 'tensor', dtype: 'float32', dims: [1] };
    expect(await labelled(spec, 0.5)).toEqual({ dtype: 'float32', dims: [1, 1], data: Float32Array.of(0.5) });
    expect(await values(spec, tensor([], 2))).toEqual([2]);
    expect(await values({ ...spec, dims: [3] }, tensor([3], 1, 2, 3))).toEqual([1, 2, 3]);
    expect(await values(spec, { dtype: 'float16', dims: [1], data: Uint16Array.of(0x3c00) })).toEqual([1]);
    await expect(values(spec, Number.NaN)).rejects.toThrow('which is not a finite number');
    await expect(values(spec, 'much')).rejects.toThrow('has the label "much", which is not a finite number');
    await expect(values({ ...spec, dims: [2] }, tensor([3], 1, 2, 3))).rejects.toThrow('the loss takes [2].');
  });
  it('takes lists and texts as sequences, filled up with -1', async () => {
    const spec: LabelSpec = { kind: 'sequence', dtype: 'int64', dims: [4], classes: 3 };
    expect(await values(spec, [1, 2])).toEqual([1, 2, -1, -1]);
    expect(await values(spec, tensor([3], 2, 2, 1))).toEqual([2, 2, 1, -1]);
    expect(await values(spec, 'ba', ['-', 'a', 'b'])).toEqual([2, 1, -1, -1]);
    await expect(values(spec, [1, 1, 1, 1, 1])).rejects.toThrow(
      'has a label of 5 symbols, and the loss takes 4 at most',
    );
    await expect(values(spec, 7)).rejects.toThrow('which is not a text or a list of class numbers');
  });
});

describe('splitting', () => {
  it('takes equal shares of each class, and no content twice', async () => {
    // 30 of class 0, 60 of class 1; the last ten repeat the first ten.
    const list = samples(90).map((sample, i) => ({ ...sample, label: i < 30 ? 0 : 1 }));
    const data = await read([...list, ...list.slice(0, 10)]);
    const [val, train] = data.split(30, 4);
    expect([val.size, train.size]).toEqual([30, 70]);
    const ids = async (part: TrainingData): Promise<number[]> =>
      first((await part.batch([...Array(part.size).keys()])).inputs.image);
    const [held, kept] = [new Set(await ids(val)), await ids(train)];
    expect(kept.filter((id) => held.has(id))).toEqual([]);
    expect([...held, ...kept].sort((a, b) => a - b).length).toBe(100);
    // 20 of class 0 are there once, 60 of class 1: a quarter and three quarters.
    const classes = Array.from({ length: val.size }, (_, i) => val.classOf(i));
    expect(classes.filter((c) => c === 0).length).toBeGreaterThanOrEqual(7);
    expect(classes.filter((c) => c === 0).length).toBeLessThanOrEqual(8);
    expect(await ids(data.split(30, 4)[0])).toEqual([...held]);
    expect(await ids(data.split(30, 5)[0])).not.toEqual([...held]);
  });
  it('refuses to leave nothing', async () => {
    const data = await read(samples(4));
    for (const count of [0, 4, 2.5]) expect(() => data.split(count)).toThrow('cannot be set apart');
  });
});
