import type { HostTensor } from './engine.js';

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
 * `datasetOf` of `@pare/verify` makes one from an array or a function.
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
