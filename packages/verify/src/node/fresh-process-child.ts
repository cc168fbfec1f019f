import { readFileSync } from 'node:fs';
import { GraphBuilder, PareError } from '@pare/core';
import { nodeEngine, wasmEngine } from '@pare/core/node';
import type { FreshAnswer, FreshTask } from './fresh-process.js';

/** The process that measures one model: takes a task, answers, and is killed by its parent. */
process.once('message', (task: FreshTask) => {
  measure(task)
    .catch((error: unknown): FreshAnswer => {
      return { ok: false, message: error instanceof PareError ? error.message : String(error) };
    })
    .then((answer) => process.send?.(answer));
});
process.once('disconnect', () => process.exit());

async function measure({ model, feeds, threads, config, runtime }: FreshTask): Promise<FreshAnswer> {
  const engine = runtime === 'wasm' ? wasmEngine() : nodeEngine();
  // A model of nothing first: the engine itself belongs to the baseline.
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', [1]);
  const empty = await engine.open(builder.output('y', builder.op('Identity', [x]), 'float32', [1]).model());
  await empty.run({ x: { dtype: 'float32', dims: [1], data: new Float32Array(1) } });
  const baselineBytes = process.memoryUsage.rss();
  await empty.close();

  const session = await engine.open(model, { threads, config });
  const [firstRunMs] = await session.time(feeds, 1);
  return {
    ok: true,
    result: {
      loadMs: session.loadMs,
      firstRunMs: firstRunMs as number,
      peakBytes: peakBytes(),
      baselineBytes,
    },
  };
}

/** On Linux from the kernel's own mark: what getrusage tells there includes the parent, from which this process was forked. */
function peakBytes(): number {
  try {
    const kilobytes = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    if (kilobytes !== undefined) return Number(kilobytes) * 1024;
  } catch {
    // No such file: another system.
  }
  return process.resourceUsage().maxRSS * 1024;
}
