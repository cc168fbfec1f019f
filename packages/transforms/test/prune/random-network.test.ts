import { seededRandom } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { countMacs, Forecast } from '../../src/prune/structured/cost.js';
import { Cut } from '../../src/prune/structured/cut.js';
import { analyze, channelGroups, removeChannels, unitsOf } from '../../src/prune/structured/groups.js';
import { reconstructChannels } from '../../src/prune/structured/reconstruct.js';
import { normal, runModel } from '../run-model.js';
import { lossOfZeros, randomRemoval, zeroUnits } from './masked.js';
import { randomNetwork } from './random-network.js';

// Any network of the grammar answers the same with units of zeros as without these units, and is really smaller without.

const engine = nodeEngine();
afterAll(() => engine.close());

const seeds = Array.from({ length: Number(process.env.PARE_SEEDS ?? 30) }, (_, i) => i + 1);

describe.each(['image', 'words'] as const)('networks for %s', (kind) => {
  it.each(seeds)('number %i', async (seed) => {
    const model = randomNetwork(seed, kind, 1 + (seed % 5));
    const random = seededRandom(seed);
    const ids = BigInt64Array.from({ length: 12 }, () => BigInt(random.integer(20)));
    const feeds =
      kind === 'image'
        ? { image: normal([2, 3, 8, 8], seed) }
        : { ids: { dtype: 'int64' as const, dims: [2, 6], data: ids } };
    expect(channelGroups(model).groups.length).toBeGreaterThan(0);
    const removal = randomRemoval(model, seed, (isExact) => isExact);
    const { difference, before, after } = await lossOfZeros(engine, model, feeds, removal);
    expect(difference).toBeLessThan(1e-5);
    expect(after).toBeLessThan(before);
    // What shapes foretell is what is counted afterwards.
    const analysis = analyze(model, {});
    const cut = new Cut(analysis.space, unitsOf(analysis, removal));
    const forecast = new Forecast(model, analysis, {});
    expect(forecast.parameters(cut)).toBeCloseTo(after, 3);
    const macs = forecast.macs(cut);
    removeChannels(model, removal);
    expect(macs).toBe(countMacs(model, {}));
  });
});

it.each(['image', 'words'] as const)('reconstruction of %s has nothing to do where zeros go', async (kind) => {
  for (const seed of [101, 102, 103]) {
    const model = randomNetwork(seed, kind, 3);
    const removal = randomRemoval(model, seed, (isExact) => isExact);
    await zeroUnits(model, removal);
    const ids = {
      dtype: 'int64' as const,
      dims: [3, 6],
      data: BigInt64Array.from({ length: 18 }, (_, i) => BigInt(i)),
    };
    const feeds = kind === 'image' ? { image: normal([3, 3, 8, 8], seed) } : { ids };
    const pruned = model.clone();
    await reconstructChannels(pruned, removal, { engine, samples: [feeds] });
    removeChannels(pruned, removal);
    const truth = (await runModel(engine, model, feeds)).y?.data as Float32Array;
    const found = (await runModel(engine, pruned, feeds)).y?.data as Float32Array;
    const range = Math.max(...truth.map(Math.abs));
    for (const [i, v] of truth.entries()) expect(Math.abs(v - (found[i] as number)) / range).toBeLessThan(1e-3);
  }
});
