import { type Graph, isFloat, type Node, PareError, type Value } from '@pare/core';
import type { Emitter } from './emitter.js';
import { Adjoint } from './rule.js';
import { NO_GRADIENT, ruleOf } from './rules/index.js';

/**
 * Reverse-mode differentiation over `nodes` (in topological order): emits, after them, dL/dv for each `v` of `wanted`, from
 * `seeds`, dL/dv of what L is computed from. Nothing is emitted for values that no wanted one leads to.
 *
 * Griewank and Walther, Evaluating Derivatives, 2nd ed., section 3.2.
 * @returns the gradients; a wanted value that no seed depends on is not in it.
 * @throws PareError `unsupported` for an operator without a rule between a wanted value and a seed.
 */
export function sweep(
  nodes: readonly Node[],
  emit: Emitter,
  seeds: ReadonlyMap<Value, Value>,
  wanted: ReadonlySet<Value>,
): Map<Value, Value> {
  const carries = carriers(nodes, emit, wanted);
  const contributions = new Map<Value, Value[]>([...seeds].map(([value, seed]) => [value, [seed]]));
  const total = (value: Value): Value | null => {
    const parts = contributions.get(value);
    if (!parts) return null;
    // Two at a time: ONNX Runtime adds quicker than it sums.
    const sum = parts.reduce((a, b) => emit.add(a, b));
    contributions.set(value, [sum]);
    return sum;
  };

  for (const node of nodes.toReversed()) {
    const outputs = node.outputs.map((y) => (y && carries.has(y) ? y : null));
    if (!outputs.some((y) => y && contributions.has(y))) continue;
    const rule = ruleOf(node) ?? refuse(node, [...wanted]);
    const captured = capturedBy(node);
    const pullbacks = rule(
      new Adjoint(
        node,
        emit,
        captured,
        outputs.map((y) => y && total(y)),
        carries,
        sweep,
      ),
    );
    for (const [i, input] of [...node.inputs, ...captured].entries()) {
      if (!input || !carries.has(input)) continue;
      const gradient = pullbacks[i]?.();
      if (!gradient) continue;
      const part = emit.sumTo(gradient, emit.shape(input));
      const parts = contributions.get(input);
      if (parts) parts.push(part);
      else contributions.set(input, [part]);
    }
  }

  const gradients = new Map<Value, Value>();
  for (const value of wanted) {
    const gradient = total(value);
    if (gradient) gradients.set(value, gradient);
  }
  return gradients;
}

/** The values through which a change of a wanted one reaches the end. */
function carriers(nodes: readonly Node[], emit: Emitter, wanted: ReadonlySet<Value>): Set<Value> {
  const carries = new Set(wanted);
  for (const node of nodes) {
    if (NO_GRADIENT.has(node.opType)) continue;
    if (![...node.inputs, ...capturedBy(node)].some((x) => x && carries.has(x))) continue;
    for (const y of node.outputs) {
      const type = y && emit.inference.typeOf(y);
      if (type?.kind === 'tensor' && type.dtype && isFloat(type.dtype)) carries.add(y as Value);
    }
  }
  return carries;
}

/** The values of graphs around `node` that its subgraphs read, each once. */
export function capturedBy(node: Node): Value[] {
  const captured = new Set<Value>();
  const inner = new Set<Graph>(node.subgraphs().flatMap((graph) => [...graph.graphs()]));
  for (const graph of inner) {
    for (const use of [...graph.nodes()].flatMap((n) => n.inputs)) if (use && !inner.has(use.graph)) captured.add(use);
    for (const output of graph.outputs) if (!inner.has(output.graph)) captured.add(output);
  }
  return [...captured];
}

function refuse(node: Node, wanted: readonly Value[]): never {
  const below = wanted.map((value) => `"${value.name}"`);
  const some = below.length > 3 ? `${below.slice(0, 3).join(', ')} and ${below.length - 3} more` : below.join(', ');
  throw new PareError(
    'unsupported',
    `${node.label} has no gradient rule and lies between the loss and what is trained (${some}): freeze the parameters ` +
      'before it, or cut the model there.',
  );
}
