import {
  type Dataset,
  datasetOf,
  type HostTensor,
  mapDataset,
  memorySource,
  type Port,
  type Sample,
  select,
} from '@pare/core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { encodeNpz, npzDataset } from './npz.js';
import { randomDataset } from './random-data.js';
import { indexData, refuseOverlap, splitData } from './split.js';

fc.configureGlobal({ seed: 20 });

const sample = (value: number, label?: unknown): Sample => ({
  inputs: { x: { dtype: 'float32', dims: [1], data: Float32Array.of(value) } },
  ...(label === undefined ? {} : { label }),
});
const values = async (data: AsyncIterable<Sample>): Promise<number[]> => {
  const list: number[] = [];
  for await (const s of data) list.push((s.inputs.x as HostTensor).data[0] as number);
  return list;
};

describe('split', () => {
  it('is disjoint by content, keeps the order, and repeats itself', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(30), { minLength: 2, maxLength: 60 }), fc.nat(1000), async (numbers, seed) => {
        fc.pre(new Set(numbers).size >= 2);
        const data = datasetOf(numbers.map((n) => sample(n, n % 3)));
        const index = await indexData(data);
        const a = splitData(data, index, { seed });
        const [calibration, evaluation] = [await values(a.calibration), await values(a.evaluation)];
        expect(calibration.length).toBeGreaterThan(0);
        expect(evaluation.length).toBeGreaterThan(0);
        expect(calibration.filter((v) => evaluation.includes(v))).toEqual([]);
        const positions = evaluation.map((v, i) => numbers.indexOf(v, i));
        expect(evaluation).toEqual(numbers.filter((v) => evaluation.includes(v)));
        expect(positions.every((p) => p >= 0)).toBe(true);
        expect(await values(splitData(data, index, { seed }).calibration)).toEqual(calibration);
      }),
      { numRuns: 60 },
    );
  });
  it('gives each class its share', async () => {
    const data = datasetOf(Array.from({ length: 400 }, (_, i) => sample(i, i < 300 ? 'common' : 'rare')));
    const index = await indexData(data);
    const { calibration, evaluation } = splitData(data, index, { calibration: 40, evaluation: 100, seed: 9 });
    const labels = async (d: Dataset): Promise<number> => (await values(d)).filter((v) => v >= 300).length;
    expect(await labels(calibration)).toBe(10);
    expect(Math.abs((await labels(evaluation)) - 25)).toBeLessThanOrEqual(1);
  });
  it('refuses what cannot be split', async () => {
    const one = datasetOf([sample(1), sample(1)], { name: 'val' });
    expect(() => splitData(one, { hash: '', samples: [], labelled: false, classes: null, warnings: [] })).toThrow(
      /no samples/,
    );
    await expect(indexData(one).then((index) => splitData(one, index))).rejects.toThrow(/val has one sample/);
    const two = datasetOf([sample(1), sample(2)]);
    await expect(indexData(two).then((index) => splitData(two, index, { calibration: 2 }))).rejects.toThrow(
      /leave none/,
    );
  });
  it('leaves out of the evaluation what repeats a calibration sample', async () => {
    const data = datasetOf([1, 1, 1, 2, 3, 4].map((v) => sample(v)));
    const index = await indexData(data);
    expect(index.warnings[0]).toMatch(/2 of the 6 samples of samples repeat/);
    for (let seed = 0; seed < 10; seed++) {
      const { calibration, evaluation, warnings } = splitData(data, index, { calibration: 1, seed });
      if ((await values(calibration))[0] !== 1) continue;
      expect(await values(evaluation)).toEqual([2, 3, 4]);
      expect(warnings[0]).toMatch(/2 samples that repeat a calibration sample/);
      return;
    }
    expect.unreachable('no seed calibrated with the repeated sample');
  });
});

describe('index', () => {
  it('warns about one class and few samples', async () => {
    const { warnings, classes } = await indexData(datasetOf([1, 2, 3].map((v) => sample(v, 7))));
    expect(classes).toBe(1);
    expect(warnings.join()).toMatch(/All 3 samples .* have the label "7".*only 3 samples/);
  });
  it('refuses labels on some samples only, and no samples', async () => {
    await expect(indexData(datasetOf([sample(1, 0), sample(2)]))).rejects.toThrow(/Sample 1 of samples has no label/);
    await expect(indexData(datasetOf([]))).rejects.toThrow(/has no samples/);
  });
  it('changes its hash with content and labels only', async () => {
    const hash = async (s: Sample[]): Promise<string> => (await indexData(datasetOf(s))).hash;
    const base = await hash([sample(1, 0), sample(2, 1)]);
    expect(await hash([{ ...sample(1, 0), id: 'other' }, sample(2, 1)])).toBe(base);
    expect(await hash([sample(1, 1), sample(2, 1)])).not.toBe(base);
    expect(await hash([sample(1.5, 0), sample(2, 1)])).not.toBe(base);
  });
  it('stops on request', async () => {
    const signal = AbortSignal.abort();
    await expect(indexData(datasetOf([sample(1)]), { signal })).rejects.toMatchObject({ code: 'aborted' });
  });
});

it('refuses calibration data that is evaluated, too', async () => {
  const a = await indexData(datasetOf([sample(1), sample(2)]));
  const b = await indexData(datasetOf([sample(2, 'now'), sample(3, 'labelled')]));
  expect(() => refuseOverlap(a, b)).toThrow(/1 of the 2 evaluation samples are also calibration samples/);
  expect(() => refuseOverlap(a, { ...b, samples: b.samples.slice(1) })).not.toThrow();
});

describe('datasets', () => {
  it('selections read alike with and without random access', async () => {
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    const listed = datasetOf(numbers.map((n) => sample(n)));
    const streamed = datasetOf(function* () {
      for (const n of numbers) yield sample(n);
    });
    for (const data of [listed, streamed]) {
      expect(await values(select(data, [3, 4, 19]))).toEqual([3, 4, 19]);
      expect(await values(select(data, []))).toEqual([]);
      const doubled = mapDataset(data, (s) => sample(2 * ((s.inputs.x as HostTensor).data[0] as number)));
      expect(await values(select(doubled, [5]))).toEqual([10]);
    }
  });
  it('a generator that can be read once is refused', () => {
    function* once(): Generator<Sample> {
      yield sample(1);
    }
    expect(() => datasetOf(once())).toThrow(/read only once/);
  });
  it('npz arrays split, too', async () => {
    const x = { dtype: 'float32', dims: [8, 1], data: Float32Array.from([0, 1, 2, 3, 4, 5, 6, 7]) } as const;
    const data = await npzDataset(memorySource(encodeNpz({ x })));
    const { calibration, evaluation } = splitData(data, await indexData(data));
    expect([...(await values(calibration)), ...(await values(evaluation))].sort()).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });
});

describe('random inputs', () => {
  const ports: Port[] = [
    { name: 'image', dtype: 'float32', dims: ['N', 3, null, 'w'] },
    { name: 'input_ids', dtype: 'int64', dims: ['N', 'seq'] },
    { name: 'attention_mask', dtype: 'int64', dims: ['N', 'seq'] },
    { name: 'half', dtype: 'float16', dims: [1, 2] },
    { name: 'state', dtype: 'float32', dims: [2, 1, 4] },
  ];
  it('have the right shapes, limits and seeds', async () => {
    const options = { samples: 3, limits: { input_ids: 100 }, dims: { w: 8, seq: 5 } };
    const data = randomDataset(ports, options);
    const first = (await data.at?.(0)) as Sample;
    expect(Object.fromEntries(Object.entries(first.inputs).map(([k, t]) => [k, t.dims]))).toEqual({
      image: [3, 224, 8],
      input_ids: [5],
      attention_mask: [5],
      half: [2],
      state: [2, 1, 4],
    });
    const ids = Array.from(first.inputs.input_ids?.data as BigInt64Array, Number);
    expect(ids.every((id) => id >= 0 && id < 100) && new Set(ids).size > 2).toBe(true);
    expect(first.inputs.attention_mask?.data).toEqual(new BigInt64Array(5).fill(1n));
    expect(await randomDataset(ports, options).at?.(0)).toEqual(first);
    expect(await randomDataset(ports, { ...options, seed: 2 }).at?.(0)).not.toEqual(first);
    expect(await data.at?.(1)).not.toEqual(first);
  });
  it('are not made for texts', async () => {
    const data = randomDataset([{ name: 'q', dtype: 'string', dims: ['N'] }]);
    await expect(data.at?.(0)).rejects.toThrow(/random numbers only/);
  });
});
