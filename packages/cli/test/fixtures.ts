import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GraphBuilder, type HostTensor, type Model } from '@pare/core';
import { writeModel } from '@pare/core/node';
import { encodeNpz } from '@pare/verify';
import { afterAll } from 'vitest';

const bin = fileURLToPath(new URL('../bin/pare.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
  readonly ms: number;
}

/** Runs `pare` as its user does; `during` may interrupt it. */
export function pare(
  args: readonly string[],
  options: { cwd?: string; during?: (kill: (s: NodeJS.Signals) => void) => void } = {},
): Promise<Outcome> {
  return new Promise((resolve) => {
    const start = Date.now();
    const child = spawn(process.execPath, [bin, ...args], { cwd: options.cwd, env: { ...process.env, NO_COLOR: '1' } });
    let out = '';
    let err = '';
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
    });
    child.on('close', (code, signal) => resolve({ code, signal, out, err, ms: Date.now() - start }));
    options.during?.((signal) => child.kill(signal));
  });
}

/** A folder of the test file's own, removed at its end. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pare-cli-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Seeded numbers between -1 and 1. */
export function noise(n: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** image [batch, 3, 16, 16] -> logits [batch, 4], with Identity, Dropout and BatchNormalization for simplify to find. */
export function classifier(): Model {
  const b = new GraphBuilder({ seed: 3 });
  const plain = (dims: number[], value: number) =>
    b.constant(b.random(dims, { scale: 0 }).initializer as never, `c${value}`);
  let v = b.input('image', 'float32', ['batch', 3, 16, 16]);
  for (const [from, to] of [
    [3, 32],
    [32, 32],
  ] as const) {
    v = b.op('Conv', [v, b.random([to, from, 3, 3])], { pads: [1, 1, 1, 1] });
    const variance = b.random([to], { scale: 0.1 });
    v = b.op('BatchNormalization', [
      v,
      b.random([to], { scale: 0.3 }),
      plain([to], 0),
      plain([to], 0),
      b.op('Exp', [variance]),
    ]);
    v = b.op('Identity', [b.op('Relu', [v])]);
  }
  v = b.op('Flatten', [b.op('GlobalAveragePool', [v])]);
  const logits = b.op('Gemm', [v, b.random([32, 4], { scale: 1 }), b.random([4], { scale: 0.1 })]);
  return b.output('logits', logits, 'float32', ['batch', 4]).model({ opset: 17 });
}

/** `n` images with the class that the reading of their mean colour gives. */
export function samples(n: number, seed = 1): Record<string, HostTensor> {
  const labels = BigInt64Array.from({ length: n }, (_, i) => BigInt((i * 7 + seed) % 4));
  return {
    image: { dtype: 'float32', dims: [n, 3, 16, 16], data: noise(n * 768, seed) },
    labels: { dtype: 'int64', dims: [n], data: labels },
  };
}

/** Writes `model.onnx` and `val.npz` (48 samples) into `folder`. */
export async function project(folder: string): Promise<{ model: string; data: string }> {
  const model = join(folder, 'model.onnx');
  const data = join(folder, 'val.npz');
  await writeModel(model, classifier());
  writeFileSync(data, encodeNpz(samples(48)));
  return { model, data };
}
