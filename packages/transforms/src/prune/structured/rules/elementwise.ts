import type { ChannelRule, ChannelRules } from '../channel-op.js';
import { broadcast } from './broadcast.js';

/** Output like the first input, element by element; further inputs (bounds, ratios) are single numbers. */
const unary: ChannelRule = (op) => [op.axes(0)];

/** All inputs broadcast against each other. */
const nary: ChannelRule = (op) => [broadcast(op, [...op.node.inputs.keys()])];

const each = (names: string, rule: ChannelRule): ChannelRules =>
  Object.fromEntries(names.split(' ').map((name) => [name, rule]));

export const elementwise: ChannelRules = {
  ...each(
    'Abs Acos Acosh Asin Asinh Atan Atanh Cast Ceil Celu Clip Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish ' +
      'Identity IsInf IsNaN LeakyRelu Log Mish Neg Not Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus ' +
      'Softsign Sqrt Swish Tan Tanh ThresholdedRelu com.microsoft.Gelu com.microsoft.QuickGelu',
    unary,
  ),
  ...each(
    'Add And BitwiseAnd BitwiseOr Div Equal Greater GreaterOrEqual Less LessOrEqual Max Mean Min Mod Mul Or PRelu Pow Sub ' +
      'Sum Where Xor com.microsoft.BiasGelu com.microsoft.FastGelu',
    nary,
  ),
};
