import { byteLength, type Graph, type Node, type Value } from '@pare/core';
import { isDeterministic, QUANTIZATION } from './operators.js';
import type { Scope } from './scope.js';

/** A value that depends on constants only. */
export interface Foldable {
  readonly node: Node;
  /** Bytes of the value, when they are known. */
  readonly size: number | undefined;
}

export type Foldables = ReadonlyMap<Value, Foldable>;

/** How much larger than what goes in, in multiples of the limit, a value on the way may be. */
const STEP = 4;

/** Values that depend on constants only, in order of computation; not those much larger than what they are made of. */
export function findFoldable(scope: Scope, limit: number): Foldables {
  const found = new Map<Value, Foldable>();
  const visit = (graph: Graph): void => {
    for (const node of graph.nodes()) {
      for (const sub of node.subgraphs()) visit(sub);
      if (!isFoldable(node, found)) continue;
      const outputs = node.outputs.filter((v): v is Value => v !== null);
      if (!outputs.every((v) => (scope.dtype(v) ?? 'string') !== 'string')) continue;
      const sizes = outputs.map((v) => sizeOf(v, scope));
      const read = node.inputs.reduce((sum, v) => sum + (v?.constant?.byteLength ?? (v && found.get(v)?.size) ?? 0), 0);
      // A step in between may be a little larger than what goes in: it is not kept.
      if (sizes.some((size) => (size ?? 0) > read + STEP * limit)) continue;
      for (const [i, output] of outputs.entries()) found.set(output, { node, size: sizes[i] });
    }
  };
  visit(scope.model.graph);
  return found;
}

function isFoldable(node: Node, found: Foldables): boolean {
  if (!isDeterministic(node) || QUANTIZATION.has(node.opType) || node.is('Constant')) return false;
  const inputs = node.inputs.filter((v): v is Value => v !== null);
  return inputs.length > 0 && inputs.every((v) => (v.constant ? v.constant.dtype !== 'string' : found.has(v)));
}

function sizeOf(value: Value, scope: Scope): number | undefined {
  const dims = scope.dims(value);
  const dtype = scope.dtype(value);
  return (
    dims &&
    dtype &&
    byteLength(
      dtype,
      dims.reduce((a, b) => a * b, 1),
    )
  );
}

/** The values that something needs which is not folded itself. */
export function frontierOf(foldable: Foldables): Value[] {
  return [...foldable.keys()].filter(
    (value) => value.isGraphOutput || [...value.uses].some(({ node }) => !isFolded(node, foldable)),
  );
}

function isFolded(node: Node, foldable: Foldables): boolean {
  return node.outputs.some((output) => output && foldable.has(output));
}

/** The nodes that `values` are computed by, in order of computation. */
export function nodesFor(values: readonly Value[], foldable: Foldables): Node[] {
  const needed = new Set<Node>();
  const pending = [...values];
  for (let value = pending.pop(); value; value = pending.pop()) {
    const node = foldable.get(value)?.node;
    if (!node || needed.has(node)) continue;
    needed.add(node);
    for (const input of node.inputs) if (input) pending.push(input);
  }
  return [...new Set([...foldable.values()].map(({ node }) => node))].filter((node) => needed.has(node));
}

/** Values that share what they are made of: folding all of them frees it. */
export interface Group {
  readonly values: Value[];
  /** Bytes that the model grows by when all of them are folded, those of unknown size not counted. */
  growth: number;
}

/** Constants up to this size do not tie groups together: every Gather has an index. */
const TIE_BYTES = 1024;

/** `values` in groups, the one that costs least first. */
export function groupsOf(values: readonly Value[], foldable: Foldables): Group[] {
  const sets = new DisjointSets<Value>();
  const constants = new Set<Value>();
  for (const [value, { node }] of foldable) {
    for (const input of node.inputs) {
      const size = input?.constant?.byteLength;
      if (!input || (size !== undefined && size <= TIE_BYTES)) continue;
      if (size !== undefined) constants.add(input);
      sets.join(input, value);
    }
  }
  const groups = new Map<Value, Group>();
  for (const value of values) {
    const group = groups.get(sets.rootOf(value)) ?? { values: [], growth: 0 };
    groups.set(sets.rootOf(value), group);
    group.values.push(value);
    group.growth += foldable.get(value)?.size ?? 0;
  }
  for (const constant of constants) {
    const group = groups.get(sets.rootOf(constant));
    if (group && isFreed(constant, foldable)) group.growth -= constant.constant?.byteLength ?? 0;
  }
  return [...groups.values()].sort((a, b) => a.growth - b.growth);
}

/** Whether only folded nodes read `constant`. */
function isFreed(constant: Value, foldable: Foldables): boolean {
  if (constant.isGraphOutput || constant.isGraphInput) return false;
  return [...constant.uses].every(({ node }) => isFolded(node, foldable));
}

/** Union and find (Tarjan): each element points to another of its set, the root to nothing. */
class DisjointSets<T> {
  readonly #links = new Map<T, T>();

  rootOf(element: T): T {
    let root = element;
    for (let next = this.#links.get(root); next !== undefined; next = this.#links.get(root)) root = next;
    for (let at = element; at !== root; ) {
      const next = this.#links.get(at) as T;
      this.#links.set(at, root);
      at = next;
    }
    return root;
  }

  join(a: T, b: T): void {
    const [from, to] = [this.rootOf(a), this.rootOf(b)];
    if (from !== to) this.#links.set(from, to);
  }
}
