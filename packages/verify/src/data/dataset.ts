import { type Dataset, PareError, type Sample } from '@pare/core';

export type { Dataset, Fingerprint, Sample } from '@pare/core';

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
