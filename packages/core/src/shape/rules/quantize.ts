import { dtypeOfCode } from '../../dtype.js';
import { type Rule, type RuleTable, tensor } from '../op.js';

const quantize: Rule = (op) => {
  const given = op.version >= 21 ? dtypeOfCode(op.int('output_dtype', 0)) : undefined;
  return [tensor(op.has(2) ? op.dtype(2) : (given ?? 'uint8'), op.shape(0))];
};

const dequantize: Rule = (op) => {
  // Before version 19 the result was always float32; since then it has the type of the scale, since 23 also a given one.
  const given = op.version >= 23 ? dtypeOfCode(op.int('output_dtype', 0)) : undefined;
  return [tensor(given ?? (op.version < 19 ? 'float32' : op.dtype(1)), op.shape(0))];
};

const dynamicQuantize: Rule = (op) => [tensor('uint8', op.shape(0)), tensor('float32', []), tensor('uint8', [])];

export const quantization: RuleTable = {
  QuantizeLinear: quantize,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
};
