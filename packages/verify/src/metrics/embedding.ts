import { type HostTensor, PareError, tensorText, toNumbers } from '@pare/core';
import { badLabel, defineMetric, type Metric, type Outputs, outputNamed } from './metric.js';

export interface EmbeddingOptions {
  /** Output with the embedding. Default: the first. */
  readonly output?: string;
}

/** Mean cosine between the embedding and the original model's embedding of the same sample. Needs no labels. */
export function cosine(options: EmbeddingOptions = {}): Metric<number> {
  const name = 'cosine to the original';
  return defineMetric<number>({
    name,
    higherIsBetter: true,
    reference: 'original',
    score: (outputs, _, original) =>
      cosineOf(
        toNumbers(outputNamed(outputs, options.output, name)),
        toNumbers(outputNamed(original, options.output, name)),
      ),
  });
}

export interface SpearmanOptions extends EmbeddingOptions {
  /** The number to rank a sample by. Default: the output's only element, or the cosine of its two rows (a pair of texts). */
  readonly value?: (outputs: Outputs) => number;
}

/** Spearman's rank correlation between the model's numbers and the labels (as in semantic textual similarity). */
export function spearman(options: SpearmanOptions = {}): Metric<readonly [number, number]> {
  const name = 'Spearman';
  const value = options.value ?? ((outputs) => similarity(outputNamed(outputs, options.output, name)));
  return defineMetric({
    name,
    higherIsBetter: true,
    score(outputs, sample) {
      if (typeof sample.label !== 'number') return badLabel(name, sample, 'a number');
      return [value(outputs), sample.label] as const;
    },
    reduce: (pairs) =>
      rankCorrelation(
        pairs.map((p) => p[0]),
        pairs.map((p) => p[1]),
      ),
  });
}

function similarity(tensor: HostTensor): number {
  const values = toNumbers(tensor);
  if (values.length === 1) return values[0] as number;
  if (tensor.dims[0] === 2) return cosineOf(values.subarray(0, values.length / 2), values.subarray(values.length / 2));
  throw new PareError(
    'bad-option',
    `Metric "Spearman" needs one number a sample or two rows to compare; the output is ${tensorText(tensor)}. Give it \`value\`.`,
  );
}

/** Cosine of the angle between two vectors; 1 when both are zero, 0 when one is. */
export function cosineOf(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let dot = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (aa === 0 || bb === 0) return aa === bb ? 1 : 0;
  return Math.max(-1, Math.min(1, dot / Math.sqrt(aa * bb)));
}

/** Spearman's rho: Pearson's correlation of the ranks, equal values sharing their mean rank. NaN when one side is constant. */
export function rankCorrelation(a: readonly number[], b: readonly number[]): number {
  const x = ranks(a);
  const y = ranks(b);
  const center = (a.length + 1) / 2;
  let xy = 0;
  let xx = 0;
  let yy = 0;
  for (let i = 0; i < a.length; i++) {
    const dx = (x[i] as number) - center;
    const dy = (y[i] as number) - center;
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  }
  return xy / Math.sqrt(xx * yy);
}

function ranks(values: readonly number[]): Float64Array {
  const order = [...values.keys()].sort((i, j) => (values[i] as number) - (values[j] as number));
  const out = new Float64Array(values.length);
  for (let start = 0, end = 0; start < order.length; start = end) {
    while (end < order.length && values[order[end] as number] === values[order[start] as number]) end++;
    for (let k = start; k < end; k++) out[order[k] as number] = (start + end + 1) / 2;
  }
  return out;
}
