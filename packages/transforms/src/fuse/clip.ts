import { float, type Node, Tensor, type Value } from '@pare/core';
import { hasOneUse, removeUnusedValue, replaceValue } from '../simplify/edit.js';
import { type Pass, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';

/** y = min(max(x, min), max) with constant numbers: what Clip, Relu, Max and Min may be. */
export interface Clip {
  readonly node: Node;
  readonly input: Value;
  readonly min: number;
  readonly max: number;
}

/** `node` as a clip, when it is one. */
export function clipOf(node: Node, scope: Scope): Clip | undefined {
  const [input] = node.inputs;
  if (!input || node.domain !== '') return undefined;
  switch (node.opType) {
    case 'Relu':
      return { node, input, min: 0, max: Infinity };
    case 'Clip': {
      const bound = (name: 'min' | 'max', index: number, none: number): number | undefined => {
        if (scope.opset < 11) return node.float(name) ?? none;
        return node.inputs[index] ? scope.scalar(node.inputs[index]) : none;
      };
      const min = bound('min', 1, -Infinity);
      const max = bound('max', 2, Infinity);
      return min === undefined || max === undefined || min > max ? undefined : { node, input, min, max };
    }
    case 'Max':
    case 'Min':
      return extremum(node, scope);
  }
  return undefined;
}

function extremum(node: Node, scope: Scope): Clip | undefined {
  if (node.inputs.length !== 2 || scope.opset < 8) return undefined;
  for (const side of [0, 1]) {
    const input = node.inputs[side];
    const constant = node.inputs[1 - side];
    const bound = scope.scalar(constant);
    const rank = scope.rank(input);
    if (!input || input.constant || bound === undefined || rank === undefined) continue;
    if ((constant?.constant?.dims.length ?? 0) > rank) continue;
    const isMax = node.opType === 'Max';
    return { node, input, min: isMax ? bound : -Infinity, max: isMax ? Infinity : bound };
  }
  return undefined;
}

/**
 * Relu, Clip, and Max and Min with a number, one after the other, become one Clip (or Relu). Those that cannot change
 * anything, because what they read is in their range already, are removed.
 */
export function mergeClips(): Pass {
  return rewritePass('merge-clips', {
    Relu: [dropIfInRange, merge],
    Clip: [dropIfInRange, merge],
    Max: [dropIfInRange, merge],
    Min: [dropIfInRange, merge],
  });
}

/** Ranges of what operators give, whatever they read. */
const RANGES: Readonly<Record<string, readonly [number, number]>> = {
  Abs: [0, Infinity],
  Exp: [0, Infinity],
  HardSigmoid: [0, 1],
  ReduceL1: [0, Infinity],
  ReduceL2: [0, Infinity],
  ReduceSumSquare: [0, Infinity],
  Sigmoid: [0, 1],
  Softmax: [0, 1],
  Softplus: [0, Infinity],
  Sqrt: [0, Infinity],
};

/** Operators whose results are elements of what they read. */
const MOVING: ReadonlySet<string> = new Set([
  'Flatten',
  'Gather',
  'MaxPool',
  'Reshape',
  'Slice',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
]);

function rangeOf(value: Value, scope: Scope, steps = 8): readonly [number, number] | undefined {
  const { producer } = value;
  if (producer?.domain !== '') return undefined;
  const clip = clipOf(producer, scope);
  if (clip) return [clip.min, clip.max];
  if (MOVING.has(producer.opType))
    return producer.inputs[0] && steps > 0 ? rangeOf(producer.inputs[0], scope, steps - 1) : undefined;
  return RANGES[producer.opType];
}

const dropIfInRange: Rule = (node, scope) => {
  const clip = clipOf(node, scope);
  const range = clip && rangeOf(clip.input, scope);
  if (!clip || !range || range[0] < clip.min || range[1] > clip.max) return undefined;
  // A Max or Min that broadcasts does more than clip.
  if (!scope.sameShape(clip.input, node.output) && node.opType !== 'Relu' && node.opType !== 'Clip') return undefined;
  const { label } = node;
  return replaceValue(node.output, clip.input)
    ? `${label} was removed: what it reads is in its range already.`
    : undefined;
};

const merge: Rule = (node, scope) => {
  const outer = clipOf(node, scope);
  const inner = outer?.input.producer && clipOf(outer.input.producer, scope);
  const dtype = scope.dtype(inner?.input) ?? scope.dtype(node.output);
  if (!outer || !inner || !hasOneUse(outer.input) || inner.node.graph !== node.graph) return undefined;
  if (dtype !== 'float32' && dtype !== 'float64') return undefined;
  const clamp = (bound: number): number => Math.min(Math.max(bound, outer.min), outer.max);
  const what = `${inner.node.label} and ${node.label}`;
  const unused = [...node.inputs];
  become(node, inner.input, clamp(inner.min), clamp(inner.max), dtype, scope);
  for (const value of unused) if (value) removeUnusedValue(value);
  return `${what} became one ${node.opType}.`;
};

function become(node: Node, input: Value, min: number, max: number, dtype: 'float32' | 'float64', scope: Scope): void {
  const isRelu = min === 0 && max === Infinity;
  node.opType = isRelu ? 'Relu' : 'Clip';
  for (const name of [...node.attributes.keys()]) node.deleteAttribute(name);
  if (isRelu) node.setInputs([input]);
  else if (scope.opset < 11) {
    if (min > -Infinity) node.setAttribute('min', float(min));
    if (max < Infinity) node.setAttribute('max', float(max));
    node.setInputs([input]);
  } else {
    const bound = (name: string, value: number): Value | null =>
      Number.isFinite(value) ? (node.graph?.addInitializer(name, Tensor.of(dtype, [], [value])) ?? null) : null;
    node.setInputs([input, bound('min', min), bound('max', max)]);
  }
}
