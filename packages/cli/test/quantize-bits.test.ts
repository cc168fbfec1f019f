import { existsSync, readFileSync } from 'node:fs';
import { nodeEngine, readModel } from '@pare/core/node';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { QuantizeReport } from '../src/commands/quantize.js';
import { command, project, samples, scratch } from './fixtures.js';

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

const json = (path: string): object => JSON.parse(readFileSync(new URL(path, import.meta.url), 'utf8'));
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
ajv.addSchema(json('../../verify/evidence.schema.json'));
const validate = ajv.compile(json('../schemas/quantize.schema.json'));

/** Runs `pare quantize model.onnx -o out.onnx --json` with `flags`; the report fits the schema, and the file is as it says. */
async function quantize(...flags: readonly string[]): Promise<QuantizeReport> {
  const { code, out, err } = await command(['quantize', 'model.onnx', '-o', 'out.onnx', '--json', ...flags]);
  expect(code, err).toBe(0);
  const report = JSON.parse(out) as QuantizeReport;
  expect(validate(report), JSON.stringify(validate.errors)).toBe(true);
  expect(report.after.bytes).toBe(readFileSync('out.onnx').length);
  return report;
}

async function answers(path: string): Promise<Float32Array> {
  const session = await engine.open(path);
  const { logits } = await session.run({ image: samples(48).image as never });
  await session.close();
  return logits?.data as Float32Array;
}

const largest = (values: Iterable<number>): number => Math.max(...Array.from(values, Math.abs));

describe('pare quantize --to bits', () => {
  it.each([
    ['w8a8', 0.05],
    ['w4a8', 0.2],
    ['w4', 0.2],
  ])('%s without training', async (precision, error) => {
    const report = await quantize('--to', precision, '--data', 'val.npz');
    expect(report.precision).toBe(precision);
    expect(report.steps.map(({ transform }) => transform)).toEqual(['simplify', 'fake-quantize']);
    expect(report.after.bytes).toBeLessThan(report.before.bytes * 0.4);
    const [float, rounded] = [await answers('model.onnx'), await answers('out.onnx')];
    const far = largest(float.map((v, i) => v - (rounded[i] as number))) / largest(float);
    expect(far).toBeGreaterThan(0);
    expect(far).toBeLessThan(error);
  });

  it('trains with the rounding, and says what training brought', async () => {
    const report = await quantize(
      '--to',
      'w2a4',
      '--train',
      '2',
      '--data',
      'val.npz',
      '--val',
      'val.npz',
      '--batch',
      '16',
    );
    expect(report.steps.map(({ transform }) => transform)).toEqual(['simplify', 'quantize-aware']);
    const { epochs = [], steps, score, best } = report.training ?? {};
    const start = score?.before;
    expect([epochs.length, steps, typeof start]).toEqual([2, 6, 'number']);
    const kept = best === 0 ? start : epochs[(best ?? 0) - 1]?.score;
    expect(kept).toBeGreaterThanOrEqual(start ?? 1);
    expect(existsSync('out.onnx.checkpoints')).toBe(false);
    const types = [...(await readModel('out.onnx')).allNodes()].map((node) => node.opType);
    expect(types).not.toContain('BatchNormalization');
    expect(types.filter((type) => type === 'QuantizeLinear').length).toBeGreaterThan(3);
  });

  it('prints the epochs', async () => {
    const { code, out } = await command(
      'quantize model.onnx -o out.onnx --to w4 --train 1 --data val.npz --batch 16'.split(' '),
    );
    expect(code).toBe(0);
    expect(out).toMatch(/4-bit weights/);
    expect(out).toMatch(/has the weights of epoch 1/);
  });

  it.each([
    [['--to', 'w5a8'], /"w5a8" is no precision: write w4a8/],
    [['--to', 'w4a8'], /--to w4a8 calibrates with samples: give some with --data/],
    [['--to', 'w4a8', '--train', '2'], /Training needs samples/],
    [['--to', 'int8', '--train', '2', '--data', 'val.npz'], /--train is for precisions like w4a8, not int8/],
    [['--to', 'w4a8', '--data', 'val.npz', '--block-size', '64'], /--block-size means nothing for w4a8/],
    [['--to', 'w4a8', '--data', 'val.npz', '--lr', '0.1'], /--lr means nothing without --train/],
    [['--to', 'w4a8', '--data', 'val.npz', '--exclude', 'Conv', '--exclude', 'Gemm'], /No node with weights/],
  ])('refuses %j', async (flags, sentence) => {
    const { code, err } = await command(['quantize', 'model.onnx', '-o', 'refused.onnx', ...flags]);
    expect(code).not.toBe(0);
    expect(err).toMatch(sentence);
    expect(existsSync('refused.onnx')).toBe(false);
  });
});
