import { type Model, type Transform, type TransformResult, throwIfAborted } from '@pare/core';
import { upgrade } from '../upgrade-opset.js';
import { attention, lstm } from './dynamic/contrib.js';
import { gather } from './dynamic/gather.js';
import { conv, gemm, matMul } from './dynamic/products.js';
import { type Rule, Scope } from './dynamic/scope.js';
import { type NodeSelection, nodeSelector } from './select.js';
import { WeightStore } from './weight-store.js';

/** Options of `quantizeDynamic`. */
export interface QuantizeDynamicOptions extends NodeSelection {
  /** Type of the weights: `int8` is symmetric, `uint8` asymmetric where the operator allows it. Default `int8`. */
  readonly weights?: 'int8' | 'uint8';
  /** One scale for each output channel instead of one a tensor. Default true. */
  readonly perChannel?: boolean;
  /** 7-bit weights, for x64 processors without VNNI, whose u8s8 kernels saturate. Default false. */
  readonly reduceRange?: boolean;
}

/**
 * Dynamic quantization: weights become 8-bit integers in the file, activations become uint8 at run time with a range measured
 * on each input (DynamicQuantizeLinear), and MatMul, Gemm and Conv compute in integers. No calibration data is needed. Only
 * constant weights of type float32 are touched, also those in Constant nodes and behind Identity; subgraphs are included.
 * A weight or an activation that several nodes read is quantized once. Weights are read again when the model is written, so
 * memory stays bounded by one tensor. A model of an older opset is brought to 11, the first with DynamicQuantizeLinear.
 * @throws PareError `bad-model` for weights that are not finite, `unsupported` when the opset cannot be raised.
 */
export function quantizeDynamic(options: QuantizeDynamicOptions = {}): Transform {
  return { name: 'quantizeDynamic', apply: (model, context) => apply(model, options, context.signal) };
}

async function apply(model: Model, options: QuantizeDynamicOptions, signal?: AbortSignal): Promise<TransformResult> {
  const selected = nodeSelector(options);
  const { weights: dtype = 'int8', perChannel = true, reduceRange = false } = options;
  const scope = new Scope(model, perChannel, new WeightStore({ dtype, reduceRange }));
  const how = `${dtype} weights, a scale ${scope.perChannel ? 'a channel' : 'a tensor'}${reduceRange ? ', 7 bits' : ''}`;
  const notes = [...upgrade(model, 11).notes];
  let changed = 0;
  for (const node of [...model.allNodes()]) {
    const rule = RULES[node.domain ? `${node.domain}.${node.opType}` : node.opType];
    if (!rule || !selected(node)) continue;
    throwIfAborted(signal);
    const { label } = node;
    const refusal = await rule(node, scope);
    if (refusal) notes.push(`${label} stays in float: ${refusal}.`);
    else {
      notes.push(`${label}: ${how}.`);
      changed++;
    }
  }
  if (model.functions.length > 0) notes.push('Local functions were left as they are; inline them first.');
  return { changed, notes };
}

const RULES: Readonly<Record<string, Rule>> = {
  MatMul: matMul,
  Gemm: gemm,
  Conv: conv,
  Gather: gather,
  LSTM: lstm,
  'com.microsoft.Attention': attention,
};
