import { type Model, type Node, PareError, type Transform, type TransformResult, throwIfAborted } from '@pare/core';
import { type NodeSelection, nodeSelector } from './select.js';
import { BLOCK_RULES, CHANNEL_RULES } from './weight-only/dequantize.js';
import { NBITS_RULES } from './weight-only/nbits.js';
import { type Rule, Scope } from './weight-only/scope.js';

export type WeightOnlyFormat = 'matmulnbits' | 'dequantize' | 'cast';

/** Options of `quantizeWeights`. */
export interface QuantizeWeightsOptions extends NodeSelection {
  /** Bits of a weight. Default 4, or 8 for the format `cast`, which has no others; 2 with the format `matmulnbits` only. */
  readonly bits?: 2 | 4 | 8;
  /**
   * How the weights are made real again.
   *
   * - `matmulnbits` (default): operators of ONNX Runtime that read blocks of integers, MatMulNBits and GatherBlockQuantized,
   *   for MatMul, Gemm and Gather.
   * - `dequantize`: DequantizeLinear before the float operator. 8 bits: one scale for each output channel, for MatMul, Gemm,
   *   Conv, ConvTranspose, LSTM, GRU, RNN and Gather. 4 bits: blocks (opset 21), for MatMul and Gemm. Runtimes keep it: they
   *   fuse it into a product (fast on a CPU, slow in WebAssembly), or run it each time (slow for Conv).
   * - `cast`: as `dequantize` with 8 bits, but written with Cast and Mul, which runtimes fold when they load the model: the
   *   speed and memory of float, the file of 8 bits, at any opset.
   */
  readonly format?: WeightOnlyFormat;
  /** Weights that share a scale, along the summed axis: 16, 32, 64, 128 or 256. Default 32; not for channels of 8 bits. */
  readonly blockSize?: 16 | 32 | 64 | 128 | 256;
  /** No zero points. Default false for blocks (their zero points pay), true for channels of 8 bits. */
  readonly symmetric?: boolean;
  /** `accuracy_level` of MatMulNBits: 4 lets it compute in int8. Default: left out, it computes in the activations' type. */
  readonly accuracyLevel?: 1 | 2 | 3 | 4;
}

/**
 * Weight-only quantization: weights become integers of 2, 4 or 8 bits in the file, activations stay as they are. No data is
 * needed. Blocks get the scale of least squared error: clip search and least-squares refit with the integer zero point inside
 * the loop. Constant weights of type float32 and float16 are taken, also from Constant nodes and behind Identity and
 * Transpose; tied weights stay one tensor; subgraphs are included. Each weight is read and quantized when the model is
 * written, so memory stays bounded by one tensor; a NaN or infinite weight is found, and refused, then.
 * @throws PareError `bad-option` for a combination that no operator supports, `unsupported` when the opset is too old for it.
 */
export function quantizeWeights(options: QuantizeWeightsOptions = {}): Transform {
  return { name: 'quantizeWeights', apply: (model, context) => apply(model, options, context.signal) };
}

function apply(model: Model, options: QuantizeWeightsOptions, signal?: AbortSignal): TransformResult {
  const { format = 'matmulnbits', blockSize, accuracyLevel } = options;
  const bits = options.bits ?? (format === 'cast' ? 8 : 4);
  const rules = rulesFor(model, bits, format, options);
  const symmetric = options.symmetric ?? rules === CHANNEL_RULES;
  const scope = new Scope(model, { bits, blockSize, symmetric, accuracyLevel, folded: format === 'cast' });
  const selected = nodeSelector(options);
  const notes: string[] = [];
  let changed = 0;
  const what =
    rules === CHANNEL_RULES
      ? '8 bits a weight, a scale a channel'
      : `${bits} bits a weight, blocks of ${blockSize ?? 32}`;
  for (const [node, rule] of inOrder(model, rules)) {
    if (!selected(node)) continue;
    throwIfAborted(signal);
    const { label } = node;
    const refusal = rule(node, scope);
    if (refusal) notes.push(`${label} stays in float: ${refusal}.`);
    else {
      notes.push(`${label}: ${what}${symmetric ? '' : ', with zero points'}.`);
      changed++;
    }
  }
  if (model.functions.length > 0) notes.push('Local functions were left as they are; inline them first.');
  return { changed, notes };
}

function rulesFor(
  model: Model,
  bits: 2 | 4 | 8,
  format: WeightOnlyFormat,
  options: QuantizeWeightsOptions,
): Readonly<Record<string, Rule>> {
  if (format === 'matmulnbits') return NBITS_RULES;
  if (options.accuracyLevel) throw new PareError('bad-option', 'accuracyLevel belongs to the format "matmulnbits".');
  if (bits === 2) throw new PareError('bad-option', '2-bit weights need the format "matmulnbits".');
  if (bits === 4 && format === 'cast') throw new PareError('bad-option', 'The format "cast" has 8 bits only.');
  if (bits === 8) {
    if (options.blockSize) throw new PareError('bad-option', '8-bit blocks need the format "matmulnbits".');
    return CHANNEL_RULES;
  }
  if (model.opset < 21) {
    throw new PareError(
      'unsupported',
      `4-bit DequantizeLinear needs opset 21; the model is opset ${model.opset}. Use the format "matmulnbits".`,
    );
  }
  return BLOCK_RULES;
}

/** The nodes that have a rule, lookups last: a table that is also a product's matrix takes the product's form. */
function inOrder(model: Model, rules: Readonly<Record<string, Rule>>): [Node, Rule][] {
  const found: [Node, Rule][] = [];
  for (const node of model.allNodes()) {
    const rule = node.domain === '' ? rules[node.opType] : undefined;
    if (rule) found.push([node, rule]);
  }
  const isLookup = ([node]: [Node, Rule]): boolean => node.is('Gather');
  return [...found.filter((entry) => !isLookup(entry)), ...found.filter(isLookup)];
}
