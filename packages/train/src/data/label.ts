import {
  type Dataset,
  elementCount,
  type HostTensor,
  PareError,
  type TypedArray,
  tensorText,
  toNumbers,
} from '@pare/core';
import type { ClassRange, LabelKind } from '../loss/loss.js';

/** How a loss wants the label of one sample. */
export interface LabelSpec extends Partial<ClassRange> {
  readonly kind: LabelKind;
  readonly dtype: 'int64' | 'float32' | 'float64';
  /** Shape of one label, without the batch axis: [] for a class number, [H, W] for a class a pixel, [L] for a sequence. */
  readonly dims: readonly number[];
}

/** Writes the label of one sample, checked, to `to[offset]`. `where` names the sample in messages. */
export type LabelWriter = (label: unknown, to: TypedArray, offset: number, where: string) => void;

/**
 * The function that turns labels of `dataset` into what `spec` asks for. Classes are numbers, or names of `dataset.classes`;
 * texts are sequences whose symbols are those names; tensors have the shape of `spec`.
 * @throws PareError (from the function) `bad-data` that names the sample, what its label is, and what it must be.
 */
export function labelWriter(spec: LabelSpec, dataset: Pick<Dataset, 'classes'>): LabelWriter {
  const { kind, dims } = spec;
  const size = elementCount(dims);
  const numbers = new Map((dataset.classes ?? []).map((name, i) => [name, i]));

  /** A class number, from a number or from a name. */
  const classOf = (value: unknown, where: string): bigint => {
    const found = typeof value === 'string' ? numbers.get(value) : value;
    if (typeof value === 'string' && found === undefined) {
      const known = [...numbers.keys()].slice(0, 8).join(', ');
      throw new PareError(
        'bad-data',
        `${where} has the label "${value}", which is none of the ${numbers.size} classes${known && ` (${known}, ...)`}. ` +
          'Give class numbers, or name every class in the dataset.',
      );
    }
    const number = typeof found === 'boolean' || typeof found === 'bigint' ? Number(found) : found;
    if (typeof number !== 'number') throw wrong(value, where, 'a class number');
    if (!Number.isInteger(number)) throw wrong(value, where, 'a whole class number');
    const { classes = Infinity, ignoreIndex } = spec;
    if ((number < 0 || number >= classes) && number !== ignoreIndex) {
      throw new PareError(
        'bad-data',
        classes === Infinity
          ? `${where} has the class ${number}; class numbers start at 0.`
          : `${where} has the class ${number}, but the model has ${classes} classes: numbers run from 0 to ${classes - 1}.`,
      );
    }
    return BigInt(number);
  };

  const writers: Record<LabelKind, LabelWriter> = {
    class(label, to, offset, where) {
      for (const [i, value] of elements(label, dims, where).entries()) to[offset + i] = classOf(value, where);
    },
    tensor(label, to, offset, where) {
      for (const [i, value] of elements(label, dims, where).entries()) {
        const number = typeof value === 'string' ? Number.NaN : Number(value);
        if (!Number.isFinite(number)) throw wrong(value, where, 'a finite number');
        to[offset + i] = number;
      }
    },
    sequence(label, to, offset, where) {
      const symbols = typeof label === 'string' ? [...label] : listOf(label);
      if (!symbols) throw wrong(label, where, 'a text or a list of class numbers');
      if (symbols.length > size) {
        throw new PareError(
          'bad-data',
          `${where} has a label of ${symbols.length} symbols, and the loss takes ${size} at most: raise its maxLength.`,
        );
      }
      for (let i = 0; i < size; i++) to[offset + i] = i < symbols.length ? classOf(symbols[i], where) : -1n;
    },
  };
  const write = writers[kind];
  return (label, to, offset, where) => {
    if (label === undefined || label === null) {
      throw new PareError('bad-data', `${where} has no label: every sample needs one to train on.`);
    }
    write(label, to, offset, where);
  };
}

/** The elements of a label of the shape `dims`; a bare value is a label of one element. */
function elements(label: unknown, dims: readonly number[], where: string): Elements {
  if (!isTensor(label)) {
    if (elementCount(dims) === 1) return [label];
    throw wrong(label, where, `a tensor of the shape [${dims.join(', ')}]`);
  }
  // Ones at the end do not matter: a column of labels is a list of them.
  const bare = (shape: readonly number[]): string => shape.join().replace(/(^|,)1(,1)*$/u, '');
  if (bare(label.dims) === bare(dims)) return label.dtype.endsWith('float16') ? toNumbers(label) : label.data;
  throw new PareError(
    'bad-data',
    `${where} has a label of the shape [${label.dims.join(', ')}], and the loss takes [${dims.join(', ')}]` +
      `${dims.length === 0 ? ': give the number of the class, not a vector' : ''}.`,
  );
}

/** What arrays and typed arrays have in common. */
interface Elements {
  entries(): IterableIterator<[number, unknown]>;
}

function listOf(label: unknown): readonly unknown[] | undefined {
  if (Array.isArray(label)) return label;
  return isTensor(label) && label.dims.length === 1 ? Array.from(label.data as ArrayLike<unknown>) : undefined;
}

function isTensor(label: unknown): label is HostTensor {
  return typeof label === 'object' && label !== null && 'dims' in label && 'data' in label;
}

function wrong(label: unknown, where: string, needed: string): PareError {
  const text = isTensor(label) ? tensorText(label) : (JSON.stringify(label) ?? String(label)).slice(0, 60);
  return new PareError('bad-data', `${where} has the label ${text}, which is not ${needed}.`);
}
