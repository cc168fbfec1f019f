import { parentPort, workerData } from 'node:worker_threads';
import type { HostTensor, Port } from '../engine.js';
import { BACKENDS } from './backends.js';
import { type DataFile, Runtime, type RuntimeName, type RuntimeOptions } from './runtime.js';

/** What the main thread asks, and what it gets back. Every request has an id; the answer carries the same. */
export type Request =
  | { id: number; op: 'open'; model: Uint8Array | string; dataFiles: readonly DataFile[]; options: RuntimeOptions }
  | {
      id: number;
      op: 'run';
      session: number;
      feeds: Record<string, HostTensor>;
      fetches?: readonly string[] | undefined;
    }
  | { id: number; op: 'time'; session: number; feeds: Record<string, HostTensor>; times: number }
  | { id: number; op: 'close'; session: number };

/** Instead of a request: leave when what runs now has ended. Killing the thread inside native code would kill the process. */
export const STOP = 'stop';

export type Answer = { id: number; ok: true; result: unknown } | { id: number; ok: false; message: string };

/** Result of `open`. */
export interface Opened {
  session: number;
  inputs: Port[];
  outputs: Port[];
  loadMs: number;
}

/** What the thread is started with. */
export interface ThreadData {
  runtime: RuntimeName;
  /** Set by the main thread to drop what waits in the queue. */
  stopped: Int32Array;
}

const { runtime: name, stopped } = workerData as ThreadData;
const isStopped = (): boolean => Atomics.load(stopped, 0) !== 0;
let loaded: Promise<Runtime> | undefined;
let queue = Promise.resolve();

parentPort?.on('message', (request: Request | typeof STOP) => {
  if (request === STOP) {
    queue = queue.then(() => parentPort?.close());
    return;
  }
  // One at a time, in the order of arrival: overlapping runs would share cores and spoil every timing.
  queue = queue.then(async () => {
    if (isStopped()) return;
    try {
      const { result, transfer } = await handle(request);
      parentPort?.postMessage({ id: request.id, ok: true, result } satisfies Answer, transfer);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      parentPort?.postMessage({ id: request.id, ok: false, message } satisfies Answer);
    }
  });
});

async function handle(request: Request): Promise<{ result: unknown; transfer: ArrayBuffer[] }> {
  loaded ??= BACKENDS[name]().then((backend) => new Runtime(backend, isStopped));
  const runtime = await loaded;
  switch (request.op) {
    case 'open':
      return { result: await runtime.open(request.model, request.dataFiles, request.options), transfer: [] };
    case 'run': {
      const outputs = await runtime.run(request.session, request.feeds, request.fetches);
      return { result: outputs, transfer: buffersOf(outputs) };
    }
    case 'time': {
      const times = await runtime.time(request.session, request.feeds, request.times);
      return { result: times, transfer: [times.buffer as ArrayBuffer] };
    }
    case 'close':
      await runtime.close(request.session);
      return { result: undefined, transfer: [] };
  }
}

/** The memory of the outputs, to be handed over instead of copied. */
function buffersOf(outputs: Record<string, HostTensor>): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const { data } of Object.values(outputs)) {
    if (ArrayBuffer.isView(data) && data.buffer instanceof ArrayBuffer) buffers.add(data.buffer);
  }
  return [...buffers];
}
