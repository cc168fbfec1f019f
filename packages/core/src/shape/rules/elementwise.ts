import { type DType, dtypeOfCode } from '../../dtype.js';
import { broadcastShapes } from '../broadcast.js';
import { type Op, type Rule, type RuleTable, tensor } from '../op.js';
import * as element from '../values.js';

/** Same type and shape as the first input. */
export const unary =
  (fn?: element.UnaryFunction): Rule =>
  (op) => {
    const dtype = op.dtype(0);
    const values = fn && dtype && element.mapValues(op.input(0), (a) => fn(a, dtype));
    return [tensor(dtype, op.shape(0), values)];
  };

/** Same shape as the first input, elements of `dtype`. */
export const unaryTo =
  (dtype: DType): Rule =>
  (op) => [tensor(dtype, op.shape(0))];

const binaryOf = (op: Op, result: DType | undefined, fn?: element.BinaryFunction): ReturnType<Rule> => {
  // Before version 7 the result always had the shape of the first operand.
  const legacy = op.version < 7 && op.node.domain === '';
  const shape = legacy ? op.shape(0) : broadcastShapes(op.shape(0), op.shape(1));
  const dtype = op.dtype(0) ?? op.dtype(1);
  const values = fn && dtype && element.zipValues([op.input(0), op.input(1)], shape, (a, b) => fn(a, b, dtype));
  return [tensor(result ?? dtype, shape, values)];
};

/** Broadcast of two inputs of one type. */
export const binary =
  (fn?: element.BinaryFunction): Rule =>
  (op) =>
    binaryOf(op, undefined, fn);

const compare =
  (fn?: element.BinaryFunction): Rule =>
  (op) =>
    binaryOf(op, 'bool', fn);

/** Broadcast of any number of inputs of one type. */
const variadic =
  (fn?: element.BinaryFunction): Rule =>
  (op) => {
    const inputs = Array.from({ length: op.inputCount }, (_, i) => op.input(i));
    const shape = broadcastShapes(...inputs.map((_, i) => op.shape(i)));
    const dtype = inputs.map((_, i) => op.dtype(i)).find((d) => d);
    const values = fn && dtype && element.zipValues(inputs, shape, (...v) => v.reduce((a, b) => fn(a, b, dtype)));
    return [tensor(dtype, shape, values)];
  };

const powRule: Rule = (op) => {
  // From version 12 on the exponent may be of another type.
  const dtype = op.dtype(0) ?? (op.version < 12 ? op.dtype(1) : undefined);
  const shape = broadcastShapes(op.shape(0), op.shape(1));
  const values = dtype && element.zipValues([op.input(0), op.input(1)], shape, (a, b) => element.pow(a, b, dtype));
  return [tensor(dtype, shape, values)];
};

const where: Rule = (op) => {
  const dtype = op.dtype(1) ?? op.dtype(2);
  const shape = broadcastShapes(op.shape(0), op.shape(1), op.shape(2));
  const values = element.zipValues([op.input(0), op.input(1), op.input(2)], shape, (c, a, b) => {
    if (c === 1) return a;
    if (c === 0) return b;
    return a === b ? a : null;
  });
  return [tensor(dtype, shape, values)];
};

const castRule: Rule = (op) => {
  const to = dtypeOfCode(op.int('to', 0));
  const from = op.dtype(0);
  const values = to && from && element.mapValues(op.input(0), (v) => element.cast(v, from, to));
  return [tensor(to, op.shape(0), values)];
};

const castLike: Rule = (op) => {
  const [from, to] = [op.dtype(0), op.dtype(1)];
  const values = to && from && element.mapValues(op.input(0), (v) => element.cast(v, from, to));
  return [tensor(to, op.shape(0), values)];
};

const dropout: Rule = (op) => {
  // Version 7 made the mask a float, 10 a bool.
  const maskType = op.version < 10 ? op.dtype(0) : 'bool';
  return [tensor(op.dtype(0), op.shape(0)), tensor(maskType, op.shape(0))];
};

const clip: Rule = (op) => {
  const dtype = op.dtype(0);
  const [low, high] =
    op.version < 11
      ? [undefined, undefined]
      : [op.has(1) ? op.values(1)?.[0] : -Infinity, op.has(2) ? op.values(2)?.[0] : Infinity];
  if (low === undefined || high === undefined || !dtype) return [tensor(dtype, op.shape(0))];
  const values = element.mapValues(op.input(0), (v) => {
    const raised = low === -Infinity ? v : element.max(v, low, dtype);
    return high === Infinity ? raised : element.min(raised, high, dtype);
  });
  return [tensor(dtype, op.shape(0), values)];
};

/** Unary operators whose result has the type and shape of the input. */
const SAME =
  'Acos Acosh Asin Asinh Atan Atanh BitwiseNot Celu Cos Cosh Elu Erf Exp Gelu HardSigmoid HardSwish Hardmax LeakyRelu Log ' +
  'LogSoftmax Mish ParametricSoftplus PRelu Selu Shrink Sigmoid Sin Sinh Softmax Softplus Softsign Swish SwiGLU Tan Tanh ' +
  'ThresholdedRelu Affine ImageScaler Scale ScaledTanh';

export const elementwise: RuleTable = {
  ...Object.fromEntries(SAME.split(' ').map((name) => [name, unary()])),
  Identity: (op) => [op.input(0)],
  Abs: unary(element.abs),
  Neg: unary(element.neg),
  Floor: unary(element.floor),
  Ceil: unary(element.ceil),
  Round: unary(element.round),
  Sqrt: unary(element.sqrt),
  Reciprocal: unary(element.reciprocal),
  Sign: unary(element.sign),
  Relu: unary((a, dtype) => element.max(a, 0, dtype)),
  Not: unary(element.not),
  IsNaN: unaryTo('bool'),
  IsInf: unaryTo('bool'),
  Clip: clip,
  Cast: castRule,
  BitCast: (op) => [tensor(dtypeOfCode(op.int('to', 0)), op.shape(0))],
  CastLike: castLike,
  Dropout: dropout,

  Add: binary(element.add),
  Sub: binary(element.sub),
  Mul: binary(element.mul),
  Div: binary(element.div),
  Mod: (op) => binaryOf(op, undefined, op.int('fmod', 0) === 1 ? element.fmod : element.mod),
  Pow: powRule,
  BitShift: binary(),
  BitwiseAnd: binary(),
  BitwiseOr: binary(),
  BitwiseXor: binary(),
  And: compare(element.and),
  Or: compare(element.or),
  Xor: compare(element.xor),
  Equal: compare(element.equal),
  Less: compare(element.less),
  LessOrEqual: compare(element.lessOrEqual),
  Greater: compare(element.greater),
  GreaterOrEqual: compare(element.greaterOrEqual),
  Where: where,

  Max: variadic(element.max),
  Min: variadic(element.min),
  Sum: variadic(element.add),
  Mean: variadic(),
};
