import type { Graph, Node, Use, Value } from '@pare/core';
import type { PlacedNode, Placement } from '@pare/transforms';
import type { Bits } from './precision.js';

/** An activation that is rounded to `bits` for `readers`, with the scale of `owner`. */
export interface ActivationBits {
  readonly value: Value;
  readonly owner: Value;
  readonly bits: Bits;
  readonly readers: 'all' | readonly Use[];
  /** Its values lie on the grid of `owner` already: nothing is to be computed. */
  readonly carried: boolean;
}

/**
 * The nodes with weights that no such node feeds, and those that feed none: the first and the last layers. They see the data
 * itself and give the answer, and hold few of the weights: with few bits they cost the most accuracy for the fewest bytes, so
 * quantization-aware training leaves them at 8 bits (Esser et al. 2020, section 3).
 */
export function firstAndLast(graph: Graph, nodes: readonly PlacedNode[]): Set<Node> {
  const layers = new Set(nodes.flatMap(({ node, weight }) => (weight ? [node] : [])));
  const fed = new Set<Node>();
  const feeding = new Set<Node>();
  const counts = (seen: ReadonlySet<Node>, node: Node | undefined): boolean =>
    node !== undefined && (layers.has(node) || seen.has(node));
  for (const node of graph.nodes()) if (node.inputs.some((v) => counts(fed, v?.producer))) fed.add(node);
  for (const node of graph.nodesReversed()) {
    if (node.outputs.some((v) => v?.consumers.some((next) => counts(feeding, next)))) feeding.add(node);
  }
  return new Set([...layers].filter((node) => !fed.has(node) || !feeding.has(node)));
}

/**
 * How many bits each activation of `placement` gets. What is multiplied gets what its reader `wish`es, which is what "4-bit
 * activations" means. Sums and averages (a residual stream) stay at 8 bits, which costs no multiplication and saves the accuracy;
 * where both read a value, it is rounded to 8 bits for all and once more for the product.
 */
export function activationBits(placement: Placement, wish: (node: Node) => Bits): ActivationBits[] {
  const readers = readersOf(placement.nodes);
  const carriers = new Set(placement.nodes.flatMap(({ node, rule }) => (rule.kind === 'carry' ? [node] : [])));
  const multiplying = ({ node }: Use): boolean => readers.kinds.get(node) === 'compute';
  const base = new Map<Value, Bits>();
  for (const [value, owner] of placement.activations) {
    const uses = readers.uses.get(value) ?? [];
    const others =
      uses.some((use) => !multiplying(use) && !carriers.has(use.node)) ||
      (placement.integerOnly.has(value) && (value.isGraphOutput || value.uses.size > uses.length));
    const wishes = uses.filter(multiplying).map(({ node }) => wish(node));
    const needed = others ? [8 as Bits, ...wishes] : wishes;
    const known = base.get(owner);
    if (known) needed.push(known);
    if (needed.length > 0) base.set(owner, Math.max(...needed) as Bits);
  }
  return [...placement.activations].flatMap(([value, owner]) => {
    const uses = readers.uses.get(value) ?? [];
    const bits = base.get(owner) ?? 8;
    const lower = uses.filter((use) => multiplying(use) && wish(use.node) < bits);
    const rest = uses.filter((use) => !lower.includes(use));
    const isAll = placement.integerOnly.has(value);
    const carried = value !== owner ? carriers.has(value.producer as Node) : isJoined(value, placement);
    const needed = isAll ? uses.length > 0 || value === owner : rest.length > 0;
    return [
      ...(needed ? [{ value, owner, bits, readers: isAll ? ('all' as const) : rest, carried }] : []),
      ...[...new Set(lower.map(({ node }) => wish(node)))].map((low) => {
        const own = lower.filter(({ node }) => wish(node) === low);
        return { value, owner: value, bits: low, readers: own, carried: false };
      }),
    ];
  });
}

/** A Concat of values that have its scale. */
function isJoined(value: Value, { activations }: Placement): boolean {
  const { producer } = value;
  return producer?.is('Concat') === true && producer.inputs.every((v) => v && activations.get(v) === value);
}

/** The activation inputs of placed nodes, by the value that they read; and the kind of each node. */
function readersOf(nodes: readonly PlacedNode[]): {
  readonly uses: Map<Value, Use[]>;
  readonly kinds: Map<Node, PlacedNode['rule']['kind']>;
} {
  const uses = new Map<Value, Use[]>();
  const kinds = new Map<Node, PlacedNode['rule']['kind']>();
  for (const { node, rule, inputs } of nodes) {
    kinds.set(node, rule.kind);
    for (const index of inputs) {
      const value = node.inputs[index] as Value;
      uses.set(value, [...(uses.get(value) ?? []), { node, index }]);
    }
  }
  return { uses, kinds };
}
