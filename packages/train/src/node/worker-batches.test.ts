import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

it('does not let the process end while it closes, whatever is on its way', () => {
  const url = (path: string): string => JSON.stringify(new URL(`../../${path}`, import.meta.url).href);
  const folder = mkdtempSync(join(tmpdir(), 'pare-batches-'));
  const script = join(folder, 'close.mjs');
  writeFileSync(
    script,
    `
    import { TrainingData } from ${url('dist/index.js')};
    import { workerBatches } from ${url('dist/node/index.js')};
    import { datasetOf } from ${url('../core/dist/index.js')};
    const x = { dtype: 'float32', dims: [30], data: new Float32Array(30) };
    const data = await TrainingData.read(datasetOf(Array.from({ length: 400 }, () => ({ inputs: { x } }))), {
      inputs: [{ name: 'x', dtype: 'float32', dims: ['n', 30] }],
    });
    for (let i = 0; i < 5; i++) {
      const stream = workerBatches(data, { batchSize: 10 });
      for await (const _ of stream.epoch(0)) break;
      // The next batches arrive meanwhile, and are there to be heard of when the stream closes.
      const end = performance.now() + 10;
      while (performance.now() < end);
      await stream.close();
    }
    console.log('closed');`,
  );
  // When nothing holds the process, Node ends with 13: a top-level await that nobody settles.
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8' });
  rmSync(folder, { recursive: true });
  expect([status, stdout.trim()], stderr).toEqual([0, 'closed']);
});
