import type { Model } from '@pare/core';

/** Stands in for the size of a tensor of zeros. */
const LEAST = 1e-3;

/**
 * Factors on the learning rate, by name: the root mean square of each tensor of `names` as it is now, at least 0.001. A step of Adam
 * then changes each by the same share, instead of by the same amount: what has learned goes on learning gently, whatever its
 * units (a first layer that reads pixels of 0 to 255 has weights so small that a step of 0.001 would destroy it). The ratio of
 * LAMB (You et al. 2020), taken once. For `treat`: a learning rate of 0.002 is then 0.2 % a step.
 */
export async function relativeRates(model: Model, names: readonly string[]): Promise<ReadonlyMap<string, number>> {
  const rates = new Map<string, number>();
  for (const name of names) {
    const value = model.graph.value(name);
    const values = await (value?.constant ?? value?.initializer)?.toArray();
    if (!values || values.length === 0) continue;
    let squares = 0;
    for (const v of values as Float32Array) squares += v * v;
    rates.set(name, Math.max(LEAST, Math.sqrt(squares / values.length)));
  }
  return rates;
}
