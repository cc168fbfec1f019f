import type { Attribute, Graph, Node, Value } from '@pare/core';
import { canReplace, replaceValue } from './edit.js';
import { isDeterministic } from './operators.js';
import { type Pass, type Report, wholePass } from './rewrite.js';

/**
 * What is computed twice from the same values is computed once. Subgraphs reuse what the graphs around them computed
 * before them. Random operators, those with subgraphs, and dequantization are left alone.
 */
export function eliminateCommonSubexpressions(): Pass {
  return wholePass('eliminate-common-subexpressions', ({ model }, report) => {
    const ids = new Map<object, number>();
    visit(model.graph, new Map(), report, (thing) => {
      const id = ids.get(thing) ?? ids.size;
      ids.set(thing, id);
      return id;
    });
  });
}

type Identify = (thing: object) => number;

/** `known` holds the computations of the graphs around, as far as they come before this one. */
function visit(graph: Graph, around: ReadonlyMap<string, Node>, report: Report, idOf: Identify): void {
  const known = new Map(around);
  for (const node of graph.nodes()) {
    const key = keyOf(node, idOf);
    const twin = key === undefined ? undefined : known.get(key);
    if (twin && mergeInto(twin, node)) report.did(`${node.label} computes the same as ${twin.label}.`);
    else if (key !== undefined && !twin) known.set(key, node);
    for (const sub of node.subgraphs()) visit(sub, known, report, idOf);
  }
}

function mergeInto(twin: Node, node: Node): boolean {
  const pairs: [Value, Value][] = [];
  for (const [i, output] of node.outputs.entries()) {
    if (!output || output.isUnused) continue;
    const other = twin.outputs[i];
    // An output of its graph must keep its name, which the twin can take over only once.
    if (!other || !canReplace(output, other)) return false;
    pairs.push([output, other]);
  }
  for (const [output, other] of pairs) replaceValue(output, other);
  return pairs.length > 0;
}

/** Equal for nodes that compute the same; undefined for those that must not be merged. */
function keyOf(node: Node, idOf: Identify): string | undefined {
  // Runtimes look for one DequantizeLinear at each operator that they can run in integers.
  if (!isDeterministic(node) || node.opType === 'DequantizeLinear') return undefined;
  const parts = [node.domain, node.opType, node.overload, ...node.inputs.map((v) => (v ? idOf(v) : ''))];
  for (const name of [...node.attributes.keys()].sort()) {
    const text = attributeText(node.attributes.get(name) as Attribute, idOf);
    if (text === undefined) return undefined;
    parts.push(`${name}=${text}`);
  }
  return parts.join('|');
}

function attributeText(attribute: Attribute, idOf: Identify): string | undefined {
  switch (attribute.type) {
    case 'int':
    case 'float':
      return `${attribute.type}:${attribute.value}`;
    case 'string':
      return `string:${JSON.stringify(`${attribute.value}`)}`;
    case 'ints':
    case 'floats':
    case 'strings':
      return `${attribute.type}:${JSON.stringify(attribute.value.map(String))}`;
    case 'tensor':
      return tensorText(attribute.value, idOf);
    default:
      return undefined;
  }
}

function tensorText(tensor: Tensorlike, idOf: Identify): string {
  const values = tensor.size <= 16 ? tensor.numbers() : undefined;
  // Tensors are immutable: the same object is the same content; others are told apart by small contents only.
  return values
    ? `tensor:${tensor.dtype}[${tensor.dims}]${values.map((v) => (Object.is(v, -0) ? '-0' : v))}`
    : `tensor#${idOf(tensor)}`;
}

type Tensorlike = Extract<Attribute, { type: 'tensor' }>['value'];
