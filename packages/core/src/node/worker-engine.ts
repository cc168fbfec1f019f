import type { Engine, Feeds, HostTensor, Port, Session, SessionOptions } from '../engine.js';
import { PareError, throwIfAborted } from '../errors.js';
import type { Model } from '../ir/model.js';
import { type Ask, EngineThread } from './engine-thread.js';
import type { Opened } from './engine-worker.js';
import type { RuntimeName } from './runtime.js';
import type { StagedModel } from './stage-model.js';

/** What tells one engine in a worker thread from another. */
export interface EngineKind {
  /** For evidence. */
  readonly name: string;
  readonly runtime: RuntimeName;
  /** Brings a model into a form that the runtime opens. */
  readonly stage: (model: Model | Uint8Array | string, signal?: AbortSignal) => Promise<StagedModel>;
  /** Most intra-op threads. Default: any number. */
  readonly maxThreads?: number;
  /** Each open session has a thread, and with it a runtime, of its own, whether it asks for that or not. */
  readonly isolated: boolean;
}

/** A thread that has held more than this is not used again: its runtime may keep memory for ever. */
const REUSABLE_BYTES = 32 * 2 ** 20;

/**
 * ONNX Runtime off the main thread: `session.run` blocks the thread that calls it, and progress bars, Ctrl-C and servers need
 * theirs.
 */
export class WorkerEngine implements Engine {
  readonly name: string;
  /** What to do for each session when it closes, or the engine does. */
  readonly #open = new Set<() => Promise<void>>();
  /** Threads without a session. */
  readonly #idle: EngineThread[] = [];
  #shared: EngineThread | undefined;
  #closed = false;

  constructor(private readonly kind: EngineKind) {
    this.name = kind.name;
  }

  async open(model: Model | Uint8Array | string, options: SessionOptions = {}): Promise<Session> {
    const { signal, threads = 1 } = options;
    const { maxThreads = Number.POSITIVE_INFINITY } = this.kind;
    const isolated = this.kind.isolated || options.isolated === true;
    throwIfAborted(signal);
    if (threads > maxThreads) {
      throw new PareError('bad-option', `${this.name} cannot run on ${threads} threads: ask for ${maxThreads}.`);
    }
    const staged = await this.kind.stage(model, signal);
    const isSmall = sizeOf(staged) <= REUSABLE_BYTES;
    const thread = this.#thread(isolated);
    const release = async (): Promise<void> => {
      if (!this.#open.delete(release)) return;
      if (isolated) {
        if (isSmall && thread.isReusable && !this.#closed) this.#idle.push(thread);
        else await thread.close();
      }
      await staged.remove();
    };
    this.#open.add(release);
    try {
      if (this.#closed) throw new PareError('aborted', 'The engine was closed.');
      const { optimization = 'all', memoryPattern = true, config = {} } = options;
      const request: Ask = {
        op: 'open',
        model: staged.model,
        dataFiles: staged.dataFiles,
        options: { optimization, threads, memoryPattern, config },
      };
      const opened = (await thread.ask(request, signal, staged.owned)) as Opened;
      const end = async (): Promise<void> => {
        // Without the session's signal: closing must work after an abort. A dead worker has closed everything already.
        const close: Ask = { op: 'close', session: opened.session };
        if (!isolated || thread.isReusable) await thread.ask(close, undefined).catch(() => undefined);
        await release();
      };
      return new WorkerSession(thread, opened, signal, end);
    } catch (error) {
      await release();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    const threads = [...this.#idle, ...(this.#shared ? [this.#shared] : [])];
    await Promise.all([...threads.map((thread) => thread.close()), ...[...this.#open].map((release) => release())]);
  }

  #thread(isolated: boolean): EngineThread {
    if (isolated) return this.#idle.pop() ?? new EngineThread(this.kind.runtime);
    this.#shared ??= new EngineThread(this.kind.runtime);
    return this.#shared;
  }
}

/** Bytes in memory, before they are handed over. */
function sizeOf({ model, dataFiles }: StagedModel): number {
  const weights = dataFiles.reduce((sum, { data }) => sum + data.byteLength, 0);
  return weights + (typeof model === 'string' ? 0 : model.byteLength);
}

class WorkerSession implements Session {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly loadMs: number;
  readonly #id: number;
  #closed = false;

  constructor(
    private readonly thread: EngineThread,
    opened: Opened,
    private readonly signal: AbortSignal | undefined,
    private readonly end: () => Promise<void>,
  ) {
    this.#id = opened.session;
    this.inputs = opened.inputs;
    this.outputs = opened.outputs;
    this.loadMs = opened.loadMs;
  }

  async run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, HostTensor>> {
    this.#refuseClosed();
    const { sent, transfer } = compact(feeds);
    const request: Ask = { op: 'run', session: this.#id, feeds: sent, fetches };
    return (await this.thread.ask(request, this.signal, transfer)) as Record<string, HostTensor>;
  }

  async time(feeds: Feeds, times: number): Promise<Float64Array> {
    this.#refuseClosed();
    const { sent, transfer } = compact(feeds);
    const request: Ask = { op: 'time', session: this.#id, feeds: sent, times };
    return (await this.thread.ask(request, this.signal, transfer)) as Float64Array;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.end();
  }

  #refuseClosed(): void {
    if (this.#closed) throw new PareError('engine', 'The session is closed.');
  }
}

/**
 * What is sent to a thread takes the whole of its buffer along: a few rows of a large array are copied first, and the copy handed
 * over.
 */
function compact(feeds: Feeds): { readonly sent: Feeds; readonly transfer: ArrayBuffer[] } {
  const transfer: ArrayBuffer[] = [];
  const entries = Object.entries(feeds).map(([name, tensor]): [string, HostTensor] => {
    const { data } = tensor;
    if (!ArrayBuffer.isView(data) || data.byteLength === data.buffer.byteLength) return [name, tensor];
    const copy = data.slice();
    transfer.push(copy.buffer as ArrayBuffer);
    return [name, { ...tensor, data: copy }];
  });
  return { sent: Object.fromEntries(entries), transfer };
}
