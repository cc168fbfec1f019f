import type { DType, TypedArray } from './dtype.js';
import type { Model } from './ir/model.js';

/** A tensor outside any model: what goes into an engine and what comes out of it. Row-major. */
export interface HostTensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  /** Elements as TypedArray describes; strings as JavaScript strings. */
  readonly data: TypedArray | readonly string[];
}

export type Feeds = Readonly<Record<string, HostTensor>>;

/** An input or output of an open session. Dimensions: number, name, or null for unknown. */
export interface Port {
  readonly name: string;
  readonly dtype: DType;
  readonly dims: readonly (number | string | null)[];
}

export interface SessionOptions {
  /** Graph optimisation inside the runtime. Default `all`. */
  readonly optimization?: 'disabled' | 'basic' | 'extended' | 'all';
  /** Intra-op threads. Default 1: comparable between runs and hosts. */
  readonly threads?: number;
  /**
   * Let the runtime plan the memory of a run from the first one: quicker where shapes repeat, at up to twice the memory for
   * activations. Default true.
   */
  readonly memoryPattern?: boolean;
  /**
   * A thread of its own, to run at the same time as other sessions. Default false: the native engine runs one session at a
   * time, so that no measurement disturbs another.
   */
  readonly isolated?: boolean;
  /** Runtime config entries, for example `{ 'session.x64quantprecision': '1' }`. */
  readonly config?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

/**
 * One loaded model. Runs are queued: one at a time, in order. A session never blocks the caller's thread.
 */
export interface Session {
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  /** Wall time of loading: creating the runtime's session from the file, ms. */
  readonly loadMs: number;
  /**
   * Runs once. `feeds` are copied, never detached. Returns the outputs named in `fetches`, or all.
   * @throws PareError `engine` with the runtime's message; `aborted`.
   */
  run(feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, HostTensor>>;
  /** Runs `times` times with the same feeds, returns the wall time of each run in ms, measured beside the runtime. */
  time(feeds: Feeds, times: number): Promise<Float64Array>;
  close(): Promise<void>;
}

/** Where models run: ONNX Runtime in Node or in a browser, behind one small contract. */
export interface Engine {
  /** For evidence, for example `onnxruntime-node 1.30.0`. */
  readonly name: string;
  /**
   * Opens `model`: a Model of the IR, a whole file as bytes, or (in Node) a path.
   * @throws PareError `engine` when the runtime refuses the model; `aborted`.
   */
  open(model: Model | Uint8Array | string, options?: SessionOptions): Promise<Session>;
  /** Ends worker threads and removes temporary files. */
  close(): Promise<void>;
}
