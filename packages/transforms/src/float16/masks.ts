import { type Graph, type Node, Tensor, type Value } from '@pare/core';
import { removeDeadConstant } from '../quantize/constant-source.js';

/**
 * What replaces a mask's "minus infinity": far enough that its exponential is 0 in every precision, near enough that two
 * masks and a score on top of each other stay finite in float16.
 */
const MASKED = -30000;

/** Operators that carry a mask to the scores. */
const CARRIES: ReadonlySet<string> = new Set(
  'Add Sub Mul Where Expand Reshape Squeeze Unsqueeze Concat Slice Gather Cast Identity Transpose Tile Trilu Pad Min Max ScatterND ConstantOfShape'.split(
    ' ',
  ),
);

/** Operators that take exponentials of the scores, with the input at which a mask may end; undefined is any. */
const ENDS: Readonly<Record<string, number | undefined>> = {
  Softmax: 0,
  LogSoftmax: 0,
  Attention: 3,
  'com.microsoft.MultiHeadAttention': 5,
  'com.microsoft.GroupQueryAttention': 10,
  'com.microsoft.Attention': 5,
};

/**
 * Makes the large negative numbers of attention masks (-1e9, the smallest float32) fit float16. Only where every way from
 * the constant leads to a softmax, whose result is the same. Returns the values on the way, whose lower bound means nothing,
 * and how many constants were replaced.
 */
export async function softenMasks(graph: Graph): Promise<{ values: ReadonlySet<Value>; replaced: number }> {
  const values = new Set<Value>();
  const masks = new Map<Tensor, Promise<Tensor | undefined>>();
  const initializers = new Map<Value, Value>();
  let replaced = 0;
  for (const node of graph.allNodes()) {
    if (!CARRIES.has(node.opType) || node.domain !== '') continue;
    for (const [index, tensor] of smallConstants(node)) {
      masks.set(tensor, masks.get(tensor) ?? softened(tensor));
      const mask = await masks.get(tensor);
      const way = mask && wayToSoftmax(node);
      if (!mask || !way) continue;
      replaceConstant(node, index, mask, initializers);
      for (const value of way) values.add(value);
      replaced++;
    }
  }
  return { values, replaced };
}

/** The float32 constants of `node` that could hold a mask's number: operands, and the tensor of ConstantOfShape (-1). */
function smallConstants(node: Node): [number, Tensor][] {
  const operands = node.inputs.map((value, index) => [index, value?.constant] as const);
  const own = node.is('ConstantOfShape') ? [[-1, node.tensor('value')] as const] : [];
  return [...operands, ...own].filter(
    (entry): entry is [number, Tensor] => entry[1]?.dtype === 'float32' && entry[1].size <= 1 << 22,
  );
}

/** `tensor` with its large negative numbers replaced; undefined when it has none. */
async function softened(tensor: Tensor): Promise<Tensor | undefined> {
  const values = (await tensor.toArray()) as Float32Array;
  if (!values.some((v) => v < -65504 && v > Number.NEGATIVE_INFINITY)) return undefined;
  return Tensor.of(
    'float32',
    tensor.dims,
    values.map((v) => (v < -65504 && v > Number.NEGATIVE_INFINITY ? MASKED : v)),
  );
}

/** All values between `start` and the softmaxes that every way from it ends in; undefined when one ends elsewhere. */
function wayToSoftmax(start: Node): Set<Value> | undefined {
  const way = new Set<Value>();
  const queue = [start];
  for (const node of queue) {
    for (const output of node.outputs) {
      if (!output || way.has(output)) continue;
      if (output.isGraphOutput || output.uses.size === 0) return undefined;
      way.add(output);
      for (const { node: reader, index } of output.uses) {
        const end = ENDS[reader.domain ? `${reader.domain}.${reader.opType}` : reader.opType];
        if (end === index) continue;
        if (reader.domain !== '' || !CARRIES.has(reader.opType) || (reader.is('Sub') && index !== 0)) return undefined;
        queue.push(reader);
      }
    }
  }
  return way;
}

function replaceConstant(node: Node, index: number, tensor: Tensor, initializers: Map<Value, Value>): void {
  if (index < 0) {
    node.setAttribute('value', tensor);
    return;
  }
  const old = node.inputs[index] as Value;
  const value = initializers.get(old) ?? old.graph.addInitializer(`${old.name}_mask`, tensor);
  initializers.set(old, value);
  node.setInput(index, value);
  removeDeadConstant(old);
}
