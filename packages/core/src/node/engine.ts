import { createRequire } from 'node:module';
import type { Engine } from '../engine.js';
import { stageForNative } from './stage-model.js';
import { WorkerEngine } from './worker-engine.js';

/** ONNX Runtime on the CPU, native (`onnxruntime-node`), in a worker thread of its own. */
export function nodeEngine(): Engine {
  const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
  return new WorkerEngine({
    name: `onnxruntime-node ${version}`,
    runtime: 'native',
    stage: stageForNative,
    isolated: false,
  });
}
