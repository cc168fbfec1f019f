import type { ParameterStore } from '../parameters.js';
import { checkRange } from './check.js';

/** The flat buffer of a ParameterStore that holds the average. */
export const AVERAGE = 'average';

/**
 * Moves the exponential moving average of the values (Polyak and Juditsky 1992) one step: average += (1 - d) * (value -
 * average), where d = min(decay, (1 + step) / (10 + step)) lets it forget the first steps quickly. Call it after each update
 * with its number, from 1; before the first the average is the values. `store.feeds(store.snapshot(AVERAGE))` evaluates it.
 * @throws PareError `bad-option` when `decay` is not in [0, 1).
 */
export function updateAverage(store: ParameterStore, step: number, decay = 0.999): void {
  checkRange('decay', decay, 0, 1);
  if (!store.has(AVERAGE)) store.buffer(AVERAGE).set(store.values);
  const weight = 1 - Math.min(decay, (1 + step) / (10 + step));
  store.kernels.blend(store.pointer(AVERAGE), store.pointer('values'), store.length, weight);
}
