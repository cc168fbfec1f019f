import { dtypeOfCode } from '../../dtype.js';
import { type Dim, elementType, isTensorType, tensorType, type ValueType } from '../../ir/type.js';
import { joinTypes } from '../merge.js';
import { type Known, normalizeAxis, type Op, type Rule, type RuleTable, tensor, withDim } from '../op.js';

const sequence = (element: ValueType | undefined): Known => ({ type: { kind: 'sequence', element } });

/** Element type of the sequence at input `index` (also inside an optional). */
function elementOf(op: Op, index: number): ValueType | undefined {
  const type = op.type(index);
  const inner = type?.kind === 'optional' ? elementType(type) : type;
  return inner?.kind === 'sequence' ? elementType(inner) : undefined;
}

const construct: Rule = (op) => {
  const types = Array.from({ length: op.inputCount }, (_, i) => op.type(i));
  return [sequence(types.slice(1).reduce(joinTypes, types[0]))];
};

const insert: Rule = (op) => {
  const element = elementOf(op, 0);
  // The shapes of an empty sequence are unknown; its element type is not.
  return [sequence(joinTypes(element, op.type(1)) ?? shapeless(element) ?? shapeless(op.type(1)))];
};

const shapeless = (type: ValueType | undefined): ValueType | undefined =>
  isTensorType(type) ? tensorType(type.dtype) : undefined;

const splitToSequence: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && normalizeAxis(op.int('axis', 0), input.length);
  const dtype = op.dtype(0);
  if (!input || axis === undefined) return [sequence(tensorType(dtype))];
  if (!op.has(1)) {
    const keep = op.int('keepdims', 1) !== 0;
    return [sequence(tensorType(dtype, keep ? withDim(input, axis, 1) : input.filter((_, i) => i !== axis)))];
  }
  return [sequence(tensorType(dtype, withDim(input, axis, commonPart(op, input[axis] ?? null))))];
};

/** The length that all parts of an axis of `length` have, when they have one. */
function commonPart(op: Op, length: Dim): Dim {
  const sizes = op.numbers(1);
  const first = sizes?.[0];
  if (!sizes || first === undefined) return null;
  if (op.rank(1) === 1) return sizes.every((s) => s === first) ? first : null;
  // A scalar is the size of each part but the last, which may be smaller.
  const even = first === 1 || (typeof length === 'number' && length % first === 0);
  return op.rank(1) === 0 && even ? first : null;
}

const concatFromSequence: Rule = (op) => {
  const element = elementOf(op, 0);
  if (!isTensorType(element)) return [tensor(undefined)];
  const shape = element.shape;
  if (!shape) return [tensor(element.dtype)];
  if (op.int('new_axis', 0) !== 0) {
    const at = normalizeAxis(op.int('axis', 0), shape.length + 1);
    return [tensor(element.dtype, at === undefined ? undefined : [...shape.slice(0, at), null, ...shape.slice(at)])];
  }
  const axis = normalizeAxis(op.int('axis', 0), shape.length);
  return [tensor(element.dtype, axis === undefined ? undefined : withDim(shape, axis, null))];
};

const optional: Rule = (op) => {
  const element = op.has(0) ? op.type(0) : op.attribute('type', 'type');
  return [{ type: { kind: 'optional', element } }];
};

const optionalGetElement: Rule = (op) => {
  const type = op.type(0);
  // From version 18 on a value that is not optional passes through.
  return [type?.kind === 'optional' ? { type: elementType(type) } : op.input(0)];
};

export const sequences: RuleTable = {
  SequenceConstruct: construct,
  SequenceEmpty: (op) => [sequence(tensorType(dtypeOfCode(op.int('dtype', 1))))],
  SequenceAt: (op) => [{ type: elementOf(op, 0) }],
  SequenceInsert: insert,
  SequenceErase: (op) => [op.input(0)],
  SequenceLength: () => [tensor('int64', [])],
  SplitToSequence: splitToSequence,
  ConcatFromSequence: concatFromSequence,
  Optional: optional,
  OptionalGetElement: optionalGetElement,
  OptionalHasElement: () => [tensor('bool', [])],
};
