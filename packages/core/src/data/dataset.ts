import type { HostTensor } from '../engine.js';
import { PareError } from '../errors.js';

/**
 * What one sample is: an array for each model input, **without** the batch axis (an image is `[3, 224, 224]`, a token list
 * `[128]`). Inputs that have no batch axis in the model (a sampling rate, a recurrent state) are given whole.
 */
export interface Sample {
  readonly inputs: Readonly<Record<string, HostTensor>>;
  /** The truth: a class number or name, a text, a tensor (masks, embeddings), or whatever the metric understands. */
  readonly label?: unknown;
  /** For messages: a file name, a line number. */
  readonly id?: string;
}

/**
 * Samples in a fixed order: iterating twice gives the same samples. Any object with these members is one;
 * `datasetOf` makes one from an array or a function.
 */
export interface Dataset extends AsyncIterable<Sample> {
  readonly name: string;
  /** Number of samples; undefined when nobody knows before reading them. */
  readonly size?: number | undefined;
  /** Names of the classes, by class number. */
  readonly classes?: readonly string[] | undefined;
  /** Made up rather than measured in the world: nothing about accuracy can be learnt from it. */
  readonly random?: boolean;
  /** Sample `index` alone, where the source can; else selections read through what they skip. */
  at?(index: number): Promise<Sample>;
  /** A cheaper way to know each sample's content hash and label than reading it (image files are not decoded). */
  fingerprints?(): AsyncIterable<Fingerprint>;
}

export interface Fingerprint {
  /** SHA-256 of the content of the inputs, hex. Equal content, equal hash; the label does not count. */
  readonly hash: string;
  readonly label?: unknown;
}

/**
 * A dataset from samples: an array, or a function that gives a fresh (async) iterable at each call.
 * @throws PareError `bad-option` for an iterator that can be read only once.
 */
export function datasetOf(
  source: Iterable<Sample> | AsyncIterable<Sample> | (() => Iterable<Sample> | AsyncIterable<Sample>),
  options: { readonly name?: string; readonly classes?: readonly string[]; readonly size?: number } = {},
): Dataset {
  const name = options.name ?? 'samples';
  const about = { name, classes: options.classes };
  if (Array.isArray(source)) {
    const samples: readonly Sample[] = source;
    return {
      ...about,
      size: samples.length,
      at: async (i) => samples[i] as Sample,
      async *[Symbol.asyncIterator]() {
        yield* samples;
      },
    };
  }
  const open = typeof source === 'function' ? source : () => source;
  if (typeof source !== 'function' && isOneShot(source)) {
    throw new PareError(
      'bad-option',
      `Dataset "${name}" is an iterator that can be read only once. Give the function that makes it instead.`,
    );
  }
  return {
    ...about,
    size: options.size,
    async *[Symbol.asyncIterator]() {
      yield* open();
    },
  };
}

/** Generators return themselves when asked for an iterator: a second pass would find them empty. */
function isOneShot(source: Iterable<Sample> | AsyncIterable<Sample>): boolean {
  return Symbol.asyncIterator in source
    ? (source[Symbol.asyncIterator]() as unknown) === source
    : (source[Symbol.iterator]() as unknown) === source;
}

/** The samples of `dataset` at `indices` (ascending), as a dataset of their own. */
export function select(dataset: Dataset, indices: readonly number[], name = dataset.name): Dataset {
  const at = dataset.at?.bind(dataset);
  const about = { name, classes: dataset.classes, size: indices.length, random: dataset.random ?? false };
  if (at) {
    return {
      ...about,
      at: (i) => at(indices[i] as number),
      async *[Symbol.asyncIterator]() {
        for (const i of indices) yield await at(i);
      },
    };
  }
  return {
    ...about,
    async *[Symbol.asyncIterator]() {
      let next = 0;
      let i = 0;
      if (indices.length === 0) return;
      for await (const sample of dataset) {
        if (i++ !== indices[next]) continue;
        yield sample;
        if (++next === indices.length) return;
      }
    },
  };
}

/** `dataset` with every sample changed by `change`. */
export function mapDataset(dataset: Dataset, change: (sample: Sample) => Sample | Promise<Sample>): Dataset {
  const at = dataset.at?.bind(dataset);
  return {
    name: dataset.name,
    size: dataset.size,
    classes: dataset.classes,
    random: dataset.random ?? false,
    ...(at ? { at: async (i: number) => change(await at(i)) } : {}),
    async *[Symbol.asyncIterator]() {
      for await (const sample of dataset) yield await change(sample);
    },
  };
}
