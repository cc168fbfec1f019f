import { type Dim, type Graph, isInteger, type Node, Tensor, type Value } from '@pare/core';
import { makeConstant, removeUnusedValue, replaceValue } from './edit.js';
import { type Pass, type Report, rewritePass, wholePass } from './rewrite.js';
import type { Scope } from './scope.js';

/**
 * Integers that follow from the shapes of the model become initializers: what Shape, Gather, Concat and arithmetic on them
 * compute when the shapes are known. No engine is needed.
 */
export function foldShapes(): Pass {
  return wholePass('fold-shapes', (scope, report) => {
    for (const graph of [...scope.model.graph.graphs()]) {
      for (const node of graph.nodes()) {
        for (const output of node.outputs) {
          if (!output || output.isUnused) continue;
          const tensor = knownTensor(output, scope);
          if (!tensor) continue;
          const { label } = node;
          makeConstant(output, tensor);
          report.did(`${label} always gives [${scope.integers(output)}] and became a constant.`);
        }
      }
    }
  });
}

function knownTensor(value: Value, scope: Scope): Tensor | undefined {
  const dtype = scope.dtype(value);
  if (dtype === undefined || !(isInteger(dtype) || dtype === 'bool')) return undefined;
  const dims = scope.dims(value);
  const values = dims && scope.integers(value);
  if (!values || values.length !== dims.reduce((a, b) => a * b, 1)) return undefined;
  return Tensor.of(dtype, dims, values);
}

/**
 * Lengths that are computed twice are computed once: two small integer tensors whose elements are the same expressions of
 * the model's named dimensions, however they were computed.
 */
export function shareShapes(): Pass {
  return wholePass('share-shapes', (scope, report) => visit(scope.model.graph, new Map(), scope, report));
}

function visit(graph: Graph, around: ReadonlyMap<string, Value>, scope: Scope, report: Report): void {
  const known = new Map(around);
  for (const input of graph.inputs) remember(input, known, scope);
  for (const node of graph.nodes()) {
    for (const output of node.outputs) {
      if (!output || output.isUnused) continue;
      const twin = remember(output, known, scope);
      if (!twin || twin === output) continue;
      const { label } = node;
      if (replaceValue(output, twin)) report.did(`${label} gives the lengths that "${twin.name}" holds already.`);
    }
    for (const sub of node.subgraphs()) visit(sub, known, scope, report);
  }
}

/** The first value with the same elements as `value`, which is itself when there is none. */
function remember(value: Value, known: Map<string, Value>, scope: Scope): Value | undefined {
  const dtype = scope.dtype(value);
  if (dtype === undefined || !isInteger(dtype)) return undefined;
  const values = scope.values(value);
  if (!values?.some((v) => typeof v === 'string') || values.includes(null)) return undefined;
  const key = `${dtype}[${scope.dims(value)}]${values.join(';')}`;
  const twin = known.get(key);
  // An earlier one may be gone: it was only there for one that was replaced.
  if (twin && twin.graph.value(twin.name) === twin) return twin;
  known.set(key, value);
  return value;
}

/** A Reshape whose result is known but for one length gets a constant shape: numbers, 0 for a length kept, one -1. */
export function reshapeByConstant(): Pass {
  return rewritePass('reshape-by-constant', {
    Reshape(node, scope) {
      const [x, shape] = node.inputs;
      if (!x || !shape || shape.constant) return undefined;
      const target = constantShape(scope.shape(node.output), scope.shape(x));
      const { graph } = node;
      if (!target || !graph) return undefined;
      setShape(node, target);
      return `${node.label} got the constant shape [${target}].`;
    },
  });
}

/** `after` as the shape input of a Reshape of a tensor of shape `before`, or undefined when it cannot be said. */
export function constantShape(
  after: readonly Dim[] | undefined,
  before: readonly Dim[] | undefined,
): number[] | undefined {
  if (!after || after.includes(0)) return undefined;
  const target = after.map((dim, i) => (typeof dim === 'number' ? dim : dim !== null && dim === before?.[i] ? 0 : -1));
  return target.filter((d) => d === -1).length <= 1 ? target : undefined;
}

/** Makes `node`, a Reshape, reshape to `target`. */
export function setShape(node: Node, target: readonly number[]): void {
  const { graph, inputs } = node;
  if (!graph) return;
  const before = inputs[1];
  node.setInput(1, graph.addInitializer(`${node.output.name}_shape`, Tensor.of('int64', [target.length], target)));
  node.deleteAttribute('allowzero');
  if (before) removeUnusedValue(before);
}
