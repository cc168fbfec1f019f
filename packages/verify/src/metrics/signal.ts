import { type HostTensor, PareError, toNumbers } from '@pare/core';
import { badLabel, defineMetric, type Metric, outputNamed } from './metric.js';

export interface SnrOptions {
  /** Output with the signal. Default: the first. */
  readonly output?: string;
  /** Against the label (a tensor: the clean signal) or the original's output. Default `labels`. */
  readonly reference?: 'labels' | 'original';
}

/** More is not told apart: float32 cannot hold it. Keeps the mean finite when a sample has no error at all. */
const CEILING_DB = 150;

/** Mean over samples of the signal-to-noise ratio 10 log10(sum s^2 / sum (y - s)^2), dB, at most 150. */
export function snr(options: SnrOptions = {}): Metric<number> {
  const name = 'SNR (dB)';
  const reference = options.reference ?? 'labels';
  return defineMetric<number>({
    name,
    higherIsBetter: true,
    reference,
    score(outputs, sample, original) {
      const y = toNumbers(outputNamed(outputs, options.output, name));
      const truth = reference === 'labels' ? (sample.label as HostTensor) : outputNamed(original, options.output, name);
      if (!truth?.data || !truth.dims) return badLabel(name, sample, 'a tensor (the clean signal)');
      const s = toNumbers(truth);
      if (s.length !== y.length) {
        throw new PareError(
          'bad-data',
          `Metric "${name}": ${sample.id ?? 'a sample'} has a signal of ${s.length} values, the model answers ${y.length}.`,
        );
      }
      let signal = 0;
      let noise = 0;
      for (let i = 0; i < s.length; i++) {
        signal += (s[i] as number) ** 2;
        noise += ((y[i] as number) - (s[i] as number)) ** 2;
      }
      if (noise === 0) return CEILING_DB;
      return Math.min(CEILING_DB, Math.max(-CEILING_DB, 10 * Math.log10(signal / noise)));
    },
  });
}
