import type { Node } from '@pare/core';
import type { Rule } from '../rule.js';
import { ARITHMETIC } from './arithmetic.js';
import { MATMUL } from './matmul.js';
import { REDUCTION } from './reduction.js';

/** The gradient rules of the default operator set, by operator. */
const RULES: Readonly<Record<string, Rule>> = { ...ARITHMETIC, ...MATMUL, ...REDUCTION };

/** Operators whose outputs do not change, or jump, when an input changes a little: nothing flows through them. */
export const NO_GRADIENT: ReadonlySet<string> = new Set([
  'And',
  'ArgMax',
  'ArgMin',
  'BitwiseAnd',
  'BitwiseNot',
  'BitwiseOr',
  'BitwiseXor',
  'Constant',
  'ConstantOfShape',
  'Equal',
  'EyeLike',
  'Greater',
  'GreaterOrEqual',
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
