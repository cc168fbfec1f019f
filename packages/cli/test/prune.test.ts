import { readFileSync } from 'node:fs';
import type { Model, TypedArray } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PruneReport } from '../src/commands/prune.js';
import { command, project, samples, scratch, tree } from './fixtures.js';

const folder = scratch();
const home = process.cwd();
const engine = nodeEngine();

beforeAll(async () => {
  await project(folder);
  process.chdir(folder);
});
afterAll(async () => {
  process.chdir(home);
  await engine.close();
});

const schema = JSON.parse(readFileSync(new URL('../schemas/prune.schema.json', import.meta.url), 'utf8'));
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
const evidence = new URL('../../verify/evidence.schema.json', import.meta.url);
ajv.addSchema(JSON.parse(readFileSync(evidence, 'utf8')));
const validate = ajv.compile(schema);

/** Runs `pare prune model.onnx -o out.onnx --json` with `flags`; the report fits the schema, and the files are as it says. */
async function prune(...flags: readonly string[]): Promise<{ readonly report: PruneReport; readonly model: Model }> {
  const { code, out, err } = await command(['prune', 'model.onnx', '-o', 'out.onnx', '--json', ...flags]);
  expect(code, err).toBe(0);
  const report = JSON.parse(out) as PruneReport;
  expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
  expect(report.before.bytes).toBe(readFileSync('model.onnx').length);
  expect(report.after.bytes).toBe(readFileSync('out.onnx').length);
  expect(report.compressed.after.raw).toBe(report.after.bytes);
  // It runs.
  const session = await engine.open('out.onnx');
  const { logits } = await session.run({ image: samples(2).image as never });
  expect(logits?.dims).toEqual([2, 4]);
  await session.close();
  return { report, model: await readModel('out.onnx') };
}

/** The weights of the convolutions and of the product. */
async function weights(model: Model): Promise<{ readonly dims: readonly number[]; readonly values: TypedArray }[]> {
  const nodes = [...model.graph.nodes()].filter((node) => node.is('Conv') || node.is('Gemm'));
  return Promise.all(
    nodes.map(async (node) => {
      const tensor = node.inputs[1]?.constant;
      return { dims: tensor?.dims ?? [], values: (await tensor?.toArray()) as TypedArray };
    }),
  );
}

const zeros = (values: TypedArray): number => Array.from(values as Float32Array).filter((v) => v === 0).length;

describe('pare prune', () => {
  it('zeroes exactly the share of the weights', async () => {
    const { report, model } = await prune('--sparsity', '80%');
    const all = await weights(model);
    const size = all.reduce((sum, { values }) => sum + values.length, 0);
    expect(all.reduce((sum, { values }) => sum + zeros(values), 0)).toBe(Math.round(0.8 * size));
    expect(report.pruned).toBe('weights');
    expect(report.compressed.after.gzip).toBeLessThan(0.4 * report.compressed.before.gzip);
    expect(report.steps.map(({ transform }) => transform)).toEqual(['prune-weights']);
    expect(report.steps[0]?.options).toMatchObject({ sparsity: 0.8 });
  });

  it('takes pictures for the score, chooses layers, and restores means and variances', async () => {
    const { report, model } = await prune('--nm', '2:4', '--score', 'wanda', '--data', 'val.npz', '--keep', 'last');
    const [first, second, last] = await weights(model);
    expect(zeros(first!.values)).toBe(0); // 3 inputs
    expect(zeros(last!.values)).toBe(0);
    for (let out = 0; out < 32; out++) {
      for (let at = 0; at < 9; at++) {
        const row = Array.from({ length: 32 }, (_, i) => second!.values[(out * 32 + i) * 9 + at]);
        for (let i = 0; i < 32; i += 4) expect(row.slice(i, i + 4).filter((v) => v === 0)).toHaveLength(2);
      }
    }
    expect(report.steps.map(({ transform }) => transform)).toEqual(['prune-weights']);
    expect(report.steps[0]?.notes.join('\n')).toMatch(/Means and variances of 3 layers/);
  });

  it('takes gradients for the score', async () => {
    const plain = await prune('--sparsity', '0.5', '--distribution', 'global');
    const taylor = await prune('--sparsity', '0.5', '--score', 'taylor', '--data', 'val.npz');
    const [a, b] = [(await weights(plain.model))[1], (await weights(taylor.model))[1]];
    expect(Array.from(a!.values as Float32Array, (v) => v === 0)).not.toEqual(
      Array.from(b!.values as Float32Array, (v) => v === 0),
    );
  });

  it.each([
    [['--channels', '0.5'], 0.5],
    [['--macs', '0.4', '--data', 'val.npz', '--score', 'activation'], 0.7],
    [['--parameters', '0.4', '--data', 'val.npz', '--score', 'taylor'], 0.75],
    [['--latency', '0.2', '--data', 'val.npz', '--samples', '4'], 1],
  ] as const)('removes channels: %j', async (flags, most) => {
    const { report, model } = await prune(...flags);
    expect(report.pruned).toBe('channels');
    expect(report.after.bytes).toBeLessThan(most * report.before.bytes);
    expect((await weights(model))[1]?.dims[0]).toBeLessThan(32);
    expect(report.steps.map(({ transform }) => transform)).toEqual(['simplify', 'prune-channels']);
    // Normalizations stay apart, to be measured and trained.
    expect([...model.graph.nodes()].some((node) => node.is('BatchNormalization'))).toBe(true);
  });

  it('rounds what is left, and leaves the model as it is otherwise', async () => {
    const { report, model } = await prune('--channels', '0.3', '--round-to', '8', '--no-simplify');
    for (const { dims } of (await weights(model)).slice(0, 2)) expect((dims[0] as number) % 8).toBe(0);
    expect(report.after.nodes).toBe(report.before.nodes);
  });

  it('shares weights, alone and after pruning', async () => {
    const { report } = await prune('--share', '6');
    expect(report).toMatchObject({ pruned: null });
    expect(report.after.bytes).toBeLessThan(0.35 * report.before.bytes);
    const both = await prune('--sparsity', '0.9', '--share', '4');
    expect(both.report.steps.map(({ transform }) => transform)).toEqual(['prune-weights', 'share-weights']);
    expect(both.report.compressed.after.gzip).toBeLessThan(0.5 * report.compressed.after.gzip);
  });

  it('prints what it did, and that zeros bring no time', async () => {
    const { code, out } = await command(['prune', 'model.onnx', '-o', 'out.onnx', '--sparsity', '0.5']);
    expect(code).toBe(0);
    expect(out).toMatch(/5104 of 10208 weights are pruned, 50\.0 %\.[\s\S]*gzip +38\.\d kB +2\d\.\d kB/);
    expect(out).toMatch(/no faster[\s\S]*out\.onnx/);
    expect(out).toMatch('zstdCompressSync' in (await import('node:zlib')) ? /zstd +\d/ : /zstd +not available/);
  });

  it('shows its examples', async () => {
    const { code, out } = await command(['prune', '--help']);
    expect(code).toBe(0);
    const [options = '', shown = ''] = out.split('Examples:\n');
    expect(shown.trim().split('\n').length).toBeGreaterThanOrEqual(2);
    for (const flag of shown.match(/--[a-z-]+/g) ?? []) expect(options).toContain(flag);
  });

  it.each([
    [[], /What is to go\? Give one of --sparsity, --nm, .* or --share/],
    [['--sparsity', '0.5', '--channels', '0.5'], /Give one of --sparsity/],
    [['--sparsity', '2'], /--sparsity 2: write the share that goes, between 0 and 1/],
    [['--nm', '4:2'], /"4:2" is no pattern/],
    [['--sparsity', '0.5', '--score', 'fpgm'], /--score fpgm: choose one of magnitude, wanda, taylor/],
    [['--sparsity', '0.5', '--score', 'wanda'], /--score wanda runs the model on samples: give some with --data/],
    [['--latency', '0.5'], /--latency runs the model on samples/],
    [['--sparsity', '0.5', '--ranking', 'global'], /--ranking means nothing for weights; it is for channels/],
    [['--channels', '0.5', '--distribution', 'erk'], /--distribution means nothing for channels/],
    [['--share', '9'], /2 to 8 bits, not 9/],
    [['--share', '4', '--score', 'magnitude'], /say how many \(--sparsity\)/],
    [['--sparsity', '0.5', '--exclude', 'Conv', '--exclude', 'Gemm'], /nothing in the model that prune could change/],
    [['--channels', '0.999'], /At most .* of the channels can go/],
    [['--sparsity', '0.5', '--schedule', 'gradual'], /--schedule means nothing without --finetune/],
    [['--sparsity', '0.5', '--lr', '0.1'], /--lr means nothing without --finetune/],
    [['--sparsity', '0.5', '--finetune', '1'], /Training needs samples/],
    [['--share', '4', '--finetune', '1', '--data', 'val.npz'], /say what goes/],
    [['--channels', '0.5', '--finetune', '1', '--schedule', 'gradual'], /channels go at once/],
    [['--nm', '2:4', '--finetune', '1', '--schedule', 'gradual'], /--nm goes at once/],
    [['--sparsity', '0.5', '--include', '/(/'], /is no regular expression/],
  ] as const)('refuses %j', async (flags, sentence) => {
    const before = tree(folder);
    const { code, out, err } = await command(['prune', 'model.onnx', '-o', 'none.onnx', ...flags]);
    expect(err).toMatch(sentence);
    expect(err).not.toMatch(/bug in Pare/);
    expect([code, out]).toEqual([2, '']);
    expect(tree(folder)).toEqual(before);
  });

  it.each([
    [['--sparsity', '0.75'], 'weights'],
    [['--sparsity', '0.75', '--schedule', 'iterative', '--rounds', '2'], 'weights'],
    [['--nm', '2:4', '--score', 'wanda'], 'weights'],
    [['--channels', '0.25', '--score', 'taylor'], 'channels'],
  ] as const)('trains what is left after %j', async (flags, pruned) => {
    const { report, model } = await prune(
      ...flags,
      '--data',
      'val.npz',
      '--val',
      '40',
      '--finetune',
      '3',
      '--batch',
      '16',
    );
    expect(report).toMatchObject({ pruned, training: { what: 'prune' } });
    expect(report.training?.epochs.length).toBe(3);
    const all = await weights(model);
    const size = all.reduce((sum, { values }) => sum + values.length, 0);
    const gone = all.reduce((sum, { values }) => sum + zeros(values), 0);
    if (flags[0] === '--sparsity') expect(gone).toBe(Math.round(0.75 * size));
    if (flags[0] === '--channels') expect(report.after.bytes).toBeLessThan(report.before.bytes);
    expect(tree(folder).some((name) => name.includes('checkpoints'))).toBe(false);
  });

  it('refuses a quantized model', async () => {
    await command(['quantize', 'model.onnx', '--to', 'int8', '--data', 'val.npz', '-o', 'int8.onnx']);
    const { code, err } = await command(['prune', 'int8.onnx', '-o', 'none.onnx', '--sparsity', '0.5']);
    expect(code).toBe(2);
    expect(err).toMatch(/integer weights already .*: prune the float model, then quantize the result/);
  });
});
