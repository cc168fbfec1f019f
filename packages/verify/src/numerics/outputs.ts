import { type HostTensor, isNumeric, type Numbers, PareError, tensorText, toNumbers } from '@pare/core';
import type { OutputNumerics } from '../evidence.js';
import { argmax } from '../metrics/classification.js';
import type { Outputs } from '../metrics/metric.js';
import { rowDivergence } from './divergence.js';
import { ErrorSums } from './errors.js';

/** What is summed of one output. */
interface OutputSums {
  readonly dtype: string;
  readonly sums: ErrorSums;
  worst: { value: number; sample: number } | undefined;
  rows: number;
  agreeing: number;
  klSum: number;
  klMax: number;
}

/** Compares a variant's outputs with the original's, sample by sample, in bounded memory. */
export class OutputComparison {
  readonly #outputs = new Map<string, OutputSums>();
  #samples = 0;

  get samples(): number {
    return this.#samples;
  }

  /**
   * Adds the outputs of both for one sample, without batch axis. Outputs that are not numbers are not compared.
   * @throws PareError `bad-model` when the variant lacks an output, or its shape differs.
   */
  add(original: Outputs, variant: Outputs): void {
    const sample = this.#samples++;
    for (const [name, a] of Object.entries(original)) {
      const b = variant[name];
      if (!b) throw new PareError('bad-model', `The variant has no output "${name}", which the original has.`);
      if (a.dims.join() !== b.dims.join()) {
        throw new PareError(
          'bad-model',
          `Output "${name}" of the variant is ${tensorText(b)} where the original's is ${tensorText(a)}.`,
        );
      }
      if (isNumeric(a.dtype) && isNumeric(b.dtype)) this.#addOutput(name, a, b, sample);
    }
  }

  #addOutput(name: string, a: HostTensor, b: HostTensor, sample: number): void {
    let output = this.#outputs.get(name);
    if (!output) {
      output = { dtype: b.dtype, sums: new ErrorSums(), worst: undefined, rows: 0, agreeing: 0, klSum: 0, klMax: 0 };
      this.#outputs.set(name, output);
    }
    const cosine = output.sums.add(a, b);
    if (cosine !== undefined && !(output.worst && output.worst.value <= cosine))
      output.worst = { value: cosine, sample };
    if (!hasClasses(a)) return;
    const x = toNumbers(a);
    const y = toNumbers(b);
    const classes = a.dims.at(-1) as number;
    for (let at = 0; at < x.length; at += classes) {
      const p: Numbers = x.subarray(at, at + classes);
      const q: Numbers = y.subarray(at, at + classes);
      const kl = rowDivergence(p, q);
      output.rows++;
      if (argmax(p) === argmax(q)) output.agreeing++;
      output.klSum += kl;
      output.klMax = Math.max(output.klMax, kl);
    }
  }

  results(): OutputNumerics[] {
    return [...this.#outputs].map(([name, { dtype, sums, worst, rows, agreeing, klSum, klMax }]) => ({
      ...sums.summary(),
      name,
      dtype,
      worstCosine: worst ?? null,
      kl: rows > 0 && Number.isFinite(klSum) ? { mean: klSum / rows, max: klMax } : null,
      top1Agreement: rows > 0 ? agreeing / rows : null,
    }));
  }

  /** SQNR of all float outputs together by power, dB; Infinity without any error, NaN without signal. */
  sqnrDb(): number {
    const ratios = [...this.#outputs.values()].map((o) => o.sums.relativeSquare).filter((r) => r !== undefined);
    if (ratios.length === 0) return Number.NaN;
    return -10 * Math.log10(ratios.reduce((a, b) => a + b, 0) / ratios.length);
  }
}

/**
 * A softmax over the last axis makes sense for floats with one or two axes, [classes] or [steps, classes]: more axes are
 * images or features.
 */
function hasClasses(tensor: HostTensor): boolean {
  const rank = tensor.dims.length;
  return tensor.dtype.includes('float') && (rank === 1 || rank === 2) && (tensor.dims.at(-1) as number) > 1;
}
