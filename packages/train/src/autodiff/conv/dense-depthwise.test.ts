import {
  type Feeds,
  GraphBuilder,
  type HostTensor,
  inferTypes,
  type Model,
  seededRandom,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/check-gradient.js';
import { Emitter } from '../emitter.js';
import { densifyDepthwise } from './dense-depthwise.js';

const engine = nodeEngine();
afterAll(() => engine.close());

function depthwise(attributes: Readonly<Record<string, readonly number[]>>, withBias: boolean): Model {
  const b = new GraphBuilder();
  const inputs = [b.input('x', 'float32', [3, 4, 6, 5]), b.input('w', 'float32', [4, 1, 3, 3])];
  if (withBias) inputs.push(b.input('b', 'float32', [4]));
  const [x, ...rest] = inputs as [Value, ...Value[]];
  // Between other nodes, so that the order of the graph matters.
  const y = b.op('Neg', [b.op('Conv', [b.op('Add', [x, x]), ...rest], { group: 4, ...attributes })]);
  return b.output('y', y, 'float32').model();
}

async function run(model: Model, feeds: Feeds): Promise<HostTensor> {
  const session = await engine.open(model);
  const { y } = await session.run(feeds);
  await session.close();
  return y as HostTensor;
}

describe('depthwise convolutions as matrix products', () => {
  it.each([
    ['padded', { pads: [1, 1, 1, 1] }, false],
    ['strided, with a bias', { pads: [1, 0, 1, 2], strides: [2, 2] }, true],
    ['dilated', { dilations: [2, 2], pads: [2, 1, 0, 1] }, true],
  ] as const)('%s', async (_, attributes, withBias) => {
    const random = seededRandom(5);
    const whole = (dims: readonly number[]): HostTensor => ({
      dtype: 'float32',
      dims,
      data: Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => random.integer(9) - 4),
    });
    const feeds: Record<string, HostTensor> = { x: whole([3, 4, 6, 5]), w: whole([4, 1, 3, 3]) };
    if (withBias) feeds.b = whole([4]);
    const model = depthwise(attributes, withBias);
    const expected = await run(model, feeds);
    const copy = model.clone();
    densifyDepthwise(new Emitter(copy.graph, inferTypes(copy)));
    expect([...copy.graph.nodes()].map((node) => node.opType)).not.toContain('Conv');
    expect((await run(copy, feeds)).data).toEqual(expected.data);
    expect(await checkGradient(engine, copy)).toBeLessThan(1e-3);
  });
});
