import { readFileSync } from 'node:fs';
import type { HostTensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { gradient, gradientName } from '../src/autodiff/index.js';
import { GOLDEN_NETWORKS } from './golden-networks.js';

interface Golden {
  readonly loss: number;
  readonly gradients: Readonly<Record<string, readonly number[]>>;
}

const engine = nodeEngine();
afterAll(() => engine.close());
const golden = JSON.parse(readFileSync(new URL('golden/networks.json', import.meta.url), 'utf8')) as Record<
  string,
  Golden
>;

/** Worst |difference| / largest |gradient|, tensor by tensor, and the loss. */
async function compare(name: string, dtype: 'float32' | 'float64'): Promise<{ loss: number; worst: number }> {
  const network = GOLDEN_NETWORKS[name]!(dtype);
  const { loss, gradients } = golden[name]!;
  expect(Object.keys(gradients)).toEqual(network.parameters);
  const model = await gradient(network.model, { loss: 'loss', wrt: network.parameters });
  const session = await engine.open(model);
  const results = await session.run(network.feeds);
  await session.close();
  expect(Number((results.loss as HostTensor).data[0])).toBeCloseTo(loss, dtype === 'float64' ? 8 : 4);
  // A tensor whose gradients all but cancel (what a normalization takes away) is judged by the network's scale.
  const floor = 1e-3 * Math.max(...Object.values(gradients).flat().map(Math.abs));
  let worst = 0;
  for (const parameter of network.parameters) {
    const [ours, truth] = [(results[gradientName(parameter)] as HostTensor).data, gradients[parameter]!];
    expect(ours.length, parameter).toBe(truth.length);
    const scale = truth.reduce((max, v) => Math.max(max, Math.abs(v)), floor);
    for (const [i, v] of truth.entries()) worst = Math.max(worst, Math.abs(Number(ours[i]) - v) / scale);
  }
  return { loss, worst };
}

describe('gradients of whole networks are those of PyTorch in float64', () => {
  it.each(Object.keys(GOLDEN_NETWORKS))('%s in float32', async (name) => {
    expect((await compare(name, 'float32')).worst).toBeLessThan(1e-4);
  });

  // The runtime has no convolution in float64; the LSTM is written out.
  it.each(['transformer', 'lstm'])('%s in float64', async (name) => {
    expect((await compare(name, 'float64')).worst).toBeLessThan(1e-6);
  });
});
