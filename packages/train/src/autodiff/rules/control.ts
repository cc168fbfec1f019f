import { Graph, inlineGraph, Node, PareError, type Value } from '@pare/core';
import { Emitter } from '../emitter.js';
import { type Adjoint, once, type Rule } from '../rule.js';

/** Operators with graphs inside. */
export const CONTROL: Readonly<Record<string, Rule>> = {
  // The gradient of an If is an If, of which each branch computes again what its backward pass reads.
  If: (op) => {
    const wanted = op.captured.filter((value) => op.wanted.has(value));
    const node = once(() => {
      const branches = ['then_branch', 'else_branch'].map((name) => [name, backward(op, name, wanted)] as const);
      return op.emit.node('If', [op.x(0)], Object.fromEntries(branches), wanted.length);
    });
    return [null, ...op.captured.map((value) => () => node().outputs[wanted.indexOf(value)] ?? null)];
  },
  Loop: refuse,
  Scan: refuse,
};

/** A branch that computes dL/dv for each `v` of `wanted`: zeros for what it does not read. */
function backward(op: Adjoint, name: string, wanted: readonly Value[]): Graph {
  const forward = op.node.attribute(name, 'graph') ?? op.node.fail(`has no ${name}`);
  const { inference } = op.emit;
  const graph = new Graph(`${forward.name}_backward`, forward.root);
  const end = graph.append(new Node('Identity'));
  const outputs = inlineGraph(forward, end, new Map());
  graph.remove(end);
  const nodes = [...graph.nodes()];
  for (const node of nodes) inference.extend(node);

  const emit = new Emitter(graph, inference);
  const seeds = new Map<Value, Value>();
  for (const [i, output] of outputs.entries()) {
    if (!op.flows(i)) continue;
    const other = seeds.get(output);
    seeds.set(output, other ? emit.add(other, op.g(i)) : op.g(i));
  }
  const gradients = op.differentiate(nodes, emit, seeds, new Set(wanted));
  for (const value of wanted) {
    const result = emit.op('Identity', [gradients.get(value) ?? emit.fill(emit.shape(value), 0, value)]);
    result.type = inference.typeOf(result);
    graph.addOutput(result);
  }
  for (const node of graph.nodesReversed()) {
    if (node.outputs.every((value) => !value || value.isUnused)) graph.remove(node);
  }
  return graph;
}

function refuse(op: Adjoint): never {
  throw new PareError(
    'unsupported',
    `${op.node.label} repeats its body, of which there is no gradient: export the model with the loop unrolled, or its ` +
      'recurrence as LSTM, GRU or RNN; or freeze the parameters that it reads and those before it.',
  );
}
