import { type Node, staticShape, topologicalSort, type Value } from '@pare/core';
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
    if (!node.is('Conv') || !x || !w || ![x, w, node.output].every((v) => isPlain(e, v))) continue;
    const c = convGeometry(node, e.shape(x), e.shape(w), e.shape(node.output));
    const form = FORMS.find((f) => f.fits(c));
    if (!form) continue;
    const y = form.emit(e, c, x, w);
    replace(e, node, b ? e.add(y, e.reshape(b, [outputChannels(c), ...c.outputs.map(() => 1)])) : y);
    changed = true;
  }
  if (changed) topologicalSort(e.graph);
}

/** A float32 tensor of known shape that is not empty. */
function isPlain(e: Emitter, value: Value): boolean {
  const type = e.inference.typeOf(value);
  if (type?.kind !== 'tensor' || type.dtype !== 'float32') return false;
  return staticShape(type.shape)?.every((d) => d > 0) === true;
}

function replace(e: Emitter, node: Node, value: Value): void {
  value.type ??= e.inference.typeOf(value);
  e.graph.replaceAllUses(node.output, value);
  e.graph.remove(node);
}
