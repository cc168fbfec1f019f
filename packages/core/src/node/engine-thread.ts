import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { PareError, throwIfAborted } from '../errors.js';
import type { Answer, Request, STOP, ThreadData } from './engine-worker.js';
import type { RuntimeName } from './runtime.js';

type Pending = { resolve(result: unknown): void; reject(error: PareError): void };
/** A request as its caller writes it: the thread adds the id. */
export type Ask = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

/** A worker thread with a runtime in it. It starts with the first request, and keeps the process alive only while busy. */
export class EngineThread {
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  /** Shared with the worker: 1 makes it drop what it has not begun. */
  #stopped = new Int32Array(new SharedArrayBuffer(4));
  #next = 1;
  #closed = false;
  #sound = true;

  constructor(private readonly runtime: RuntimeName) {}

  /** Nothing runs in it, and nothing has failed or was given up: after that, nobody knows the state of the runtime. */
  get isReusable(): boolean {
    return this.#pending.size === 0 && this.#sound && !this.#closed;
  }

  /** @throws PareError `engine` with the runtime's message; `aborted`. */
  ask(request: Ask, signal: AbortSignal | undefined, transfer: readonly ArrayBuffer[] = []): Promise<unknown> {
    throwIfAborted(signal);
    if (this.#closed) return Promise.reject(new PareError('aborted', 'The engine was closed.'));
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        signal?.removeEventListener('abort', onAbort);
        this.#pending.delete(id);
        if (this.#pending.size === 0) worker.unref();
      };
      // The runtime cannot be interrupted; its late answer finds nobody waiting.
      const onAbort = (): void => {
        this.#sound = false;
        settle();
        reject(new PareError('aborted', 'Stopped on request.', { cause: signal?.reason }));
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#pending.set(id, {
        resolve: (result) => {
          settle();
          resolve(result);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      worker.ref();
      worker.postMessage({ ...request, id }, transfer);
    });
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#closed = true;
    if (!worker) return;
    this.#rejectAll(new PareError('aborted', 'The engine was closed.'));
    // Killing a thread inside native code kills the process: it ends with what it is running. WebAssembly can be killed.
    if (this.runtime === 'wasm') {
      await worker.terminate();
      return;
    }
    Atomics.store(this.#stopped, 0, 1);
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage('stop' satisfies typeof STOP);
    worker.ref();
    await exited;
  }

  #rejectAll(error: PareError): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #start(): Worker {
    // By package name, so that it is found from the sources (in tests) as from the build.
    const path = createRequire(import.meta.url).resolve('@pare/core/node/engine-worker');
    const workerData: ThreadData = { runtime: this.runtime, stopped: this.#stopped };
    const worker = new Worker(pathToFileURL(path), { workerData });
    worker.on('message', (answer: Answer) => {
      const pending = this.#pending.get(answer.id);
      if (!answer.ok) this.#sound = false;
      if (answer.ok) pending?.resolve(answer.result);
      else pending?.reject(new PareError('engine', `ONNX Runtime: ${sentence(answer.message)}`));
    });
    const died = (cause?: unknown): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#sound = false;
      this.#rejectAll(new PareError('engine', 'The engine stopped while it was running a model.', { cause }));
    };
    worker.on('error', died);
    worker.on('exit', () => died());
    return worker;
  }
}

/** First line of the runtime's message, without its prefixes. */
function sentence(message: string): string {
  const line = (message.split('\n')[0] ?? message)
    .replace(/^.*(?:ErrorCode:\w+|ERROR_CODE: \d+, ERROR_MESSAGE:)\s*/u, '')
    .trim();
  return line.endsWith('.') ? line : `${line}.`;
}
