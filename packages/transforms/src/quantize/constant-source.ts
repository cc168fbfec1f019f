import type { Tensor, Value } from '@pare/core';

/** Where a constant operand really comes from. */
export interface ConstantSource {
  /** The initializer, or the output of the Constant node, that holds the tensor. */
  readonly root: Value;
  readonly tensor: Tensor;
  /** The operand is the tensor with its last two axes swapped (an odd number of such Transposes lies between). */
  readonly transposed: boolean;
}

/**
 * The constant that `value` carries, seen through Identity (exporters share tensors through it) and through Transposes that
 * swap the last two axes (tied embeddings are read so). Undefined when it is not constant.
 */
export function constantSource(value: Value | null | undefined): ConstantSource | undefined {
  let transposed = false;
  for (let at = value; at; ) {
    const tensor = at.constant;
    if (tensor) return { root: at, tensor, transposed };
    const producer = at.producer;
    if (producer?.is('Transpose') && swapsLastTwo(producer.ints('perm'), producer.inputs[0]?.shape?.length)) {
      transposed = !transposed;
    } else if (!producer?.is('Identity')) return undefined;
    at = producer.inputs[0];
  }
  return undefined;
}

function swapsLastTwo(perm: readonly number[] | undefined, rank: number | undefined): boolean {
  if (!perm) return rank === 2;
  const n = perm.length;
  return n >= 2 && perm.every((axis, i) => axis === (i === n - 1 ? n - 2 : i === n - 2 ? n - 1 : i));
}

/** Removes `value`, if nothing reads it any more, with what only it needed: Constant, Identity and Transpose nodes above. */
export function removeDeadConstant(value: Value | null | undefined): void {
  if (!value?.isUnused) return;
  const { producer, graph } = value;
  if (producer) {
    if (producer.outputs.some((output) => output && !output.isUnused)) return;
    const inputs = [...producer.inputs];
    producer.graph?.remove(producer);
    for (const input of inputs) removeDeadConstant(input);
  } else if (value.initializer) {
    // Before IR version 4 initializers are listed among the inputs.
    graph.removeInput(value);
    graph.removeValue(value);
  }
}
