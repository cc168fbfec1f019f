import {
  datasetOf,
  type Engine,
  GraphBuilder,
  type HostTensor,
  inferTypes,
  type Model,
  type Sample,
  seededRandom,
  Tensor,
  tensorType,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { Emitter } from '../autodiff/index.js';
import { crossEntropy, type Loss, type LossScope } from '../loss/index.js';
import { constantSchedule } from '../schedule/index.js';
import { train } from '../train.js';
import { memoryRows } from './answer-cache.js';
import { distill } from './distill.js';
import { attentionLoss, featureLoss } from './feature.js';
import { angleLoss, distanceLoss, similarityLoss } from './relation.js';
import { parseTerms } from './terms.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** The value of a loss between a student's and a teacher's feature, through ONNX Runtime. */
async function lossOf(
  engine: Engine,
  loss: Loss,
  student: HostTensor,
  teacher: HostTensor,
  adapter?: number[],
): Promise<number> {
  const b = new GraphBuilder();
  const x = b.op('Identity', [b.input('x', 'float64', student.dims)]);
  b.graph.rename(x, 's');
  const model = b.output('s', x).model();
  const { graph } = model;
  const emit = new Emitter(graph, inferTypes(model));
  const inputs: Record<string, HostTensor> = { x: student };
  const scope: LossScope = {
    emit,
    output: () => x,
    value: (name) => graph.value(name) as Value,
    label: () => x,
    target(name, dtype, dims) {
      inputs[name] = teacher;
      return graph.addInput(name, tensorType(dtype, dims));
    },
    parameter: (name, initial) =>
      graph.addInitializer(name, Tensor.of('float64', initial.dims, Float64Array.from(adapter ?? []))),
  };
  const value = loss.build(scope);
  value.type = emit.inference.typeOf(value);
  graph.addOutput(value);
  const session = await engine.open(model);
  const result = await session.run(inputs, [value.name]);
  await session.close();
  return Number(result[value.name]?.data[0]);
}

function random(dims: number[], seed: number): HostTensor & { data: Float64Array } {
  const r = seededRandom(seed);
  return {
    dtype: 'float64',
    dims,
    data: Float64Array.from({ length: dims.reduce((a, b) => a * b) }, () => r.normal()),
  };
}
const rows = ({ dims, data }: { dims: readonly number[]; data: Float64Array }): number[][] =>
  Array.from({ length: dims[0] as number }, (_, i) => {
    const size = data.length / (dims[0] as number);
    return Array.from(data.subarray(i * size, (i + 1) * size));
  });
const dot = (a: number[], b: number[]): number => a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);
const minus = (a: number[], b: number[]): number[] => a.map((v, i) => v - (b[i] as number));
const huber = (d: number): number => (Math.abs(d) <= 1 ? (d * d) / 2 : Math.abs(d) - 0.5);
const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

describe('losses on features, against their definitions', () => {
  const pair = { student: 's', target: 't' };
  const [s, t] = [random([5, 4], 1), random([5, 6], 2)];

  it('distance: Huber of pair distances over their mean', async () => {
    const distances = (f: number[][]): number[] => {
      const all = f.flatMap((a, i) => f.map((b, j) => (i === j ? 0 : Math.sqrt(dot(minus(a, b), minus(a, b))))));
      const scale = all.reduce((x, y) => x + y) / (5 * 4);
      return all.map((d) => d / scale);
    };
    const [a, b] = [distances(rows(s)), distances(rows(t))];
    const expected = mean(a.map((d, i) => huber(d - (b[i] as number))));
    expect(await lossOf(engine, distanceLoss({ ...pair, targetDims: [6] }), s, t)).toBeCloseTo(expected, 9);
  });

  it('angle: Huber of the cosines of all triples', async () => {
    const cosines = (f: number[][]): number[] =>
      f.flatMap((at) =>
        f.flatMap((a) =>
          f.map((b) => {
            const [u, v] = [minus(a, at), minus(b, at)];
            const length = Math.sqrt(dot(u, u) * dot(v, v));
            return length === 0 ? 0 : dot(u, v) / length;
          }),
        ),
      );
    const [a, b] = [cosines(rows(s)), cosines(rows(t))];
    const expected = mean(a.map((d, i) => huber(d - (b[i] as number))));
    expect(await lossOf(engine, angleLoss({ ...pair, targetDims: [6] }), s, t)).toBeCloseTo(expected, 9);
  });

  it('similarity: Frobenius distance of normalised Gram matrices', async () => {
    const gram = (f: number[][]): number[] =>
      f.flatMap((a) => {
        const row = f.map((b) => dot(a, b));
        const length = Math.sqrt(dot(row, row));
        return row.map((v) => v / length);
      });
    const [a, b] = [gram(rows(s)), gram(rows(t))];
    const expected = mean(a.map((v, i) => (v - (b[i] as number)) ** 2));
    expect(await lossOf(engine, similarityLoss({ ...pair, targetDims: [6] }), s, t)).toBeCloseTo(expected, 9);
  });

  it('attention: distance of normalised maps', async () => {
    const [fs, ft] = [random([2, 3, 4, 4], 3), random([2, 5, 4, 4], 4)];
    const maps = (f: HostTensor & { data: Float64Array }): number[][] =>
      rows(f).map((sample) => {
        const map = Array.from({ length: 16 }, (_, p) => {
          let sum = 0;
          for (let c = p; c < sample.length; c += 16) sum += (sample[c] as number) ** 2;
          return sum;
        });
        const length = Math.sqrt(dot(map, map));
        return map.map((v) => v / length);
      });
    const [a, b] = [maps(fs), maps(ft)];
    const expected = mean(a.map((m, i) => dot(minus(m, b[i] as number[]), minus(m, b[i] as number[]))));
    expect(await lossOf(engine, attentionLoss({ ...pair, targetDims: [5, 4, 4] }), fs, ft)).toBeCloseTo(expected, 9);
  });

  it('feature: mean square after the adapter, larger maps averaged', async () => {
    const adapter = Array.from(random([4, 6], 5).data);
    const adapted = rows(s).map((row) =>
      Array.from({ length: 6 }, (_, j) => row.reduce((sum, v, i) => sum + v * (adapter[i * 6 + j] as number), 0)),
    );
    const expected = mean(adapted.flatMap((row, i) => minus(row, rows(t)[i] as number[]).map((d) => d * d)));
    expect(await lossOf(engine, featureLoss({ ...pair, targetDims: [6] }), s, t, adapter)).toBeCloseTo(expected, 9);
    await expect(
      lossOf(engine, featureLoss({ ...pair, targetDims: [3, 3, 3] }), random([2, 3, 4, 4], 1), t),
    ).rejects.toThrow('no whole multiple or fraction');
  });
});

/** 6 numbers -> hidden -> 4 classes. */
function net(hidden: number, seed: number): Model {
  const b = new GraphBuilder({ seed });
  const x = b.input('x', 'float32', ['batch', 6]);
  const h = b.op('Tanh', [b.op('Gemm', [x, b.random([6, hidden], { name: 'w1' })])]);
  b.graph.rename(h, 'hidden');
  return b.output('logits', b.op('Gemm', [h, b.random([hidden, 4], { name: 'w2' })])).model();
}

const data = (() => {
  const r = seededRandom(11);
  const samples: Sample[] = Array.from({ length: 128 }, () => {
    const x = Float32Array.from({ length: 6 }, () => r.normal());
    const label =
      (x[0] as number) * (x[1] as number) > 0 ? ((x[2] as number) > 0 ? 0 : 1) : (x[3] as number) > 0 ? 2 : 3;
    return { inputs: { x: { dtype: 'float32', dims: [6], data: x } }, label };
  });
  return datasetOf(samples, { name: 'quadrants' });
})();

const settings = { engine, data, epochs: 4, batchSize: 32, schedule: () => constantSchedule(0.02) };

async function disagreement(a: Model, b: Model): Promise<number> {
  const x = random([64, 6], 9);
  const feeds = { x: { dtype: 'float32' as const, dims: [64, 6], data: Float32Array.from(x.data) } };
  const answers = await Promise.all(
    [a, b].map(async (model) => {
      const session = await engine.open(model);
      const { logits } = await session.run(feeds);
      await session.close();
      return Array.from((logits as HostTensor).data as Float32Array);
    }),
  );
  return mean((answers[0] as number[]).map((v, i) => (v - (answers[1]?.[i] as number)) ** 2));
}

describe('distill', () => {
  it('brings the student to the teacher without labels, and leaves the adapter behind', async () => {
    const teacher = net(16, 1);
    await train(teacher, { ...settings, loss: crossEntropy() });
    const student = net(5, 2);
    const before = await disagreement(student, teacher);
    const names = [...student.graph.initializers].map((v) => v.name);
    const terms = parseTerms('response,feature:hidden=hidden*0.5,relation*0.1');
    await distill(student, { ...settings, epochs: 12, teacher, terms, labels: null });
    expect(await disagreement(student, teacher)).toBeLessThan(before / 2);
    expect([...student.graph.initializers].map((v) => v.name)).toEqual(names);
  });

  it('gives the same bits with and without kept answers, and in two parts as with a teacher asked once', async () => {
    const teacher = net(16, 1);
    const weights = async (cache?: ReturnType<typeof memoryRows>): Promise<number[]> => {
      const student = net(5, 2);
      await distill(student, { ...settings, teacher, shards: 2, cache });
      return [...(student.graph.value('w1')?.initializer?.numbers() ?? [])];
    };
    let reads = 0;
    const rows = memoryRows();
    const read = async (i: number, n: number): Promise<Uint8Array | undefined> => {
      const row = await rows.read(i, n);
      if (row) reads++;
      return row;
    };
    const counted = { ...rows, read };
    expect(await weights(counted)).toEqual(await weights());
    expect(reads).toBeGreaterThan(128 * 2);
  });

  it('refuses what does not fit', async () => {
    const b = new GraphBuilder();
    b.output('y', b.op('Relu', [b.input('image', 'float32', ['batch', 3, 8, 8])]));
    await expect(distill(net(5, 2), { ...settings, teacher: b.model() })).rejects.toThrow(
      'The teacher\'s input "image" [batch, 3, 8, 8] does not fit what the student is fed: "x" [2, 6].',
    );
    const terms = parseTerms('feature:hidden=nothing');
    await expect(distill(net(5, 2), { ...settings, teacher: net(6, 1), terms })).rejects.toThrow('no value "nothing"');
    expect(() => parseTerms('respond')).toThrow('There is no distillation loss "respond"');
    expect(() => parseTerms('feature')).toThrow('needs two values');
  });
});
