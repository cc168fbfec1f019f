import { spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openBundle } from '@pare/bundle/node';
import { beforeAll, describe, expect, it } from 'vitest';
import { bin, type Outcome, pare, project, scratch, tree } from './fixtures.js';

// What only a process can suffer: signals, broken pipes, full disks.

const folder = scratch();
const at = (name: string): string => join(folder, name);
const args = ['optimize', 'model.onnx', '--data', 'val.npz', '-o', 'dist'];

/** An older bundle is in `dist`. */
beforeAll(async () => {
  await project(folder);
  const { code, err } = await pare([...args, '--time', '1ms'], { cwd: folder });
  expect(code, err).toBe(0);
});

/** Runs the job with a temporary folder of its own; the older bundle must be the same and whole after it. */
async function optimizeAgain(
  options: Parameters<typeof pare>[1] & { time?: string },
): Promise<Outcome & { left: string[] }> {
  const before = tree(at('dist'));
  const temporary = mkdtempSync(at('tmp-'));
  const run = await pare([...args, '--time', options.time ?? '60s', '--seed', '2'], {
    ...options,
    cwd: folder,
    env: { TMPDIR: temporary, ...options.env },
  });
  const bundle = await openBundle(at('dist'));
  await bundle.verify();
  expect(tree(at('dist'))).toEqual(before);
  return { ...run, left: tree(temporary) };
}

describe('Ctrl-C', () => {
  it.each([
    ['at the start', /^/],
    ['after reading', /Reading samples/],
    ['after building', /Building variants/],
    ['while measuring', /Checking integer kernels/],
  ])('%s: ends by the signal, soon, and leaves nothing half-written', async (_, moment) => {
    let pressed = Number.NaN;
    const { signal, code, err, out, left } = await optimizeAgain({
      during: async ({ says, kill }) => {
        // At the start: once Node listens, which is before any output.
        await (moment.source === '^' ? new Promise((resolve) => setTimeout(resolve, 400)) : says(moment));
        pressed = Date.now();
        kill('SIGINT');
      },
    });
    const took = Date.now() - pressed;
    expect([signal, code]).toEqual(['SIGINT', null]);
    expect(out).toBe('');
    expect(err).not.toMatch(/error|bug|\n\s+at /);
    expect(left).toEqual([]);
    // A second on a quiet machine; tests share theirs.
    expect(took).toBeLessThan(10_000);
  });

  it('ends simplify and leaves the file that was there', async () => {
    writeFileSync(at('old.onnx'), 'old');
    const { signal } = await pare(['simplify', 'model.onnx', '-o', 'old.onnx'], {
      cwd: folder,
      during: ({ kill }) => void setTimeout(() => kill('SIGTERM'), 250),
    });
    expect([signal, readdirSync(folder).filter((name) => name.startsWith('.old'))]).toEqual(['SIGTERM', []]);
  });
});

it('a killed process leaves the older bundle whole', async () => {
  for (const moment of [/Building variants/, /Measuring memory/]) {
    const { signal } = await optimizeAgain({
      time: '1ms',
      during: async ({ says, kill }) => {
        await says(moment);
        kill('SIGKILL');
      },
    });
    expect(signal).toBe('SIGKILL');
  }
});

describe('a full disk', () => {
  it('or a limit on the size of files: one sentence, nothing lost', async () => {
    // Blocks of 1 kB. The report is larger; the models are not.
    const run = await optimizeAgain({ time: '1ms', shell: 'ulimit -f 60; exec "$0" "$@"' });
    expect(run.err).toMatch(/^error: .*dist.*(file too large|no file that large)/im);
    expect([run.code, run.left, run.out]).toEqual([2, [], '']);
  });

  // Needs a mount of one's own: root with the right to mount, or unprivileged user namespaces.
  const mounts = spawnSync('unshare', ['-rm', 'mount', '-t', 'tmpfs', 'none', tmpdir()]).status === 0;
  it.skipIf(!mounts)('that is really full (skipped where nobody may mount): one sentence, nothing lost', async () => {
    const full = (place: string, size: string): string =>
      `mkdir -p ${place}; exec unshare -rm bash -c 'mount -t tmpfs -o size=${size} none ${place} && exec "$0" "$@"' "$0" "$@"`;
    mkdirSync(at('tiny'));
    const output = await pare(['quantize', 'model.onnx', '--to', 'fp16', '-o', 'tiny/x.onnx'], {
      cwd: folder,
      shell: full(at('tiny'), '8k'),
    });
    expect(output.err).toMatch(/^error: "tiny\/x\.onnx" cannot be written: the disk is full\. Nothing was changed\.$/m);
    expect(output.code).toBe(2);

    const temporary = at('tiny-tmp');
    const staging = await optimizeAgain({ env: { TMPDIR: temporary }, shell: full(temporary, '24k') });
    expect(staging.err).toMatch(/^error: .* cannot be written: the disk is full\. Nothing was changed\.$/m);
    expect(staging.code).toBe(2);
  });
});

describe('a reader that leaves', () => {
  it('does not fail the command', async () => {
    const shell = `set -o pipefail; ${process.execPath} ${bin} inspect model.onnx --json | head -n 1; echo "\${PIPESTATUS[@]}"`;
    const child = spawn('bash', ['-c', shell], { cwd: folder });
    const chunks: string[] = [];
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => chunks.push(String(chunk)));
    await new Promise((resolve) => child.on('close', resolve));
    expect(chunks.join('')).toBe('{\n0 0\n');
  });

  it('a full standard output is told, and is no success', async () => {
    const run = await pare(['inspect', 'model.onnx'], { cwd: folder, shell: '"$0" "$@" > /dev/full' });
    expect(run.err).toMatch(/^error: the output cannot be written: .*ENOSPC/);
    expect(run.code).toBe(2);
  });
});

it('what fails outside of every command exits with 2, not with the 1 of a failed gate', async () => {
  writeFileSync(
    at('late.config.ts'),
    'setTimeout(() => { throw new Error("late"); }, 50);\nexport default { model: "model.onnx", budgetMs: 60000 };',
  );
  const run = await pare(['optimize', '--config', 'late.config.ts', '-o', 'late'], { cwd: folder });
  expect(run.err).toMatch(/error: this is a bug in Pare.*\nError: late/);
  expect(run.code).toBe(2);
});
