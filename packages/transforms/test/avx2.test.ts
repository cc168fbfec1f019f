import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feeds, GraphBuilder, type Model, Tensor } from '@pare/core';
import { nodeEngine, writeModel } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { quantizeStatic } from '../src/quantize/static.js';

// Integer kernels of x64 without VNNI saturate. Processors of today rarely show it, so an emulated one must: QEMU's user mode
// with a Haswell runs the very same ONNX Runtime with its AVX2 kernels.

const qemu = 'qemu-x86_64';
const emulates = process.arch === 'x64' && spawnSync(qemu, ['--version']).status === 0;
const folder = mkdtempSync(join(tmpdir(), 'pare-avx2-'));
const engine = nodeEngine();
afterAll(async () => {
  await engine.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Pointwise and depthwise convolutions with ReLU6: activations near 255 meet large weights, as in MobileNet. */
function network(): Model {
  const b = new GraphBuilder({ seed: 5 });
  const zero = b.constant(Tensor.of('float32', [], [0]));
  const six = b.constant(Tensor.of('float32', [], [6]));
  let v = b.input('x', 'float32', ['batch', 16, 8, 8]);
  const conv = (dims: number[], attributes = {}): void => {
    v = b.op('Conv', [v, b.random(dims), b.random([dims[0] as number], { scale: 0.3 })], attributes);
    v = b.op('Clip', [v, zero, six]);
  };
  for (let i = 0; i < 2; i++) {
    conv([32, 16, 1, 1]);
    conv([32, 1, 3, 3], { group: 32, pads: [1, 1, 1, 1] });
    conv([16, 32, 1, 1]);
  }
  return b.output('y', b.op('Conv', [v, b.random([8, 16, 1, 1])]), 'float32').model({ opset: 17 });
}

const inputs: Feeds[] = Array.from({ length: 8 }, (_, n) => ({
  x: {
    dtype: 'float32',
    dims: [1, 16, 8, 8],
    data: Float32Array.from({ length: 1024 }, (_, i) => Math.abs(Math.sin((i + 1) * (n + 2) * 0.37)) * 3),
  },
}));

/** Runs in a process of its own: the outputs of a model for all inputs, as base64. */
const RUNNER = `
  const ort = require(process.argv[2]);
  const { models, inputs } = JSON.parse(require('node:fs').readFileSync(process.argv[3], 'utf8'));
  (async () => {
    const results = [];
    for (const model of models) {
      const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, logSeverityLevel: 4 });
      const out = [];
      for (const x of inputs) {
        const { y } = await session.run({ x: new ort.Tensor('float32', Float32Array.from(x), [1, 16, 8, 8]) });
        out.push(...y.data);
      }
      results.push(out);
    }
    process.stdout.write(JSON.stringify(results));
  })();`;

function run(models: readonly string[], emulated: boolean): number[][] {
  const ort = createRequire(createRequire(import.meta.url).resolve('@pare/core/node')).resolve('onnxruntime-node');
  const task = join(folder, 'task.json');
  const runner = join(folder, 'runner.cjs');
  writeFileSync(task, JSON.stringify({ models, inputs: inputs.map((f) => Array.from(f.x?.data as Float32Array)) }));
  writeFileSync(runner, RUNNER);
  const command = [process.execPath, runner, ort, task];
  const [program, ...args] = emulated ? [qemu, '-cpu', 'Haswell', ...command] : command;
  const out = execFileSync(program as string, args, { maxBuffer: 1 << 28, stdio: ['ignore', 'pipe', 'ignore'] });
  return JSON.parse(out.toString()) as number[][];
}

function sqnrDb(reference: readonly number[], actual: readonly number[]): number {
  let signal = 0;
  let noise = 0;
  for (const [i, r] of reference.entries()) {
    signal += r * r;
    noise += (r - (actual[i] as number)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}

// Skipped where the emulator is missing (Debian's package qemu-user).
it.runIf(emulates)(
  'keeps static int8 exact on a processor whose integer kernels saturate',
  async () => {
    const paths: string[] = [join(folder, 'float.onnx')];
    await writeModel(paths[0] as string, network());
    for (const guard of ['none', 'pairs'] as const) {
      const model = network();
      await model.transform(quantizeStatic({ samples: inputs, guard, method: 'min-max' }), { engine });
      paths.push(join(folder, `${guard}.onnx`));
      await writeModel(paths.at(-1) as string, model);
    }
    const [reference = [], bareHere = []] = run(paths, false);
    const [, bare = [], guarded = []] = run(paths, true);
    // Without the guard the emulated kernels are off by far; with it they are as good as exact arithmetic.
    expect(sqnrDb(reference, bareHere) - sqnrDb(reference, bare)).toBeGreaterThan(6);
    expect(sqnrDb(reference, guarded)).toBeGreaterThan(sqnrDb(reference, bareHere) - 2.5);
  },
  120_000,
);
