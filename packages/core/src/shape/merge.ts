import { type Dim, isTensorType, type Shape, type TensorType, type ValueType } from '../ir/type.js';
import { canonicalDim, equalDims } from './dim.js';
import type { FreshDims } from './fresh.js';

/** A type as a model declares it, with dimensions in canonical form; `names` false: names say nothing here. */
export function declaredType(type: ValueType | undefined, names = true): ValueType | undefined {
  if (!type || type.kind === 'opaque' || type.kind === 'map') return type;
  if (type.kind === 'sequence' || type.kind === 'optional') {
    return { kind: type.kind, element: declaredType(type.element, names) };
  }
  if (!isTensorType(type)) return type;
  const shape = type.shape?.map((d) => {
    const dim = canonicalDim(d);
    return names || typeof dim === 'number' ? dim : null;
  });
  return { kind: type.kind, dtype: type.dtype, shape };
}

/** Called with what is wrong, in words, when a declaration contradicts the inference. */
type Report = (problem: string) => void;

/**
 * What is known of a value when its rule says `inferred` and the model says `declared`. The rule is right where it knows;
 * the declaration fills what is unknown, but not lengths that depend on the data for certain.
 */
export function mergeType(
  inferred: ValueType | undefined,
  declared: ValueType | undefined,
  fresh: FreshDims,
  report: Report,
): ValueType | undefined {
  if (!inferred || !declared) return inferred ?? declared;
  if (inferred.kind !== declared.kind) {
    report(`is a ${inferred.kind} but declared as a ${declared.kind}`);
    return inferred;
  }
  if (inferred.kind === 'sequence' || inferred.kind === 'optional') {
    const other = (declared as typeof inferred).element;
    return { kind: inferred.kind, element: mergeType(inferred.element, other, fresh, report) };
  }
  if (!isTensorType(inferred)) return inferred;
  const other = declared as TensorType;
  if (inferred.dtype && other.dtype && inferred.dtype !== other.dtype) {
    report(`has elements of type ${inferred.dtype} but is declared as ${other.dtype}`);
  }
  return {
    kind: inferred.kind,
    dtype: inferred.dtype ?? other.dtype,
    shape: mergeShape(inferred.shape, other.shape, fresh, report),
  };
}

function mergeShape(
  inferred: Shape | undefined,
  declared: Shape | undefined,
  fresh: FreshDims,
  report: Report,
): Shape | undefined {
  if (!inferred || !declared) return inferred ?? declared;
  const texts = (): string =>
    `[${inferred.map((d) => d ?? '?').join(', ')}] but is declared as [${declared.map((d) => d ?? '?').join(', ')}]`;
  if (inferred.length !== declared.length) {
    report(`has shape ${texts()}`);
    return inferred;
  }
  let contradiction = false;
  const shape = inferred.map((dim, i): Dim => {
    const other = declared[i] as Dim;
    if (dim === null || other === null) return dim ?? other;
    if (equalDims(dim, other) === false) contradiction = true;
    return fresh.isUnknown(dim) ? other : dim;
  });
  if (contradiction) report(`has shape ${texts()}`);
  return shape;
}

/**
 * `type` with a fresh name for each dimension that is unknown, or that is no length, as an invalid model may give. Elements
 * of a sequence may differ, so theirs stay unknown.
 */
export function nameUnknown(type: ValueType | undefined, fresh: FreshDims): ValueType | undefined {
  if (!isTensorType(type) || !type.shape || type.shape.every(isLength)) return type;
  return { ...type, shape: type.shape.map((d) => (isLength(d) ? d : fresh.make())) };
}

const isLength = (dim: Dim): boolean =>
  typeof dim === 'string' || (typeof dim === 'number' && dim >= 0 && Number.isSafeInteger(dim));

/** `type` without what it says of shapes. */
export function forgetShape(type: ValueType | undefined): ValueType | undefined {
  if (isTensorType(type)) return { kind: type.kind, dtype: type.dtype };
  if (type?.kind === 'sequence' || type?.kind === 'optional') {
    return { kind: type.kind, element: forgetShape(type.element) };
  }
  return type;
}

/** `type` without dimensions that fail `keep`. */
export function forgetDims(type: ValueType | undefined, keep: (dim: Dim) => boolean): ValueType | undefined {
  if (!type || type.kind === 'opaque' || type.kind === 'map') return type;
  if (type.kind === 'sequence' || type.kind === 'optional') {
    return { kind: type.kind, element: forgetDims(type.element, keep) };
  }
  if (!isTensorType(type)) return type;
  return type.shape?.every(keep) === false ? { ...type, shape: type.shape.map((d) => (keep(d) ? d : null)) } : type;
}

/** What both `a` and `b` are: what is known of a value that is one or the other. */
export function joinTypes(a: ValueType | undefined, b: ValueType | undefined): ValueType | undefined {
  if (!a || !b || a.kind !== b.kind) return undefined;
  if (a.kind === 'sequence' || a.kind === 'optional') {
    return { kind: a.kind, element: joinTypes(a.element, (b as typeof a).element) };
  }
  if (!isTensorType(a)) return a;
  const other = b as TensorType;
  const same = a.shape && other.shape && a.shape.length === other.shape.length;
  return {
    kind: a.kind,
    dtype: a.dtype === other.dtype ? a.dtype : undefined,
    shape: same ? a.shape?.map((d, i) => (d === other.shape?.[i] ? d : null)) : undefined,
  };
}
