import fs from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import type { Engine } from '../engine.js';
import { stageForWasm } from './stage-model.js';
import { WorkerEngine } from './worker-engine.js';

/**
 * ONNX Runtime as browsers run it on the CPU: the WebAssembly build of `onnxruntime-web`, SIMD, one thread. V8 compiles it here
 * as it does in Chromium, so it stands in for a browser where a model is measured; the native engine does not (its kernels and
 * their speeds differ).
 *
 * Each open session has an instance of WebAssembly of its own, as a page has: memory that an instance has taken comes back only
 * when it ends, and 4 GB hold no more than one large model. Starting one takes about a third of a second, so those that have
 * held small models are used again.
 *
 * `open` throws PareError `bad-option` for more than one thread, and `engine` for models that 4 GB cannot hold.
 */
export function wasmEngine(): Engine {
  return new WorkerEngine({
    name: `onnxruntime-web ${version()} (WASM, 1 thread)`,
    runtime: 'wasm',
    stage: stageForWasm,
    maxThreads: 1,
    isolated: true,
  });
}

/** Its package keeps `package.json` to itself: found by its place beside what it exports. */
function version(): string {
  const dist = dirname(createRequire(import.meta.url).resolve('onnxruntime-web/wasm'));
  return (JSON.parse(fs.readFileSync(join(dist, '../package.json'), 'utf8')) as { version: string }).version;
}
