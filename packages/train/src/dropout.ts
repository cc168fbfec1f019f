import { elementCount, type HostTensor, seededRandom } from '@pare/core';
import { mixSeed } from './data/order.js';
import type { DropoutMask } from './training-graph.js';

/**
 * Masks of 0 and 1/(1 - ratio) for a step (inverted dropout, Srivastava et al. 2014): a function of the seed, the step and the
 * shard alone, so that a run that is resumed draws the same ones.
 */
export function dropoutMasks(
  masks: readonly DropoutMask[],
  seed: number,
  step: number,
  shard: number,
): Record<string, HostTensor> {
  const feeds: Record<string, HostTensor> = {};
  for (const [i, { name, dims, ratio }] of masks.entries()) {
    const random = seededRandom(mixSeed(seed, step, shard, i));
    const keep = 1 / (1 - ratio);
    const data = new Float32Array(elementCount(dims));
    for (let j = 0; j < data.length; j++) data[j] = random.uniform() < ratio ? 0 : keep;
    feeds[name] = { dtype: 'float32', dims, data };
  }
  return feeds;
}
