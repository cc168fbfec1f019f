import { type Dim, type DType, type Model, type Shape, staticShape, type Tensor, type Value } from '@pare/core';
import { kernels } from '../kernels/index.js';
import type { Knowledge } from './knowledge.js';

/** What a rule may ask about the model around its node. */
export class Scope {
  constructor(
    readonly model: Model,
    private readonly knowledge: Knowledge,
  ) {}

  readonly #ids = new Map<unknown, number>();
  readonly #made = new Map<string, Value>();

  /**
   * What `make` makes, the first time that it is asked for `key` (whose parts are compared by identity); the same value
   * again later, so that nodes that shared a constant share what is made of it.
   */
  once(key: readonly unknown[], make: () => Value): Value {
    const text = key.map((part) => this.#ids.get(part) ?? this.#identify(part)).join();
    const present = this.#made.get(text);
    if (present && present.graph.value(present.name) === present) return present;
    const made = make();
    this.#made.set(text, made);
    return made;
  }

  #identify(part: unknown): number {
    this.#ids.set(part, this.#ids.size);
    return this.#ids.size - 1;
  }

  /** Version of the default operator set. */
  get opset(): number {
    return this.model.opset;
  }

  dtype(value: Value | null | undefined): DType | undefined {
    if (!value) return undefined;
    const type = this.knowledge.typeOf(value);
    return (type?.kind === 'tensor' ? type.dtype : undefined) ?? value.dtype;
  }

  /** Undefined when the rank is unknown. */
  shape(value: Value | null | undefined): Shape | undefined {
    if (!value) return undefined;
    if (value.initializer) return value.initializer.dims;
    const type = this.knowledge.typeOf(value);
    return (type?.kind === 'tensor' ? type.shape : undefined) ?? value.shape;
  }

  rank(value: Value | null | undefined): number | undefined {
    return this.shape(value)?.length;
  }

  /** The shape, when all dimensions are numbers. */
  dims(value: Value | null | undefined): number[] | undefined {
    return staticShape(this.shape(value));
  }

  /** Whether both have the same shape, whatever the named dimensions are. */
  sameShape(a: Value, b: Value): boolean {
    return equalShapes(this.shape(a), this.shape(b));
  }

  /** The elements of a small integer tensor as far as they are known: numbers, names, null. */
  values(value: Value | null | undefined): readonly Dim[] | undefined {
    if (!value) return undefined;
    return this.knowledge.valuesOf(value) ?? (value.constant && this.numbers(value));
  }

  /** The elements of a small integer tensor, when all are known numbers. */
  integers(value: Value | null | undefined): number[] | undefined {
    return staticShape(this.values(value));
  }

  /**
   * Places along an axis that are constant: starts and ends of Slice. Exporters write "to the end" as the largest integer,
   * which no double holds; beyond 2^31 a place is as good as 2^31 - 1.
   */
  places(value: Value | null | undefined): number[] | undefined {
    const exact = this.integers(value) ?? this.numbers(value);
    const limit = 2 ** 31 - 1;
    return exact?.map((v) => Math.max(-limit, Math.min(limit, v)));
  }

  /** The elements of a constant of any float or integer type that is in memory. */
  numbers(value: Value | null | undefined): number[] | undefined {
    const tensor = value?.constant;
    return tensor && elementsInMemory(tensor);
  }

  /** The element of a constant with one element, of any rank. */
  scalar(value: Value | null | undefined): number | undefined {
    return value?.constant?.size === 1 ? this.numbers(value)?.[0] : undefined;
  }

  /** Whether `value` is a constant with one element, which is `expected` rounded to the constant's type. */
  isScalar(value: Value | null | undefined, expected: number): boolean {
    const actual = this.scalar(value);
    return actual !== undefined && Math.abs(actual - expected) <= Math.abs(expected) * tolerance(value?.constant);
  }
}

/** Relative spacing of the values of a type, doubled. */
function tolerance(tensor: Tensor | undefined): number {
  switch (tensor?.dtype) {
    case 'float16':
      return 2 ** -9;
    case 'bfloat16':
      return 2 ** -6;
    case 'float64':
    case 'float32':
      // Exporters print constants like 0.044715 and 1.41421354 with six digits or more.
      return 2 ** -21;
    default:
      return 0;
  }
}

/** The elements of `tensor` as numbers when they are in memory; the 16-bit floats are decoded. */
export function elementsInMemory(tensor: Tensor): number[] | undefined {
  const { bytes } = tensor;
  if (!bytes) return undefined;
  if (tensor.dtype === 'float16') return [...kernels().fromFloat16(bytes)];
  if (tensor.dtype === 'bfloat16') return [...kernels().fromBfloat16(bytes)];
  return tensor.numbers();
}

/** Whether two shapes are equal whatever the named dimensions are; unknown dimensions equal nothing. */
export function equalShapes(a: Shape | undefined, b: Shape | undefined): boolean {
  return a !== undefined && b !== undefined && a.length === b.length && a.every((d, i) => d !== null && d === b[i]);
}
