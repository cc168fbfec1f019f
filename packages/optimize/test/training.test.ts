import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { datasetOf, GraphBuilder, type Model, type Sample, seededRandom, Tensor } from '@pare/core';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import { crossEntropy, train } from '@pare/train';
import { type Dataset, indexData } from '@pare/verify';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, type Workshop } from '../src/build.js';
import { prepareData } from '../src/data.js';
import { optimize } from '../src/optimize.js';
import { recipeFor } from '../src/precision.js';
import { type Attempt, type Trained, trainInt8 } from '../src/train-int8.js';

const engine = nodeEngine();
const folder = mkdtempSync(join(tmpdir(), 'pare-training-'));
const file = join(folder, 'model.onnx');
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true });
});

/** Four classes of noisy points in 16 dimensions, by the direction that they lie in. */
function points(count: number, seed: number, labels = true): Dataset {
  const [random, axes] = [seededRandom(seed), seededRandom(99)];
  const centres = Array.from({ length: 4 }, () => Float32Array.from({ length: 16 }, () => axes.normal()));
  const samples = Array.from({ length: count }, (_, i): Sample => {
    const label = i % 4;
    const data = (centres[label] as Float32Array).map((v) => 0.7 * v + random.normal());
    return { inputs: { x: { dtype: 'float32', dims: [16], data } }, ...(labels ? { label } : {}) };
  });
  return datasetOf(samples, { name: `points ${seed}` });
}

/**
 * x [16] -> 32 -> 32 -> logits [4]. `loud`: one hidden number is always that large and counts for nothing, which leaves few of the
 * 256 levels to the others.
 */
function network(loud = 0, last = 'Identity'): Model {
  const b = new GraphBuilder({ seed: 4 });
  const zeros = (n: number, first = 0): Tensor => Tensor.of('float32', [n], [first, ...new Array(n - 1).fill(0)]);
  let h = b.input('x', 'float32', ['batch', 16]);
  const bias = b.constant(zeros(32, loud), 'loud');
  h = b.op('Relu', [b.op('Gemm', [h, b.random([16, 32], { name: 'w1', scale: 0.3 }), bias])]);
  const second = b.random([32, 32], { name: 'w2', scale: 0.25 });
  h = b.op('Relu', [b.op('Gemm', [h, second, b.constant(zeros(32), 'b2')])]);
  const logits = b.op('Gemm', [h, b.random([32, 4], { name: 'w3', scale: 0.3 }), b.constant(zeros(4), 'b3')]);
  return b.output('logits', b.op(last, [logits]), 'float32', ['batch', 4]).model({ opset: 17 });
}

const plain = network();
beforeAll(async () => {
  await train(plain, { engine, data: training, loss: crossEntropy(), epochs: 6 });
  await write(file, 400);
});

const training = points(1200, 1);
const judging = points(400, 2);

/** The weights of `plain`, which has learned, with a number that is loud, in a file. */
async function write(path: string, loud: number, last?: string): Promise<void> {
  const loudest = network(loud, last);
  for (const name of ['w1', 'w2', 'b2', 'w3', 'b3']) {
    const [from, to] = [plain.graph.value(name), loudest.graph.value(name)];
    const tensor = from?.initializer as Tensor;
    const values = Float32Array.from((await tensor.toArray()) as Float32Array);
    // The loud number depends on nothing, and nothing on it.
    if (name === 'w1') for (let i = 0; i < 16; i++) values[i * 32] = 0;
    if (name === 'w2') values.fill(0, 0, 32);
    loudest.graph.setInitializer(to as never, Tensor.of('float32', tensor.dims, values));
  }
  await writeModel(path, loudest);
}

/** Everything that `optimize` has when it comes to training. */
async function attempt(
  more: Partial<Attempt> & { data?: Dataset },
  model = file,
): Promise<{ attempt: Attempt; workshop: Workshop }> {
  const graph = await readModel(model);
  const workshop = { engine, simplified: graph, simplification: [], staging: mkdtempSync(join(folder, 'staging-')) };
  const { index: _, ...given } = await prepareData(graph, { data: judging, seed: 1 });
  const built = [await build(recipeFor('int8', { method: 'min-max' }), given, () => undefined, workshop)];
  const data = more.data ?? training;
  return {
    workshop,
    attempt: {
      samples: { data, index: await indexData(data), epochs: 1 },
      original: { name: 'original', model, graph, bytes: 7300 },
      built,
      refused: [],
      evaluation: given.evaluation,
      metric: undefined,
      gates: { maxDrop: 0.002 },
      threads: 1,
      seed: 1,
      ...more,
    },
  };
}

async function tried(more: Partial<Attempt> & { data?: Dataset }, model?: string): Promise<Trained> {
  const { attempt: what, workshop } = await attempt(more, model);
  return trainInt8(what, workshop);
}

const reasonOf = (trained: Trained): string => ('refused' in trained ? trained.refused.reason : 'it was trained');

describe('optimize with training samples', () => {
  it('trains int8 where it fails the gate, and judges it like the others', async () => {
    const output = join(folder, 'out');
    const options = { model: file, output, engine, data: judging, budgetMs: 20, goal: 'size' as const };
    const { evidence, manifest } = await optimize({ ...options, gates: { maxDrop: 0.002 }, train: { data: training } });
    const variant = (name: string) => evidence.variants.find((v) => v.name === name);
    const [int8, qat] = [variant('int8'), variant('int8-qat')];
    expect(int8?.verdict).toMatchObject({ status: 'refused', reasons: [expect.stringMatching(/^top-1 drops by/)] });
    expect(qat?.verdict.status).not.toBe('refused');
    expect(qat?.accuracy?.value).toBeGreaterThan(int8?.accuracy?.value ?? 1);
    expect(manifest.variants.map(({ id, dtype }) => [id, dtype])).toContainEqual(['int8-qat', 'int8']);
    expect(readdirSync(output)).toContain('int8-qat.onnx');
    expect(qat?.recipe.at(-1)).toMatchObject({
      transform: 'quantize-aware',
      options: { precision: 'w8a8', epochs: 2, loss: 'cross-entropy', validation: 120, seed: 1 },
    });
    const [learned] = evidence.training ?? [];
    expect(learned).toMatchObject({ name: 'int8-qat', what: 'qat', samples: 1080, score: { name: 'accuracy' } });
    const text = learned?.notes.join(' ');
    expect(text).toMatch(/^Quantized after training, no int8 variant holds the gates\. int8: top-1 drops by/);
    const percent = (value: number | null | undefined): string => `${(100 * (value ?? 0)).toFixed(2)} %`;
    expect(text).toContain(`int8 ${percent(int8?.accuracy?.value)}`);
    expect(text).toContain(`int8-qat ${percent(qat?.accuracy?.value)}`);
    const report = readFileSync(join(output, 'report.html'), 'utf8');
    expect(report).toContain('<section id="training"');
    expect(report).toContain('Quantization-aware training: 2 epochs of 1,080 samples');
    const schema = JSON.parse(readFileSync(new URL('../../verify/evidence.schema.json', import.meta.url), 'utf8'));
    const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(schema);
    expect(validate(JSON.parse(readFileSync(join(output, 'evidence.json'), 'utf8'))), `${validate.errors}`).toBe(true);
  });

  it('gives the same bits again', async () => {
    const bits = async (): Promise<string> => {
      const done = await tried({});
      return 'variant' in done ? readFileSync(done.variant.files[0]?.file ?? '').toString('hex') : reasonOf(done);
    };
    expect(await bits()).toBe(await bits());
  });

  it('says why it did not', async () => {
    expect(reasonOf(await tried({ gates: {} }))).toMatch(/^Not tried: no gate limits what int8 may lose/);
    expect(reasonOf(await tried({ gates: { maxP95Ms: 1 } }))).toMatch(/^Not tried: no gate limits/);
    const holds = /^Not tried: int8 holds the gates on accuracy without training: /;
    expect(reasonOf(await tried({ gates: { maxDrop: 0.9 } }))).toMatch(holds);
    const refused = [{ name: 'int8', recipe: [], reason: 'Convolutions take twice the float time.' }];
    const none = 'Not tried: there is no int8 to better. Convolutions take twice the float time.';
    expect(reasonOf(await tried({ built: [], refused }))).toBe(none);
  });

  it('follows the float model where the samples have no classes', async () => {
    const done = await tried({ data: points(640, 5, false) });
    expect('training' in done && done.training).toMatchObject({ what: 'qat', score: null, samples: 640 });
    expect('training' in done && done.training.epochs.length).toBe(1);
  });

  it('says what cannot be trained, and changes nothing else', async () => {
    const other = join(folder, 'hardmax.onnx');
    await write(other, 400, 'Hardmax');
    const reason = reasonOf(await tried({}, other));
    expect(reason).toMatch(
      /no int8 variant holds the gates.*Training could not mend it: The loss "loss" does not depend on/,
    );
    const labels = datasetOf(async function* () {
      for await (const sample of points(64, 6)) yield { ...sample, label: 9 };
    });
    expect(reasonOf(await tried({ data: labels }))).toMatch(/Training could not mend it: .*class 9/);
  });

  it('refuses samples that also judge, and to train where nothing judges, before any work', async () => {
    const options = { model: file, output: join(folder, 'never'), engine };
    const same = optimize({ ...options, data: judging, train: { data: judging } });
    await expect(same).rejects.toThrow(/400 of the 400 evaluation samples are also training samples/);
    await expect(optimize({ ...options, train: { data: training } })).rejects.toThrow(/give some as data/);
    expect(existsSync(join(folder, 'never'))).toBe(false);
  });
});
