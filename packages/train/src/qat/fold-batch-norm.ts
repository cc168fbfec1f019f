import type { Node } from '@pare/core';
import { followingBatchNorm, readBias } from '@pare/transforms';

/** What a BatchNormalization is to the weights before it. */
export interface BatchNormFold {
  /** gamma / sigma of each channel. */
  readonly factors: Float64Array;
  /** Their signs: the integers of a channel change sign with its factor, which the symmetric range allows. */
  readonly signs: Int8Array;
  /** beta + (bias - mean) * factor: the bias of both. */
  readonly bias: Float32Array;
}

/**
 * Takes the BatchNormalization behind `node` out of the graph, `node` computing its output from then on, and returns what has to go
 * into weight and bias: with W = s q, gamma/sigma * W = (|gamma/sigma| s) (sign(gamma) q). Undefined when there is none.
 */
export async function foldBatchNorm(node: Node, channels: number): Promise<BatchNormFold | undefined> {
  const norm = followingBatchNorm(node);
  if (!norm) return undefined;
  const [gamma, beta, mean, variance] = (await Promise.all(
    norm.inputs.slice(1).map(async (value) => (await value?.constant?.toArray()) as Float32Array),
  )) as [Float32Array, Float32Array, Float32Array, Float32Array];
  const epsilon = norm.float('epsilon', 1e-5);
  const before = await readBias(node, channels);
  const factors = Float64Array.from(gamma, (g, c) => g / Math.sqrt((variance[c] as number) + epsilon));
  const bias = Float32Array.from(
    factors,
    (f, c) => (beta[c] as number) + ((before?.[c] ?? 0) - (mean[c] as number)) * f,
  );
  const { output } = norm;
  const own = node.output;
  norm.setOutput(0, null);
  norm.setInputs([]);
  node.setOutput(0, output);
  own.graph.removeValue(own);
  own.graph.remove(norm);
  return { factors, signs: Int8Array.from(factors, (f) => (f < 0 ? -1 : 1)), bias };
}
