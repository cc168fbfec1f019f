import { type Dim, isTensorType, type Shape, typeText, type ValueType } from '../ir/type.js';
import type { Value } from '../ir/value.js';
import { declaredType } from './merge.js';

/**
 * The type to write for `value`: the inferred one, with unknown (`keep` fails) dimensions as they are declared, and the
 * names that the model gives its own inputs and outputs. The declared object itself when it says all of that already.
 */
export function annotation(
  value: Value,
  inferred: ValueType | undefined,
  keep: (dim: Dim) => boolean,
): ValueType | undefined {
  const declared = value.type;
  if (!inferred) return declared;
  const written = blend(inferred, declared, keep, value.isGraphInput || value.isGraphOutput);
  return typeText(written) === typeText(declaredType(declared)) ? declared : written;
}

function blend(
  inferred: ValueType,
  declared: ValueType | undefined,
  keep: (dim: Dim) => boolean,
  named: boolean,
): ValueType {
  if (inferred.kind === 'opaque' || inferred.kind === 'map') return declared ?? inferred;
  if (inferred.kind === 'sequence' || inferred.kind === 'optional') {
    const other = declared?.kind === inferred.kind ? declared.element : undefined;
    return { kind: inferred.kind, element: inferred.element && blend(inferred.element, other, keep, named) };
  }
  if (!isTensorType(inferred)) return inferred;
  const other = isTensorType(declared) ? declared.shape : undefined;
  return {
    kind: inferred.kind,
    dtype: inferred.dtype,
    shape: inferred.shape && blendShape(inferred.shape, other, keep, named),
  };
}

function blendShape(inferred: Shape, declared: Shape | undefined, keep: (dim: Dim) => boolean, named: boolean): Shape {
  const same = declared?.length === inferred.length ? declared : undefined;
  return inferred.map((dim, i) => {
    const other = same?.[i] ?? null;
    if (!keep(dim)) return typeof other === 'number' ? null : other;
    return named && typeof dim === 'string' && typeof other === 'string' ? other : dim;
  });
}
