import {
  arrayType,
  type Dataset,
  elementCount,
  type Fit,
  fitData,
  fitSample,
  PareError,
  type Port,
  type Sample,
  sampleName,
  type TypedArray,
} from '@pare/core';
import { allocate, type Column, type Layout, resize } from './column.js';
import { type LabelSpec, type LabelWriter, labelWriter } from './label.js';

/** What one pass over a dataset gives. */
export interface Contents {
  readonly name: string;
  readonly count: number;
  readonly inputs: readonly Layout[];
  /** The samples, when they fit the memory. */
  readonly columns: readonly Column[] | undefined;
  readonly labels: Column | undefined;
  /** One a sample: equal content, equal number. */
  readonly hashes: Uint32Array;
  readonly fit: Fit;
}

/** Takes the samples of a dataset one by one, checks them, and keeps those that fit the memory. */
export class Reader {
  #fit: Fit | undefined;
  #inputs: readonly Layout[] = [];
  #columns: Column[] | undefined;
  #labels: Column | undefined;
  #hashes: Column = allocate({ name: 'hashes', dtype: 'uint32', dims: [] }, 0);
  #capacity = 0;
  #count = 0;
  readonly #writeLabel: LabelWriter | undefined;

  constructor(
    private readonly dataset: Dataset,
    private readonly ports: readonly Port[],
    private readonly label: LabelSpec | undefined,
    private readonly memory: number,
  ) {
    this.#writeLabel = label && labelWriter(label, dataset);
  }

  /** @throws PareError `bad-data` when the sample does not fit the model, the loss, the samples before it or the memory. */
  add(sample: Sample): void {
    const { name } = this.dataset;
    const index = this.#count++;
    const fit = this.#fit ?? this.#begin(sample);
    const where = sampleName(name, sample.id ?? `sample ${index}`);
    const tensors = fitSample(sample, this.ports, fit, name, index);
    if (index === this.#capacity) this.#grow(index);
    let hash = 0x811c9dc5;
    for (const [i, tensor] of tensors.entries()) {
      const { name: input, dims } = this.#inputs[i] as Layout;
      if (tensor.dims.join() !== dims.join()) {
        throw new PareError(
          'bad-data',
          `${where} is [${tensor.dims.join(', ')}] for input "${input}", and the first sample is [${dims.join(', ')}]: ` +
            'samples of a batch need one shape. Resize or pad them.',
        );
      }
      const data = tensor.data as TypedArray;
      this.#columns?.[i]?.data.set(data as never, index * elementCount(dims));
      hash = fold(hash, data);
    }
    this.#hashes.data[index] = hash >>> 0;
    if (this.#labels) {
      this.#writeLabel?.(sample.label, this.#labels.data, index * elementCount(this.#labels.dims), where);
    }
  }

  /** @throws PareError `bad-data` when there was no sample. */
  finish(): Contents {
    const { name } = this.dataset;
    if (!this.#fit) throw new PareError('bad-data', `${name} has no samples: there is nothing to train on.`);
    const count = this.#count;
    return {
      name,
      count,
      inputs: this.#inputs,
      columns: this.#columns,
      labels: this.#labels,
      hashes: this.#hashes.data.subarray(0, count) as Uint32Array,
      fit: this.#fit,
    };
  }

  #begin(sample: Sample): Fit {
    const { dataset, ports, label } = this;
    const fit = fitData(sample, ports, dataset.name);
    const tensors = fitSample(sample, ports, fit, dataset.name, 0);
    const whole = ports.find((port, i) => tensors[i]?.dims.length === port.dims.length);
    if (whole) {
      throw new PareError(
        'unsupported',
        `Input "${whole.name}" has no batch axis: training takes several samples at a time. Make it a constant of the model.`,
      );
    }
    const text = ports.find((_, i) => tensors[i]?.dtype === 'string');
    if (text) {
      throw new PareError(
        'unsupported',
        `Input "${text.name}" takes text: train the part of the model behind its tokenizer.`,
      );
    }
    this.#inputs = tensors.map(({ dtype, dims }, i) => ({ name: (ports[i] as Port).name, dtype, dims }));
    this.#columns = this.#inputs.map((layout) => allocate(layout, 0));
    this.#labels = label && allocate({ name: 'label', dtype: label.dtype, dims: label.dims }, 0);
    this.#fit = fit;
    return fit;
  }

  /** Makes room: at once for all samples where their number is known, else for twice as many. */
  #grow(count: number): void {
    const { size = 0 } = this.dataset;
    const wanted = size > count ? size : Math.max(256, 2 * count);
    const bytes = this.#inputs.reduce((sum, layout) => sum + bytesOf(layout), 0);
    const room = Math.floor(this.memory / bytes);
    if (this.#columns && (size > room || count >= room)) this.#page(bytes * Math.max(size, count + 1));
    this.#capacity = this.#columns ? Math.min(wanted, room) : wanted;
    this.#columns = this.#columns?.map((column) => resize(column, count, this.#capacity));
    this.#labels = this.#labels && resize(this.#labels, count, this.#capacity);
    this.#hashes = resize(this.#hashes, count, this.#capacity);
  }

  /** Gives up holding the samples: they will be read again for each batch. */
  #page(bytes: number): void {
    const { name, at } = this.dataset;
    if (!at) {
      const size = (n: number): string => `${(n / 2 ** 20).toPrecision(3)} MiB`;
      throw new PareError(
        'bad-data',
        `${name} takes ${size(bytes)} or more in memory, above the limit of ${size(this.memory)}, and has no random access ` +
          '(`at`) to read samples again. Raise `memory`, or give data of one file a sample or an uncompressed .npz.',
      );
    }
    this.#columns = undefined;
  }
}

const bytesOf = ({ dtype, dims }: Layout): number => elementCount(dims) * arrayType(dtype).BYTES_PER_ELEMENT;

/** FNV-1a over the bytes, four at a time where they are aligned. */
function fold(hash: number, { buffer, byteOffset, byteLength }: TypedArray): number {
  const aligned = byteOffset % 4 === 0 && byteLength % 4 === 0;
  const words = aligned
    ? new Uint32Array(buffer, byteOffset, byteLength / 4)
    : new Uint8Array(buffer, byteOffset, byteLength);
  let h = hash;
  for (let i = 0; i < words.length; i++) h = Math.imul(h ^ (words[i] as number), 0x01000193) ^ (h >>> 15);
  return h;
}
