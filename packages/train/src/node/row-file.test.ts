import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { SampleBatch } from '../data/index.js';
import { answerCache } from '../distill/index.js';
import { rowFile } from './row-file.js';

const folder = mkdtempSync(join(tmpdir(), 'pare-rows-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const batch = (indices: number[], value = 1): SampleBatch => ({
  inputs: {
    x: { dtype: 'float32', dims: [indices.length, 2], data: Float32Array.from(indices.flatMap((i) => [i, value])) },
  },
  targets: {},
  indices: Uint32Array.from(indices),
  count: indices.length,
});

describe('a file of answers', () => {
  it('gives back what was written, to the samples, inputs and teacher that it was written for', async () => {
    const path = join(folder, 'deep', 'answers');
    const rows = rowFile(path);
    const cache = answerCache(rows, 'teacher');
    expect(await cache.read(batch([3, 1]), [2])).toBeUndefined();
    await cache.write(batch([3, 1]), [2], [Float32Array.of(1, 2, 3, 4)]);
    expect(await cache.read(batch([1, 3]), [2])).toEqual([Float32Array.of(3, 4, 1, 2)]);
    expect(await cache.read(batch([1, 2]), [2])).toBeUndefined();
    await rows.close();

    const again = rowFile(path);
    expect(await answerCache(again, 'teacher').read(batch([3]), [2])).toEqual([Float32Array.of(1, 2)]);
    expect(await answerCache(again, 'another').read(batch([3]), [2])).toBeUndefined();
    expect(await answerCache(again, 'teacher').read(batch([3], 5), [2])).toBeUndefined();
    expect(await answerCache(again, 'teacher').read(batch([3]), [3])).toBeUndefined();
    await again.close();
  });

  it('names the file when it cannot be written', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await expect(rowFile(join(file, 'answers')).read(0, 8)).rejects.toMatchObject({ code: 'io' });
  });
});
