import { PareError } from '../errors.js';
import type { Graph } from './graph.js';
import type { Node } from './node.js';

/**
 * Puts the nodes of `graph` and of its subgraphs in topological order, changing the present order as little as a depth-first
 * walk allows. What a subgraph captures counts as an input of the node that holds it.
 * @throws PareError `bad-model` naming a node of a cycle.
 */
export function topologicalSort(graph: Graph): void {
  const order: Node[] = [];
  const state = new Map<Node, 'open' | 'done'>();
  // An explicit stack: models are deeper than JavaScript's own.
  for (const start of graph.nodes()) {
    const stack: { node: Node; needs: Node[] }[] = [];
    const enter = (node: Node): void => {
      const seen = state.get(node);
      if (seen === 'done') return;
      if (seen === 'open') node.fail('is part of a cycle');
      state.set(node, 'open');
      stack.push({ node, needs: producersOf(node, graph) });
    };
    enter(start);
    for (let top = stack.at(-1); top; top = stack.at(-1)) {
      const need = top.needs.pop();
      if (need) enter(need);
      else {
        state.set(top.node, 'done');
        order.push(top.node);
        stack.pop();
      }
    }
  }
  if (order.length !== graph.size) throw new PareError('bad-model', `Graph "${graph.name}" cannot be put in order.`);
  graph.reorder(order);
  for (const node of graph.nodes()) for (const sub of node.subgraphs()) topologicalSort(sub);
}

/** The nodes of `graph` whose outputs `node` or its subgraphs read, last input first. */
function producersOf(node: Node, graph: Graph): Node[] {
  const readers = [node, ...node.subgraphs().flatMap((sub) => [...sub.allNodes()])];
  const producers = new Set<Node>();
  for (const reader of readers) {
    for (const input of reader.inputs) {
      if (input?.producer && input.graph === graph) producers.add(input.producer);
    }
  }
  for (const sub of node.subgraphs().flatMap((s) => [...s.graphs()])) {
    for (const output of sub.outputs) if (output.graph === graph && output.producer) producers.add(output.producer);
  }
  return [...producers].reverse();
}
