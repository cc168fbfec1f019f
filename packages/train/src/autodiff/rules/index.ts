import type { Node } from '@pare/core';
import type { Rule } from '../rule.js';
import { ACTIVATION } from './activation.js';
import { ARITHMETIC } from './arithmetic.js';
import { ATTENTION } from './attention.js';
import { BATCH_NORMALIZATION } from './batch-normalization.js';
import { COL2IM } from './col2im.js';
import { CONTROL } from './control.js';
import { CONV } from './conv.js';
import { EINSUM } from './einsum.js';
import { ELEMENTWISE } from './elementwise.js';
import { GRID_SAMPLE } from './grid-sample.js';
import { INDEXING } from './indexing.js';
import { LOSS } from './loss.js';
import { MATMUL } from './matmul.js';
import { NORMALIZATION } from './normalization.js';
import { PAD } from './pad.js';
import { POOLING } from './pooling.js';
import { RECURRENT } from './recurrent.js';
import { REDUCTION } from './reduction.js';
import { RESIZE } from './resize.js';
import { SELECTION } from './selection.js';
import { SHAPE } from './shape.js';
import { SLICE } from './slice.js';
import { SOFTMAX } from './softmax.js';

/** The gradient rules of the default operator set, by operator. */
export const RULES: Readonly<Record<string, Rule>> = {
  ...ACTIVATION,
  ...ARITHMETIC,
  ...ATTENTION,
  ...BATCH_NORMALIZATION,
  ...COL2IM,
  ...CONTROL,
  ...CONV,
  ...EINSUM,
  ...ELEMENTWISE,
  ...GRID_SAMPLE,
  ...INDEXING,
  ...LOSS,
  ...MATMUL,
  ...NORMALIZATION,
  ...PAD,
  ...POOLING,
  ...RECURRENT,
  ...REDUCTION,
  ...RESIZE,
  ...SELECTION,
  ...SHAPE,
  ...SLICE,
  ...SOFTMAX,
};

/** Operators whose outputs do not change, or jump, when an input changes a little: nothing flows through them. */
export const NO_GRADIENT: ReadonlySet<string> = new Set([
  'And',
  'ArgMax',
  'ArgMin',
  'Bernoulli',
  'BitwiseAnd',
  'BitwiseNot',
  'BitwiseOr',
  'BitwiseXor',
  'Ceil',
  'Constant',
  'ConstantOfShape',
  'Equal',
  'EyeLike',
  'Floor',
  'Greater',
  'GreaterOrEqual',
  'Hardmax',
  'IsInf',
  'IsNaN',
  'Less',
  'LessOrEqual',
  'NonZero',
  'Not',
  'OneHot',
  'Or',
  'RandomNormalLike',
  'RandomUniformLike',
  'Range',
  'Shape',
  'Sign',
  'Size',
  'Xor',
]);

export function ruleOf(node: Node): Rule | undefined {
  return node.domain === '' || node.domain === 'ai.onnx' ? RULES[node.opType] : undefined;
}
