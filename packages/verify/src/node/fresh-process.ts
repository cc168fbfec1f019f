import { fork } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Feeds, Model, PareError, throwIfAborted } from '@pare/core';
import { type RuntimeName, writeModel } from '@pare/core/node';
import type { FreshProcess } from '../evidence.js';

export interface FreshProcessOptions {
  /** Default 1. */
  readonly threads?: number;
  readonly config?: Readonly<Record<string, string>>;
  /** Which engine runs it: `nodeEngine`, or `wasmEngine`. Default `native`. */
  readonly runtime?: RuntimeName;
  readonly signal?: AbortSignal | undefined;
}

/** What the child is told. */
export interface FreshTask {
  readonly model: string | Uint8Array;
  readonly feeds: Feeds;
  readonly threads: number;
  readonly config: Readonly<Record<string, string>>;
  readonly runtime: RuntimeName;
}

export type FreshAnswer =
  | { readonly ok: true; readonly result: FreshProcess }
  | { readonly ok: false; readonly message: string };

/**
 * Loads `model` in a process of its own, runs it once on `feeds`, and says how long that took and how much memory the process
 * had at its peak, and before the model was loaded.
 * @throws PareError `engine` when the process fails or dies; `aborted`, and then the process is gone.
 */
export async function freshProcess(
  model: Model | Uint8Array | string,
  feeds: Feeds,
  options: FreshProcessOptions = {},
): Promise<FreshProcess> {
  throwIfAborted(options.signal);
  if (!(model instanceof Model)) return runChild(model, feeds, options);
  const folder = await mkdtemp(join(tmpdir(), 'pare-'));
  try {
    const path = join(folder, 'model.onnx');
    await writeModel(path, model, { signal: options.signal });
    return await runChild(path, feeds, options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function runChild(model: Uint8Array | string, feeds: Feeds, options: FreshProcessOptions): Promise<FreshProcess> {
  // By package name, so that it is found from the sources (in tests) as from the build.
  const path = createRequire(import.meta.url).resolve('@pare/verify/node/fresh-process-child');
  // Without the parent's flags (loaders, inspectors): they would be measured, too.
  const child = fork(path, { serialization: 'advanced', execArgv: [], stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  let complaint = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    complaint = (complaint + chunk.toString()).slice(-2000);
  });
  const onAbort = (): void => {
    child.kill('SIGKILL');
  };
  options.signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await new Promise<FreshProcess>((resolve, reject) => {
      const { threads = 1, config = {}, runtime = 'native' } = options;
      const task: FreshTask = { model, feeds, threads, config, runtime };
      child.once('message', (answer: FreshAnswer) => {
        if (answer.ok) resolve(answer.result);
        else reject(new PareError('engine', answer.message));
      });
      child.once('error', (cause) =>
        reject(new PareError('engine', `No process could be started: ${cause.message}`, { cause })),
      );
      child.once('close', (code, signal) => {
        const detail = complaint.trim().split('\n').at(-1);
        reject(
          options.signal?.aborted
            ? new PareError('aborted', 'Stopped on request.', { cause: options.signal.reason })
            : new PareError(
                'engine',
                `The process that measured the model died (${signal ?? code}). ${detail ?? ''}`.trim(),
              ),
        );
      });
      child.send(task, (cause) => {
        if (cause) reject(new PareError('engine', `The process takes no task: ${cause.message}`, { cause }));
      });
    });
  } finally {
    options.signal?.removeEventListener('abort', onAbort);
    child.kill('SIGKILL');
  }
}
