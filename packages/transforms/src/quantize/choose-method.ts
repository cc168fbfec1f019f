import { type Feeds, type Model, throwIfAborted } from '@pare/core';
import { answersOf, type CompareOptions, outputSqnr } from './answers.js';
import type { CalibrationMethod, CalibrationOptions } from './calibration/index.js';

/** The methods that are tried; all derive from the same histograms. The first is the best single one on the networks we have. */
const CANDIDATES: readonly (readonly [CalibrationMethod, CalibrationOptions])[] = [
  ['mse', { power: 2.4 }],
  ['min-max', {}],
  ['percentile', { percentile: 99.999 }],
  ['mse', { power: 2 }],
  ['mse', { power: 3 }],
];

export interface MethodChoice {
  readonly method: CalibrationMethod;
  readonly parameters: CalibrationOptions;
  /** What was compared, in decibels. */
  readonly note: string;
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
  options: CompareOptions,
): Promise<MethodChoice> {
  const expected = await answersOf(model, samples, options);
  const tried: { method: CalibrationMethod; parameters: CalibrationOptions; sqnr: number }[] = [];
  for (const [method, parameters] of CANDIDATES) {
    throwIfAborted(options.signal);
    tried.push({ method, parameters, sqnr: await outputSqnr(await quantized(method, parameters), expected, options) });
  }
  const best = tried.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
  const name = (t: (typeof tried)[number]): string => [t.method, ...Object.values(t.parameters)].join(' ');
  const others = tried.filter((t) => t !== best).map((t) => `${name(t)} ${t.sqnr.toFixed(1)}`);
  const note = `Ranges by ${name(best)}: ${best.sqnr.toFixed(1)} dB on ${expected.length} calibration samples (${others.join(', ')}).`;
  return { method: best.method, parameters: best.parameters, note };
}
