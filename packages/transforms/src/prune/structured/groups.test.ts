import { GraphBuilder, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { lossOfZeros, randomRemoval } from '../../../test/prune/masked.js';
import { normal } from '../../../test/run-model.js';
import { channelGroups } from './groups.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** BatchNormalization with positive variances. */
function batchNorm(b: GraphBuilder, x: Value, n: number): Value {
  const vector = (): Value => b.random([n], { scale: 1 });
  return b.op('BatchNormalization', [x, vector(), vector(), vector(), b.op('Abs', [vector()])]);
}

const conv = (b: GraphBuilder, x: Value, from: number, to: number, k = 3, more = {}): Value =>
  b.op('Conv', [x, b.random([to, from, k, k])], { pads: new Array(4).fill((k - 1) / 2), ...more });

describe('a residual network', () => {
  const b = new GraphBuilder();
  let x = b.input('x', 'float32', ['n', 3, 8, 8]);
  x = b.op('Relu', [batchNorm(b, conv(b, x, 3, 8), 8)]);
  const inner = b.op('Relu', [batchNorm(b, conv(b, x, 8, 12), 12)]);
  x = b.op('Relu', [b.op('Add', [batchNorm(b, conv(b, inner, 12, 8), 8), x])]);
  x = b.op('Flatten', [b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] })]);
  x = b.op('Gemm', [x, b.random([8 * 16, 20]), b.random([20])]);
  x = b.op('Gemm', [b.op('Relu', [x]), b.random([5, 20]), b.random([5])], { transB: 1 });
  const model = b.output('y', x, 'float32', ['n', 5]).model({ opset: 17 });

  it('has one group for the stream, one for the inner layer, one for the head', () => {
    const { groups, refusals } = channelGroups(model);
    expect(groups.map(({ size, name }) => [size, name.split(' ')[0]])).toEqual([
      [8, 'Conv'],
      [12, 'Conv'],
      [20, 'Gemm'],
    ]);
    expect(refusals).toEqual([
      expect.stringMatching(/^The channels of Gemm ".*" stay: they are the output "y" of the model\.$/),
    ]);
    // Filters of the stream: 27 weights, 4 parameters and statistics; and so on. 64 places in the picture, half as wide behind the pool.
    expect(groups[1]).toMatchObject({ parametersPerUnit: 72 + 4 + 72, macsPerUnit: 64 * (72 + 72) });
    expect(groups[2]).toMatchObject({ parametersPerUnit: 128 + 1 + 5, macsPerUnit: 128 + 5 });
    // Flatten makes 16 columns of one channel.
    expect(groups[0]?.members.at(-1)?.indices[1]).toEqual(Array.from({ length: 16 }, (_, i) => 16 + i));
  });

  it('answers the same without channels of zeros', async () => {
    const feeds = { x: normal([2, 3, 8, 8]) };
    const { difference, before, after } = await lossOfZeros(engine, model, feeds, randomRemoval(model, 1));
    expect(difference).toBeLessThan(1e-5);
    expect(after).toBeLessThan(0.5 * before);
  });
});
