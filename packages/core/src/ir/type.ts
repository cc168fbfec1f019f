import type { DType } from '../dtype.js';

/** One dimension: a number, a name or an expression of names (`batch`, `2*H + 1`), or null when nothing is known. */
export type Dim = number | string | null;
export type Shape = readonly Dim[];

/** Type of a value. `shape` undefined means unknown rank, `dtype` undefined an unknown element type. */
export type ValueType = { readonly origin?: object } & (
  | {
      readonly kind: 'tensor' | 'sparse';
      readonly dtype?: DType | undefined;
      readonly shape?: Shape | undefined;
    }
  | {
      readonly kind: 'sequence' | 'optional';
      readonly element?: ValueType | undefined;
    }
  | {
      readonly kind: 'map';
      readonly key: DType | undefined;
      readonly value?: ValueType | undefined;
    }
  /** A type that Pare does not model; kept as it was read. */
  | { readonly kind: 'opaque' }
);

export type TensorType = Extract<ValueType, { kind: 'tensor' | 'sparse' }>;

/** Whether `type` is that of a dense or sparse tensor. */
export function isTensorType(type: ValueType | undefined): type is TensorType {
  return type?.kind === 'tensor' || type?.kind === 'sparse';
}

/** Type of the elements of a sequence or of what an optional holds. */
export function elementType(type: ValueType | undefined): ValueType | undefined {
  return type && 'element' in type ? type.element : undefined;
}

/** A tensor type; `shape` left out means unknown rank. */
export function tensorType(dtype: DType | undefined, shape?: Shape): TensorType {
  return { kind: 'tensor', dtype, shape };
}

/** The dimensions as numbers when all of them are known, else undefined. */
export function staticShape(shape: Shape | undefined): number[] | undefined {
  return shape?.every((d) => typeof d === 'number') ? (shape as number[]) : undefined;
}

/** For messages: `float32[batch, 3, 224, 224]`. */
export function typeText(type: ValueType | undefined): string {
  if (!type) return '?';
  switch (type.kind) {
    case 'tensor':
    case 'sparse':
      return `${type.dtype ?? '?'}[${type.shape ? type.shape.map((d) => d ?? '?').join(', ') : '...'}]`;
    case 'sequence':
    case 'optional':
      return `${type.kind}(${typeText(type.element)})`;
    case 'map':
      return `map(${type.key ?? '?'}, ${typeText(type.value)})`;
    case 'opaque':
      return 'opaque';
  }
}
