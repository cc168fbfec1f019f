import type { Node } from '@pare/core';
import { hasOneUse, madeBy, removeUnusedValue } from '../simplify/edit.js';
import { type Pass, Refusal, type Rule, rewritePass } from '../simplify/rewrite.js';
import type { Scope } from '../simplify/scope.js';

/**
 * A Pad before a Conv, AveragePool or MaxPool becomes part of its pads, where both mean the same border: zeros for Conv and
 * AveragePool, nothing larger than the values for MaxPool.
 */
export function fusePad(): Pass {
  return rewritePass('fuse-pad', { Conv: absorb, AveragePool: absorb, MaxPool: absorb });
}

const absorb: Rule = (node, scope) => {
  const input = node.inputs[0];
  const pad = madeBy(input, 'Pad', node);
  if (!pad || !input) return undefined;
  const rank = scope.rank(input);
  const own = node.ints('pads') ?? [];
  if (!hasOneUse(input) || rank === undefined || pad.string('mode', 'constant') !== 'constant') return undefined;
  const what = `${pad.label} and ${node.label}`;
  const pads = padsOf(pad, rank, scope);
  if (!pads) return undefined;
  const outside = [0, 1, rank, rank + 1].some((i) => pads[i] !== 0);
  if (outside || pads.some((p) => p < 0)) {
    return new Refusal(`${what} were not fused: the border is not only around the spatial axes, or is cut off.`);
  }
  if (!['NOTSET', 'VALID'].includes(node.string('auto_pad', 'NOTSET'))) return undefined;
  if (!BORDER[node.opType]?.(node, pad, scope)) {
    return new Refusal(`${what} were not fused: they mean different values for the border.`);
  }
  const spatial = [...pads.slice(2, rank), ...pads.slice(rank + 2)];
  node.setAttribute(
    'pads',
    spatial.map((p, i) => p + (own[i] ?? 0)),
  );
  node.deleteAttribute('auto_pad');
  if (node.opType === 'AveragePool') node.setAttribute('count_include_pad', 1);
  node.setInput(0, pad.inputs[0] ?? null);
  removeUnusedValue(input);
  return `${what} were fused.`;
};

/** Begins of all axes, then ends of all. */
function padsOf(pad: Node, rank: number, scope: Scope): number[] | undefined {
  const given = pad.ints('pads') ?? scope.integers(pad.inputs[1]);
  const axes = pad.inputs[3] ? scope.integers(pad.inputs[3]) : Array.from({ length: rank }, (_, i) => i);
  if (!given || !axes || given.length !== axes.length * 2) return undefined;
  const pads = new Array<number>(rank * 2).fill(0);
  for (const [i, axis] of axes.entries()) {
    const at = axis < 0 ? axis + rank : axis;
    pads[at] = given[i] as number;
    pads[at + rank] = given[i + axes.length] as number;
  }
  return pads;
}

/** The constant that `pad` puts around. */
function borderOf(pad: Node, scope: Scope): number | undefined {
  const value = pad.inputs[2];
  return value ? scope.scalar(value) : pad.float('value', 0);
}

/** Whether the border of `pad` is what the operator itself takes for its pads. */
const BORDER: Readonly<Record<string, (node: Node, pad: Node, scope: Scope) => boolean>> = {
  Conv: (_, pad, scope) => borderOf(pad, scope) === 0,

  AveragePool(node, pad, scope) {
    // Zeros that are counted; windows that hang over the edge (ceil_mode) count what is inside only.
    const ownPads = (node.ints('pads') ?? []).some((p) => p !== 0);
    const counted = !ownPads || node.int('count_include_pad', 0) === 1;
    return counted && node.int('ceil_mode', 0) === 0 && scope.opset >= 7 && borderOf(pad, scope) === 0;
  },

  MaxPool(node, pad, scope) {
    const border = borderOf(pad, scope);
    if (border === undefined || node.outputs.length > 1) return false;
    // Every window must hold one real element at least.
    const kernel = node.ints('kernel_shape') ?? [];
    const pads = padsOf(pad, kernel.length + 2, scope) ?? [];
    const own = node.ints('pads') ?? [];
    const fits = kernel.every((size, i) => {
      const before = (pads[i + 2] as number) + (own[i] ?? 0);
      const after = (pads[i + kernel.length + 4] as number) + (own[i + kernel.length] ?? 0);
      return before < size && after < size;
    });
    if (!fits || node.int('ceil_mode', 0) !== 0 || (node.ints('dilations') ?? []).some((d) => d !== 1)) return false;
    const lowest = scope.dtype(node.inputs[0]) === 'float16' ? -65504 : -3.4e38;
    return border <= lowest || (border === 0 && isNonNegative(pad, scope));
  },
};

function isNonNegative(pad: Node, scope: Scope): boolean {
  const { producer } = pad.inputs[0] ?? {};
  if (producer?.domain !== '') return false;
  if (producer.opType === 'Clip') {
    const min = scope.opset < 11 ? producer.float('min') : scope.scalar(producer.inputs[1]);
    return min !== undefined && min >= 0;
  }
  return ['Relu', 'Sigmoid', 'HardSigmoid', 'Softmax', 'Abs', 'Softplus'].includes(producer.opType);
}
