import type { Node } from '@pare/core';

/**
 * Chooses nodes: a string is an operator type (`Conv`) or the exact name of a node; a regular expression is searched in the
 * node's name. A node without a name goes by the name of its first output.
 */
export type NodePattern = string | RegExp;

/** Which nodes a transform may touch. */
export interface NodeSelection {
  /** Only these. Default: all that the transform knows. */
  readonly include?: readonly NodePattern[] | undefined;
  /** Not these; wins over `include`. Default: none. */
  readonly exclude?: readonly NodePattern[] | undefined;
}

/** A test for the nodes that `selection` leaves in. */
export function nodeSelector({ include, exclude }: NodeSelection): (node: Node) => boolean {
  return (node) => (!include || matches(node, include)) && !(exclude && matches(node, exclude));
}

function matches(node: Node, patterns: readonly NodePattern[]): boolean {
  const name = node.name || (node.outputs.find((v) => v)?.name ?? '');
  return patterns.some((p) =>
    // `search` instead of `test`: it does not remember where it stopped in a /g expression.
    typeof p === 'string' ? p === node.opType || p === name : name.search(p) >= 0,
  );
}
