import { type Graph, isInteger, type Node, type Value, type ValueType } from '@pare/core';

/** Operators through which a number stays what it was meant to be: a position, a length, an index. */
const ARITHMETIC: ReadonlySet<string> = new Set(
  'Add Sub Mul Div Neg Abs Floor Ceil Round Sqrt Pow Min Max Mod Exp Log Reciprocal Clip Identity Reshape Squeeze Unsqueeze Concat Slice Gather Transpose Expand Tile MatMul Einsum Split Flatten Where Cast'.split(
    ' ',
  ),
);

/**
 * The nodes that compute with positions and lengths as floats: on a way from integers (a Cast, a Range) through arithmetic
 * alone to integers again, or to a sine. float16 counts to 2048 without gaps, so these stay in float32: sizes for Resize,
 * rotary embeddings, grids of anchors.
 */
export function integerArithmetic(graph: Graph, typeOf: (value: Value) => ValueType | undefined): Set<Node> {
  const isFloat = (value: Value | null): value is Value => {
    const type = value ? typeOf(value) : undefined;
    return type?.kind === 'tensor' && type.dtype === 'float32';
  };
  const isIndex = (value: Value | null | undefined): boolean => {
    const type = value ? typeOf(value) : undefined;
    return type?.kind === 'tensor' && !!type.dtype && isInteger(type.dtype);
  };
  const nodes = [...graph.allNodes()];
  const fromIntegers = new Set<Value>();
  for (const node of nodes) {
    if (node.domain !== '') continue;
    const floats = node.inputs.filter(isFloat);
    const starts = node.opType === 'Range' || (node.opType === 'Cast' && isIndex(node.inputs[0]));
    const continues =
      ARITHMETIC.has(node.opType) &&
      floats.some((v) => fromIntegers.has(v)) &&
      floats.every((v) => fromIntegers.has(v) || v.constant);
    if (starts || continues) for (const output of node.outputs) if (isFloat(output)) fromIntegers.add(output);
  }
  const pinned = new Set<Node>();
  const toIntegers = new Set<Value>();
  for (const node of nodes.reverse()) {
    const ends = (node.is('Cast') && isIndex(node.outputs[0])) || node.is('Sin') || node.is('Cos');
    const continues = ARITHMETIC.has(node.opType) && node.outputs.some((v) => v && toIntegers.has(v));
    if (!ends && !continues) continue;
    const inputs = node.inputs.filter((v): v is Value => isFloat(v) && fromIntegers.has(v));
    for (const input of inputs) toIntegers.add(input);
    // A node that starts the way has integer inputs only.
    if (inputs.length > 0 || node.outputs.some((v) => v && toIntegers.has(v) && fromIntegers.has(v))) pinned.add(node);
  }
  return pinned;
}
