import { createRequire } from 'node:module';
import type * as Ort from 'onnxruntime-common';
import { GraphBuilder } from '../builder.js';
import { serializeModel } from '../write.js';
import { type Backend, commonOptions, type RuntimeName } from './runtime.js';

/** Loads a build of ONNX Runtime, in the worker and when first used: what only reads files pays for none. */
export const BACKENDS: Readonly<Record<RuntimeName, () => Promise<Backend>>> = { native: loadNative, wasm: loadWasm };

async function loadNative(): Promise<Backend> {
  return {
    // A CommonJS package with native code.
    ort: createRequire(import.meta.url)('onnxruntime-node') as typeof Ort,
    sessionOptions: (options) => ({
      ...commonOptions(options),
      intraOpNumThreads: options.threads,
      interOpNumThreads: 1,
    }),
  };
}

async function loadWasm(): Promise<Backend> {
  // The build without a GPU (14 MB): the package's default export brings the retired WebGPU provider along (28 MB).
  const ort: typeof Ort = await import('onnxruntime-web/wasm');
  ort.env.wasm.numThreads = 1;
  const sessionOptions: Backend['sessionOptions'] = (options) => ({
    ...commonOptions(options),
    executionProviders: ['wasm'],
  });
  // WebAssembly is compiled with the first session. A model of nothing comes first, so that the time to load a real one is its own.
  const b = new GraphBuilder();
  const y = b.op('Identity', [b.input('x', 'float32', [1])]);
  const empty = await serializeModel(b.output('y', y, 'float32', [1]).model()).file.bytes();
  const session = await ort.InferenceSession.create(empty, { executionProviders: ['wasm'] });
  await session.release();
  return { ort, sessionOptions };
}
