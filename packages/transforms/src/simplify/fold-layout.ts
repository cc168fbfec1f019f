import { dtypeInfo, type Node, Tensor, type Value } from '@pare/core';
import { budgetOf, DEFAULT_MAX_FOLD_BYTES } from './budget.js';
import { makeConstant } from './edit.js';

import { type Pass, type Rule, rewritePass } from './rewrite.js';
import type { Scope } from './scope.js';

/**
 * Constants that are only laid out anew (Reshape, Squeeze, Unsqueeze, Flatten, Transpose) are stored as they are read. Large
 * ones are permuted when the model is written, so that memory stays bounded, and need no engine. A constant that others
 * read as it is stays, unless the budget of `foldConstants` has room for a copy.
 */
export function foldLayout(options: { readonly maxFoldBytes?: number | undefined } = {}): Pass {
  const limit = options.maxFoldBytes ?? DEFAULT_MAX_FOLD_BYTES;
  const rule =
    (relay: (tensor: Tensor, node: Node, scope: Scope) => Tensor | undefined): Rule =>
    (node, scope) => {
      const [x] = node.inputs as (Value | null)[];
      const tensor = x?.constant;
      if (!x || !tensor || dtypeInfo(tensor.dtype).bits % 8 !== 0 || tensor.dtype === 'string') return undefined;
      const copied = x.uses.size > 1 || x.isGraphOutput || x.isGraphInput;
      const result = relay(tensor, node, scope);
      if (!result || (copied && !budgetOf(scope.model, limit).take(tensor.byteLength, limit))) return undefined;
      const { label } = node;
      makeConstant(node.output, result);
      return `${label} of a constant became a constant.`;
    };
  const reshaped = rule((tensor, node, scope) => {
    const dims = scope.dims(node.output);
    return dims && new Tensor(tensor.dtype, dims, tensor.data);
  });
  return rewritePass('fold-layout', {
    Reshape: reshaped,
    Squeeze: reshaped,
    Unsqueeze: reshaped,
    Flatten: reshaped,
    Transpose: rule((tensor, node) => transposed(tensor, node.ints('perm') ?? tensor.dims.map((_, i) => i).reverse())),
  });
}

/** `tensor` with axis `perm[i]` in the place of axis i; computed at once when it is in memory, else when it is read. */
export function transposed(tensor: Tensor, perm: readonly number[]): Tensor {
  const dims = perm.map((axis) => tensor.dims[axis] as number);
  const size = dtypeInfo(tensor.dtype).bits / 8;
  const run = (bytes: Uint8Array): Uint8Array => permute(bytes, size, tensor.dims, perm);
  const { bytes } = tensor;
  if (bytes) return new Tensor(tensor.dtype, dims, { kind: 'bytes', bytes: run(bytes) });
  return new Tensor(tensor.dtype, dims, {
    kind: 'producer',
    byteLength: tensor.byteLength,
    produce: async () => run(await tensor.load()),
  });
}

/** Elements of `size` bytes, moved along: the innermost output axis is walked with its stride in the input. */
function permute(bytes: Uint8Array, size: number, dims: readonly number[], perm: readonly number[]): Uint8Array {
  const out = new Uint8Array(bytes.byteLength);
  if (out.byteLength === 0) return out;
  const strides = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] as number) * (dims[i + 1] as number);
  const shape = perm.map((axis) => dims[axis] as number);
  const steps = perm.map((axis) => strides[axis] as number);
  const rank = shape.length;
  const length = shape[rank - 1] ?? 1;
  const step = steps[rank - 1] ?? 1;
  const index = new Array<number>(rank).fill(0);
  const move = mover(bytes, out, size);
  for (let to = 0, from = 0; to < out.byteLength / size; ) {
    for (let i = 0, at = from; i < length; i++, at += step) move(to++, at);
    let axis = rank - 2;
    for (; axis >= 0; axis--) {
      from += steps[axis] as number;
      if (++(index[axis] as number) < (shape[axis] as number)) break;
      from -= (steps[axis] as number) * (shape[axis] as number);
      index[axis] = 0;
    }
    if (axis < 0) break;
  }
  return out;
}

/** Copies one element; through wider views where the alignment allows it. */
function mover(from: Uint8Array, to: Uint8Array, size: number): (to: number, from: number) => void {
  const View = ({ 1: Uint8Array, 2: Uint16Array, 4: Uint32Array, 8: BigUint64Array } as const)[size];
  if (View) {
    const aligned = from.byteOffset % size === 0 ? from : from.slice();
    const source = new View(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size);
    const target = new View(to.buffer as ArrayBuffer, to.byteOffset, to.byteLength / size);
    return (i, j) => {
      target[i] = source[j] as never;
    };
  }
  return (i, j) => to.set(from.subarray(j * size, (j + 1) * size), i * size);
}
