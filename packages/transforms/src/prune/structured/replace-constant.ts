import { type Node, type Tensor, tensorType } from '@pare/core';

/** Makes `node` read `tensor` at input `index`. An initializer that only it reads keeps its name; others stay for their readers. */
export function replaceConstant(node: Node, index: number, tensor: Tensor, name = 'const'): void {
  const old = node.inputs[index];
  const { graph } = node;
  if (!graph) return;
  if (old?.initializer && old.uses.size === 1 && !old.isGraphOutput && !old.isGraphInput && old.graph === graph) {
    graph.setInitializer(old, tensor);
    old.type = tensorType(tensor.dtype, tensor.dims);
    return;
  }
  node.setInput(index, graph.addInitializer(old?.name ?? name, tensor));
  if (old?.producer && old.isUnused) old.graph.remove(old.producer);
}
