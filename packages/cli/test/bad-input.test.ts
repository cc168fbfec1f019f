import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { GraphBuilder, type HostTensor, type Model } from '@pare/core';
import { writeModel } from '@pare/core/node';
import { encodeNpz } from '@pare/verify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { classifier, command, noise, type Outcome, pare, project, samples, scratch, tree } from './fixtures.js';

const folder = scratch();
const at = (name: string): string => join(folder, name);
const out = at('out');

const home = process.cwd();

beforeAll(async () => {
  await project(folder);
  process.chdir(folder);
  await badModels();
  badData();
});

afterAll(() => process.chdir(home));

/** Exit code 2, one sentence, no stack, nothing on standard output. */
function expectSentence({ code, err, out: printed }: Outcome, sentence: RegExp): void {
  const complaint = err.split('\n').filter((line) => line.startsWith('error'));
  expect(complaint.join('\n')).toMatch(sentence);
  expect(complaint.length).toBe(1);
  expect(err).not.toMatch(/^\s+at |bug in Pare/m);
  expect(printed).toBe('');
  expect(code).toBe(2);
}

/** Runs `pare` in `folder`, whose files must be the same after it. */
async function expectRefusal(args: readonly string[], sentence: RegExp): Promise<void> {
  const before = tree(folder);
  expectSentence(await command(args), sentence);
  expect(tree(folder)).toEqual(before);
}

describe('a bad model', () => {
  const cases: readonly (readonly [file: string, sentence: RegExp])[] = [
    ['missing.onnx', /missing\.onnx" cannot be read: there is no such file/],
    ['folder.onnx', /folder\.onnx" is a folder/],
    ['empty.onnx', /empty\.onnx is empty/],
    ['picture.onnx', /picture\.onnx.* PNG/],
    ['pointer.onnx', /pointer\.onnx.* LFS/],
    ['text.onnx', /text\.onnx/],
    ['half.onnx', /half\.onnx.* (truncated|ends)/],
    ['nested.onnx', /nested/],
    ['long.onnx', /long\.onnx/],
    ['lost.onnx', /"lost\.onnx_data", which is missing/],
    ['escape.onnx', /outside the model's folder/],
    ['old.onnx', /opset 5; the runtime knows opset 7 to/],
  ];
  it.each(cases)('%s', async (name, sentence) => {
    await expectRefusal(['optimize', name, '--data', 'val.npz', '-o', out], sentence);
    await expectRefusal(['inspect', name], sentence);
  });

  it('unknown.onnx: every command that runs it names the operator', async () => {
    const sentence = /no kernel for Frobnicate/;
    await expectRefusal(['optimize', 'unknown.onnx', '-o', out], sentence);
    await expectRefusal(['quantize', 'unknown.onnx', '--to', 'fp16', '-o', out], sentence);
    await expectRefusal(['simplify', 'unknown.onnx', '-o', out], sentence);
    await expectRefusal(['bench', 'unknown.onnx'], sentence);
    const inspected = await command(['inspect', 'unknown.onnx']);
    expect(inspected.code).toBe(0);
    expect(inspected.out).toMatch(/no kernel for Frobnicate/);
  });
});

describe('bad data', () => {
  const cases: readonly (readonly [file: string, sentence: RegExp])[] = [
    ['missing.npz', /missing\.npz" cannot be read/],
    ['names.npz', /needs an array for its input "image"/],
    ['shape.npz', /"image".*the model takes \[3, 16, 16\]/],
    ['none.npz', /no samples/],
    ['one.npz', /one sample/],
    ['nan.npz', /NaN/],
    ['bytes.npz', /pixels/],
    ['labels.npz', /label/],
    ['broken.npz', /broken\.npz/],
    ['model.onnx', /no dataset that Pare knows/],
  ];
  it.each(cases)('%s', (name, sentence) =>
    expectRefusal(['optimize', 'model.onnx', '--data', name, '-o', out, '--time', '1ms'], sentence),
  );

  it('refuses calibration samples that are scored too', () =>
    expectRefusal(
      ['optimize', 'model.onnx', '--data', 'val.npz', '--calibration', 'val.npz', '-o', out],
      /48 of the 48 evaluation samples are also calibration samples/,
    ));

  it('warns of a single class, and goes on', async () => {
    const run = await command(['verify', 'model.onnx', 'model.onnx', '--data', 'class.npz', '--time', '1ms']);
    expect(run.out).toMatch(/All 24 samples of class\.npz have the label "2"/);
    expect(run.code).toBe(0);
  });
});

describe('bad usage', () => {
  const model = 'model.onnx';
  const cases: readonly (readonly [args: readonly string[], sentence: RegExp])[] = [
    [['frobnicate'], /unknown command/],
    [['simplify', model], /--output/],
    [['simplify', model, '-o', 'x', '--frobnicate'], /unknown option/],
    [['simplify', model, '-o', 'x', '--fix-shape', 'image'], /--fix-shape image=1,3,224,224/],
    [['simplify', model, '-o', 'x', '--fix-shape', 'img=1,3,16,16'], /no input "img"; its inputs are "image"/],
    [['simplify', model, '-o', 'x', '--fix-dim', 'n=1'], /no input has a dimension named "n"/i],
    [['inspect', model, '--fix-dim', 'n=1'], /no input has a dimension named "n"/i],
    [['inspect', model, '--fix-shape', 'image=1,4,16,16'], /image/],
    [['simplify', model, '-o', 'x', '--skip', 'nothing'], /no such pass/],
    [['quantize', model, '-o', 'x', '--to', 'int3'], /--to int3: choose one of fp16/],
    [['quantize', model, '-o', 'x', '--to', 'int8'], /give some with --data/],
    [['quantize', model, '-o', 'x', '--to', 'fp16', '--method', 'mse'], /--method means nothing for fp16/],
    [['quantize', model, '-o', 'x', '--to', 'fp16', '--exclude', '/(/'], /\/\(\/ is no regular expression/],
    [['quantize', model, '-o', 'x', '--to', 'bf16', '--target', 'node-cpu'], /makes no sense on Node\.js/],
    [['optimize', model, '--target', 'toaster'], /--target toaster: choose one of node-cpu/],
    [['optimize', model, '--max-drop', 'lots'], /--max-drop lots: write a number/],
    [['optimize', model, '--max-size', '5 parsecs'], /--max-size 5 parsecs: write it as 10MB/],
    [['optimize', model, '--metric', 'beauty', '--data', 'val.npz'], /no metric "beauty"/],
    [
      ['optimize', model, '--metric', 'wrong.config.ts', '--data', 'val.npz'],
      /must have a metric as its default export/,
    ],
    [['optimize', model, '--data', 'broken.config.ts'], /broken\.config\.ts cannot be loaded/],
    [['optimize', model, '--threads', '0'], /--threads 0: write a whole number/],
    [['optimize', model, '--train-epochs', '3'], /--train-epochs means nothing without --train/],
    [['optimize', model, '--train', 'val.npz'], /judged on other samples: give some as data \(--data\)/],
    [['optimize', model, '--data', 'val.npz', '--train', 'val.npz'], /48 evaluation samples are also training samples/],
    [['optimize', model, '--config', 'missing.ts'], /missing\.ts does not exist/],
    [['optimize', model, '--config', 'broken.config.ts'], /broken\.config\.ts cannot be loaded/],
    [['optimize', model, '--config', 'typo.config.ts'], /has "gate", which means nothing\. Known are: model/],
    [['optimize', model, '--config', 'wrong.config.ts'], /has a "threads" that is a string; it must be a number/],
    [['optimize'], /Which model/],
  ];
  it.each(cases)('%j', (args, sentence) => expectRefusal(args, sentence));
});

describe('a place that cannot be written', () => {
  it.each([
    [['simplify', 'model.onnx', '-o', 'file/x.onnx'], /"file" is no folder/],
    [['simplify', 'model.onnx', '-o', 'nowhere/x.onnx'], /there is no folder "nowhere"/],
    [['quantize', 'model.onnx', '--to', 'fp16', '-o', 'folder.onnx'], /it is a folder/],
    [['verify', 'model.onnx', 'model.onnx', '--report', 'nowhere/r.html'], /there is no folder "nowhere"/],
    [['optimize', 'model.onnx', '-o', 'file'], /file is a file, not a folder/],
    [['optimize', 'model.onnx', '-o', 'taken'], /report\.html exists and is not part of a bundle/],
    [['optimize', 'model.onnx', '-o', 'app'], /manifest\.json.*does not overwrite it/s],
    // As root nothing is write-protected; below /proc nobody can write.
    [['optimize', 'model.onnx', '-o', '/proc/pare'], /\/proc\/pare/],
    [['simplify', 'model.onnx', '-o', '/proc/x.onnx'], /"\/proc\/x\.onnx" cannot be written/],
  ])('%j', async (args, sentence) => {
    await expectRefusal(args, sentence);
    expect(readFileSync(at('taken/report.html'), 'utf8')).toBe('mine');
    expect(readFileSync(at('file'), 'utf8')).toBe('in the way');
  });
});

it('lets no name in a model move the cursor of the terminal', async () => {
  const b = new GraphBuilder();
  const x = b.input('x\u001b[2J', 'float32', ['n\u001b[1A', 4]);
  const { output } = b.node('Relu', [b.op('Identity', [x])], {}, { outputs: ['y\u0007'], name: 'r\u009b2K' });
  await writeModel('names.onnx', b.output('y\u0007', output, 'float32', ['n\u001b[1A', 4]).model());
  for (const args of [
    ['inspect', 'names.onnx'],
    ['simplify', 'names.onnx', '-o', 'named.onnx', '--fix-dim', 'm=1'],
    ['simplify', 'names.onnx', '-o', 'named.onnx'],
    ['quantize', 'names.onnx', '-o', 'named.onnx', '--to', 'fp16'],
    ['verify', 'names.onnx', 'names.onnx', '--time', '1ms'],
  ]) {
    const { out, err } = await command(args);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must not be there
    expect(out + err).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/);
    expect(out + err).not.toBe('');
  }
  for (const name of ['names.onnx', 'named.onnx']) rmSync(name, { force: true });
});

it('says that it is a bug when it is one', async () => {
  writeFileSync(
    at('bug.config.ts'),
    'export default { model: "model.onnx", get data() { throw new TypeError("oops"); } };',
  );
  const run = await pare(['optimize', '--config', 'bug.config.ts', '-o', 'out'], { cwd: folder });
  rmSync(at('bug.config.ts'));
  expect(run.err).toMatch(
    /error: this is a bug in Pare; please report it with the lines below\.\nTypeError: oops\n\s+at /,
  );
  expect(run.code).toBe(2);
  expect(existsSync(out)).toBe(false);
});

async function badModels(): Promise<void> {
  const bytes = readFileSync(at('model.onnx'));
  mkdirSync(at('folder.onnx'));
  writeFileSync(at('empty.onnx'), '');
  writeFileSync(at('picture.onnx'), Buffer.from('89504e470d0a1a0a0000000d49484452', 'hex'));
  writeFileSync(at('pointer.onnx'), 'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n');
  writeFileSync(at('text.onnx'), 'this is no model at all');
  writeFileSync(at('half.onnx'), bytes.subarray(0, bytes.length >> 1));
  writeFileSync(at('nested.onnx'), nested(20_000));
  // A graph that claims to be 2^60 bytes long.
  writeFileSync(at('long.onnx'), Buffer.from('08083a808080808080808010', 'hex'));
  await writeModel(at('lost.onnx'), classifier(), { externalData: true });
  await writeModel(at('escape.onnx'), classifier(), { externalData: { fileName: () => 'aa_secret' } });
  writeFileSync(at('escape.onnx'), replaced(readFileSync(at('escape.onnx')), 'aa_secret', '../secret'));
  for (const data of ['lost.onnx_data', 'aa_secret']) rmSync(at(data));
  await writeModel(at('unknown.onnx'), small('Frobnicate'));
  await writeModel(at('old.onnx'), small('Relu', { opset: 5, irVersion: 3 }));
}

function badData(): void {
  const npz = (name: string, arrays: Readonly<Record<string, HostTensor>>): void =>
    writeFileSync(at(name), encodeNpz(arrays));
  const { image, labels } = samples(12) as { image: HostTensor; labels: HostTensor };
  npz('names.npz', { picture: image, mask: image, labels });
  npz('shape.npz', { image: { ...image, dims: [12, 3, 8, 32] }, labels });
  npz('none.npz', { image: { dtype: 'float32', dims: [0, 3, 16, 16], data: new Float32Array(0) } });
  npz('one.npz', { image: { dtype: 'float32', dims: [1, 3, 16, 16], data: noise(768, 5) } });
  const nan = noise(12 * 768, 1);
  nan[1000] = Number.NaN;
  npz('nan.npz', { image: { ...image, data: nan }, labels });
  npz('bytes.npz', {
    image: {
      dtype: 'uint8',
      dims: [12, 3, 16, 16],
      data: new Uint8Array(noise(12 * 768, 2).map((v) => 128 + 127 * v)),
    },
    labels,
  });
  npz('labels.npz', { image, labels: { dtype: 'int64', dims: [5], data: new BigInt64Array(5) } });
  npz(
    'class.npz',
    samples(24, () => 2),
  );
  writeFileSync(at('broken.npz'), readFileSync(at('val.npz')).subarray(0, 5000));
  writeFileSync(at('broken.config.ts'), 'export default {');
  writeFileSync(at('typo.config.ts'), 'export default { model: "model.onnx", gate: { maxDrop: 0.01 } };');
  writeFileSync(at('wrong.config.ts'), 'export default { model: "model.onnx", threads: "two" };');
  writeFileSync(at('file'), 'in the way');
  for (const name of ['taken', 'app']) mkdirSync(at(name));
  writeFileSync(at('taken/report.html'), 'mine');
  writeFileSync(at('app/manifest.json'), '{"name": "my app", "icons": []}');
}

function small(operator: string, options?: { opset: number; irVersion: number }): Model {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 4]);
  return b.output('y', b.op(operator, [x]), 'float32', ['n', 4]).model(options);
}

function replaced(bytes: Uint8Array, from: string, to: string): Buffer {
  const text = Buffer.from(bytes).toString('latin1').replaceAll(from, to);
  return Buffer.from(text, 'latin1');
}

/** Graphs in attributes of nodes of graphs, `depth` levels deep. */
function nested(depth: number): Buffer {
  const varint = (n: number): number[] => (n < 128 ? [n] : [(n & 127) | 128, ...varint(Math.floor(n / 128))]);
  const headers: number[][] = [];
  let length = 0;
  const wrap = (field: number): void => {
    const header = [(field << 3) | 2, ...varint(length)];
    headers.push(header);
    length += header.length;
  };
  // GraphProto.node = 1, NodeProto.attribute = 5, AttributeProto.g = 6, ModelProto.graph = 7.
  for (let i = 0; i < depth; i++) for (const field of [6, 5, 1]) wrap(field);
  wrap(7);
  return Buffer.from([8, 8, ...headers.reverse().flat()]);
}
