import type { Node } from '@pare/core';

/** Operators of the default domain whose result is not a function of their inputs alone. */
const RANDOM: ReadonlySet<string> = new Set([
  'Bernoulli',
  'Multinomial',
  'RandomNormal',
  'RandomNormalLike',
  'RandomUniform',
  'RandomUniformLike',
]);

/**
 * Whether running `node` twice on the same inputs gives the same: not for random operators, those with subgraphs (whose
 * nodes may be random), and operators that Pare does not know.
 */
export function isDeterministic(node: Node): boolean {
  if (node.subgraphs().length > 0) return false;
  if (node.domain !== '') return node.domain === 'com.microsoft' && DETERMINISTIC_CONTRIB.has(node.opType);
  if (RANDOM.has(node.opType)) return false;
  // In training form Dropout draws; BatchNormalization gives its new statistics as outputs and keeps nothing.
  return !(node.is('Dropout') && node.inputs.length >= 3);
}

const DETERMINISTIC_CONTRIB: ReadonlySet<string> = new Set([
  'BiasGelu',
  'DequantizeLinear',
  'DynamicQuantizeMatMul',
  'FastGelu',
  'FusedConv',
  'FusedGemm',
  'FusedMatMul',
  'GatherBlockQuantized',
  'Gelu',
  'LayerNormalization',
  'MatMulIntegerToFloat',
  'MatMulNBits',
  'QuantizeLinear',
  'QuickGelu',
  'SimplifiedLayerNormalization',
  'SkipLayerNormalization',
  'SkipSimplifiedLayerNormalization',
]);

/** Operators that hold or make quantized weights: folding them would give the bytes back that quantization saved. */
export const QUANTIZATION: ReadonlySet<string> = new Set([
  'DequantizeLinear',
  'DynamicQuantizeLinear',
  'QuantizeLinear',
]);
