import {
  type Engine,
  type Feeds,
  type HostTensor,
  type Model,
  PareError,
  type Session,
  throwIfAborted,
} from '@pare/core';

/** A sample and what the float model answers to it. */
export interface Answer {
  readonly feeds: Feeds;
  readonly outputs: Readonly<Record<string, HostTensor>>;
}

/** How models are run to be compared. */
export interface CompareOptions {
  readonly engine: Engine;
  /** Samples to judge by. Default 64. */
  readonly samples?: number | undefined;
  readonly optimization?: 'disabled' | 'all' | undefined;
  /** Runtime config entries. */
  readonly config?: Readonly<Record<string, string>> | undefined;
  /** Threads of the runtime; 0 lets it choose. Default 0. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What may be kept in memory of samples and float outputs. */
const KEPT_BYTES = 64 * 2 ** 20;

/**
 * What `model` answers to the first samples: as many as asked, or as fit into 64 MiB.
 * @throws PareError `bad-data` when there is no sample (or no more: a generator gives them only once).
 */
export async function answersOf(
  model: Model,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  options: CompareOptions,
): Promise<Answer[]> {
  const { samples: most = 64, signal } = options;
  return withSession(model, options, async (session) => {
    const kept: Answer[] = [];
    let bytes = 0;
    for await (const feeds of samples) {
      throwIfAborted(signal);
      const outputs = await session.run(feeds);
      for (const { data } of [...Object.values(outputs), ...Object.values(feeds)]) {
        bytes += ArrayBuffer.isView(data) ? data.byteLength : 0;
      }
      if (kept.length > 0 && bytes > KEPT_BYTES) break;
      kept.push({ feeds, outputs });
      if (kept.length === most) break;
    }
    if (kept.length > 0) return kept;
    throw new PareError(
      'bad-data',
      'There is no sample to compare models on. A generator can be read only once: give an array or a data set.',
    );
  });
}

/**
 * Signal-to-quantization-noise ratio of what `model` answers against `expected`, in decibels: mean over the float outputs,
 * each over all samples.
 */
export async function outputSqnr(model: Model, expected: readonly Answer[], options: CompareOptions): Promise<number> {
  return withSession(model, options, (session) => sessionSqnr(session, expected, options.signal));
}

/** The same of an open session. */
export async function sessionSqnr(
  session: Session,
  expected: readonly Answer[],
  signal?: AbortSignal,
): Promise<number> {
  const sums = new Map<string, { signal: number; noise: number }>();
  for (const { feeds, outputs } of expected) {
    throwIfAborted(signal);
    const got = await session.run(feeds);
    for (const [name, { data }] of Object.entries(outputs)) {
      const other = got[name]?.data;
      if (!(data instanceof Float32Array && other instanceof Float32Array) || data.length !== other.length) continue;
      const sum = sums.get(name) ?? { signal: 0, noise: 0 };
      sums.set(name, sum);
      for (let i = 0; i < data.length; i++) {
        sum.signal += (data[i] as number) ** 2;
        sum.noise += ((data[i] as number) - (other[i] as number)) ** 2;
      }
    }
  }
  const ratios = [...sums.values()].map(decibels);
  return ratios.reduce((total, r) => total + r, 0) / Math.max(1, ratios.length);
}

/** Between -200 and 200, so that one output without noise or signal does not hide the others. */
function decibels({ signal, noise }: { signal: number; noise: number }): number {
  if (noise === 0) return 200;
  const ratio = 10 * Math.log10(signal / noise);
  return Number.isNaN(ratio) ? -200 : Math.max(-200, Math.min(200, ratio));
}

/** Opens `model`, uses the session and closes it, whatever happens. */
export async function withSession<T>(
  model: Model,
  { engine, signal, threads = 0, optimization = 'all', config }: CompareOptions,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await engine.open(model, {
    threads,
    optimization,
    ...(config && { config }),
    ...(signal && { signal }),
  });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}
