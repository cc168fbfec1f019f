import { isFloat, type Model, type Node, Tensor, type Value } from '@pare/core';
import { constantSource, removeDeadConstant } from './constant-source.js';

/**
 * Puts alpha and beta of each Gemm into its constant weight and bias, because integer kernels know neither. Factors of other
 * Gemms stay. Returns a sentence a node.
 */
export function absorbFactors(model: Model): string[] {
  const notes: string[] = [];
  for (const node of model.graph.nodes()) {
    if (!node.is('Gemm')) continue;
    const alpha = node.float('alpha', 1);
    const beta = node.inputs[2] ? node.float('beta', 1) : 1;
    if (alpha === 1 && beta === 1) continue;
    const factors = [
      [1, alpha, 'alpha'],
      [2, beta, 'beta'],
    ] as const;
    if (factors.some(([index, factor]) => factor !== 1 && !isFloatConstant(node.inputs[index]))) continue;
    for (const [index, factor, name] of factors) {
      if (factor !== 1) scale(node, index, factor);
      node.deleteAttribute(name);
    }
    notes.push(`${node.label}: its alpha and beta are now in its weight and bias.`);
  }
  return notes;
}

function isFloatConstant(value: Value | null | undefined): boolean {
  const dtype = constantSource(value)?.tensor.dtype;
  return dtype === 'float32' && isFloat(dtype);
}

function scale(node: Node, index: number, factor: number): void {
  const old = node.inputs[index] as Value;
  const { tensor, transposed } = constantSource(old) as NonNullable<ReturnType<typeof constantSource>>;
  const produce = async (): Promise<Uint8Array> => {
    const scaled = ((await tensor.toArray()) as Float32Array).map((v) => v * factor);
    return new Uint8Array(scaled.buffer);
  };
  const { dtype, dims, byteLength } = tensor;
  const data = new Tensor(dtype, dims, { kind: 'producer', byteLength, produce });
  if (transposed) node.setAttribute('transB', 1 - node.int('transB', 0));
  const graph = old.graph;
  node.setInput(index, graph.addInitializer(`${old.name}_scaled`, data));
  removeDeadConstant(old);
}
