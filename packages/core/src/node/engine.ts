import { createRequire } from 'node:module';
import type { Engine } from '../engine.js';
import { stageForNative } from './stage-model.js';
import { WorkerEngine } from './worker-engine.js';

/**
 * ONNX Runtime on the CPU, native (`onnxruntime-node`), in a worker thread of its own. Its reports of usage to its maker, and the
 * files that it writes for them, are switched off unless the environment says otherwise (`ORT_DISABLE_TELEMETRY=0`).
 */
export function nodeEngine(): Engine {
  // Here and not in the worker: only the main thread's variables are those of the process.
  process.env.ORT_DISABLE_TELEMETRY ??= '1';
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return new WorkerEngine({
    name: `onnxruntime-node ${version}`,
    runtime: 'native',
    stage: stageForNative,
    isolated: false,
  });
}
