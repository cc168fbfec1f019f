import { type Node, Tensor, type Value } from '@pare/core';
import { madeBy, removeUnusedValue, replaceValue } from '../simplify/edit.js';
import { constantShape, setShape } from '../simplify/fold-shapes.js';
import { type Pass, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';

const SAME_ORDER: ReadonlySet<string> = new Set(['Reshape', 'Squeeze', 'Unsqueeze', 'Flatten']);
const TRANSPOSE: ReadonlySet<string> = new Set(['Transpose']);

/** Whether only `ops` read `value`: each takes it over on its own, and it goes with the last of them. */
function isReadBy(value: Value, ops: ReadonlySet<string>): boolean {
  if (value.isGraphOutput) return false;
  return [...value.uses].every(({ node, index }) => index === 0 && node.domain === '' && ops.has(node.opType));
}

/**
 * Operators that only lay elements out anew, one after the other, become one: any of Reshape, Squeeze, Unsqueeze and Flatten
 * a Reshape (or nothing, when the shape comes out as it was), Transposes a Transpose. A Transpose that moves axes of length 1
 * only becomes a Reshape, which costs nothing at run time.
 */
export function mergeReshapes(): Pass {
  return rewritePass('merge-reshapes', {
    Reshape: mergeSameOrder,
    Squeeze: mergeSameOrder,
    Unsqueeze: [mergeSameOrder, mergeUnsqueezes],
    Flatten: mergeSameOrder,
    Transpose: [mergeTransposes, transposeToReshape],
  });
}

const mergeSameOrder: Rule = (node, scope) => {
  const [input] = node.inputs;
  const first = input?.producer;
  if (!input || !first || first.domain !== '' || first.graph !== node.graph || !SAME_ORDER.has(first.opType)) {
    return undefined;
  }
  const source = first.inputs[0] as Value;
  const what = `${first.label} and ${node.label}`;
  if (scope.sameShape(source, node.output)) {
    return replaceValue(node.output, source) ? `${what} undo each other and were removed.` : undefined;
  }
  if (!isReadBy(input, SAME_ORDER)) return undefined;
  const target = constantShape(scope.shape(node.output), scope.shape(source));
  if (!target) return undefined;
  toReshape(node, source, target);
  return `${what} became one Reshape.`;
};

/** Makes `node` a Reshape of `source`. */
function toReshape(node: Node, source: Value, target: readonly number[]): void {
  const before = node.inputs[0];
  const parameter = node.inputs[1];
  node.opType = 'Reshape';
  for (const name of [...node.attributes.keys()]) node.deleteAttribute(name);
  node.setInputs([source, parameter ?? null]);
  setShape(node, target);
  if (before && before !== source) removeUnusedValue(before);
}

/** Two Unsqueezes of a shape that a Reshape could not say. */
const mergeUnsqueezes: Rule = (node, scope) => {
  const first = madeBy(node.inputs[0], 'Unsqueeze', node);
  const inner = first && axesOf(first, scope);
  const outer = axesOf(node, scope);
  if (!first || !inner || !outer || !isReadBy(first.output, SAME_ORDER) || !node.graph) return undefined;
  const what = `${first.label} and ${node.label}`;
  // The places that the outer one leaves free hold what the inner one made, in order.
  const rank = (scope.rank(first.output) as number) + outer.length;
  const free = Array.from({ length: rank }, (_, i) => i).filter((i) => !outer.includes(i));
  const axes = [...outer, ...inner.map((axis) => free[axis] as number)].sort((a, b) => a - b);
  if (node.attributes.has('axes')) node.setAttribute('axes', axes);
  else node.setInput(1, node.graph.addInitializer('axes', Tensor.of('int64', [axes.length], axes)));
  node.setInput(0, first.inputs[0] ?? null);
  removeUnusedValue(first.output);
  return `${what} became one.`;
};

function axesOf(node: Node, scope: Scope): number[] | undefined {
  const axes = node.ints('axes') ?? scope.integers(node.inputs[1]);
  const rank = scope.rank(node.output);
  return rank === undefined ? undefined : axes?.map((axis) => (axis < 0 ? axis + rank : axis));
}

const mergeTransposes: Rule = (node, scope) => {
  const first = madeBy(node.inputs[0], 'Transpose', node);
  const inner = first && permOf(first, scope);
  const outer = permOf(node, scope);
  if (!first || !inner || !outer) return undefined;
  const perm = outer.map((axis) => inner[axis] as number);
  const source = first.inputs[0] as Value;
  const what = `${first.label} and ${node.label}`;
  if (perm.every((axis, i) => axis === i)) {
    return replaceValue(node.output, source) ? `${what} undo each other and were removed.` : undefined;
  }
  if (!isReadBy(first.output, TRANSPOSE)) return undefined;
  node.setAttribute('perm', perm);
  node.setInput(0, source);
  removeUnusedValue(first.output);
  return `${what} became one.`;
};

export function permOf(node: Node, scope: Scope): number[] | undefined {
  const rank = scope.rank(node.inputs[0]);
  const reversed = rank === undefined ? undefined : Array.from({ length: rank }, (_, i) => rank - 1 - i);
  return node.ints('perm') ?? reversed;
}

const transposeToReshape: Rule = (node, scope) => {
  const source = node.inputs[0] as Value;
  const shape = scope.shape(source);
  const perm = permOf(node, scope);
  if (!shape || !perm) return undefined;
  const long = perm.filter((axis) => shape[axis] !== 1);
  if (long.some((axis, i) => i > 0 && axis < (long[i - 1] as number))) return undefined;
  const target = constantShape(scope.shape(node.output), shape);
  if (!target) return undefined;
  const { label } = node;
  toReshape(node, source, target);
  return `${label} moves axes of length 1 only and became a Reshape.`;
};
