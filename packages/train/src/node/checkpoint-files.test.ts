import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Checkpoint } from '../checkpoint.js';
import {
  checkCheckpointFolder,
  checkpointFolder,
  latestCheckpoint,
  removeCheckpoints,
  saveCheckpoint,
} from './checkpoint-files.js';

let folder: string;
beforeEach(() => {
  folder = fs.mkdtempSync(join(tmpdir(), 'pare-checkpoint-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  fs.rmSync(folder, { recursive: true, force: true });
});

const checkpoint = (step: number): Checkpoint => ({
  run: 'run',
  step,
  parameters: {
    parameters: [{ name: 'w', dims: [100], offset: 0 }],
    buffers: { values: new Float32Array(100).fill(step) },
    masks: {},
  },
  statistics: new Map(),
  best: undefined,
  progress: { step },
});
const names = (): string[] => fs.readdirSync(folder).sort();
const file = (step: number): string => `step-${String(step).padStart(9, '0')}.checkpoint`;
const latest = async (): Promise<{ step: number | undefined; warnings: string[] }> => {
  const warnings: string[] = [];
  const found = await latestCheckpoint(folder, (message) => warnings.push(message));
  if (found) {
    const { step, progress, parameters } = found.checkpoint;
    expect(progress).toEqual({ step });
    expect(parameters.buffers.values?.every((v) => v === step)).toBe(true);
  }
  return { step: found?.checkpoint.step, warnings };
};

describe('checkpoint files', () => {
  it('come back; the last two are kept', async () => {
    expect(await latest()).toEqual({ step: undefined, warnings: [] });
    for (const step of [5, 10, 200, 1000]) {
      expect(await saveCheckpoint(folder, checkpoint(step))).toBe(join(folder, file(step)));
      expect(await latest()).toEqual({ step, warnings: [] });
    }
    expect(names()).toEqual([file(200), file(1000)]);
    const store = checkpointFolder(join(folder, 'a/b'), () => {});
    expect(await store.latest()).toBeUndefined();
    await store.save(checkpoint(1));
    expect(await store.latest()).toEqual(checkpoint(1));
    expect(fs.readdirSync(join(folder, 'a/b'))).toEqual([file(1)]);
  });

  it('leave alone what is not theirs, and take along what a killed run left', async () => {
    const foreign = ['step-x.checkpoint', 'notes.txt', '.step-1.txt'];
    for (const name of foreign) fs.writeFileSync(join(folder, name), 'x');
    fs.writeFileSync(join(folder, `.${file(3)}.123-abcd.tmp`), 'x');
    for (const step of [1, 2, 3]) await saveCheckpoint(folder, checkpoint(step));
    expect(names()).toEqual([...foreign, file(2), file(3)].sort());
  });

  it('are passed over with a warning where they are damaged, and replaced by the next', async () => {
    for (const step of [10, 20]) await saveCheckpoint(folder, checkpoint(step));
    fs.truncateSync(join(folder, file(20)), 300);
    const { step, warnings } = await latest();
    expect(step).toBe(10);
    expect(warnings).toEqual([
      `"${join(folder, file(20))}" is a damaged checkpoint: it ends at byte 300 of ${fs.statSync(join(folder, file(10))).size}. Resume from an earlier one.`,
    ]);
    // The run goes on from step 10 and saves before it is at 20 again.
    await saveCheckpoint(folder, checkpoint(15));
    expect(names()).toEqual([file(10), file(15)]);
    for (const name of names()) fs.writeFileSync(join(folder, name), '');
    expect((await latest()).step).toBeUndefined();
    expect((await latest()).warnings).toHaveLength(2);
  });

  it.each(['ENOSPC', 'EDQUOT', 'EIO'])('%s half-way: one sentence, and the earlier ones are whole', async (code) => {
    for (const step of [10, 20]) await saveCheckpoint(folder, checkpoint(step));
    const write = fs.writeSync;
    let calls = 0;
    vi.spyOn(fs, 'writeSync').mockImplementation(((...args: Parameters<typeof fs.writeSync>) => {
      if (++calls > 1) throw Object.assign(new Error(code), { code });
      return write(...args);
    }) as typeof fs.writeSync);
    await expect(saveCheckpoint(folder, checkpoint(30))).rejects.toThrow(
      /^".*step-000000030\.checkpoint" cannot be written: (the disk|the device).*\. Nothing was changed\.$/,
    );
    expect(names()).toEqual([file(10), file(20)]);
    expect(await latest()).toEqual({ step: 20, warnings: [] });
  });

  it('cannot go where there is no folder to be', async () => {
    fs.writeFileSync(join(folder, 'file'), '');
    await expect(saveCheckpoint(join(folder, 'file'), checkpoint(1))).rejects.toThrow(
      /cannot be written: .*Nothing was/,
    );
    await expect(latestCheckpoint(join(folder, 'file'), () => {})).rejects.toThrow(
      `"${join(folder, 'file')}" cannot be read: part of the path is no folder.`,
    );
    await expect(saveCheckpoint(folder, checkpoint(1), AbortSignal.abort())).rejects.toThrow('Stopped on request.');
    expect(names()).toEqual(['file']);
  });

  it('go when the run is over, and nothing else with them', async () => {
    for (const step of [1, 2]) await saveCheckpoint(join(folder, 'run'), checkpoint(step));
    fs.writeFileSync(join(folder, 'run', 'notes.txt'), 'mine');
    removeCheckpoints(join(folder, 'run'));
    expect(fs.readdirSync(join(folder, 'run'))).toEqual(['notes.txt']);
    fs.rmSync(join(folder, 'run', 'notes.txt'));
    removeCheckpoints(join(folder, 'run'));
    removeCheckpoints(join(folder, 'never'));
    expect(names()).toEqual([]);
  });

  it('are refused where none can be, before the work', () => {
    fs.writeFileSync(join(folder, 'file'), 'mine');
    fs.mkdirSync(join(folder, 'there'));
    for (const place of ['there', 'new', join('new', 'deeper')]) checkCheckpointFolder(join(folder, place));
    expect(names()).toEqual(['file', 'there']);
    for (const place of [join(folder, 'file'), join(folder, 'file', 'under'), '/proc/pare'])
      expect(() => checkCheckpointFolder(place)).toThrow(/cannot be written: .*Nothing was changed\.$/);
    expect(names()).toEqual(['file', 'there']);
  });

  it('are whole after kill -9 at any moment', async () => {
    const built = JSON.stringify(new URL('../../dist/node/checkpoint-files.js', import.meta.url).href);
    const script = `
      import { saveCheckpoint } from ${built};
      setTimeout(() => process.kill(process.pid, 'SIGKILL'), Number(process.argv[1]));
      const values = new Float32Array(1e6);
      for (let step = Number(process.argv[2]); ; step++) {
        values.fill(step);
        const parameters = { parameters: [{ name: 'w', dims: [1e6], offset: 0 }], buffers: { values }, masks: {} };
        await saveCheckpoint(${JSON.stringify(folder)}, { run: 'run', step, parameters, statistics: [], progress: { step } });
      }`;
    let step = 0;
    for (const delay of [60, 83, 101, 127]) {
      const args = ['--input-type=module', '-e', script, String(delay), String(step + 1)];
      const { signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      expect(signal ?? stderr).toBe('SIGKILL');
      const found = await latest();
      expect(found.warnings).toEqual([]);
      expect(found.step ?? 0).toBeGreaterThanOrEqual(step);
      step = found.step ?? 0;
    }
    expect(step).toBeGreaterThan(0);
  });
});
