import type { Node, Tensor, Value } from '@pare/core';
import type { Scope } from '../simplify/scope.js';
import { isWeight, type Weights } from './weights.js';

/** y = scale * x + shift, with constants along one axis of x: what BatchNormalization, Mul, Div, Add and Sub may be. */
export interface Affine {
  readonly node: Node;
  /** Equal for maps that are the same function of the same operands. */
  readonly kind: string;
  /** The x of it. */
  readonly input: Value;
  /** The axis that the constants run along; undefined when there is one constant for all. */
  readonly axis: number | undefined;
  /** Length along that axis; 1 without. */
  readonly channels: number;
  readonly hasScale: boolean;
  readonly hasShift: boolean;
  /** The constants that it is made of, and as values of the graph (to tell equal ones). */
  readonly sources: readonly Tensor[];
  readonly operands: readonly Value[];
  /** Scale and shift of a channel from the contents of `sources`. */
  readonly at: (sources: readonly Weights[], channel: number) => readonly [scale: number, shift: number];
}

/** `node` as an affine map, when it is one. */
export function affineOf(node: Node, scope: Scope): Affine | undefined {
  if (node.domain !== '') return undefined;
  return node.opType === 'BatchNormalization' ? batchNormalization(node, scope) : arithmetic(node, scope);
}

/** In inference form: y = gamma * (x - mean) / sqrt(variance + epsilon) + beta (ONNX BatchNormalization, opset 7 and later). */
function batchNormalization(node: Node, scope: Scope): Affine | undefined {
  if (scope.opset < 7 || node.int('training_mode', 0) !== 0 || node.int('spatial', 1) !== 1) return undefined;
  const [input, ...parameters] = node.inputs;
  const operands = parameters.filter((v): v is Value => v !== null);
  const sources = operands.map((v) => v.constant).filter(isWeight);
  if (!input || operands.length !== 4 || sources.length !== 4) return undefined;
  const epsilon = node.float('epsilon', 1e-5);
  return {
    node,
    kind: `BatchNormalization ${epsilon}`,
    input,
    axis: 1,
    channels: sources[0]?.size ?? 0,
    hasScale: true,
    hasShift: true,
    sources,
    operands,
    at: ([gamma, beta, mean, variance], c) => {
      const scale = (gamma?.[c] as number) / Math.sqrt((variance?.[c] as number) + epsilon);
      return [scale, (beta?.[c] as number) - scale * (mean?.[c] as number)];
    },
  };
}

/** Scale and shift that an operator makes of x and the constant c, by the index of x. */
const ARITHMETIC: Readonly<
  Record<string, readonly (((c: number) => readonly [scale: number, shift: number]) | undefined)[]>
> = {
  Add: [(c) => [1, c], (c) => [1, c]],
  Sub: [(c) => [1, -c], (c) => [-1, c]],
  Mul: [(c) => [c, 0], (c) => [c, 0]],
  Div: [(c) => [1 / c, 0], undefined],
};

function arithmetic(node: Node, scope: Scope): Affine | undefined {
  if (!Object.hasOwn(ARITHMETIC, node.opType)) return undefined;
  for (const side of [0, 1]) {
    const map = ARITHMETIC[node.opType]?.[side];
    const input = node.inputs[side];
    const operand = node.inputs[1 - side];
    const source = operand?.constant;
    if (!map || !input || input.constant || !operand || !isWeight(source)) continue;
    const axis = constantAxis(source.dims, input, scope);
    if (axis === null) continue;
    return {
      node,
      kind: `${node.opType} ${side}`,
      input,
      axis,
      channels: source.size,
      hasScale: node.opType === 'Mul' || node.opType === 'Div' || (node.opType === 'Sub' && side === 1),
      hasShift: node.opType === 'Add' || node.opType === 'Sub',
      sources: [source],
      operands: [operand],
      at: ([c], channel) => map(c?.[axis === undefined ? 0 : channel] as number),
    };
  }
  return undefined;
}

/**
 * The axis of `x` along which a constant of shape `dims` varies; undefined when it has one element, null when it varies along
 * several, or would make the result larger than `x`.
 */
function constantAxis(dims: readonly number[], x: Value, scope: Scope): number | undefined | null {
  const shape = scope.shape(x);
  if (!shape || dims.length > shape.length) return null;
  const long = dims.flatMap((d, i) => (d === 1 ? [] : [i]));
  const [first] = long;
  if (first === undefined) return undefined;
  const axis = first + shape.length - dims.length;
  return long.length === 1 && shape[axis] === dims[first] ? axis : null;
}

/** Scales and shifts of `channels` channels (one constant for all is repeated). */
export function evaluate(
  affine: Affine,
  sources: readonly Weights[],
  channels: number,
): { scale: Float64Array; shift: Float64Array } {
  const scale = new Float64Array(channels);
  const shift = new Float64Array(channels);
  for (let c = 0; c < channels; c++) [scale[c], shift[c]] = affine.at(sources, c) as [number, number];
  return { scale, shift };
}
