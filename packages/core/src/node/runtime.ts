import type * as Ort from 'onnxruntime-common';
import type { DType, TypedArray } from '../dtype.js';
import type { Feeds, HostTensor, Port } from '../engine.js';

/** SessionOptions without what cannot cross a thread. */
export interface RuntimeOptions {
  optimization: 'disabled' | 'basic' | 'extended' | 'all';
  threads: number;
  memoryPattern: boolean;
  config: Readonly<Record<string, string>>;
}

/** Types that ONNX Runtime's JavaScript binding can return. Others abort the whole process, so they are refused before. */
const RETURNABLE: ReadonlySet<string> = new Set([
  'float32',
  'float64',
  'float16',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
  'string',
]);

/** Where the sessions run: native code, or WebAssembly. */
export type RuntimeName = 'native' | 'wasm';

/** A file with weights that belongs to a model, under the name by which the model refers to it. */
export interface DataFile {
  readonly path: string;
  readonly data: Uint8Array;
}

/** What tells one build of ONNX Runtime from another. */
export interface Backend {
  readonly ort: typeof Ort;
  sessionOptions(options: RuntimeOptions): Ort.InferenceSession.SessionOptions;
}

/** ONNX Runtime sessions by number. Blocks the thread while it runs: lives in the engine's worker. */
export class Runtime {
  readonly #sessions = new Map<number, Ort.InferenceSession>();
  #next = 1;

  /** `isStopped` ends a series of timed runs early. */
  constructor(
    private readonly backend: Backend,
    private readonly isStopped: () => boolean,
  ) {}

  async open(
    model: Uint8Array | string,
    dataFiles: readonly DataFile[],
    options: RuntimeOptions,
  ): Promise<{ session: number; inputs: Port[]; outputs: Port[]; loadMs: number }> {
    const settings = {
      ...this.backend.sessionOptions(options),
      ...(dataFiles.length > 0 ? { externalData: dataFiles } : {}),
    };
    const start = performance.now();
    const session = await this.backend.ort.InferenceSession.create(model as string, settings);
    const loadMs = performance.now() - start;
    const inputs = session.inputMetadata.map(toPort);
    const outputs = session.outputMetadata.map(toPort);
    const bad = outputs.find((port) => !RETURNABLE.has(port.dtype));
    if (bad) {
      await session.release();
      throw new Error(`output "${bad.name}" is ${bad.dtype}, which the JavaScript binding cannot return`);
    }
    const id = this.#next++;
    this.#sessions.set(id, session);
    return { session: id, inputs, outputs, loadMs };
  }

  async run(id: number, feeds: Feeds, fetches?: readonly string[]): Promise<Record<string, HostTensor>> {
    const session = this.#session(id);
    const results = fetches
      ? await session.run(this.#tensors(feeds), [...fetches])
      : await session.run(this.#tensors(feeds));
    const outputs: Record<string, HostTensor> = {};
    for (const [name, value] of Object.entries(results)) {
      const tensor = value as Ort.Tensor;
      if (tensor.data === undefined) throw new Error(`output "${name}" is not a tensor`);
      outputs[name] = { dtype: tensor.type as DType, dims: tensor.dims, data: elements(tensor) };
    }
    return outputs;
  }

  async time(id: number, feeds: Feeds, times: number): Promise<Float64Array> {
    const session = this.#session(id);
    const tensors = this.#tensors(feeds);
    const ms = new Float64Array(times);
    for (let i = 0; i < times && !this.isStopped(); i++) {
      const start = performance.now();
      await session.run(tensors);
      ms[i] = performance.now() - start;
    }
    return ms;
  }

  async close(id: number): Promise<void> {
    await this.#session(id).release();
    this.#sessions.delete(id);
  }

  #session(id: number): Ort.InferenceSession {
    const session = this.#sessions.get(id);
    if (!session) throw new Error('the session is closed');
    return session;
  }

  #tensors(feeds: Feeds): Record<string, Ort.Tensor> {
    const tensors: Record<string, Ort.Tensor> = {};
    for (const [name, { dtype, dims, data }] of Object.entries(feeds)) {
      tensors[name] = new this.backend.ort.Tensor(dtype as 'float32', data as Float32Array, dims);
    }
    return tensors;
  }
}

/** Where JavaScript has a Float16Array the runtime returns one; a HostTensor holds the bits. */
function elements({ type, data }: Ort.Tensor): TypedArray {
  const array = data as Uint16Array;
  return type === 'float16' ? new Uint16Array(array.buffer, array.byteOffset, array.length) : array;
}

/** Options that all builds take. */
export function commonOptions({
  optimization,
  memoryPattern,
  config,
}: RuntimeOptions): Ort.InferenceSession.SessionOptions {
  const extra: Record<string, Record<string, string>> = {};
  for (const [key, value] of Object.entries(config)) {
    // The binding wants `session.x64quantprecision` as { session: { x64quantprecision } }.
    const dot = key.indexOf('.');
    const group = dot < 0 ? 'session' : key.slice(0, dot);
    const rest = key.slice(dot + 1);
    extra[group] = { ...extra[group], [rest]: value };
  }
  return {
    graphOptimizationLevel: optimization,
    enableMemPattern: memoryPattern,
    logSeverityLevel: 4,
    ...(Object.keys(extra).length > 0 ? { extra } : {}),
  };
}

function toPort(metadata: Ort.InferenceSession.ValueMetadata): Port {
  if (!metadata.isTensor) return { name: metadata.name, dtype: 'opaque' as DType, dims: [] };
  return {
    name: metadata.name,
    dtype: metadata.type as DType,
    dims: metadata.shape.map((d) => (d === '' || (typeof d === 'number' && d < 0) ? null : d)),
  };
}
