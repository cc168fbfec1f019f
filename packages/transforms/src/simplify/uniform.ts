import { type Model, type Tensor, type TensorData, viewBytes } from '@pare/core';
import { elementsInMemory } from './scope.js';

/** Larger tensors are not searched: a weight of zeros is not what this is for. */
const LIMIT = 4 << 20;

/** Whether tensors that had to be read hold one number all over, and which. Their data never changes. */
const found = new WeakMap<TensorData, number | null>();

/** Whether all elements of `tensor` are `element`; false for tensors that nobody has read. */
export function isUniformly(element: number, tensor: Tensor | undefined): boolean {
  if (!tensor) return false;
  const known = found.get(tensor.data);
  if (known !== undefined) return known === element;
  return elementsInMemory(tensor)?.every((v) => v === element) ?? false;
}

/**
 * Reads the constant operands of arithmetic that are in a file: exporters write biases of zeros and scales of ones, and
 * such a node does nothing. Only tensors that begin with a zero or a one are read whole.
 */
export async function findUniformOperands(model: Model): Promise<void> {
  for (const node of model.allNodes()) {
    if (node.domain !== '' || !ARITHMETIC.has(node.opType)) continue;
    for (const input of node.inputs) {
      const tensor = input?.constant;
      if (tensor?.data.kind !== 'reference' || tensor.byteLength > LIMIT || found.has(tensor.data)) continue;
      if (tensor.dtype !== 'float32' && tensor.dtype !== 'float64') continue;
      found.set(tensor.data, await uniformElement(tensor, tensor.data));
    }
  }
}

const ARITHMETIC: ReadonlySet<string> = new Set(['Add', 'Div', 'Mul', 'Pow', 'Sub']);

async function uniformElement(
  tensor: Tensor,
  { source, offset }: Extract<TensorData, { kind: 'reference' }>,
): Promise<number | null> {
  const head = viewBytes(tensor.dtype, await source.read(offset, 16)) as Float32Array;
  const first = head[0] as number;
  if ((first !== 0 && first !== 1) || head.some((v) => v !== first)) return null;
  const all = (await tensor.toArray()) as Float32Array;
  return all.every((v) => v === first) ? first : null;
}
