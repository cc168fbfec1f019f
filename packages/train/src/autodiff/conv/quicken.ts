import { type Node, topologicalSort, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { depthwiseProducts } from './depthwise-products.js';
import { type ConvGeometry, convGeometry, outputChannels } from './geometry.js';
import { winograd } from './winograd.js';

/** One way to compute y = Conv(x, w), by other operators, that is quicker on its shapes, forward and backward. */
export interface ForwardForm {
  /** Whether it is right for this geometry, and quicker. */
  fits(c: ConvGeometry): boolean;
  emit(e: Emitter, c: ConvGeometry, x: Value, w: Value): Value;
}

const FORMS: readonly ForwardForm[] = [depthwiseProducts, winograd];

/**
 * Replaces convolutions of small pictures, where ONNX Runtime is slow, by matrix products. The graph computes what it did
 * before, but for rounding; the gradients follow from those of the products.
 */
export function quickenConvolutions(e: Emitter): void {
  let changed = false;
  for (const node of [...e.graph.nodes()]) {
    const [x, w, b] = node.inputs;
    if (!node.is('Conv') || !x || !w || e.size(x) === 0) continue;
    const c = convGeometry(node, e.shape(x), e.shape(w), e.shape(node.output));
    const form = FORMS.find((f) => f.fits(c));
    if (!form) continue;
    const y = form.emit(e, c, x, w);
    replace(e, node, b ? e.add(y, e.reshape(b, [outputChannels(c), ...c.outputs.map(() => 1)])) : y);
    changed = true;
  }
  if (changed) topologicalSort(e.graph);
}

function replace(e: Emitter, node: Node, value: Value): void {
  value.type ??= e.inference.typeOf(value);
  e.graph.replaceAllUses(node.output, value);
  e.graph.remove(node);
}
