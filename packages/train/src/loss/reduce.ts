import type { Value } from '@pare/core';
import type { Emitter } from '../autodiff/emitter.js';

/** Mean of all elements, shape []. */
export function meanAll(emit: Emitter, value: Value): Value {
  const axes = [...emit.shape(value).keys()];
  return emit.mean(value, axes, false);
}

/** Sum of all elements, shape []. */
export function sumAll(emit: Emitter, value: Value): Value {
  return emit.sum(value, [...emit.shape(value).keys()], false);
}
