import {
  type Dataset,
  elementCount,
  type Feeds,
  fitSample,
  type HostTensor,
  PareError,
  type Port,
  seededRandom,
  stackTensors,
  stratify,
  type TypedArray,
  throwIfAborted,
} from '@pare/core';
import { assemble, pictures, type SampleBatch, type Variation } from './assemble.js';
import { type Augmentation, augmenter } from './augment.js';
import { type Column, gather, row } from './column.js';
import type { LabelSpec } from './label.js';
import { type Contents, Reader } from './reader.js';

/** Options of `TrainingData.read`. */
export interface TrainingDataOptions {
  /** Inputs of the model. */
  readonly inputs: readonly Port[];
  /** How the loss wants labels. Left out: they are not read. */
  readonly label?: LabelSpec | undefined;
  /**
   * Bytes that the samples may take in memory. Larger data is read anew for each batch, which needs random access
   * (`Dataset.at`); labels are in memory always. Default 2 GiB.
   */
  readonly memory?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** `total` is undefined while the dataset does not know its size. */
  readonly onProgress?: ((done: number, total: number | undefined) => void) | undefined;
}

const MEMORY = 2 * 2 ** 30;

/**
 * A dataset made ready for training: every sample was read once and checked against the model and the loss, and any of them can
 * be had at any time. Samples are known by their place here, 0 to `size` - 1.
 */
export class TrainingData {
  private constructor(
    private readonly contents: Contents,
    private readonly dataset: Dataset,
    private readonly options: TrainingDataOptions,
    /** Places in the dataset. */
    private readonly indices: Uint32Array,
  ) {}

  /**
   * Reads through `dataset` once.
   * @throws PareError `bad-data` when it is empty, when a sample does not fit the model or has another shape than the first, for
   *   NaN, missing labels and labels out of range, each naming the sample; when it is larger than `memory` and has no random
   *   access; `unsupported` for an input without a batch axis; `aborted`.
   */
  static async read(dataset: Dataset, options: TrainingDataOptions): Promise<TrainingData> {
    const reader = new Reader(dataset, options.inputs, options.label, options.memory ?? MEMORY);
    let count = 0;
    for await (const sample of dataset) {
      throwIfAborted(options.signal);
      reader.add(sample);
      if (++count % 256 === 0) options.onProgress?.(count, dataset.size);
    }
    options.onProgress?.(count, count);
    return new TrainingData(
      reader.finish(),
      dataset,
      options,
      Uint32Array.from({ length: count }, (_, i) => i),
    );
  }

  get name(): string {
    return this.contents.name;
  }

  /** Number of samples. */
  get size(): number {
    return this.indices.length;
  }

  /** Sentences about what was ignored. */
  get warnings(): readonly string[] {
    return this.contents.fit.warnings;
  }

  /** Everything in memory, for workers that make batches; undefined when samples are read for each batch. */
  get columns():
    | { readonly inputs: readonly Column[]; readonly labels: Column | undefined; readonly indices: Uint32Array }
    | undefined {
    const { columns: inputs, labels } = this.contents;
    return inputs && { inputs, labels, indices: this.indices };
  }

  /** Shape of each input in a batch of `size` samples. */
  batchShapes(size: number): Record<string, number[]> {
    return Object.fromEntries(this.contents.inputs.map(({ name, dims }) => [name, [size, ...dims]]));
  }

  /** The samples at `places`; the first `count` of them count. @throws PareError what reading the dataset throws. */
  async batch(places: ArrayLike<number>, variation?: Variation, count = places.length): Promise<SampleBatch> {
    const indices = Uint32Array.from(places, (place) => this.indices[place] as number);
    const { columns, labels } = this.contents;
    const inputs = columns ? assemble(columns, indices, variation) : await this.#fetch(indices, variation);
    return { inputs, targets: labels ? { label: gather(labels, indices) } : {}, indices, count };
  }

  /** The class number of the sample at `place`, when its label is one. */
  classOf(place: number): number | undefined {
    const { labels } = this.contents;
    if (!labels || this.options.label?.kind !== 'class' || elementCount(labels.dims) !== 1) return undefined;
    return Number(row(labels, this.indices[place] as number)[0]);
  }

  /** @throws PareError `bad-option` when the inputs cannot be varied like that. */
  checkAugmentation(augment: Augmentation): void {
    augmenter(augment, pictures(this.contents.inputs, augment).dims);
  }

  /**
   * Two parts that share no content: of `count` samples, in equal shares of each class, and of the rest. For choosing on samples
   * that were not trained on; samples that are there twice stay in the rest. The same seed gives the same parts.
   * @throws PareError `bad-option` when one part would be empty.
   */
  split(count: number, seed = 1): [part: TrainingData, rest: TrainingData] {
    const { hashes } = this.contents;
    const seen = new Map<number, number>();
    const hashOf = (place: number): number => hashes[this.indices[place] as number] as number;
    const places = [...this.indices.keys()];
    for (const place of places) seen.set(hashOf(place), (seen.get(hashOf(place)) ?? 0) + 1);
    const single = places.filter((place) => seen.get(hashOf(place)) === 1);
    if (!Number.isInteger(count) || count < 1 || count > single.length || count >= this.size) {
      throw new PareError(
        'bad-option',
        `${count} of the ${this.size} samples of ${this.name} cannot be set apart: there must be 1 at least, one must be left, ` +
          `and ${this.size - single.length} repeat another.`,
      );
    }
    const classed = this.classOf(0) !== undefined;
    const order = stratify(single, classed ? (place) => this.classOf(place) : undefined, seededRandom(seed));
    const part = new Set(order.slice(0, count));
    const pick = (wanted: boolean): TrainingData => this.#subset(places.filter((place) => part.has(place) === wanted));
    return [pick(true), pick(false)];
  }

  #subset(places: readonly number[]): TrainingData {
    const indices = Uint32Array.from(places, (place) => this.indices[place] as number);
    return new TrainingData(this.contents, this.dataset, this.options, indices);
  }

  /** Reads samples that are not in memory. */
  async #fetch(indices: Uint32Array, variation: Variation | undefined): Promise<Feeds> {
    const { fit, name, inputs } = this.contents;
    const ports = this.options.inputs;
    const samples = await Promise.all(Array.from(indices, (index) => this.dataset.at?.(index)));
    const rows = samples.map((sample, i) => {
      if (sample) return fitSample(sample, ports, fit, name, indices[i] as number);
      throw new PareError('bad-data', `${name} does not have its sample ${indices[i]} any more.`);
    });
    const columns = inputs.map((layout, i) => ({
      ...layout,
      data: stackTensors(rows.map((tensors) => tensors[i] as HostTensor)).data as TypedArray,
    }));
    return assemble(columns, [...indices.keys()], variation, indices);
  }
}
