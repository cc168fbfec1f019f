import { dtypeOfCode, type Node } from '@pare/core';
import { hasOneOutput, replaceValue } from './edit.js';
import { type Pass, type Rule, type RuleTable, rewritePass } from './rewrite.js';
import type { Scope } from './scope.js';
import { findUniformOperands, isUniformly } from './uniform.js';

/** Index of the input that `node` merely passes on, or undefined when it does something. */
type PassesOn = (node: Node, scope: Scope) => number | undefined;

/** Removes operations that give back what they get. */
export function eliminateNoOps(): Pass {
  const table: Record<string, Rule> = {};
  for (const [op, passesOn] of Object.entries(NO_OPS)) table[op] = removal(passesOn);
  return rewritePass('eliminate-no-ops', table satisfies RuleTable, findUniformOperands);
}

function removal(passesOn: PassesOn): Rule {
  return (node, scope) => {
    const index = passesOn(node, scope);
    const input = index === undefined ? undefined : node.inputs[index];
    if (!input || !hasOneOutput(node)) return undefined;
    const { label } = node;
    return replaceValue(node.output, input) ? `${label} gave back its input and was removed.` : undefined;
  };
}

const when = (condition: boolean | undefined): number | undefined => (condition ? 0 : undefined);

/** The shape says it all: the same number of elements in the same order. */
const keepsShape: PassesOn = (node, scope) => {
  const [x] = node.inputs;
  return when(!!x && scope.sameShape(x, node.output));
};

/**
 * The same for operators that keep the number of elements: when all dimensions but one are equal, so is that one, even if
 * nothing is known of it.
 */
const keepsShapeButOne: PassesOn = (node, scope) => {
  const before = scope.shape(node.inputs[0]);
  const after = scope.shape(node.output);
  if (!before || before.length !== after?.length) return undefined;
  return when(before.filter((d, i) => d === null || d === 0 || d !== after[i]).length <= 1);
};

const oneInput: PassesOn = (node) => when(node.inputs.length === 1);

/** Arithmetic with a neutral constant on one side: `right` only, or either. */
const neutral =
  (element: number, sides: 'right' | 'both'): PassesOn =>
  (node, scope) => {
    for (const index of sides === 'both' ? [1, 0] : [1]) {
      const constant = node.inputs[index];
      const other = node.inputs[1 - index];
      if (!constant || !other || !isUniformly(element, constant.constant)) continue;
      // Broadcasting against the constant must not make the result larger.
      const rank = scope.rank(other);
      const isPoint = constant.constant?.size === 1 && rank !== undefined && constant.constant.dims.length <= rank;
      if (isPoint || scope.sameShape(other, node.output)) return 1 - index;
    }
    return undefined;
  };

const all = (values: readonly number[] | undefined, element: number): boolean =>
  values?.every((v) => v === element) ?? false;

const windowOfOne: PassesOn = (node, scope) => {
  const one = (name: string): boolean => node.ints(name)?.every((v) => v === 1) ?? true;
  const unpadded = node.ints('pads')?.every((v) => v === 0) ?? true;
  return one('kernel_shape') && one('strides') && unpadded ? keepsShape(node, scope) : undefined;
};

const NO_OPS: Readonly<Record<string, PassesOn>> = {
  Identity: () => 0,

  Dropout(node, scope) {
    if (scope.opset < 7) return when(node.int('is_test', 0) === 1);
    const training = node.inputs[2];
    return when(!training || scope.scalar(training) === 0);
  },

  Cast: (node, scope) => when(scope.dtype(node.inputs[0]) === dtypeOfCode(node.int('to', 0))),

  CastLike(node, scope) {
    const from = scope.dtype(node.inputs[0]);
    return when(from !== undefined && from === scope.dtype(node.inputs[1]));
  },

  Reshape: keepsShapeButOne,
  Flatten: keepsShapeButOne,
  Squeeze: keepsShape,
  Unsqueeze: keepsShape,
  Expand: keepsShape,

  Transpose(node) {
    return when(node.ints('perm')?.every((axis, i) => axis === i));
  },

  Tile: (node, scope) => when(all(scope.integers(node.inputs[1]), 1)),

  Pad: (node, scope) => when(all(node.ints('pads') ?? scope.integers(node.inputs[1]), 0)),

  Slice(node, scope) {
    const steps = node.inputs[4] ? scope.integers(node.inputs[4]) : [];
    if (!steps?.every((step) => step > 0)) return undefined;
    if (keepsShape(node, scope) === 0) return 0;
    const starts = node.ints('starts') ?? scope.places(node.inputs[1]);
    const ends = node.ints('ends') ?? scope.places(node.inputs[2]);
    const toTheEnd = ends?.every((end) => end >= 2 ** 31 - 1) ?? false;
    return when(all(starts, 0) && toTheEnd && all(steps, 1));
  },

  Gather(node, scope) {
    const dims = scope.dims(node.inputs[0]);
    const indices = scope.integers(node.inputs[1]);
    if (!dims || !indices || scope.rank(node.inputs[1]) !== 1) return undefined;
    const axis = node.int('axis', 0);
    const length = dims.at(axis);
    return when(indices.length === length && indices.every((v, i) => v === i));
  },

  Concat: oneInput,
  Sum: oneInput,
  Max: oneInput,
  Min: oneInput,
  Mean: oneInput,
  Split: (node) => when(node.outputs.length === 1),

  Add: neutral(0, 'both'),
  Sub: neutral(0, 'right'),
  Mul: neutral(1, 'both'),
  Div: neutral(1, 'right'),
  Pow: neutral(1, 'right'),
  And: neutral(1, 'both'),
  Or: neutral(0, 'both'),

  Clip(node, scope) {
    if (scope.opset < 11) return when(!node.attributes.has('min') && !node.attributes.has('max'));
    const [, min, max] = node.inputs;
    return when((!min || scope.scalar(min) === -Infinity) && (!max || scope.scalar(max) === Infinity));
  },

  Where(node, scope) {
    const condition = scope.numbers(node.inputs[0]);
    const first = condition?.[0];
    if (first === undefined || !condition?.every((v) => v === first)) return undefined;
    const index = first ? 1 : 2;
    const chosen = node.inputs[index];
    return chosen && scope.sameShape(chosen, node.output) ? index : undefined;
  },

  // Over axes of length 1 (or no axes at all) these reductions give back what is there.
  ReduceMax: keepsShape,
  ReduceMin: keepsShape,
  ReduceMean: keepsShape,
  ReduceSum: keepsShape,
  ReduceProd: keepsShape,
  GlobalAveragePool: keepsShape,
  GlobalMaxPool: keepsShape,
  MaxPool: windowOfOne,
  AveragePool: windowOfOne,

  DepthToSpace: (node) => when(node.int('blocksize', 0) === 1),
  SpaceToDepth: (node) => when(node.int('blocksize', 0) === 1),

  Upsample: (node, scope) => when(all(node.floats('scales') ?? scope.numbers(node.inputs[1]), 1)),

  Resize(node, scope) {
    if (node.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize') return undefined;
    if (node.string('keep_aspect_ratio_policy', 'stretch') !== 'stretch') return undefined;
    const scales = node.inputs[scope.opset < 11 ? 1 : 2];
    if (scales && scales.constant?.size !== 0) return when(all(scope.numbers(scales), 1));
    return node.inputs[3] ? keepsShape(node, scope) : undefined;
  },
};
