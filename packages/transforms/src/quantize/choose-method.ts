import {
  type Engine,
  type Feeds,
  type HostTensor,
  type Model,
  PareError,
  type Session,
  throwIfAborted,
} from '@pare/core';
import type { CalibrationMethod, CalibrationOptions } from './calibration/index.js';

/** The methods that are tried; all derive from the same histograms. */
const CANDIDATES: readonly (readonly [CalibrationMethod, CalibrationOptions])[] = [
  ['min-max', {}],
  ['percentile', { percentile: 99.999 }],
  ['percentile', { percentile: 99.99 }],
  ['mse', { power: 2 }],
  ['mse', { power: 3 }],
];
/** Samples to judge by, and how many bytes of float outputs may be kept for it. */
const SAMPLES = 64;
const KEPT_BYTES = 64 * 2 ** 20;

export interface MethodChoice {
  readonly method: CalibrationMethod;
  readonly parameters: CalibrationOptions;
  /** What was compared, in decibels. */
  readonly note: string;
}

export interface ChooseOptions {
  readonly engine: Engine;
  readonly signal?: AbortSignal | undefined;
  readonly threads?: number | undefined;
}

/**
 * The calibration method whose quantized model (made by `quantized`) answers most like the float one on `samples`: highest
 * signal-to-quantization-noise ratio of the outputs. No method is best everywhere: outliers are noise in one network and
 * the signal in another, and no statistic of a single tensor tells which.
 */
export async function chooseMethod(
  model: Model,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  quantized: (method: CalibrationMethod, parameters: CalibrationOptions) => Promise<Model>,
  options: ChooseOptions,
): Promise<MethodChoice> {
  const expected = await answers(model, samples, options);
  const tried: { method: CalibrationMethod; parameters: CalibrationOptions; sqnr: number }[] = [];
  for (const [method, parameters] of CANDIDATES) {
    throwIfAborted(options.signal);
    const sqnr = await compare(await quantized(method, parameters), expected, options);
    tried.push({ method, parameters, sqnr });
  }
  const best = tried.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
  const name = (t: (typeof tried)[number]): string => [t.method, ...Object.values(t.parameters)].join(' ');
  const others = tried.filter((t) => t !== best).map((t) => `${name(t)} ${t.sqnr.toFixed(1)}`);
  const note = `Ranges by ${name(best)}: ${best.sqnr.toFixed(1)} dB on ${expected.length} calibration samples (${others.join(', ')}).`;
  return { method: best.method, parameters: best.parameters, note };
}

/** A sample and what the float model answers to it. */
interface Answer {
  readonly feeds: Feeds;
  readonly outputs: Readonly<Record<string, HostTensor>>;
}

async function answers(
  model: Model,
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  options: ChooseOptions,
): Promise<Answer[]> {
  return withSession(model, options, async (session) => {
    const kept: Answer[] = [];
    let bytes = 0;
    for await (const feeds of samples) {
      throwIfAborted(options.signal);
      const outputs = await session.run(feeds);
      for (const { data } of [...Object.values(outputs), ...Object.values(feeds)]) {
        bytes += ArrayBuffer.isView(data) ? data.byteLength : 0;
      }
      if (kept.length > 0 && bytes > KEPT_BYTES) break;
      kept.push({ feeds, outputs });
      if (kept.length === SAMPLES) break;
    }
    if (kept.length > 0) return kept;
    throw new PareError(
      'bad-option',
      'The calibration samples could be read only once; method `auto` reads them twice.',
    );
  });
}

/** Mean over the float outputs of the signal-to-quantization-noise ratio, in decibels. */
async function compare(model: Model, expected: readonly Answer[], options: ChooseOptions): Promise<number> {
  return withSession(model, options, async (session) => {
    const signal = new Map<string, number>();
    const noise = new Map<string, number>();
    for (const { feeds, outputs } of expected) {
      throwIfAborted(options.signal);
      const got = await session.run(feeds);
      for (const [name, { data }] of Object.entries(outputs)) {
        const other = got[name]?.data;
        if (!(data instanceof Float32Array && other instanceof Float32Array) || data.length !== other.length) continue;
        let s = 0;
        let n = 0;
        for (let i = 0; i < data.length; i++) {
          s += (data[i] as number) ** 2;
          n += ((data[i] as number) - (other[i] as number)) ** 2;
        }
        signal.set(name, (signal.get(name) ?? 0) + s);
        noise.set(name, (noise.get(name) ?? 0) + n);
      }
    }
    const ratios = [...signal].map(([name, s]) => decibels(s, noise.get(name) ?? 0));
    return ratios.reduce((sum, r) => sum + r, 0) / Math.max(1, ratios.length);
  });
}

/** Between -200 and 200, so that an output without noise or signal does not hide the others. */
const decibels = (signal: number, noise: number): number =>
  noise === 0 ? 200 : Math.max(-200, Math.min(200, 10 * Math.log10(signal / noise)) || -200);

async function withSession<T>(
  model: Model,
  { engine, signal, threads = 0 }: ChooseOptions,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  const session = await engine.open(model, { threads, ...(signal ? { signal } : {}) });
  try {
    return await use(session);
  } finally {
    await session.close();
  }
}
