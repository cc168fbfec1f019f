import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { GraphBuilder, type HostTensor, type Model, Tensor } from '@pare/core';
import { nodeEngine, readModel, writeModel } from '@pare/core/node';
import { encodeNpz } from '@pare/verify';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DistillReport } from '../src/commands/distill.js';
import type { FinetuneReport } from '../src/commands/finetune.js';
import { classifier, command, noise, pare, scratch, tree } from './fixtures.js';

// Commands that train, from their arguments to their files.

const folder = scratch();
const home = process.cwd();
const engine = nodeEngine();

beforeAll(async () => {
  process.chdir(folder);
  await writeModel('model.onnx', classifier());
  await writeModel('student.onnx', student());
  write('train.npz', pictures(96, 1));
  write('val.npz', pictures(48, 2));
  await badInput();
});
afterAll(async () => {
  process.chdir(home);
  await engine.close();
});

const write = (name: string, arrays: Readonly<Record<string, HostTensor>>): void =>
  writeFileSync(name, encodeNpz(arrays));

/** Noise that is brighter in one quarter of the picture: in which one is the class. */
function pictures(n: number, seed: number, labels = 4): Record<string, HostTensor> {
  const data = noise(n * 768, seed);
  const label = (i: number): number => (i * 7 + 1) % labels;
  for (let i = 0; i < n; i++) {
    const quarter = label(i) % 4;
    for (let p = 0; p < 768; p++) {
      const [y, x] = [Math.floor(p / 16) % 16, p % 16];
      if ((y < 8 ? 0 : 2) + (x < 8 ? 0 : 1) === quarter) data[i * 768 + p] = (data[i * 768 + p] as number) + 0.8;
    }
  }
  return {
    image: { dtype: 'float32', dims: [n, 3, 16, 16], data },
    labels: { dtype: 'int64', dims: [n], data: BigInt64Array.from({ length: n }, (_, i) => BigInt(label(i))) },
  };
}

/** A quarter's mean brightness in each channel -> logits: enough for the pictures above. */
function student(classes = 4, side = 16, isNormed = false): Model {
  const b = new GraphBuilder({ seed: 5 });
  const x = b.input('image', 'float32', ['batch', 3, side, side]);
  const pooled = b.op('AveragePool', [x], { kernel_shape: [side / 2, side / 2], strides: [side / 2, side / 2] });
  let h = b.op('Gemm', [b.op('Flatten', [pooled]), b.random([12, 8], { name: 'hidden', scale: 0.3 })]);
  const filled = (value: number): Tensor => Tensor.of('float32', [8], new Float32Array(8).fill(value));
  if (isNormed) h = b.op('BatchNormalization', [h, filled(1), filled(0), filled(0), filled(1)]);
  const logits = b.op('Gemm', [b.op('Relu', [h]), b.random([8, classes], { name: 'head', scale: 0.3 })]);
  return b.output('logits', logits, 'float32', ['batch', classes]).model({ opset: 17 });
}

const packages = new URL('../..', import.meta.url);
const json = (path: string): object => JSON.parse(readFileSync(new URL(path, packages), 'utf8'));
const ajv = new Ajv2020({ allErrors: true, allowUnionTypes: true });
ajv.addSchema(json('verify/evidence.schema.json'));

/** What `--json` printed, once it fits the schema of the command. */
async function report<T>(name: string, ...args: readonly string[]): Promise<T> {
  const { code, out, err } = await command([name, ...args, '--json']);
  expect(code, err).toBe(0);
  const value: unknown = JSON.parse(out);
  const validate = ajv.getSchema(`pare-${name}/1.0`) ?? ajv.compile(json(`cli/schemas/${name}.schema.json`));
  expect(validate(value), JSON.stringify(validate.errors)).toBe(true);
  return value as T;
}

/** Share of the samples of val.npz that the model at `path` has right, by running it. */
async function accuracy(path: string): Promise<number> {
  const { image, labels } = pictures(48, 2) as { image: HostTensor; labels: HostTensor };
  const session = await engine.open(path);
  const { logits } = await session.run({ image });
  await session.close();
  const values = logits?.data as Float32Array;
  const right = Array.from(labels.data as BigInt64Array, (label, i) => {
    const row = values.subarray(i * 4, i * 4 + 4);
    return row.indexOf(Math.max(...row)) === Number(label);
  });
  return right.filter(Boolean).length / 48;
}

const fast = ['--threads', '1', '--batch', '16', '--no-config'];

describe('pare finetune', () => {
  it('trains, keeps the best weights, and tells the truth about them', async () => {
    const args = ['model.onnx', '--data', 'train.npz', '--val', 'val.npz', '--epochs', '4', '--lr', '0.01', ...fast];
    const { training, before, after } = await report<FinetuneReport>(
      'finetune',
      ...args,
      '-o',
      'tuned.onnx',
      '--report',
      'tuned.html',
    );
    const { epochs, best, score } = training;
    expect(training).toMatchObject({
      name: 'tuned.onnx',
      what: 'finetune',
      loss: 'cross-entropy',
      samples: 96,
      steps: 24,
    });
    expect(training.curve.map((p) => p.step)).toEqual(Array.from({ length: 24 }, (_, i) => i + 1));
    expect(score).toMatchObject({ name: 'accuracy', format: 'percent', before: await accuracy('model.onnx') });
    expect(epochs[best - 1]?.score).toBe(await accuracy('tuned.onnx'));
    expect(epochs[best - 1]?.score).toBeGreaterThan(score?.before ?? 1);
    expect([before.nodes, before.file, after.file]).toEqual([after.nodes, 'model.onnx', 'tuned.onnx']);
    expect(readFileSync('tuned.html', 'utf8')).toContain('Fine-tuned: <em><bdi>tuned.onnx</bdi></em>');
    expect(existsSync('tuned.onnx.checkpoints')).toBe(false);
  });

  it('prints the epochs, and leaves frozen weights alone', async () => {
    const { code, out } = await command([
      ...['finetune', 'student.onnx', '--data', 'train.npz', '--val', '24', '--epochs', '2', '--freeze', '/^hid/'],
      ...[
        '--optimizer',
        'sgd',
        '--lr-schedule',
        'cosine',
        '--clip',
        '1',
        '--augment',
        'flip',
        '-o',
        'frozen.onnx',
        ...fast,
      ],
    ]);
    expect(code).toBe(0);
    expect(out).toMatch(/^epoch +loss +training +accuracy +time/);
    expect(out).toMatch(/frozen\.onnx has the weights/);
    const weights = async (path: string, name: string): Promise<readonly number[]> =>
      Array.from((await (await readModel(path)).graph.value(name)?.initializer?.toArray()) as Float32Array);
    expect(await weights('frozen.onnx', 'hidden')).toEqual(await weights('student.onnx', 'hidden'));
    if (/has the weights of epoch/.test(out))
      expect(await weights('frozen.onnx', 'head')).not.toEqual(await weights('student.onnx', 'head'));
  });

  it('removes its checkpoints from a folder, and nothing else', async () => {
    mkdirSync('mine');
    writeFileSync('mine/notes.txt', 'mine');
    const { code } = await command([
      ...['finetune', 'student.onnx', '--data', 'train.npz', '--epochs', '1', '-o', 'kept.onnx', ...fast],
      ...['--checkpoint', 'mine', '--checkpoint-every', '0'],
    ]);
    expect([code, readdirSync('mine')]).toEqual([0, ['notes.txt']]);
  });
});

describe('pare distill', () => {
  it('trains a student on the answers of its teacher', async () => {
    await command([
      'finetune',
      'model.onnx',
      '--data',
      'train.npz',
      '--epochs',
      '4',
      '--lr',
      '0.01',
      ...fast,
      '-o',
      'teacher.onnx',
    ]);
    const { training, terms, teacher, after } = await report<DistillReport>(
      ...(['distill', 'student.onnx', '--teacher', 'teacher.onnx', '--data', 'train.npz', '--val', 'val.npz'] as const),
      ...['--loss', 'response,relation*0.5', '--temperature', '2', '--epochs', '6', '--lr', '0.02', ...fast],
      ...['-o', 'distilled.onnx', '--report', 'distilled.html'],
    );
    expect(terms[0]).toEqual({ kind: 'response', temperature: 2 });
    expect(teacher.file).toBe('teacher.onnx');
    const { epochs, best, score } = training;
    expect(training).toMatchObject({ what: 'distill', name: 'distilled.onnx' });
    expect((best === 0 ? score?.before : epochs[best - 1]?.score) ?? -1).toBe(await accuracy('distilled.onnx'));
    expect(epochs.at(-1)?.loss).toBeLessThan(epochs[0]?.loss ?? 0);
    expect(after.nodes).toBe([...(await readModel('student.onnx')).allNodes()].length);
    expect(readFileSync('distilled.html', 'utf8')).toMatch(/Distilled: .*Teacher/s);
  });

  it('needs no labels when it is told to leave them out', async () => {
    const run = await command([
      ...['distill', 'student.onnx', '--teacher', 'model.onnx', '--data', 'unlabelled.npz', '--labels', '0'],
      ...['--epochs', '1', '-o', 'blind.onnx', ...fast],
    ]);
    expect(run.code, run.err).toBe(0);
  });
});

describe('bad input', () => {
  const train = ['--data', 'train.npz'];
  const resume = ['--resume', '--checkpoint'];
  const cases: readonly (readonly [args: readonly string[], sentence: RegExp])[] = [
    [['finetune', 'model.onnx'], /Training needs samples: give some with --data/],
    [['finetune', 'model.onnx', '--data', 'range.npz'], /class 7, but the model has 4 classes/],
    [['finetune', 'model.onnx', ...train, '--val', 'range.npz'], /class 7, but the model has 4 classes/],
    [['finetune', 'model.onnx', '--data', 'shape.npz'], /"image".*the model takes \[3, 16, 16\]/],
    [['finetune', 'model.onnx', '--data', 'unlabelled.npz'], /label/],
    [['finetune', 'model.onnx', '--data', 'nothing.npz'], /no samples/],
    [['finetune', 'model.onnx', ...train, '--val', 'nothing.npz'], /no samples/],
    [['finetune', 'model.onnx', ...train, '--val', '96'], /96 of the 96 samples/],
    [['finetune', 'bare.onnx', ...train], /no float weights: there is nothing to train/],
    [['finetune', 'int8.onnx', ...train], /integers \(.*train the float32 model/],
    [['finetune', 'fp16.onnx', ...train], /16-bit.*train the float32 model/],
    [['finetune', 'student.onnx', ...train, '--freeze', '/./'], /Every parameter is frozen/],
    [['finetune', 'student.onnx', ...train, '--freeze', '/(/'], /--freeze \/\(\/ is no regular expression/],
    [['finetune', 'normed.onnx', ...train, '--batch', '1'], /BatchNormalization/],
    [['finetune', 'model.onnx', ...train, '--loss', 'beauty'], /--loss beauty: choose one of cross-entropy/],
    [['finetune', 'model.onnx', ...train, '--lr', 'fast'], /--lr fast: write a number/],
    [['finetune', 'model.onnx', ...train, '--epochs', '0'], /--epochs 0: write a whole number/],
    [['finetune', 'model.onnx', ...train, '--augment', 'sparkle'], /--augment sparkle: write flip/],
    [
      ['finetune', 'model.onnx', ...train, '--checkpoint', 'train.npz'],
      /"train\.npz" cannot be written: it is a file, not a folder/,
    ],
    [['finetune', 'model.onnx', ...train, '--checkpoint', '/proc/pare'], /\/proc\/pare.*cannot be written/],
    [['finetune', 'model.onnx', ...train, '--checkpoint-every', 'often'], /--checkpoint-every often: write it as/],
    [['finetune', 'model.onnx', ...train, '--report', 'nowhere/r.html'], /there is no folder "nowhere"/],
    [['finetune', 'model.onnx', ...train, '--resume'], /no checkpoint in "out\.onnx\.checkpoints" to go on from/],
    [
      ['finetune', 'model.onnx', ...train, ...resume, 'other'],
      /The checkpoint is of another run: its .* is .*, and now/,
    ],
    [['distill', 'student.onnx', ...train], /--teacher/],
    [['distill', 'student.onnx', ...train, '--teacher', 'missing.onnx'], /missing\.onnx.*no such file/],
    [['distill', 'student.onnx', ...train, '--teacher', 'tiny.onnx'], /The teacher's input "image" .*8/],
    [
      ['distill', 'student.onnx', ...train, '--teacher', 'five.onnx'],
      /answers with \[5\] numbers a sample, the student with \[4\]/,
    ],
    [['distill', 'student.onnx', ...train, '--teacher', 'model.onnx', '--loss', 'feature:no=such'], /"?(no|such)"?/],
    [['distill', 'student.onnx', ...train, '--teacher', 'model.onnx', '--loss', 'telepathy'], /telepathy/],
    [
      ['distill', 'student.onnx', ...train, '--teacher', 'model.onnx', '--temperature', '0'],
      /--temperature 0: write a number above 0/,
    ],
    [['distill', 'student.onnx', '--make-student', '0.5', ...train, '--teacher', 'model.onnx'], /not both/],
  ];
  it.each(cases)('%j', async (args, sentence) => {
    const before = tree(folder);
    const { code, out, err } = await command([...args, '-o', 'out.onnx', ...(args.includes('--batch') ? [] : fast)]);
    const complaint = err.split('\n').filter((line) => line.startsWith('error'));
    expect(complaint.join('\n')).toMatch(sentence);
    expect(complaint.length).toBe(1);
    expect(err).not.toMatch(/^\s+at |bug in Pare/m);
    expect([code, out]).toEqual([2, '']);
    expect(tree(folder)).toEqual(before);
  });
});

// What only a process can suffer.
describe('a run that is interrupted', () => {
  const run = ['finetune', 'model.onnx', '--data', 'train.npz', '--val', 'val.npz', '--epochs', '12', ...fast];
  const checkpoints = (place: string): string[] =>
    existsSync(place) ? readdirSync(place).filter((name) => /^step-\d+\.checkpoint$/.test(name)) : [];
  const saved = async (place: string): Promise<void> => {
    while (checkpoints(place).length === 0) await sleep(10);
  };

  let undisturbed: Buffer;
  beforeAll(async () => {
    const { code, err } = await pare([...run, '-o', 'whole.onnx'], { cwd: folder });
    expect(code, err).toBe(0);
    undisturbed = readFileSync('whole.onnx');
  });

  it('by kill -9 gives the same file, bit for bit, when it is resumed', async () => {
    const args = [...run, '-o', 'killed.onnx', '--checkpoint-every', '50ms'];
    const killed = await pare(args, {
      cwd: folder,
      during: async ({ kill }) => {
        await saved('killed.onnx.checkpoints');
        kill('SIGKILL');
      },
    });
    expect([killed.signal, existsSync('killed.onnx')]).toEqual(['SIGKILL', false]);
    const { code, err } = await pare([...args, '--resume'], { cwd: folder });
    expect(code, err).toBe(0);
    expect(readFileSync('killed.onnx').equals(undisturbed)).toBe(true);
    expect(existsSync('killed.onnx.checkpoints')).toBe(false);
  });

  it('by Ctrl-C leaves a checkpoint of where it was, and ends by the signal', async () => {
    const args = [...run, '-o', 'stopped.onnx', '--checkpoint-every', '200ms'];
    let first = '';
    const stopped = await pare(args, {
      cwd: folder,
      during: async ({ kill }) => {
        await saved('stopped.onnx.checkpoints');
        first = checkpoints('stopped.onnx.checkpoints').at(-1) ?? '';
        kill('SIGINT');
      },
    });
    expect([stopped.signal, stopped.out, existsSync('stopped.onnx')]).toEqual(['SIGINT', '', false]);
    expect(stopped.err).not.toMatch(/error|\n\s+at /);
    const last = checkpoints('stopped.onnx.checkpoints').at(-1) ?? '';
    expect(last >= first).toBe(true);
    const { code, err } = await pare([...args, '--resume'], { cwd: folder });
    expect(code, err).toBe(0);
    expect(readFileSync('stopped.onnx').equals(undisturbed)).toBe(true);
  });

  const mounts = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', tmpdir()]).status === 0;
  it.skipIf(!mounts)(
    'by a full disk (skipped where nobody may mount): one sentence, the earlier checkpoint whole',
    async () => {
      for (const name of ['small', 'rescued']) mkdirSync(name);
      const shell = `exec unshare -rm bash -c 'mount -t tmpfs -o size=360k none small && { "$0" "$@"; code=$?; cp small/* rescued; exit $code; }' "$0" "$@"`;
      const args = [...run, '-o', 'full.onnx', '--checkpoint-every', '1ms'];
      const full = await pare([...args, '--checkpoint', 'small'], { cwd: folder, shell });
      expect(full.err).toMatch(
        /^error: "small\/step-\d+\.checkpoint" cannot be written: the disk is full\. Nothing was changed\.$/m,
      );
      expect([full.code, full.out, existsSync('full.onnx')]).toEqual([2, '', false]);
      expect(checkpoints('rescued')).not.toEqual([]);
      const { code, err } = await pare([...args, '--checkpoint', 'rescued', '--resume'], { cwd: folder });
      expect(code, err).toBe(0);
      expect(readFileSync('full.onnx').equals(undisturbed)).toBe(true);
    },
  );
});

async function badInput(): Promise<void> {
  const { image, labels } = pictures(24, 3) as { image: HostTensor; labels: HostTensor };
  write('range.npz', pictures(24, 3, 8));
  write('shape.npz', { image: { ...image, dims: [24, 3, 8, 32] }, labels });
  write('unlabelled.npz', { image });
  write('nothing.npz', { image: { dtype: 'float32', dims: [0, 3, 16, 16], data: new Float32Array(0) } });
  const b = new GraphBuilder();
  const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [b.input('image', 'float32', ['batch', 3, 16, 16])])]);
  await writeModel('bare.onnx', b.output('logits', pooled, 'float32', ['batch', 3]).model());
  await writeModel('int8.onnx', integers());
  await command(['quantize', 'student.onnx', '--to', 'fp16', '-o', 'fp16.onnx', '--no-config']);
  await writeModel('tiny.onnx', student(4, 8));
  await writeModel('normed.onnx', student(4, 16, true));
  await writeModel('five.onnx', student(5));
  // A checkpoint of the student's, which is not the model's.
  const args = ['finetune', 'student.onnx', '--data', 'train.npz', '--epochs', '50', ...fast, '-o', 'other.onnx'];
  await pare([...args, '--checkpoint', 'other', '--checkpoint-every', '0'], {
    cwd: folder,
    during: async ({ kill }) => {
      while (!existsSync('other') || readdirSync('other').length < 2) await sleep(10);
      kill('SIGINT');
    },
  });
  rmSync('other.onnx', { force: true });
}

/** A model whose only weights are 8-bit integers. */
function integers(): Model {
  const b = new GraphBuilder();
  const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [b.input('image', 'float32', ['batch', 3, 16, 16])])]);
  const scale = b.constant(Tensor.of('float32', [], [0.1]));
  const zero = b.constant(Tensor.of('uint8', [], [128]));
  const rounded = b.op('QuantizeLinear', [pooled, scale, zero]);
  const weight = b.constant(Tensor.of('int8', [3, 4], new Int8Array(12).fill(3)));
  const product = b.op('MatMulInteger', [rounded, weight, zero]);
  const logits = b.op('Mul', [b.op('Cast', [product], { to: 1 }), scale]);
  return b.output('logits', logits, 'float32', ['batch', 4]).model({ opset: 17 });
}
