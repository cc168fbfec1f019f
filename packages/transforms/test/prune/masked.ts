import { type Engine, elementCount, type Feeds, type Model, seededRandom, Tensor } from '@pare/core';
import { countParameters } from '../../src/prune/structured/cost.js';
import { channelGroups, type Removal, removeChannels } from '../../src/prune/structured/index.js';
import { runModel } from '../run-model.js';

/** Every constant that an index of a removed unit points into is zero there, in place. */
export async function zeroUnits(model: Model, removal: Removal): Promise<void> {
  for (const [g, group] of channelGroups(model).groups.entries()) {
    for (const { value, axis, indices } of group.members) {
      const tensor = value.constant as Tensor;
      if (tensor.dtype !== 'float32') continue;
      const data = Float32Array.from((await tensor.toArray()) as Float32Array);
      const row = elementCount(tensor.dims.slice(axis + 1));
      const length = tensor.dims[axis] as number;
      for (const unit of removal[g] ?? []) {
        for (const at of indices[unit] ?? []) {
          for (let o = at * row; o < data.length; o += length * row) data.fill(0, o, o + row);
        }
      }
      const zeroed = Tensor.of('float32', tensor.dims, data);
      if (value.producer) value.producer.setAttribute('value', zeroed);
      else value.graph.setInitializer(value, zeroed);
    }
  }
}

/** A random half of the units of each group, at least one and never all. */
export function randomRemoval(model: Model, seed: number, keep: (exact: boolean) => boolean = () => true): Removal {
  const random = seededRandom(seed);
  return channelGroups(model).groups.map(({ size, isExact }) => {
    if (!keep(isExact)) return [];
    const units = [...new Array(size).keys()].filter(() => random.uniform() < 0.5);
    return units.length === size ? units.slice(1) : units.length === 0 ? [random.integer(size)] : units;
  });
}

/**
 * Largest difference between what the model answers with units zeroed, and what it answers without them, by output range (0.02 at
 * least: a sigmoid near 0 is a difference of numbers near 1), and the numbers of parameters.
 */
export async function lossOfZeros(
  engine: Engine,
  model: Model,
  feeds: Feeds,
  removal: Removal,
): Promise<{ difference: number; before: number; after: number }> {
  const masked = model.clone();
  await zeroUnits(masked, removal);
  const pruned = masked.clone();
  removeChannels(pruned, removal);
  const truth = await runModel(engine, masked, feeds);
  const test = await runModel(engine, pruned, feeds);
  let difference = 0;
  for (const [name, { data, dims }] of Object.entries(truth)) {
    const other = test[name];
    if (`${other?.dims}` !== `${dims}`) return { difference: Number.POSITIVE_INFINITY, before: 0, after: 0 };
    const a = Array.from(data as ArrayLike<number>, Number);
    const b = Array.from(other?.data as ArrayLike<number>, Number);
    const range = Math.max(...a.map(Math.abs), 0.02);
    for (const [i, v] of a.entries()) difference = Math.max(difference, Math.abs(v - (b[i] as number)) / range);
    if (!b.every(Number.isFinite)) difference = Number.POSITIVE_INFINITY;
  }
  return { difference, before: countParameters(masked), after: countParameters(pruned) };
}
