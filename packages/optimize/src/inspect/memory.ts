import { byteLength, elementCount, type Graph, type Inference, staticShape, type Value } from '@pare/core';

export interface ActivationPeak {
  /** Most bytes of activations alive at once, when nodes run in order and each tensor is freed after its last reader. */
  readonly bytes: number;
  /** The node at which the peak is reached, for messages; null in a graph without nodes. */
  readonly node: string | null;
  /** Tensors whose size is not known and that are not counted. */
  readonly unknown: number;
}

/** The most memory that activations of `graph` (not its subgraphs) take at once. Runtimes reuse and plan, so this is an estimate. */
export function peakActivations(graph: Graph, types: Inference): ActivationPeak {
  const lastReader = new Map<Value, number>();
  const nodes = [...graph.nodes()];
  nodes.forEach((node, i) => {
    const readers = [node, ...node.subgraphs().flatMap((sub) => [...sub.allNodes()])];
    for (const reader of readers) for (const input of reader.inputs) if (input) lastReader.set(input, i);
  });
  for (const output of graph.outputs) lastReader.set(output, nodes.length);

  let unknown = 0;
  const size = (value: Value): number => {
    const type = types.typeOf(value);
    const dims = type?.kind === 'tensor' ? staticShape(type.shape) : undefined;
    if (type?.kind !== 'tensor' || !type.dtype || !dims) {
      unknown++;
      return 0;
    }
    return byteLength(type.dtype, elementCount(dims));
  };

  let alive = 0;
  const sizes = new Map<Value, number>();
  const dying = new Map<number, Value[]>();
  const born = (value: Value): void => {
    const bytes = size(value);
    const end = lastReader.get(value) ?? -1;
    sizes.set(value, bytes);
    alive += bytes;
    dying.set(end, [...(dying.get(end) ?? []), value]);
  };
  for (const input of graph.inputs) if (!input.initializer) born(input);
  let peak = { bytes: alive, node: null as string | null };
  nodes.forEach((node, i) => {
    if (node.is('Constant')) return;
    for (const output of node.outputs) if (output) born(output);
    if (alive > peak.bytes) peak = { bytes: alive, node: node.label };
    for (const value of dying.get(i) ?? []) alive -= sizes.get(value) ?? 0;
    for (const output of node.outputs) if (output && !lastReader.has(output)) alive -= sizes.get(output) ?? 0;
  });
  return { ...peak, unknown };
}
