import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { Engine, Feeds, HostTensor, Port, Session, SessionOptions } from '../engine.js';
import { PareError, throwIfAborted } from '../errors.js';
import { Model } from '../ir/model.js';
import type { Answer, Opened, Request, STOP } from './engine-worker.js';
import { type StagedModel, stageModel } from './stage-model.js';

type Pending = { resolve(result: unknown): void; reject(error: PareError): void };
/** A request as its caller writes it: the engine adds the id. */
type Ask = Request extends infer R ? (R extends Request ? Omit<R, 'id'> : never) : never;

/**
 * ONNX Runtime on the CPU, in a worker thread of its own: `session.run` of the native binding blocks the thread that calls
 * it, and progress bars, Ctrl-C and servers need theirs.
 */
export function nodeEngine(): Engine {
  return new NodeEngine();
}

class NodeEngine implements Engine {
  readonly name: string;
  readonly #pending = new Map<number, Pending>();
  readonly #staged = new Set<StagedModel>();
  #worker: Worker | undefined;
  /** Shared with the worker: 1 makes it drop what it has not begun. */
  #stopped = new Int32Array(new SharedArrayBuffer(4));
  #next = 1;
  #closed = false;

  constructor() {
    const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json') as { version: string };
    this.name = `onnxruntime-node ${version}`;
  }

  async open(model: Model | Uint8Array | string, options: SessionOptions = {}): Promise<Session> {
    throwIfAborted(options.signal);
    const staged = model instanceof Model ? await stageModel(model, options.signal) : undefined;
    if (staged) this.#staged.add(staged);
    const release = async (): Promise<void> => {
      if (staged && this.#staged.delete(staged)) await staged.remove();
    };
    const request: Ask = {
      op: 'open',
      model: staged?.model ?? (model as Uint8Array | string),
      options: {
        optimization: options.optimization ?? 'all',
        threads: options.threads ?? 1,
        config: options.config ?? {},
      },
    };
    try {
      const owned = staged && typeof staged.model !== 'string' ? [staged.model.buffer] : [];
      const opened = (await this._ask(request, options.signal, owned)) as Opened;
      return new NodeSession(this, opened, options.signal, release);
    } catch (error) {
      await release();
      throw error;
    }
  }

  async close(): Promise<void> {
    const worker = this.#worker;
    this.#worker = undefined;
    this.#closed = true;
    await Promise.all([...this.#staged].map((staged) => staged.remove()));
    this.#staged.clear();
    if (!worker) return;
    this.#rejectAll(new PareError('aborted', 'The engine was closed.'));
    Atomics.store(this.#stopped, 0, 1);
    const exited = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage('stop' satisfies typeof STOP);
    worker.ref();
    await exited;
  }

  /** @internal One request to the worker, which is started when first needed and keeps the process alive only while busy. */
  _ask(request: Ask, signal: AbortSignal | undefined, transfer: ArrayBuffer[] = []): Promise<unknown> {
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
      // The native call cannot be interrupted; its late answer finds nobody waiting.
      const onAbort = (): void => {
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

  #rejectAll(error: PareError): void {
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  #start(): Worker {
    // By package name, so that it is found from the sources (in tests) as from the build.
    const path = createRequire(import.meta.url).resolve('@pare/core/node/engine-worker');
    this.#stopped = new Int32Array(new SharedArrayBuffer(4));
    const worker = new Worker(pathToFileURL(path), { workerData: this.#stopped });
    worker.on('message', (answer: Answer) => {
      const pending = this.#pending.get(answer.id);
      if (answer.ok) pending?.resolve(answer.result);
      else pending?.reject(new PareError('engine', `ONNX Runtime: ${sentence(answer.message)}`));
    });
    const died = (cause?: unknown): void => {
      if (this.#worker !== worker) return;
      this.#worker = undefined;
      this.#rejectAll(new PareError('engine', 'The engine stopped while it was running a model.', { cause }));
    };
    worker.on('error', died);
    worker.on('exit', () => died());
    return worker;
  }
}

class NodeSession implements Session {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly loadMs: number;
  readonly #id: number;
  #closed = false;

  constructor(
    private readonly engine: NodeEngine,
    opened: Opened,
    private readonly signal: AbortSignal | undefined,
    private readonly release: () => Promise<void>,
  ) {
    this.#id = opened.session;
    this.inputs = opened.inputs;
    this.outputs = opened.outputs;
    this.loadMs = opened.loadMs;
  }

  async run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, HostTensor>> {
    const request: Ask = { op: 'run', session: this.#id, feeds: { ...feeds }, fetches };
    return (await this.engine._ask(request, this.signal)) as Record<string, HostTensor>;
  }

  async time(feeds: Feeds, times: number): Promise<Float64Array> {
    const request: Ask = { op: 'time', session: this.#id, feeds: { ...feeds }, times };
    return (await this.engine._ask(request, this.signal)) as Float64Array;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Without the session's signal: closing must work after an abort. A dead worker has closed everything already.
    await this.engine._ask({ op: 'close', session: this.#id }, undefined).catch(() => undefined);
    await this.release();
  }
}

/** First line of the runtime's message, without its prefixes. */
function sentence(message: string): string {
  const line = (message.split('\n')[0] ?? message).replace(/^.*ErrorCode:\w+\s*/u, '').trim();
  return line.endsWith('.') ? line : `${line}.`;
}
