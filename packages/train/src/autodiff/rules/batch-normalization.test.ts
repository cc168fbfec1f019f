import { float, GraphBuilder, type HostTensor, type Model, seededRandom, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const SHAPES = [
  [6, 3],
  [4, 3, 5],
  [3, 4, 2, 3],
  [2, 3, 2, 2, 2],
  [2, 1, 3, 1],
];

/** y and, in training, no statistics: x, gamma and beta are inputs. */
function batchNorm(
  dims: readonly number[],
  attributes: Parameters<GraphBuilder['node']>[2],
  statistics: boolean,
): Model {
  const b = new GraphBuilder();
  const channels = [dims[1] as number];
  const inputs = ['x', 'gamma', 'beta'].map((name) => b.input(name, 'float64', name === 'x' ? dims : channels));
  for (const [i, name] of ['mean', 'variance'].entries()) {
    const values = new Array<number>(channels[0] as number).fill(i);
    inputs.push(
      statistics ? b.input(name, 'float64', channels) : b.constant(Tensor.of('float64', channels, values), name),
    );
  }
  const node = b.node('BatchNormalization', inputs, attributes, { outputs: attributes?.training_mode ? 3 : 1 });
  return b.output('y', node.output, 'float64', dims).model();
}

describe('BatchNormalization', () => {
  it.each(SHAPES)('with the statistics of the batch, %j', async (...dims) => {
    for (const momentum of [0, 0.9]) {
      const model = batchNorm(dims, { training_mode: 1, momentum: float(momentum), epsilon: float(1e-3) }, false);
      expect(await checkGradient(engine, model, { wrt: ['x', 'gamma', 'beta'] })).toBeLessThan(1e-6);
    }
  });

  it.each(SHAPES)('with given statistics, by all five inputs, %j', async (...dims) => {
    const random = seededRandom(2);
    const data = Float64Array.from({ length: dims[1] as number }, () => 0.5 + random.uniform());
    const variance: HostTensor = { dtype: 'float64', dims: [dims[1] as number], data };
    const model = batchNorm(dims, { epsilon: float(1e-3) }, true);
    expect(await checkGradient(engine, model, { feeds: { variance } })).toBeLessThan(1e-6);
  });

  it('keeps the statistics of layers apart that start from equal constants', async () => {
    const b = new GraphBuilder();
    const [x, gamma, beta] = [
      b.input('x', 'float64', [4, 2, 3]),
      b.input('gamma', 'float64', [2]),
      b.input('beta', 'float64', [2]),
    ];
    const statistics = (): Tensor[] => [0, 1].map((v) => Tensor.of('float64', [2], [v, v]));
    const attributes = { training_mode: 1, momentum: float(0) };
    const norm = (v: typeof x): typeof x =>
      b.node('BatchNormalization', [v, gamma, beta, ...statistics()], attributes, { outputs: 3 }).output;
    const y = norm(b.op('Tanh', [norm(b.op('Tanh', [norm(x)]))]));
    b.output('y', y, 'float64', [4, 2, 3]);
    expect(await checkGradient(engine, b.model())).toBeLessThan(1e-6);
  });

  it('refuses to differentiate the running statistics', async () => {
    const b = new GraphBuilder();
    const inputs = [b.input('x', 'float64', [4, 2]), b.input('gamma', 'float64', [2]), b.input('beta', 'float64', [2])];
    const constants = [0, 1].map((v) => Tensor.of('float64', [2], [v, v]));
    const node = b.node('BatchNormalization', [...inputs, ...constants], { training_mode: 1 }, { outputs: 3 });
    b.output('y', b.op('Add', [node.output, node.outputs[1]!]), 'float64', [4, 2]);
    await expect(checkGradient(engine, b.model())).rejects.toThrow('running statistics are read');
  });
});
