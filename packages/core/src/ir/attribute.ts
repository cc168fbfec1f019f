import { PareError } from '../errors.js';
import { Graph } from './graph.js';
import { type SparseTensor, Tensor } from './tensor.js';
import type { ValueType } from './type.js';

/** Payload of an attribute by its kind. Integers beyond 2^53 are bigints; strings that are not UTF-8 stay bytes. */
export interface AttributeValues {
  int: number | bigint;
  float: number;
  string: string | Uint8Array;
  tensor: Tensor;
  graph: Graph;
  sparseTensor: SparseTensor;
  type: ValueType;
  ints: readonly (number | bigint)[];
  floats: readonly number[];
  strings: readonly (string | Uint8Array)[];
  tensors: readonly Tensor[];
  graphs: readonly Graph[];
  sparseTensors: readonly SparseTensor[];
  types: readonly ValueType[];
  /** Inside a function: the function's attribute of this name, of kind `of`. */
  reference: { readonly name: string; readonly of: AttributeKind };
}

export type AttributeKind = keyof AttributeValues;

/** An attribute of a node; immutable, except that graphs are edited in place. */
export type Attribute = {
  [K in AttributeKind]: {
    readonly type: K;
    readonly value: AttributeValues[K];
    /** The message it was read from; only the codec looks into it. */
    readonly origin?: object;
  };
}[AttributeKind];

/** What `Node.setAttribute` and the builder accept: plain numbers are integers; floats are said with `float()`. */
export type AttributeLike =
  | Attribute
  | number
  | bigint
  | string
  | Tensor
  | Graph
  | readonly (number | bigint)[]
  | readonly string[];

/** A float attribute. */
export const float = (value: number): Attribute => ({
  type: 'float',
  value: Math.fround(value),
});
/** A list of floats. */
export const floats = (value: readonly number[]): Attribute => ({
  type: 'floats',
  value: value.map(Math.fround),
});

/**
 * `like` as an attribute.
 * @throws PareError `bad-option` for a plain number that is not an integer.
 */
export function toAttribute(name: string, like: AttributeLike): Attribute {
  if (typeof like === 'number' || typeof like === 'bigint') {
    if (typeof like === 'number' && !Number.isInteger(like)) {
      throw new PareError('bad-option', `Attribute "${name}" is ${like}: write float(${like}) for a float attribute.`);
    }
    return { type: 'int', value: like };
  }
  if (typeof like === 'string') return { type: 'string', value: like };
  if (like instanceof Tensor) return { type: 'tensor', value: like };
  if (like instanceof Graph) return { type: 'graph', value: like };
  if (!isList(like)) return like;
  if (like.length > 0 && like.every((v) => typeof v === 'string')) {
    return { type: 'strings', value: like as readonly string[] };
  }
  return { type: 'ints', value: like as readonly (number | bigint)[] };
}

const isList = (like: AttributeLike): like is readonly (number | bigint)[] | readonly string[] => Array.isArray(like);

const NO_GRAPHS: readonly Graph[] = [];

/** The graphs that an attribute holds: none, one, or several. */
export function attributeGraphs(attribute: Attribute): readonly Graph[] {
  if (attribute.type === 'graph') return [attribute.value];
  return attribute.type === 'graphs' ? attribute.value : NO_GRAPHS;
}
