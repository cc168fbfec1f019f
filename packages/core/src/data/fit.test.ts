import { describe, expect, it } from 'vitest';
import type { DType } from '../dtype.js';
import type { HostTensor, Port } from '../engine.js';
import { datasetOf, type Sample } from './dataset.js';
import { type Batch, batches, fitData, refitBatch, splitOutputs } from './fit.js';

const port = (name: string, dtype: DType, dims: Port['dims']): Port => ({ name, dtype, dims });
const f32 = (dims: number[], fill = 0): HostTensor => ({
  dtype: 'float32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(fill),
});
const bytes = (dims: number[]): HostTensor => ({
  dtype: 'uint8',
  dims,
  data: new Uint8Array(dims.reduce((a, b) => a * b, 1)),
});
const ids = (...values: number[]): HostTensor => ({
  dtype: 'int64',
  dims: [values.length],
  data: BigInt64Array.from(values, BigInt),
});
const image = port('image', 'float32', ['N', 3, 4, 4]);
const collect = async (samples: Sample[], ports: Port[], size?: number): Promise<Batch[]> => {
  const list: Batch[] = [];
  for await (const batch of batches(datasetOf(samples, { name: 'val' }), ports, size ? { size } : {})) list.push(batch);
  return list;
};

describe('matching', () => {
  it('takes a single array of any name for a single input', () => {
    expect(fitData({ inputs: { pictures: f32([3, 4, 4]) } }, [image], 'val')).toEqual({
      arrays: { image: 'pictures' },
      batched: true,
      fixedBatch: null,
      warnings: [],
    });
  });
  it('takes samples with a batch axis of one', async () => {
    const [batch] = await collect([{ inputs: { image: f32([1, 3, 4, 4]) } }], [image]);
    expect(batch?.feeds.image?.dims).toEqual([1, 3, 4, 4]);
  });
  it('gives inputs without batch axis as they are', async () => {
    const ports = [port('x', 'float32', [1, 576]), port('state', 'float32', [2, 1, 128]), port('sr', 'int64', [])];
    const sample: Sample = {
      inputs: {
        x: f32([576]),
        state: f32([2, 1, 128]),
        sr: { dtype: 'int64', dims: [], data: BigInt64Array.of(16000n) },
      },
    };
    expect(fitData(sample, ports, 'val')).toMatchObject({ batched: false, fixedBatch: 1 });
    const [batch] = await collect([sample], ports, 4);
    expect(Object.values(batch?.feeds ?? {}).map((t) => t.dims)).toEqual([[1, 576], [2, 1, 128], []]);
  });
  it('warns about arrays that the model does not take', () => {
    const fit = fitData({ inputs: { image: f32([3, 4, 4]), extra: f32([1]) } }, [image], 'val');
    expect(fit.warnings).toEqual(['The model takes no input "extra"; that array of val is not used.']);
  });
});

describe('one clear sentence', () => {
  const cases: [string, Record<string, HostTensor>, Port[], RegExp][] = [
    [
      'a missing input',
      { picture: f32([3, 4, 4]) },
      [image, port('mask', 'bool', ['N'])],
      /needs an array for its input "image" \(float32\[N, 3, 4, 4\]\), but val has only "picture" \(float32\[3, 4, 4\] a sample\)/,
    ],
    ['bytes for floats', { image: bytes([3, 4, 4]) }, [image], /holds uint8 pixels\. Give a preprocessing/],
    ['channels last', { image: f32([4, 4, 3]) }, [image], /channels come last; set layout "NCHW"/],
    [
      'channels first',
      { image: f32([3, 4, 4]) },
      [port('image', 'float32', ['N', 4, 4, 3])],
      /channels come first; set layout "NHWC"/,
    ],
    ['another size', { image: f32([3, 5, 5]) }, [image], /the model takes \[3, 4, 4\]/],
    ['another rank', { image: f32([4]) }, [image], /give it 3 axes without the batch axis, or 4 with it/],
    ['floats for ids', { ids: f32([5]) }, [port('ids', 'int64', ['N', 5])], /takes whole numbers \(int64\)/],
    [
      'texts for floats',
      { x: { dtype: 'string', dims: [1], data: ['a'] } },
      [port('x', 'float32', ['N', 1])],
      /holds string/,
    ],
    ['NaN', { image: f32([3, 4, 4], Number.NaN) }, [image], /has NaN in the array for input "image"/],
    ['a value outside the type', { x: ids(300) }, [port('x', 'uint8', ['N', 1])], /int64 value 300 is outside uint8/],
    [
      'too few elements',
      { x: { dtype: 'float32', dims: [9], data: new Float32Array(3) } },
      [port('x', 'float32', ['N', 9])],
      /too few/,
    ],
  ];
  it.each(cases)('%s', async (_, inputs, ports, message) => {
    await expect(collect([{ inputs, id: 'sample 0' }], ports)).rejects.toMatchObject({ code: 'bad-data' });
    await expect(collect([{ inputs, id: 'sample 0' }], ports)).rejects.toThrow(message);
  });
  it('no samples', async () => {
    await expect(collect([], [image])).rejects.toThrow('val has no samples.');
  });
  it('a later sample that does not fit is named', async () => {
    const samples = [f32([3, 4, 4]), f32([3, 4, 5])].map((image, i) => ({ inputs: { image }, id: `sample ${i}` }));
    await expect(collect(samples, [image])).rejects.toThrow(/^Sample 1 of val does not fit/);
  });
});

describe('conversions that keep the meaning', () => {
  it.each<[DType, HostTensor, DType]>([
    ['float32', { dtype: 'float64', dims: [1], data: Float64Array.of(0.5) }, 'float32'],
    ['float16', f32([1], 0.5), 'float16'],
    ['int32', ids(7), 'int32'],
    ['float32', ids(7), 'float32'],
    ['bool', ids(1), 'bool'],
  ])('to %s', async (dtype, tensor) => {
    const [batch] = await collect([{ inputs: { x: tensor } }], [port('x', dtype, ['N', 1])]);
    expect(batch?.feeds.x?.dtype).toBe(dtype);
  });
});

describe('batches', () => {
  const samples = Array.from({ length: 5 }, (_, i): Sample => ({ inputs: { x: f32([2], i) }, label: i }));
  it('of a size, the last one smaller', async () => {
    const list = await collect(samples, [port('x', 'float32', ['N', 2])], 2);
    expect(list.map((b) => [b.start, b.feeds.x?.dims[0]])).toEqual([
      [0, 2],
      [2, 2],
      [4, 1],
    ]);
    expect(Array.from(list[1]?.feeds.x?.data as Float32Array)).toEqual([2, 2, 3, 3]);
  });
  it('of the size that the model fixes, filled up by the last sample', async () => {
    const list = await collect(samples, [port('x', 'float32', [3, 2])], 1);
    expect(list.map((b) => b.samples.length)).toEqual([3, 2]);
    expect(Array.from(list[1]?.feeds.x?.data as Float32Array)).toEqual([3, 3, 4, 4, 4, 4]);
    const outputs = { y: { dtype: 'float32', dims: [3, 1], data: Float32Array.of(10, 11, 12) } as const };
    const fit = fitData(samples[0] as Sample, [port('x', 'float32', [3, 2])], 'val');
    expect(splitOutputs(outputs, list[1] as Batch, fit).map((o) => Array.from(o.y?.data as Float32Array))).toEqual([
      [10],
      [11],
    ]);
  });
  it('never mix shapes', async () => {
    const lines = [3, 3, 5, 3].map((width): Sample => ({ inputs: { x: f32([width]) } }));
    const list = await collect(lines, [port('x', 'float32', ['N', 'W'])], 4);
    expect(list.map((b) => b.feeds.x?.dims)).toEqual([
      [2, 3],
      [1, 5],
      [1, 3],
    ]);
    expect(list.map((b) => b.start)).toEqual([0, 2, 3]);
  });
  it('do not drag the buffer of a whole file along', async () => {
    const file = new Float32Array(1000);
    const view: HostTensor = { dtype: 'float32', dims: [2], data: file.subarray(10, 12) };
    const [batch] = await collect([{ inputs: { x: view } }], [port('x', 'float32', ['N', 2])]);
    expect(((batch as Batch).feeds.x as HostTensor).data).toHaveProperty('buffer.byteLength', 8);
  });
  it('can be made again for a model of another type', async () => {
    const [batch] = await collect(samples, [port('x', 'float32', ['N', 2])], 5);
    const ports = [port('x', 'float16', ['N', 2])];
    const again = refitBatch(batch as Batch, ports, fitData(samples[0] as Sample, ports, 'val'), 'val');
    expect(again.feeds.x).toMatchObject({ dtype: 'float16', dims: [5, 2] });
  });
  it('refuse outputs that cannot be told apart', async () => {
    const ports = [port('x', 'float32', ['N', 2])];
    const [batch] = await collect(samples, ports, 5);
    const fit = fitData(samples[0] as Sample, ports, 'val');
    expect(() => splitOutputs({ y: f32([7, 1]) }, batch as Batch, fit)).toThrow(/Use batch size 1/);
  });
});
