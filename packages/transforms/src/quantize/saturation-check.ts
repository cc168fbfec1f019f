import { type Engine, type Feeds, type Model, PareError } from '@pare/core';
import { type Answer, answersOf, type CompareOptions, outputSqnr, withSession } from './answers.js';
import { type QuantizeStaticOptions, quantizeStatic } from './static.js';

/** What the integer kernels of this processor make of a quantized model. */
export interface SaturationMeasurement {
  /** Against the float model, with integer kernels (optimization `all`), in decibels. */
  readonly integer: number;
  /** Against the float model, computed as written (optimization `disabled`): what the kernels should reach. */
  readonly exact: number;
  /** `exact - integer`: what saturation costs, in decibels. */
  readonly gap: number;
}

/** Below this a gap is the rounding of the kernels. */
const NOTICEABLE_GAP = 0.5;

/** Runs one quantized model with and without integer kernels against the answers of the float model. */
export async function measureSaturation(
  quantized: Model,
  expected: readonly Answer[],
  options: CompareOptions,
): Promise<SaturationMeasurement> {
  const integer = await outputSqnr(quantized, expected, { ...options, optimization: 'all' });
  const exact = await outputSqnr(quantized, expected, { ...options, optimization: 'disabled' });
  return { integer, exact, gap: exact - integer };
}

/** A way out of saturation. */
export type Remedy = 'none' | 'pairs' | 'reduced' | 'u8u8' | 'x64quantprecision' | 'float';

/** One remedy as it was measured on this processor. */
export interface RemedyMeasurement {
  readonly remedy: Remedy;
  /** Output quality against the float model, in decibels. */
  readonly sqnr: number;
  /** Median time of a run, ms. */
  readonly ms: number;
}

/** A remedy that loses more than this against the best one is no remedy, however fast ... */
const TOLERATED_LOSS = 3;
/** ... unless it is as good as this, where more decibels change no prediction. */
const AMPLE = 35;

/**
 * The remedy to take, of those that are faster than the float model: the fastest that comes within 3 dB of the most accurate or
 * reaches 35 dB (within 5 % of its time, the more accurate one). `float` when none is faster.
 */
export function pickRemedy(measured: readonly RemedyMeasurement[], floatMs: number): RemedyMeasurement {
  const faster = measured.filter(({ ms }) => ms < floatMs);
  if (faster.length === 0) return { remedy: 'float', sqnr: Number.POSITIVE_INFINITY, ms: floatMs };
  const best = Math.max(...faster.map(({ sqnr }) => sqnr));
  const sound = faster.filter(({ sqnr }) => sqnr >= Math.min(best - TOLERATED_LOSS, AMPLE));
  const fastest = Math.min(...sound.map(({ ms }) => ms));
  return sound.filter(({ ms }) => ms <= fastest * 1.05).reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
}

export interface RemedyOptions extends QuantizeStaticOptions {
  readonly samples: AsyncIterable<Feeds> | Iterable<Feeds>;
  readonly engine: Engine;
  readonly signal?: AbortSignal | undefined;
}

/** What was decided, with the measurements as the reason. */
export interface RemedyChoice {
  /** Options for `quantizeStatic`; undefined: leave the model in float. */
  readonly options: Pick<QuantizeStaticOptions, 'guard' | 'weights'> | undefined;
  /** Session configuration that must travel with the variant. */
  readonly config: Readonly<Record<string, string>>;
  readonly measured: readonly RemedyMeasurement[];
  readonly note: string;
}

interface Trial {
  readonly options: Pick<QuantizeStaticOptions, 'guard' | 'weights'>;
  readonly config?: Readonly<Record<string, string>>;
}

const TRIALS: Readonly<Record<Exclude<Remedy, 'float'>, Trial>> = {
  none: { options: { guard: 'none' } },
  pairs: { options: { guard: 'pairs' } },
  reduced: { options: { guard: 'reduced' } },
  u8u8: { options: { weights: 'uint8' } },
  x64quantprecision: { options: { guard: 'none' }, config: { 'session.x64quantprecision': '1' } },
};

/**
 * Finds out on this processor whether integer kernels saturate, and what helps most. The same file runs with and without
 * integer kernels; when that makes no difference, 8-bit weights are fine as they are. Else each remedy is quantized, judged
 * against the float model and timed. `model` is not changed.
 */
export async function chooseRemedy(model: Model, options: RemedyOptions): Promise<RemedyChoice> {
  const { engine, signal, samples, ...rest } = options;
  if (!options.calibration) throw new PareError('bad-option', 'Give the `calibration`: every remedy is tried with it.');
  const compare: CompareOptions = { engine, signal, samples: 32, threads: 1 };
  const expected = await answersOf(model, samples, compare);
  const quantized = async (trial: Trial): Promise<Model> => {
    const copy = model.clone();
    await copy.transform(quantizeStatic({ ...rest, ...trial.options }), { engine, signal });
    return copy;
  };
  const plain = await quantized(TRIALS.none);
  const { gap, integer, exact } = await measureSaturation(plain, expected, compare);
  if (gap < NOTICEABLE_GAP) {
    const note = `Integer kernels are exact on this processor (${integer.toFixed(1)} dB, ${exact.toFixed(1)} dB without them).`;
    return { options: TRIALS.none.options, config: {}, measured: [], note };
  }
  const feeds = expected[0]?.feeds ?? {};
  const median = (times: Float64Array): number => times.sort()[times.length >> 1] as number;
  const time = (m: Model, config?: Readonly<Record<string, string>>): Promise<number> =>
    withSession(m, { ...compare, config }, async (session) => {
      await session.time(feeds, 3);
      return median(await session.time(feeds, 15));
    });
  const floatMs = await time(model);
  const measured: RemedyMeasurement[] = [];
  for (const [remedy, trial] of Object.entries(TRIALS) as [Exclude<Remedy, 'float'>, Trial][]) {
    const candidate = await quantized(trial);
    const sqnr = await outputSqnr(candidate, expected, { ...compare, config: trial.config });
    measured.push({ remedy, sqnr, ms: await time(candidate, trial.config) });
  }
  const chosen = pickRemedy(measured, floatMs);
  const list = measured.map((m) => `${m.remedy} ${m.sqnr.toFixed(1)} dB ${m.ms.toFixed(2)} ms`).join(', ');
  const note = `Integer kernels saturate on this processor and cost ${gap.toFixed(1)} dB; took ${chosen.remedy} (${list}, float ${floatMs.toFixed(2)} ms).`;
  if (chosen.remedy === 'float') return { options: undefined, config: {}, measured, note };
  const trial = TRIALS[chosen.remedy];
  return { options: trial.options, config: trial.config ?? {}, measured, note };
}
