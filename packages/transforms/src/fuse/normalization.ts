import { float, type Node, Tensor, type Value } from '@pare/core';
import { hasOneUse, replaceValue } from '../simplify/edit.js';
import { type Pass, Refusal, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';
import { Match } from './match.js';

/**
 * Normalizations that an exporter wrote as arithmetic become the standard operator, where the model's opset has it:
 * LayerNormalization (opset 17), RMSNormalization (23), Softmax (13).
 */
export function fuseNormalizations(): Pass {
  return rewritePass('fuse-normalizations', {
    Div: [layerNormalization, rmsNormalization, softmax],
    Mul: [rmsNormalization, scaleNormalization],
    Add: shiftNormalization,
    Log: logSoftmax,
  });
}

/** (x - mean) / sqrt(mean((x - mean)^2) + epsilon) (Ba, Kiros and Hinton, arXiv 1607.06450). */
const layerNormalization: Rule = (node, scope) => {
  if (scope.opset < 17 || !node.graph) return undefined;
  const match = new Match(node, scope);
  const centred = match.take(node.inputs[0], 'Sub');
  const [x, mean] = centred?.inputs ?? [];
  const average = match.take(mean, 'ReduceMean');
  if (!centred || !x || average?.inputs[0] !== x) return undefined;
  const square = squareOf(match, match.take(node.inputs[1], 'Sqrt'));
  if (!square || square.of !== centred.output) return undefined;
  const axis = trailingAxis([average, square.average], x, scope);
  const ones = axis === undefined ? undefined : onesLike(x, axis, node, scope);
  if (axis === undefined || !ones)
    return new Refusal(
      `${node.label} is no LayerNormalization: its axes are not the last ones, or their lengths are unknown.`,
    );
  if (!match.isClosed()) return new Refusal(`${node.label} is no LayerNormalization: others read what is inside it.`);
  return becomeNormalization(match, 'LayerNormalization', x, ones, axis, square.epsilon);
};

/** x / sqrt(mean(x^2) + epsilon) (Zhang and Sennrich, arXiv 1910.07467), also as a product with the reciprocal. */
const rmsNormalization: Rule = (node, scope) => {
  if (scope.opset < 23 || !node.graph) return undefined;
  const orders: readonly (readonly [Value, Value])[] = new Match(node, scope)
    .orders(node)
    .slice(0, node.is('Div') ? 1 : 2);
  for (const [x, other] of orders) {
    const match = new Match(node, scope);
    const root = node.is('Div') ? other : match.take(other, 'Reciprocal')?.inputs[0];
    const square = squareOf(match, match.take(root, 'Sqrt'));
    if (square?.of !== x) continue;
    const axis = trailingAxis([square.average], x, scope);
    const ones = axis === undefined ? undefined : onesLike(x, axis, node, scope);
    if (axis === undefined || !ones || !match.isClosed()) continue;
    return becomeNormalization(match, 'RMSNormalization', x, ones, axis, square.epsilon);
  }
  return undefined;
};

/** For sqrt(mean(d^2) + epsilon): what d is. */
function squareOf(match: Match, sqrt: Node | undefined): { of: Value; average: Node; epsilon: number } | undefined {
  const sum = match.take(sqrt?.inputs[0], 'Add');
  if (!sum) return undefined;
  for (const [variance, constant] of match.orders(sum)) {
    const epsilon = match.scope.scalar(constant);
    const average = epsilon === undefined ? undefined : match.take(variance, 'ReduceMean');
    if (epsilon === undefined || !average) continue;
    const squared = average.inputs[0];
    const pow = match.take(squared, 'Pow');
    if (pow && match.scope.scalar(pow.inputs[1]) === 2) return { of: pow.inputs[0] as Value, average, epsilon };
    const mul = match.take(squared, 'Mul');
    if (mul && mul.inputs[0] === mul.inputs[1]) return { of: mul.inputs[0] as Value, average, epsilon };
  }
  return undefined;
}

/** The first axis that `means` all reduce, when they reduce it and all after it, and keep them as 1. */
function trailingAxis(means: readonly Node[], x: Value, scope: Scope): number | undefined {
  const rank = scope.rank(x);
  if (rank === undefined) return undefined;
  const firsts = means.map((mean) => {
    const axes = mean.ints('axes') ?? scope.integers(mean.inputs[1]);
    const sorted = axes?.map((axis) => (axis < 0 ? axis + rank : axis)).sort((a, b) => a - b);
    if (!sorted?.length || mean.int('keepdims', 1) !== 1) return undefined;
    return sorted.every((axis, i) => axis === rank - sorted.length + i) ? sorted[0] : undefined;
  });
  return firsts.every((first) => first === firsts[0]) ? firsts[0] : undefined;
}

/** A scale of ones for the axes from `axis` on; Mul by the true one is merged into it next. */
function onesLike(x: Value, axis: number, node: Node, scope: Scope): Tensor | undefined {
  const dims = scope.shape(x)?.slice(axis);
  const dtype = scope.dtype(x) ?? scope.dtype(node.output);
  if (!dims?.every((d): d is number => typeof d === 'number')) return undefined;
  if (dtype !== 'float32' && dtype !== 'float64') return undefined;
  const size = dims.reduce((a, b) => a * b, 1);
  return Tensor.of(dtype, dims, new Array<number>(size).fill(1));
}

function becomeNormalization(
  match: Match,
  opType: string,
  x: Value,
  ones: Tensor,
  axis: number,
  epsilon: number,
): string | undefined {
  const { last, scope } = match;
  const { graph } = last;
  if (!graph) return undefined;
  const what = `${last.label} and what it is made of`;
  const scale = graph.addInitializer(`${last.output.name}_ones`, ones);
  const rank = scope.rank(x) as number;
  const node = graph.addNode(opType, [x, scale], {
    attributes: { axis: axis - rank, epsilon: float(epsilon) },
    name: last.name,
    before: last,
  });
  node.output.type = last.output.type;
  replaceValue(last.output, node.output);
  return `${what} became ${opType}.`;
}

/** The normalization that only `node` reads, on either side, and the other operand when it is as long as the normalized axes. */
function normalizationBelow(
  node: Node,
  scope: Scope,
  kinds: readonly string[],
): { norm: Node; operand: Value } | undefined {
  for (const [value, operand] of new Match(node, scope).orders(node)) {
    const norm = value.producer;
    if (!norm || norm.graph !== node.graph || norm.domain !== '' || !kinds.includes(norm.opType)) continue;
    if (!hasOneUse(value) || !operand.constant) continue;
    const scale = scope.dims(norm.inputs[1]);
    if (scale && `${scope.dims(operand)}` === `${scale}` && scope.dtype(operand) === scope.dtype(norm.inputs[1])) {
      return { norm, operand };
    }
  }
  return undefined;
}

/** A Mul after a normalization without a scale of its own gives it one. */
const scaleNormalization: Rule = (node, scope) => {
  const found = normalizationBelow(node, scope, ['LayerNormalization', 'RMSNormalization']);
  if (!found || found.norm.inputs[2]) return undefined;
  const ones = scope.numbers(found.norm.inputs[1]) ?? [];
  const isPlain = ones.length > 0 && ones.every((v) => v === 1);
  if (!isPlain) return undefined;
  const { label } = node;
  found.norm.setInput(1, found.operand);
  replaceValue(node.output, found.norm.output);
  return `${label} became the scale of ${found.norm.label}.`;
};

/** An Add after a LayerNormalization without a bias gives it one. */
const shiftNormalization: Rule = (node, scope) => {
  const found = normalizationBelow(node, scope, ['LayerNormalization']);
  if (!found || found.norm.inputs[2]) return undefined;
  const { label } = node;
  found.norm.setInput(2, found.operand);
  replaceValue(node.output, found.norm.output);
  return `${label} became the bias of ${found.norm.label}.`;
};

/** exp(x - max(x)) / sum(exp(x - max(x))). */
const softmax: Rule = (node, scope) => {
  if (scope.opset < 13 || !node.graph) return undefined;
  const match = new Match(node, scope);
  const exp = match.take(node.inputs[0], 'Exp');
  const sum = match.take(node.inputs[1], 'ReduceSum');
  if (!exp || !sum || sum.inputs[0] !== exp.output) return undefined;
  const centred = match.take(exp.inputs[0], 'Sub');
  const top = match.take(centred?.inputs[1], 'ReduceMax');
  const x = centred?.inputs[0];
  if (!centred || !top || !x || top.inputs[0] !== x) return undefined;
  const axes = [sum, top].map((n) => n.ints('axes') ?? scope.integers(n.inputs[1]));
  const kept = [sum, top].every((n) => n.int('keepdims', 1) === 1);
  const rank = scope.rank(x);
  const axis = axes[0]?.[0];
  if (rank === undefined || axis === undefined || !kept || axes.some((a) => a?.length !== 1)) return undefined;
  if (axes.some((a) => ((a?.[0] as number) + rank) % rank !== (axis + rank) % rank)) return undefined;
  if (!match.isClosed()) return undefined;
  const what = `${node.label} and what it is made of`;
  const fused = node.graph.addNode('Softmax', [x], { attributes: { axis }, name: node.name, before: node });
  fused.output.type = node.output.type;
  replaceValue(node.output, fused.output);
  return `${what} became Softmax.`;
};

/** log(softmax(x)), which does not underflow as one operator. */
const logSoftmax: Rule = (node, scope) => {
  const match = new Match(node, scope);
  const inner = match.take(node.inputs[0], 'Softmax');
  if (!inner || !match.isClosed() || !node.graph) return undefined;
  const what = `${inner.label} and ${node.label}`;
  const axis = inner.int('axis');
  const fused = node.graph.addNode('LogSoftmax', [inner.inputs[0] ?? null], {
    attributes: axis === undefined ? {} : { axis },
    name: node.name,
    before: node,
  });
  fused.output.type = node.output.type;
  replaceValue(node.output, fused.output);
  return `${what} became LogSoftmax.`;
};
