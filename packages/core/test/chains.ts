import { expect } from 'vitest';
import type { Graph } from '../src/ir/graph.js';
import type { Node } from '../src/ir/node.js';
import type { Value } from '../src/ir/value.js';

/** What use-def chains and lists of nodes must say, recomputed from the inputs and outputs of the nodes alone. */
export function expectChainsToHold(graph: Graph): void {
  const uses = new Map<Value, Set<string>>();
  const numbers = new Map([...graph.allNodes()].map((node, i) => [node, i]));
  for (const g of graph.graphs()) {
    let previous: Node | undefined;
    let count = 0;
    for (const node of g.nodes()) {
      expect(node.graph).toBe(g);
      expect(node._previous).toBe(previous);
      previous = node;
      count++;
      for (const [i, input] of node.inputs.entries()) {
        if (!input) continue;
        const set = uses.get(input) ?? new Set();
        uses.set(input, set.add(`${numbers.get(node)}:${i}`));
      }
      for (const output of node.outputs) if (output) expect(output.producer).toBe(node);
      for (const sub of node.subgraphs()) expect(sub.parent).toBe(node);
    }
    expect(g.last).toBe(previous);
    expect(g.size).toBe(count);
    expect([...g.nodesReversed()].reverse()).toEqual([...g.nodes()]);
  }
  for (const g of graph.graphs()) {
    for (const value of g.values) {
      const expected = [...(uses.get(value) ?? [])].sort();
      const said = [...value.uses].map((use) => `${numbers.get(use.node)}:${use.index}`).sort();
      expect(said).toEqual(expected);
      expect(value.isUnused).toBe(expected.length === 0 && !g.outputs.includes(value));
      expect(value.isGraphOutput).toBe(g.outputs.includes(value));
      expect(value.isGraphInput).toBe(g.inputs.includes(value));
      expect(g.value(value.name)).toBe(value);
      if (value.producer) expect(value.producer.outputs).toContain(value);
    }
  }
}
