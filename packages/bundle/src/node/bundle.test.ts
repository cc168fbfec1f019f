import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import {
  chmod,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { contents, draft } from '../../test/sample.js';
import { BundleError } from '../error.js';
import { filesOf } from '../manifest.js';
import { openBundle } from './open-bundle.js';
import { checkBundleFolder, writeBundle } from './write-bundle.js';

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'pare-bundle-'));
  folder = join(root, 'dist', 'digits');
});
afterEach(() => rm(root, { recursive: true, force: true }));

const write = (files: Record<string, string> = contents): Promise<unknown> =>
  writeBundle(folder, { manifest: draft, files });

/** A second version of the bundle: other contents, one file gone, one new. */
const second = {
  manifest: {
    ...draft,
    version: '2',
    variants: [draft.variants[0]!],
    recommended: 'original',
    documents: ['README.md'],
  },
  files: { 'model.onnx': 'the original, again', 'evidence.json': '{}', 'README.md': '# digits' },
};

describe('writeBundle', () => {
  it('writes what openBundle opens, and nothing else', async () => {
    const source = join(root, 'source.onnx');
    await writeFile(source, contents['model.onnx']);
    const manifest = await writeBundle(folder, {
      manifest: draft,
      files: {
        ...contents,
        'model.onnx': { file: source },
        'report.html': new TextEncoder().encode('<!doctype html>'),
      },
    });
    const bundle = await openBundle(folder);
    expect(bundle.manifest).toEqual(manifest);
    await bundle.verify();
    expect(bundle.variant().id).toBe('int8-dynamic');
    expect(bundle.variant('original').model.bytes).toBe(contents['model.onnx'].length);
    expect(() => bundle.variant('q4')).toThrow(/it has original, int8-dynamic/);
    expect(await tree()).toEqual([...Object.keys(contents), 'manifest.json'].sort());
    for (const [path, text] of Object.entries(contents)) expect(await readFile(join(folder, path), 'utf8')).toBe(text);
  });

  it('is the same to the byte when it is written again', async () => {
    await write();
    const first = await readFile(join(folder, 'manifest.json'));
    await write();
    expect(await readFile(join(folder, 'manifest.json'))).toEqual(first);
  });

  it('replaces the bundle that is there, and leaves files that are not its own', async () => {
    await write();
    await writeFile(join(folder, 'notes.txt'), 'mine');
    await writeFile(join(folder, 'report.html'), 'edited by its owner');
    await writeBundle(folder, second);
    await (await openBundle(folder)).verify();
    expect(await tree()).toEqual([
      'README.md',
      'evidence.json',
      'manifest.json',
      'model.onnx',
      'notes.txt',
      'report.html',
    ]);
    expect(await readFile(join(folder, 'report.html'), 'utf8')).toBe('edited by its owner');
  });

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['a foreign model', () => put('model.onnx', 'mine'), /model\.onnx exists and is not part of a bundle/],
    [
      'a manifest of something else',
      () => put('manifest.json', '{"name":"my app"}'),
      /\$\.schema is missing.*overwrite/,
    ],
    ['a folder', () => mkdir(join(folder, 'model.onnx'), { recursive: true }), /model\.onnx is a folder/],
    ['a file for a folder', () => put('onnx', 'mine'), /onnx is a file/],
    ['a link for a folder', () => link('onnx'), /onnx is a link/],
    ['a link', () => link('model.onnx'), /model\.onnx is a link/],
  ])('refuses to write over %s', async (_, prepare, message) => {
    await prepare();
    const before = await tree();
    await expect(write()).rejects.toThrow(message);
    expect(await tree()).toEqual(before);
  });

  it('refuses to write over a file of the bundle that was edited', async () => {
    await write();
    await writeFile(join(folder, 'evidence.json'), 'edited');
    await expect(writeBundle(folder, second)).rejects.toThrow(/evidence\.json was changed since/);
    expect(await readFile(join(folder, 'evidence.json'), 'utf8')).toBe('edited');
  });

  it('leaves nothing when it fails, not even the folder', async () => {
    const gone = { ...contents, 'report.html': { file: join(root, 'gone.html') } };
    await expect(writeBundle(folder, { manifest: draft, files: gone })).rejects.toThrow(
      /Cannot read .*gone\.html: it does not exist/,
    );
    expect(await readdir(root)).toEqual([]);
    await write();
    await expect(writeBundle(folder, { manifest: draft, files: gone })).rejects.toBeInstanceOf(BundleError);
    await (await openBundle(folder)).verify();
    expect(await tree()).toEqual([...Object.keys(contents), 'manifest.json'].sort());
  });

  it('stops on request and leaves the old bundle whole', async () => {
    await write();
    const stop = new AbortController();
    const files = { 'model.onnx': 'x', 'evidence.json': 'y', 'README.md': 'z' };
    const running = writeBundle(folder, { ...second, files, signal: stop.signal, onBytes: () => stop.abort() });
    await expect(running).rejects.toMatchObject({ code: 'aborted' });
    await (await openBundle(folder)).verify();
    expect((await openBundle(folder)).manifest.version).toBe('1');
    expect(await tree()).toEqual([...Object.keys(contents), 'manifest.json'].sort());
  });

  it('wants contents for each file of the manifest, and no others', async () => {
    await expect(writeBundle(folder, { manifest: draft, files: {} })).rejects.toThrow(/"model\.onnx".*no contents/);
    const files = { ...contents, 'x.txt': '' };
    await expect(write(files)).rejects.toThrow(/"x\.txt".*add it to `documents`/);
    const manifest = { ...draft, documents: ['../x'] };
    await expect(writeBundle(folder, { manifest, files: { ...contents, '../x': '' } })).rejects.toThrow(BundleError);
    expect(await readdir(root)).toEqual([]);
  });

  it.skipIf(process.getuid?.() === 0)('says that the folder is not writable', async () => {
    await mkdir(folder, { recursive: true });
    await chmod(folder, 0o555);
    await expect(write()).rejects.toThrow(/permission denied/);
  });

  it('says that a file stands where the folder should be', async () => {
    await mkdir(dirname(folder));
    await writeFile(folder, '');
    await expect(write()).rejects.toMatchObject({ code: 'io' });
  });
});

describe('checkBundleFolder', () => {
  it('accepts a new folder and one with a bundle, and leaves nothing behind', async () => {
    await checkBundleFolder(folder);
    expect(await readdir(root)).toEqual([]);
    await write();
    const before = await tree();
    await checkBundleFolder(folder, ['manifest.json', ...Object.keys(contents), 'new.onnx']);
    expect(await tree()).toEqual(before);
    await writeFile(join(folder, 'notes.txt'), 'mine');
    await expect(checkBundleFolder(folder, ['notes.txt'])).rejects.toThrow(
      /notes\.txt exists and is not part of a bundle/,
    );
  });

  it('refuses a file, a manifest of something else, and a place that nobody can write to', async () => {
    await writeFile(join(root, 'file'), '');
    await expect(checkBundleFolder(join(root, 'file'))).rejects.toMatchObject({ code: 'io' });
    await put('manifest.json', '{"name":"my app"}');
    await expect(checkBundleFolder(folder)).rejects.toThrow(/does not overwrite it/);
    await expect(checkBundleFolder('/proc/nowhere')).rejects.toMatchObject({ code: 'io' });
  });
});

describe('openBundle', () => {
  beforeEach(() => write());

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['no manifest', () => rm(join(folder, 'manifest.json')), /no manifest\.json/],
    ['half a manifest', () => truncate(join(folder, 'manifest.json'), 100), /manifest\.json is not JSON/],
    ['a missing file', () => rm(join(folder, 'onnx/model_int8.onnx')), /model_int8\.onnx is missing/],
    ['a truncated file', () => truncate(join(folder, 'model.onnx'), 3), /model\.onnx has 3 bytes, and 12/],
    ['a folder for a file', () => replace('model.onnx', (p) => mkdir(p)), /is not a file/],
    ['a link out of it', () => replace('model.onnx', (p) => symlink('/etc/passwd', p)), /leads out of the bundle/],
  ])('refuses a bundle with %s', async (_, damage, message) => {
    await damage();
    const error: unknown = await openBundle(folder).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(BundleError);
    expect((error as Error).message).toMatch(message);
  });

  it('finds damage of the same size only when it reads the files', async () => {
    await writeFile(join(folder, 'model.onnx'), contents['model.onnx'].replace('o', 'O'));
    const bundle = await openBundle(folder);
    await expect(bundle.verify()).rejects.toThrow(/model\.onnx is damaged/);
    await expect(bundle.verify({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
  });

  it('tells its progress in bytes', async () => {
    const seen: number[] = [];
    await (await openBundle(folder)).verify({ onProgress: ({ bytes, total }) => seen.push(bytes / total) });
    expect(seen).toHaveLength(5);
    expect(seen.at(-1)).toBe(1);
  });

  it('gives a typed error, or the bundle, for any bytes as a manifest', async () => {
    const good = await readFile(join(folder, 'manifest.json'));
    await fc.assert(
      fc.asyncProperty(
        fc.nat(good.length - 1),
        fc.uint8Array({ maxLength: 8 }),
        fc.boolean(),
        async (at, bytes, cut) => {
          const rest = cut ? new Uint8Array() : good.subarray(at + bytes.length);
          await writeFile(join(folder, 'manifest.json'), Buffer.concat([good.subarray(0, at), bytes, rest]));
          const opened = await openBundle(folder).catch((e: unknown) => e);
          expect(opened instanceof BundleError || (opened as { folder: string }).folder === folder).toBe(true);
        },
      ),
      { seed: 11, numRuns: 300 },
    );
  });
});

describe('an interrupted write', () => {
  it('is finished from any point after its commit', async () => {
    await write();
    const old = join(root, 'old');
    await cp(folder, old, { recursive: true });
    await writeBundle(folder, second);
    const next = (await openBundle(folder)).manifest;
    const moves = [...filesOf(next).map((f) => f.path), 'manifest.json'];
    for (let moved = 0; moved < moves.length; moved++) {
      const torn = join(root, `torn-${moved}`);
      await cp(old, torn, { recursive: true });
      await cp(folder, join(torn, '.pare-commit'), { recursive: true });
      for (const path of moves.slice(0, moved)) await rename(join(torn, '.pare-commit', path), join(torn, path));
      const bundle = await openBundle(torn);
      await bundle.verify();
      expect(bundle.manifest).toEqual(next);
      expect(await tree(torn)).toEqual(await tree());
    }
  });

  it('does not follow a link when it is finished', async () => {
    const outside = join(root, 'outside');
    await mkdir(outside);
    await write();
    await rename(folder, join(root, 'payload'));
    await mkdir(folder);
    await rename(join(root, 'payload'), join(folder, '.pare-commit'));
    await symlink(outside, join(folder, 'onnx'));
    await expect(openBundle(folder)).rejects.toThrow(/onnx is a link/);
    expect(await readdir(outside)).toEqual([]);
  });

  // The process dies before its nth call of the file system, for every n until it lives through all of them.
  it('leaves one bundle whole wherever the process is killed', async () => {
    const script = `
      import fs from 'node:fs';
      import { syncBuiltinESMExports } from 'node:module';
      const [folder, options, n] = JSON.parse(process.argv[1]);
      let calls = 0;
      for (const name of ['mkdir', 'open', 'readdir', 'rename', 'rm', 'rmdir', 'unlink']) {
        const original = fs.promises[name];
        fs.promises[name] = (...args) => {
          if (++calls === n) process.kill(process.pid, 'SIGKILL');
          return original(...args);
        };
      }
      syncBuiltinESMExports();
      const { writeBundle } = await import(${JSON.stringify(new URL('../../dist/node/index.js', import.meta.url).href)});
      await writeBundle(folder, options);`;
    const versions: string[] = [];
    for (let n = 1, survived = false; !survived; n++) {
      await rm(folder, { recursive: true, force: true });
      await write();
      const args = ['--input-type=module', '-e', script, JSON.stringify([folder, second, n])];
      const child = spawn(process.execPath, args, { stdio: 'ignore' });
      survived = (await new Promise((resolve) => child.once('exit', (code) => resolve(code)))) === 0;
      const bundle = await openBundle(folder);
      await bundle.verify();
      versions.push(bundle.manifest.version);
    }
    // Old until the commit, new from then on; and the commit is neither the first call nor the last.
    expect(versions.join('')).toMatch(/^1{5,}2{5,}$/);
    await writeBundle(folder, second);
    expect(await tree()).toEqual(['README.md', 'evidence.json', 'manifest.json', 'model.onnx']);
  }, 60_000);
});

/** All files below a folder, hidden ones too. */
async function tree(at = folder): Promise<string[]> {
  if (!existsSync(at)) return [];
  const entries = await readdir(at, { withFileTypes: true, recursive: true });
  return entries
    .filter((e) => !e.isDirectory())
    .map((e) => join(e.parentPath, e.name).slice(at.length + 1))
    .sort();
}

async function put(path: string, text: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, path), text);
}

async function link(path: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await symlink(root, join(folder, path));
}

async function replace(path: string, by: (path: string) => Promise<unknown>): Promise<void> {
  await rm(join(folder, path));
  await by(join(folder, path));
}
