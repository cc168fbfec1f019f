import type { Graph, Node, Value } from '@pare/core';

/**
 * Values that carry one and the same tensor type across the border of a subgraph: what a branch of If returns and what If
 * returns, the state that goes around a Loop or Scan. They change their precision together.
 */
export interface Port {
  /** Values that get their type from the port: inputs of bodies, outputs of the control node. */
  readonly values: readonly Value[];
  /** Inputs of the control node that feed it. */
  readonly inputs: readonly number[];
  /** Outputs of bodies that feed it. */
  readonly outputs: readonly { readonly graph: Graph; readonly index: number }[];
}

/** The ports of a node with subgraphs; undefined for one whose ports are not known, which must keep its types. */
export function portsOf(node: Node): Port[] | undefined {
  if (node.is('If')) return ifPorts(node);
  if (node.is('Loop')) return loopPorts(node);
  return node.is('Scan') && node.attributes.has('num_scan_inputs') && !node.attributes.has('directions')
    ? scanPorts(node)
    : undefined;
}

const present = (values: readonly (Value | null | undefined)[]): Value[] => values.filter((v): v is Value => !!v);

function ifPorts(node: Node): Port[] {
  return node.outputs.map((value, index) => ({
    values: present([value]),
    inputs: [],
    outputs: node.subgraphs().map((graph) => ({ graph, index })),
  }));
}

/** Inputs: trip count, condition, state. The body's: iteration, condition, state; it returns condition, state, scans. */
function loopPorts(node: Node): Port[] | undefined {
  const body = node.subgraphs()[0];
  if (!body) return undefined;
  const states = body.inputs.length - 2;
  return body.outputs.slice(1).map((_, k) => ({
    values: present([k < states ? body.inputs[k + 2] : null, node.outputs[k]]),
    inputs: k < states ? [k + 2] : [],
    outputs: [{ graph: body, index: k + 1 }],
  }));
}

/** Inputs: states, then tensors that are scanned. The body returns states, then slices of the scan outputs. */
function scanPorts(node: Node): Port[] | undefined {
  const body = node.subgraphs()[0];
  if (!body) return undefined;
  const states = body.inputs.length - node.int('num_scan_inputs', 0);
  const scanned = body.inputs.slice(states).map((value, j) => ({
    values: [value],
    inputs: [states + j],
    outputs: [],
  }));
  const returned = body.outputs.map((_, k) => ({
    values: present([k < states ? body.inputs[k] : null, node.outputs[k]]),
    inputs: k < states ? [k] : [],
    outputs: [{ graph: body, index: k }],
  }));
  return [...scanned, ...returned];
}
