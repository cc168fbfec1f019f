import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GraphBuilder, type HostTensor, type Model, Tensor } from '@pare/core';
import { writeModel } from '@pare/core/node';
import { encodeNpz } from '@pare/verify';
import { afterAll } from 'vitest';
import { main } from '../src/main.js';

export const bin = fileURLToPath(new URL('../bin/pare.js', import.meta.url));

export interface Outcome {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly out: string;
  readonly err: string;
}

/** A running `pare`. */
export interface Running {
  /** Resolves when standard error has matched. */
  says(pattern: RegExp): Promise<void>;
  kill(signal: NodeJS.Signals): void;
}

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  /** What happens meanwhile. */
  readonly during?: (running: Running) => void | Promise<void>;
  /** A shell command line that is given node and the arguments as "$0" and "$@". */
  readonly shell?: string;
}

/** Runs `pare` in this process and folder: what is not about processes is quicker so. */
export async function command(args: readonly string[]): Promise<Outcome> {
  const [out, err]: [string[], string[]] = [[], []];
  const plain = (_: unknown, text: string): string => text;
  const code = await main(args, {
    out: (text) => void out.push(`${text}\n`),
    err: (text) => void err.push(`${text}\n`),
    draw: () => undefined,
    live: false,
    columns: 100,
    errColumns: 100,
    style: plain,
    errStyle: plain,
  });
  return { code, signal: null, out: out.join(''), err: err.join('') };
}

/** Runs `pare` as its user does. */
export function pare(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const { cwd, env, during, shell } = options;
  const command = shell === undefined ? process.execPath : 'bash';
  const before = shell === undefined ? [bin] : ['-c', shell, process.execPath, bin];
  return new Promise((resolve, reject) => {
    const child = spawn(command, [...before, ...args], {
      cwd,
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: undefined, ...env },
    });
    let out = '';
    let err = '';
    const listeners = new Set<() => void>();
    child.stdout.on('data', (chunk) => {
      out += chunk;
    });
    child.stderr.on('data', (chunk) => {
      err += chunk;
      for (const listener of listeners) listener();
    });
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, out, err }));
    const says = (pattern: RegExp): Promise<void> =>
      new Promise((matched) => {
        const look = (): void => {
          if (!pattern.test(err)) return;
          listeners.delete(look);
          matched();
        };
        listeners.add(look);
        look();
      });
    Promise.resolve(during?.({ says, kill: (signal) => child.kill(signal) })).catch(reject);
  });
}

/** A folder of the test file's own, removed at its end. */
export function scratch(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pare-cli-test-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Everything below `folder`, hidden files too, sorted. */
export const tree = (folder: string): string[] => readdirSync(folder, { recursive: true }).map(String).sort();

/** Seeded numbers between -1 and 1. */
export function noise(n: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** image [batch, 3, 16, 16] -> logits [batch, 4], with Identity and BatchNormalization for simplify to find. */
export function classifier(): Model {
  const b = new GraphBuilder({ seed: 3 });
  const filled = (n: number, value: number) => Tensor.of('float32', [n], new Float32Array(n).fill(value));
  let v = b.input('image', 'float32', ['batch', 3, 16, 16]);
  for (const [from, to] of [
    [3, 32],
    [32, 32],
  ] as const) {
    v = b.op('Conv', [v, b.random([to, from, 3, 3])], { pads: [1, 1, 1, 1] });
    v = b.op('BatchNormalization', [v, filled(to, 1.1), filled(to, 0.1), filled(to, 0), filled(to, 0.8)]);
    v = b.op('Identity', [b.op('Relu', [v])]);
  }
  v = b.op('Flatten', [b.op('GlobalAveragePool', [v])]);
  const logits = b.op('Gemm', [v, b.random([32, 4], { scale: 1 }), b.random([4], { scale: 0.1 })]);
  return b.output('logits', logits, 'float32', ['batch', 4]).model({ opset: 17 });
}

/** `n` images, and a label for each. */
export function samples(n: number, label: (i: number) => number = (i) => (i * 7 + 1) % 4): Record<string, HostTensor> {
  return {
    image: { dtype: 'float32', dims: [n, 3, 16, 16], data: noise(n * 768, 1) },
    labels: { dtype: 'int64', dims: [n], data: BigInt64Array.from({ length: n }, (_, i) => BigInt(label(i))) },
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
