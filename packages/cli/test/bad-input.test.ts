import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { encodeNpz } from '@pare/verify';
import { beforeAll, describe, expect, it } from 'vitest';
import { noise, type Outcome, pare, project, samples, scratch } from './fixtures.js';

const folder = scratch();
const at = (name: string): string => join(folder, name);
const out = at('out');
let bytes: Uint8Array;

beforeAll(async () => {
  await project(folder);
  bytes = readFileSync(at('model.onnx'));
  writeFileSync(at('empty.onnx'), '');
  writeFileSync(at('picture.onnx'), Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'));
  writeFileSync(at('pointer.onnx'), 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n');
  writeFileSync(at('text.onnx'), 'this is no model at all');
  writeFileSync(at('half.onnx'), bytes.subarray(0, bytes.length >> 1));
  const npz = (name: string, arrays: Parameters<typeof encodeNpz>[0]): void =>
    writeFileSync(at(name), encodeNpz(arrays));
  const { image, labels } = samples(12);
  if (!image || !labels) throw new Error('fixtures');
  npz('names.npz', { picture: image, mask: image, labels });
  npz('shape.npz', { image: { ...image, dims: [12, 3, 8, 32] }, labels });
  npz('none.npz', { image: { dtype: 'float32', dims: [0, 3, 16, 16], data: new Float32Array(0) } });
  const nan = noise(12 * 768, 1);
  nan[1000] = Number.NaN;
  npz('nan.npz', { image: { ...image, data: nan }, labels });
  writeFileSync(at('broken.npz'), bytes.subarray(0, 100));
  writeFileSync(at('file'), 'in the way');
});

/** Exit code 2, one sentence, no stack, and no output folder. */
function expectSentence({ code, err, out: printed }: Outcome, sentence: RegExp): void {
  const complaint = err
    .trim()
    .split('\n')
    .filter((line) => line.startsWith('error'));
  expect(err).toMatch(sentence);
  expect(err).not.toMatch(/^\s+at /m);
  expect(complaint.length).toBe(1);
  expect(printed).toBe('');
  expect(code).toBe(2);
  expect(existsSync(out)).toBe(false);
}

describe('a bad model', () => {
  it.each([
    ['missing.onnx', /missing\.onnx/],
    ['empty.onnx', /empty/],
    ['picture.onnx', /PNG/],
    ['pointer.onnx', /LFS/],
    ['text.onnx', /text\.onnx/],
    ['half.onnx', /half\.onnx/],
  ])('%s', async (name, sentence) => {
    expectSentence(await pare(['optimize', at(name), '--data', at('val.npz'), '-o', out]), sentence);
    expectSentence(await pare(['inspect', at(name)]), sentence);
  });
});

describe('bad data', () => {
  it.each([
    ['missing.npz', /missing\.npz/],
    ['names.npz', /image/],
    ['shape.npz', /image/],
    ['none.npz', /no samples/],
    ['nan.npz', /NaN|not finite/],
    ['broken.npz', /broken\.npz/],
  ])('%s', async (name, sentence) => {
    expectSentence(await pare(['optimize', at('model.onnx'), '--data', at(name), '-o', out]), sentence);
  });

  it('refuses calibration samples that are scored too', async () => {
    const run = await pare([
      'optimize',
      at('model.onnx'),
      '--data',
      at('val.npz'),
      '--calibration',
      at('val.npz'),
      '-o',
      out,
    ]);
    expectSentence(run, /calibrat/i);
  });
});

describe('bad usage', () => {
  it.each([
    [['frobnicate'], /unknown command/],
    [['simplify', 'model.onnx'], /--output/],
    [['optimize', 'model.onnx', '--target', 'toaster', '-o', 'out'], /--target toaster: choose one of node-cpu/],
    [['optimize', 'model.onnx', '--max-drop', 'lots', '-o', 'out'], /--max-drop lots: write a number/],
    [['optimize', 'model.onnx', '--metric', 'beauty', '--data', 'val.npz', '-o', 'out'], /no metric "beauty"/],
    [['quantize', 'model.onnx', '--to', 'int3', '-o', 'out'], /int3/],
    [['simplify', 'model.onnx', '-o', 'out', '--fix-shape', 'image'], /--fix-shape image=1,3,224,224/],
    [['optimize'], /Which model/],
  ] as const)('%j', async (args, sentence) => {
    const run = await pare(args, { cwd: folder });
    expect(run.err).toMatch(sentence);
    expect(run.code).toBe(2);
    expect(existsSync(out)).toBe(false);
  });
});

it('says where it cannot write, and leaves what is there alone', async () => {
  const before = readdirSync(folder).sort();
  const run = await pare(['simplify', at('model.onnx'), '-o', join(at('file'), 'small.onnx')]);
  expectSentence(run, /file/);
  const bundle = await pare(['optimize', at('model.onnx'), '--data', at('val.npz'), '-o', at('file')]);
  expectSentence(bundle, /file/);
  expect(readdirSync(folder).sort()).toEqual(before);
  expect(readFileSync(at('file'), 'utf8')).toBe('in the way');
}, 60_000);

it('does not touch files of others in the output folder', async () => {
  const place = at('taken');
  mkdirSync(place);
  writeFileSync(join(place, 'report.html'), 'mine');
  const run = await pare(['optimize', at('model.onnx'), '--data', at('val.npz'), '-o', place]);
  expect(run.code).toBe(2);
  expect(run.err).toMatch(/report\.html/);
  expect(readdirSync(place)).toEqual(['report.html']);
  expect(readFileSync(join(place, 'report.html'), 'utf8')).toBe('mine');
}, 60_000);
