import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Engine, GraphBuilder, type HostTensor, type Model, PareError } from '@pare/core';
import { nodeEngine, writeModel } from '@pare/core/node';
import { type Dataset, datasetOf, type Sample } from '@pare/verify';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type OptimizeOptions, optimize } from '../src/optimize.js';

const native = nodeEngine();
const folder = mkdtempSync(join(tmpdir(), 'pare-web-'));
const file = join(folder, 'model.onnx');
let data: Dataset;

/** Files that the native engine was asked to open: what is measured on it. */
const openedNatively: string[] = [];
const engine: Engine = {
  name: native.name,
  open(model, options) {
    if (typeof model === 'string') openedNatively.push(model);
    return native.open(model, options);
  },
  close: () => native.close(),
};

/** Sixteen rows through wide products and a mean over them: enough rows for integer products to pay on WASM. */
function classifier(): Model {
  const b = new GraphBuilder();
  let y = b.op('Relu', [b.op('MatMul', [b.input('x', 'float32', ['n', 16, 64]), b.random([64, 256])])]);
  y = b.op('ReduceMean', [b.op('MatMul', [y, b.random([256, 8])])], { axes: [1], keepdims: 0 });
  return b.output('y', y, 'float32', ['n', 8]).model({ opset: 17 });
}

beforeAll(async () => {
  await writeModel(file, classifier());
  const session = await native.open(file);
  const samples: Sample[] = [];
  for (let i = 0; i < 24; i++) {
    const x = Float32Array.from({ length: 1024 }, (_, k) => Math.sin(7919 * i + k * k));
    const { y } = await session.run({ x: { dtype: 'float32', dims: [1, 16, 64], data: x } });
    const logits = [...((y as HostTensor).data as Float32Array)];
    const inputs = { x: { dtype: 'float32' as const, dims: [16, 64], data: x } };
    samples.push({ inputs, label: logits.indexOf(Math.max(...logits)) });
  }
  await session.close();
  data = datasetOf(samples);
});
afterAll(async () => {
  await native.close();
  rmSync(folder, { recursive: true });
});

async function run(target: OptimizeOptions['target'], options: Partial<OptimizeOptions> = {}) {
  openedNatively.length = 0;
  const output = join(folder, `out-${target}`);
  return optimize({ model: file, output, engine, target, data, budgetMs: 60, ...options });
}

it('measures web-wasm on the WebAssembly build, and says so', async () => {
  const { evidence, folder: output } = await run('web-wasm', { goal: 'size' });
  expect(openedNatively).toEqual([]);
  expect(evidence.host.engine).toBe('onnxruntime-web 1.30.0 (WASM, 1 thread)');
  expect(evidence.warnings).toContainEqual(
    expect.stringMatching(/^Everything was measured in Node\.js on the WebAssembly/),
  );
  const variants = Object.fromEntries(evidence.variants.map((v) => [v.name, v]));
  expect(Object.keys(variants)).toEqual(['original', 'fp32', 'fp16', 'int8-dynamic', 'int8-weights']);
  for (const { name, isOriginal, accuracy, numerics, performance, stability } of evidence.variants) {
    expect(accuracy?.value, name).toBeGreaterThan(0.9);
    if (!isOriginal) expect(numerics?.outputs[0]?.cosine, name).toBeGreaterThan(0.999);
    expect(performance?.latency.p50, name).toBeGreaterThan(0);
    expect(performance?.freshProcess?.peakBytes, name).toBeGreaterThan(performance?.freshProcess?.baselineBytes ?? 0);
    // More threads are not to be had.
    expect(stability?.reproducibility, name).toMatchObject({ repeated: { identical: true }, threads: [] });
  }
  expect(variants['int8-dynamic']?.numerics?.saturation).toMatchObject({
    verdict: 'not applicable',
    reason: 'WebAssembly adds 8-bit products in 32 bits: nothing can saturate.',
  });
  expect(readFileSync(join(output, 'report.html'), 'utf8')).toContain('onnxruntime-web 1.30.0 (WASM, 1 thread)');
}, 90_000);

it('measures no speed for web-webgpu, claims none, and recommends by size', async () => {
  const { evidence, manifest } = await run('web-webgpu');
  expect(openedNatively.length).toBeGreaterThan(0);
  expect(evidence.host.engine).toBe('onnxruntime-node 1.30.0');
  expect(evidence.warnings.slice(0, 2)).toEqual([
    expect.stringMatching(/^Speed was not measured: WebGPU cannot be timed on this machine\./),
    expect.stringMatching(/^Accuracy and numerics were measured on the CPU/),
  ]);
  for (const { performance, accuracy } of evidence.variants) {
    expect(performance).toBeNull();
    expect(accuracy).not.toBeNull();
  }
  const accepted = evidence.variants.filter((v) => v.verdict.status !== 'refused');
  const smallest = accepted.reduce((a, b) => (b.bytes < a.bytes ? b : a));
  expect(evidence.recommendation).toEqual({
    variant: smallest.name,
    reason: expect.stringMatching(/^The smallest that holds the gates, with no word on its speed/),
  });
  const needs = Object.fromEntries(manifest.variants.map((v) => [v.id, v.needs]));
  expect(needs).toMatchObject({ fp16: ['shader-f16'], 'int4-fp16': ['shader-f16'], 'int8-weights': [] });
});

it('refuses at once what cannot be measured of a target', async () => {
  const started = Date.now();
  await expect(run('web-wasm', { threads: 2 })).rejects.toThrow(
    new PareError('bad-option', 'web-wasm is measured on one thread, not on 2: leave threads out.'),
  );
  await expect(run('web-webgpu', { gates: { maxP95Ms: 10 } })).rejects.toMatchObject({ code: 'bad-option' });
  expect(Date.now() - started).toBeLessThan(10_000);
});
