import type { Sample } from '@pare/core';
import { type HostTensor, PareError, tensorText, toNumbers } from '@pare/core';
import { argmax } from './classification.js';
import { badLabel, defineMetric, type Metric, type Outputs, outputNamed, type Share } from './metric.js';

export interface ErrorRateOptions {
  /** The text that the outputs say, for example `ctcGreedy(...)`. */
  readonly decode: (outputs: Outputs, sample: Sample) => string;
}

/** Character error rate: edits (insert, delete, replace) over characters (code points) of the truth. The label is the text. */
export const cer = (options: ErrorRateOptions): Metric<Share> => errorRate('CER', (text) => Array.from(text), options);

/** Word error rate: the same over words, split at white space. */
export const wer = (options: ErrorRateOptions): Metric<Share> =>
  errorRate('WER', (text) => text.split(/\s+/u).filter((w) => w !== ''), options);

function errorRate(name: string, split: (text: string) => string[], options: ErrorRateOptions): Metric<Share> {
  return defineMetric<Share>({
    name,
    higherIsBetter: false,
    format: 'percent',
    score(outputs, sample) {
      if (typeof sample.label !== 'string') return badLabel(name, sample, 'a text');
      const truth = split(sample.label);
      return { sum: editDistance(truth, split(options.decode(outputs, sample))), weight: truth.length };
    },
  });
}

/** Levenshtein's distance between two sequences. */
export function editDistance(a: readonly string[], b: readonly string[]): number {
  let row = Uint32Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = new Uint32Array(b.length + 1);
    next[0] = i;
    for (let j = 1; j <= b.length; j++) {
      const replace = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(replace, (row[j] as number) + 1, (next[j - 1] as number) + 1);
    }
    row = next;
  }
  return row[b.length] as number;
}

/**
 * Best-path decoding of connectionist temporal classification (A. Graves et al., ICML 2006): the largest class of each step,
 * repeats merged, blanks dropped. The output is [steps, classes]; `vocabulary[c]` is the text of class c.
 */
export function ctcGreedy(
  vocabulary: readonly string[],
  options: { readonly output?: string; readonly blank?: number } = {},
): (outputs: Outputs) => string {
  const { blank = 0 } = options;
  return (outputs) => {
    const tensor: HostTensor = outputNamed(outputs, options.output, 'CTC');
    const classes = tensor.dims.at(-1) ?? 1;
    if (classes > vocabulary.length) {
      throw new PareError(
        'bad-option',
        `The output is ${tensorText(tensor)}: ${classes} classes, but the vocabulary has ${vocabulary.length} entries.`,
      );
    }
    const values = toNumbers(tensor);
    let text = '';
    let last = blank;
    for (let at = 0; at < values.length; at += classes) {
      const best = argmax(values.subarray(at, at + classes));
      if (best !== last && best !== blank) text += vocabulary[best];
      last = best;
    }
    return text;
  };
}

export interface PerplexityOptions {
  /** Output with logits [tokens, vocabulary]. Default: the first. */
  readonly output?: string;
  /** The right token at each place; negative ones do not count. Default: the label, else `input_ids` moved by one. */
  readonly targets?: (sample: Sample) => ArrayLike<number | bigint>;
}

/** Perplexity of a language model: exp of the mean negative log likelihood a token. */
export function perplexity(options: PerplexityOptions = {}): Metric<Share> {
  const name = 'perplexity';
  return defineMetric<Share>({
    name,
    higherIsBetter: false,
    finish: Math.exp,
    score(outputs, sample) {
      const tensor = outputNamed(outputs, options.output, name);
      const vocabulary = tensor.dims.at(-1) ?? 1;
      const logits = toNumbers(tensor);
      const targets = options.targets?.(sample) ?? nextTokens(name, sample);
      const places = Math.min(targets.length, logits.length / vocabulary);
      let sum = 0;
      let weight = 0;
      for (let i = 0; i < places; i++) {
        const target = Number(targets[i]);
        if (target < 0) continue;
        if (target >= vocabulary) {
          throw new PareError(
            'bad-data',
            `${sample.id ?? 'A sample'} has the token ${target}, but the model's vocabulary ends at ${vocabulary - 1}.`,
          );
        }
        sum +=
          logSumExp(logits.subarray(i * vocabulary, (i + 1) * vocabulary)) -
          (logits[i * vocabulary + target] as number);
        weight++;
      }
      return { sum, weight };
    },
  });
}

function nextTokens(name: string, sample: Sample): ArrayLike<number | bigint> {
  const label = sample.label as HostTensor | readonly number[] | undefined;
  if (Array.isArray(label)) return label;
  if (label && 'data' in label) return label.data as ArrayLike<number | bigint>;
  const ids = sample.inputs.input_ids?.data;
  if (ids) return (ids as BigInt64Array).slice(1);
  return badLabel(name, sample, 'the next tokens (or an input called input_ids)');
}

function logSumExp(values: ArrayLike<number>): number {
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < values.length; i++) max = Math.max(max, values[i] as number);
  if (!Number.isFinite(max)) return max;
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += Math.exp((values[i] as number) - max);
  return max + Math.log(sum);
}
