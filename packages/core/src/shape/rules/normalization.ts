import { dtypeOfCode } from '../../dtype.js';
import { normalizeAxis, type Rule, type RuleTable, tensor } from '../op.js';
import { unary } from './elementwise.js';

const batchNormalization: Rule = (op) => {
  // Beside the result: running statistics, and before version 14 saved ones, one number a channel.
  const statistics = tensor(op.dtype(3) ?? op.dtype(0), op.shape(3) ?? [op.dim(0, 1)]);
  return [tensor(op.dtype(0), op.shape(0)), statistics, statistics, statistics, statistics];
};

/** Layer normalization; mean and inverse deviation keep the axes in front of `axis`. */
const layerNormalization: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && normalizeAxis(op.int('axis', -1), input.length);
  const stash = dtypeOfCode(op.int('stash_type', 1));
  const statistics = tensor(stash, axis === undefined ? undefined : input?.map((d, i) => (i < axis ? d : 1)));
  return [tensor(op.dtype(0), input), statistics, statistics];
};

export const normalization: RuleTable = {
  BatchNormalization: batchNormalization,
  InstanceNormalization: unary(),
  LayerNormalization: layerNormalization,
  SimplifiedLayerNormalization: (op) => {
    // The second output is the inverse deviation.
    const [result, , deviation] = layerNormalization(op);
    return [result, deviation];
  },
  // The result has the type of the scale.
  RMSNormalization: (op) => [tensor(op.dtype(1), op.shape(0))],
  GroupNormalization: unary(),
  LRN: unary(),
  LpNormalization: unary(),
  MeanVarianceNormalization: unary(),
};
