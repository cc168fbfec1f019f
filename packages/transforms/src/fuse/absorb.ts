import { elementCount, type Node, type Tensor, type Value } from '@pare/core';
import { hasOneUse, removeUnusedValue, replaceValue } from '../simplify/edit.js';
import { type Pass, Refusal, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';
import { type Affine, affineOf, evaluate } from './affine.js';
import { derive, isWeight, type Weights } from './weights.js';

/** A node with constant weights that can take an affine map after it (or before it) into them. */
interface Absorber {
  readonly node: Node;
  readonly weight: Tensor;
  /** Channels that the map runs over, and their axis in the result (or in the input). */
  readonly channels: number;
  readonly axis: number;
  /** The weight is [outer, channels in order, inner]: channel of element i. */
  channelOf(index: number): number;
  /** Constant bias over the output channels; undefined when there is none yet; null when it cannot have one. */
  readonly bias: Tensor | undefined | null;
}

const WEIGHT = 1;
const BIAS = 2;

/** Up to this size a weight that others read too may be copied. */
const COPIED_BYTES = 4096;

/**
 * BatchNormalization, and Mul, Div, Add and Sub by constants, go into the weights and bias of the Conv, ConvTranspose, Gemm,
 * MatMul or BatchNormalization before them. Computed in float64, rounded once.
 */
export function fuseAffineAfterWeights(): Pass {
  return rewritePass('fuse-affine-after-weights', {
    BatchNormalization: absorbAfter,
    Add: absorbAfter,
    Sub: absorbAfter,
    Mul: absorbAfter,
    Div: absorbAfter,
  });
}

const absorbAfter: Rule = (last, scope) => {
  const affine = affineOf(last, scope);
  const node = affine?.input.producer;
  if (!affine || !node || node.graph !== last.graph) return undefined;
  const absorber = outputAbsorber(node, scope);
  if (!absorber) return undefined;
  if (affine.axis !== undefined && (affine.axis !== absorber.axis || affine.channels !== absorber.channels)) {
    return undefined;
  }
  const what = `${node.label} and ${last.label}`;
  if (!hasOneUse(node.output)) {
    return new Refusal(`${what} were not fused: others read what comes between them.`);
  }
  if (affine.hasShift && absorber.bias === null) return undefined;
  if (affine.hasScale && !mayChangeWeight(node, last, affine, absorber.weight)) {
    return new Refusal(`${what} were not fused: others share the weight.`);
  }
  const { channels, weight, bias } = absorber;
  if (affine.hasScale) {
    const scaled = derived(scope, node, 'weight', affine, weight, weight.dims, (out, sources, w) => {
      const { scale } = evaluate(affine, sources, channels);
      for (let i = 0; i < out.length; i++) out[i] = (w[i] as number) * (scale[absorber.channelOf(i)] as number);
    });
    replaceInput(node, WEIGHT, scaled);
  }
  if (bias || affine.hasShift) {
    const shifted = derived(scope, node, 'bias', affine, bias ?? undefined, [channels], (out, sources, b) => {
      const { scale, shift } = evaluate(affine, sources, channels);
      const step = b.length > 1 ? 1 : 0;
      for (let c = 0; c < channels; c++) {
        out[c] = (b.length > 0 ? (b[c * step] as number) * (scale[c] as number) : 0) + (shift[c] as number);
      }
    });
    replaceInput(node, BIAS, shifted);
  }
  replaceValue(last.output, node.output);
  return `${what} were fused.`;
};

/** What `node` can take into its weights after it. */
function outputAbsorber(node: Node, scope: Scope): Absorber | undefined {
  const weight = node.inputs[WEIGHT]?.constant;
  if (node.domain !== '' || !isWeight(weight) || !Object.hasOwn(AFTER, node.opType)) return undefined;
  return AFTER[node.opType]?.(node, weight, scope);
}

const AFTER: Readonly<Record<string, (node: Node, weight: Tensor, scope: Scope) => Absorber | undefined>> = {
  Conv(node, weight) {
    const [channels = 0, ...rest] = weight.dims;
    const inner = elementCount(rest);
    return { node, weight, channels, axis: 1, channelOf: (i) => Math.floor(i / inner), ...biasOf(node) };
  },
  ConvTranspose(node, weight) {
    const [inputs = 0, perGroup = 0, ...kernel] = weight.dims;
    const group = node.int('group', 1);
    const inner = elementCount(kernel);
    const channelOf = (i: number): number => {
      const row = Math.floor(i / inner);
      const input = Math.floor(row / perGroup);
      return Math.floor((input * group) / inputs) * perGroup + (row % perGroup);
    };
    return { node, weight, channels: perGroup * group, axis: 1, channelOf, ...biasOf(node) };
  },
  Gemm(node, weight) {
    const transposed = node.int('transB', 0) !== 0;
    const [rows = 0, columns = 0] = weight.dims;
    const channels = transposed ? rows : columns;
    const bias = node.float('beta', 1) === 1 ? biasOf(node) : { bias: null };
    // The bias of Gemm may be a matrix, whose rows differ.
    const fits =
      !bias.bias || bias.bias.size === 1 || (bias.bias.dims.at(-1) === channels && bias.bias.size === channels);
    if (!fits || bias.bias === null) return undefined;
    const channelOf = transposed ? (i: number) => Math.floor(i / columns) : (i: number) => i % columns;
    return { node, weight, channels, axis: 1, channelOf, ...bias };
  },
  MatMul(node, weight, scope) {
    const rank = scope.rank(node.output);
    const channels = weight.dims.at(-1) ?? 0;
    if (rank === undefined || weight.dims.length < 2) return undefined;
    return { node, weight, channels, axis: rank - 1, channelOf: (i) => i % channels, bias: null };
  },
  BatchNormalization(node, weight, scope) {
    if (!affineOf(node, scope)) return undefined;
    return { node, weight, channels: weight.size, axis: 1, channelOf: (i) => i, ...biasOf(node) };
  },
};

/** The constant bias; undefined when there is none, and an impossible one (null) when it is computed. */
function biasOf(node: Node): { bias: Tensor | undefined | null } {
  const bias = node.inputs[BIAS];
  if (!bias) return { bias: undefined };
  return { bias: isWeight(bias.constant) ? bias.constant : null };
}

/**
 * Whether the weight of `node` may be scaled for `last`: nobody else reads it, it is small, or all that read it are followed
 * by the same constants (a head that runs on several levels), so that they share the scaled weight again.
 */
function mayChangeWeight(node: Node, last: Node, affine: Affine, weight: Tensor): boolean {
  const value = node.inputs[WEIGHT] as Value;
  if (value.uses.size === 1 || weight.byteLength <= COPIED_BYTES) return true;
  return [...value.uses].every(({ node: user, index }) => {
    if (user === node) return true;
    if (index !== WEIGHT || user.opType !== node.opType || !hasOneUse(user.output)) return false;
    const [next] = user.output.consumers;
    return next?.opType === last.opType && affine.operands.every((operand) => next.inputs.includes(operand));
  });
}

/**
 * Mul by constants, and BatchNormalization, Div, Add and Sub where that is exact, go into the weights of the Conv, Gemm or
 * MatMul after them. A shift does not pass through padding: the border would not be shifted.
 */
export function fuseAffineBeforeWeights(): Pass {
  return rewritePass('fuse-affine-before-weights', { Conv: absorbBefore, Gemm: absorbBefore, MatMul: absorbBefore });
}

const absorbBefore: Rule = (node, scope) => {
  const input = node.inputs[0];
  const affine = input?.producer && affineOf(input.producer, scope);
  const weightValue = node.inputs[WEIGHT];
  const weight = weightValue?.constant;
  if (!affine || !input || !weightValue || !isWeight(weight) || affine.node.graph !== node.graph) return undefined;
  const absorber = inputAbsorber(node, weight, scope);
  if (!absorber) return undefined;
  if (affine.axis !== undefined && (affine.axis !== absorber.axis || affine.channels !== absorber.channels)) {
    return undefined;
  }
  const what = `${affine.node.label} and ${node.label}`;
  if (!hasOneUse(input)) return undefined;
  if (affine.hasShift && absorber.bias === null) {
    if (node.opType !== 'Conv') return undefined;
    return new Refusal(`${what} were not fused: the border that Conv adds would have to be shifted too.`);
  }
  if (weightValue.uses.size > 1 && weight.byteLength > COPIED_BYTES) {
    return new Refusal(`${what} were not fused: others share the weight.`);
  }
  const { channels, bias } = absorber;
  if (affine.hasShift) {
    const outputs = absorber.outputs;
    const shifted = derived(
      scope,
      node,
      'bias',
      affine,
      bias ?? undefined,
      [outputs],
      (out, sources, b, w) => {
        const { shift } = evaluate(affine, sources, channels);
        const sums = new Float64Array(outputs);
        for (let i = 0; i < w.length; i++) {
          const o = absorber.outputOf(i);
          sums[o] = (sums[o] as number) + (w[i] as number) * (shift[absorber.channelOf(i)] as number);
        }
        const step = b.length > 1 ? 1 : 0;
        for (let o = 0; o < outputs; o++) out[o] = (b.length > 0 ? (b[o * step] as number) : 0) + (sums[o] as number);
      },
      weight,
    );
    replaceInput(node, BIAS, shifted);
  }
  if (affine.hasScale) {
    const scaled = derived(scope, node, 'weight', affine, weight, weight.dims, (out, sources, w) => {
      const { scale } = evaluate(affine, sources, channels);
      for (let i = 0; i < out.length; i++) out[i] = (w[i] as number) * (scale[absorber.channelOf(i)] as number);
    });
    replaceInput(node, WEIGHT, scaled);
  }
  node.setInput(0, affine.input);
  removeUnusedValue(input);
  return `${what} were fused.`;
};

interface InputAbsorber extends Absorber {
  readonly outputs: number;
  outputOf(index: number): number;
}

function inputAbsorber(node: Node, weight: Tensor, scope: Scope): InputAbsorber | undefined {
  if (node.opType === 'Conv') {
    const [outputs = 0, perGroup = 0, ...kernel] = weight.dims;
    const group = node.int('group', 1);
    const inner = elementCount(kernel);
    const outputOf = (i: number): number => Math.floor(i / (perGroup * inner));
    const channelOf = (i: number): number =>
      Math.floor((outputOf(i) * group) / outputs) * perGroup + (Math.floor(i / inner) % perGroup);
    const padded =
      (node.ints('pads') ?? []).some((p) => p !== 0) || node.string('auto_pad', 'NOTSET').startsWith('SAME');
    const { bias } = biasOf(node);
    return {
      node,
      weight,
      channels: perGroup * group,
      axis: 1,
      channelOf,
      outputs,
      outputOf,
      bias: padded ? null : bias,
    };
  }
  const rank = scope.rank(node.inputs[0]);
  const transposed = node.int('transB', 0) !== 0;
  const [rows = 0, columns = 0] = weight.dims;
  if (rank === undefined || weight.dims.length !== 2 || node.int('transA', 0) !== 0) return undefined;
  const row = (i: number): number => Math.floor(i / columns);
  const column = (i: number): number => i % columns;
  // The constants of a Gemm that scales its terms are left alone.
  const plain = node.opType === 'Gemm' && node.float('alpha', 1) === 1 && node.float('beta', 1) === 1;
  const { bias } = plain ? biasOf(node) : { bias: null };
  const outputs = transposed ? rows : columns;
  return {
    node,
    weight,
    channels: transposed ? columns : rows,
    axis: rank - 1,
    channelOf: transposed ? column : row,
    outputs,
    outputOf: transposed ? row : column,
    bias: bias && bias.size !== 1 && bias.size !== outputs ? null : bias,
  };
}

/**
 * A new initializer computed from the constants of `affine` and `base`; the same one again for the same operands, so that
 * what was shared stays shared.
 */
function derived(
  scope: Scope,
  node: Node,
  role: 'weight' | 'bias',
  affine: Affine,
  base: Tensor | undefined,
  dims: readonly number[],
  fill: (out: Weights, affine: readonly Weights[], base: Weights, extra: Weights) => void,
  extra?: Tensor,
): Value {
  const own = node.inputs[role === 'weight' ? WEIGHT : BIAS];
  const key = [role, affine.kind, own, node.inputs[WEIGHT], ...affine.operands, dims.join()];
  return scope.once(key, () => {
    const none = new Float32Array(0);
    const sources = [...affine.sources, ...(base ? [base] : []), ...(extra ? [extra] : [])];
    const weight = node.inputs[WEIGHT]?.constant as Tensor;
    const tensor = derive(weight.dtype, dims, sources, (out, ...given) => {
      const count = affine.sources.length;
      fill(out, given.slice(0, count), base ? (given[count] as Weights) : none, given[count + (base ? 1 : 0)] ?? none);
    });
    const graph = own?.graph ?? node.graph;
    return (graph as NonNullable<typeof graph>).addInitializer(own?.name ?? `${node.output.name}_${role}`, tensor);
  });
}

function replaceInput(node: Node, index: number, value: Value): void {
  const before = node.inputs[index];
  node.setInput(index, value);
  if (before) removeUnusedValue(before);
}
