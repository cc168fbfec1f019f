import { elementCount, type Feeds, PareError, seededRandom } from '@pare/core';
import { type Augmentation, augmenter } from './augment.js';
import { type Column, gather, type Layout } from './column.js';
import { mixSeed } from './order.js';

/** Several samples as one step takes them: axis 0 of every tensor is the batch. */
export interface SampleBatch {
  readonly inputs: Feeds;
  /** `label`, when the data was read with labels. */
  readonly targets: Feeds;
  /** Which samples these are: their places in the dataset. */
  readonly indices: Uint32Array;
  /** How many of them count, the first ones; those behind repeat the last, to fill up the batch. */
  readonly count: number;
}

/** How pictures are varied, and what makes each epoch vary them differently. */
export interface Variation {
  readonly augment: Augmentation;
  readonly seed: number;
  readonly epoch: number;
}

/**
 * The samples at `indices` of `columns`; pictures are varied as a function of seed, epoch and index alone. `names` are the
 * places of the samples in the dataset when they are not `indices`.
 */
export function assemble(
  columns: readonly Column[],
  indices: ArrayLike<number>,
  variation?: Variation,
  names = indices,
): Feeds {
  const varied = variation && pictures(columns, variation.augment);
  return Object.fromEntries(
    columns.map((column) => {
      const tensor = gather(column, indices);
      if (column === varied) {
        const { augment, seed, epoch } = variation as Variation;
        const change = augmenter(augment, column.dims);
        const size = elementCount(column.dims);
        for (let i = 0; i < indices.length; i++) {
          const random = seededRandom(mixSeed(seed, epoch, names[i] as number));
          const from = (indices[i] as number) * size;
          change(column.data as Float32Array, from, tensor.data as Float32Array, i * size, random);
        }
      }
      return [column.name, tensor];
    }),
  );
}

/** The array that holds pictures. @throws PareError `bad-option` when there is none, or more than one. */
export function pictures<T extends Layout>(layouts: readonly T[], { input }: Augmentation): T {
  const named = layouts.filter((layout) => input === undefined || layout.name === input);
  const fits = named.filter(({ dtype, dims }) => dtype === 'float32' && dims.length === 3);
  if (fits.length === 1) return fits[0] as T;
  if (fits.length > 1) {
    const names = fits.map(({ name }) => `"${name}"`).join(', ');
    throw new PareError(
      'bad-option',
      `Several inputs could be the pictures to vary (${names}): name one as \`input\`.`,
    );
  }
  const all = layouts.map(({ name, dtype, dims }) => `"${name}" ${dtype}[${dims.join(', ')}]`).join(', ');
  throw new PareError(
    'bad-option',
    `Pictures to vary are float32 [C, H, W], and there ${input ? `is no such "${input}"` : 'are none'}: a sample has ${all}.`,
  );
}
