import {
  check,
  GraphBuilder,
  inferTypes,
  type Model,
  type Port,
  parseModel,
  serializeModel,
  type Transform,
} from '@pare/core';
import { adamW, gradient, ParameterStore, updateParameters } from '@pare/train';
import { float16, quantizeDynamic, quantizeWeights, simplify } from '@pare/transforms';
import { cer, indexData, OutputComparison, randomDataset, scoreAll, seededRandom, splitData, top1 } from '@pare/verify';

/** What is done with each model, without an engine. */
const RECIPES: Readonly<Record<string, readonly Transform[]>> = {
  untouched: [],
  simplified: [simplify()],
  float16: [simplify(), float16()],
  'int8 weights': [simplify(), quantizeWeights({ format: 'dequantize', bits: 8 })],
  'int4 weights': [simplify(), quantizeWeights({ bits: 4 })],
  'dynamic int8': [simplify(), quantizeDynamic()],
};

/** Everything that must be the same wherever it is computed: digests of models, and numbers of metrics, by name. */
export async function work(models: Readonly<Record<string, Uint8Array>>): Promise<Record<string, string>> {
  const results: Record<string, string> = {};
  for (const [name, bytes] of Object.entries(models)) {
    for (const [recipe, transforms] of Object.entries(RECIPES)) {
      for (const [form, input] of Object.entries({ bytes, blob: new Blob([bytes as Uint8Array<ArrayBuffer>]) })) {
        const model = await parseModel(input);
        await model.transform(...transforms);
        results[`${name}, ${recipe}, from ${form}`] = await digest(await written(model));
      }
    }
    const model = await parseModel(bytes);
    results[`${name}, check`] = `${check(model).length} problems`;
    inferTypes(model).annotate();
    results[`${name}, types`] = await digest(await written(model));
  }
  return { ...results, ...(await training()), ...(await measures()) };
}

/** A gradient graph, and what an optimizer makes of its parameters. */
async function training(): Promise<Record<string, string>> {
  const b = new GraphBuilder({ seed: 8 });
  const h = b.op('Conv', [b.input('x', 'float32', ['n', 3, 8, 8]), b.random([4, 3, 3, 3], { name: 'w' })]);
  const y = b.op('Sigmoid', [b.op('MaxPool', [h], { kernel_shape: [2, 2] })]);
  b.output('loss', b.op('ReduceMean', [b.op('Mul', [y, y])], { keepdims: 0 }));
  const step = await gradient(b.model(), { loss: 'loss', wrt: ['w'], dims: { n: 4 } });

  const random = seededRandom(9);
  const values = Float32Array.from({ length: 108 }, random.normal);
  const store = new ParameterStore([{ name: 'w', dims: [4, 3, 3, 3], values }]);
  for (let update = 1; update <= 5; update++) {
    store.get('w').gradient.set(values.map(() => random.normal()));
    updateParameters(store, adamW(), { step: update, learningRate: 0.01, clipNorm: 1 });
  }
  const weights = new Uint8Array(store.snapshot().buffer);
  return { gradient: await digest(await written(step)), 'updated weights': await digest(weights) };
}

/** Data, metrics with their intervals and tests, and numerics of outputs, on seeded samples. */
async function measures(): Promise<Record<string, string>> {
  const port: Port = { name: 'x', dtype: 'float32', dims: ['batch', 3, 8, 8] };
  const data = randomDataset([port], { samples: 64, dims: { batch: 1 } });
  const index = await indexData(data);
  const split = splitData(data, index);

  const random = seededRandom(5);
  const comparison = new OutputComparison();
  const right: unknown[] = [];
  const errors: unknown[] = [];
  for await (const { inputs } of split.evaluation) {
    const original = {
      logits: { dtype: 'float32', dims: [10], data: Float32Array.from({ length: 10 }, random.normal) },
    } as const;
    const noisy = original.logits.data.map((v) => v + 0.1 * random.normal());
    const variant = { logits: { ...original.logits, data: noisy } };
    const sample = { inputs, label: random.integer(10) };
    comparison.add(original, variant);
    right.push(top1().score(variant, sample, original));
    const text = cer({ decode: () => 'a line of text' });
    errors.push(text.score(variant, { ...sample, label: 'a lime of tests' }, original));
  }
  return {
    data: index.hash,
    split: `${split.calibration.size} and ${split.evaluation.size}`,
    accuracy: rounded(scoreAll(top1(), right)),
    'error rate': rounded(scoreAll(cer({ decode: String }), errors)),
    numerics: rounded(comparison.results()),
  };
}

/** Engines of JavaScript differ in the last digits of logarithms and exponentials. */
function rounded(value: unknown): string {
  return JSON.stringify(value, (_, v) => (typeof v === 'number' ? Number(v.toPrecision(10)) : v));
}

async function written(model: Model): Promise<Uint8Array> {
  return serializeModel(model).file.bytes();
}

async function digest(bytes: Uint8Array): Promise<string> {
  const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return `${bytes.byteLength} bytes ${Array.from(hash, (byte) => byte.toString(16).padStart(2, '0')).join('')}`;
}
