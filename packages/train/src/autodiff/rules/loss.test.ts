import { type AttributeLike, GraphBuilder, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Attributes = Readonly<Record<string, AttributeLike>>;

function lossOf(
  op: string,
  dims: readonly number[],
  labels: readonly number[],
  attributes: Attributes,
  weights = false,
): Model {
  const b = new GraphBuilder();
  const [n, classes, ...rest] = dims as [number, number, ...number[]];
  const inputs = [
    Tensor.of('int64', [n, ...rest], labels),
    ...(weights
      ? [
          Tensor.of(
            'float64',
            [classes],
            Array.from({ length: classes }, (_, i) => 0.5 + i),
          ),
        ]
      : []),
  ];
  return expression(b, { x: dims }, ({ x }) => b.op(op, [x!, ...inputs], attributes));
}

describe.each(['NegativeLogLikelihoodLoss', 'SoftmaxCrossEntropyLoss'])('%s', (op) => {
  it.each(['mean', 'sum', 'none'])('reduction %s', async (reduction) => {
    for (const weights of [false, true]) {
      await checkGradient(engine, lossOf(op, [4, 3], [0, 2, 1, 2], { reduction }, weights));
      await checkGradient(engine, lossOf(op, [2, 3, 2], [0, 2, 1, 2], { reduction }, weights));
    }
  });

  it.each([-100, 2])('ignores label %i', async (ignored) => {
    for (const reduction of ['mean', 'sum', 'none']) {
      for (const weights of [false, true]) {
        await checkGradient(
          engine,
          lossOf(op, [4, 3], [0, ignored, 1, 0], { reduction, ignore_index: ignored }, weights),
        );
      }
    }
  });
});

describe('SoftmaxCrossEntropyLoss', () => {
  it('through the logarithms of its probabilities', async () => {
    const b = new GraphBuilder();
    const labels = Tensor.of('int64', [3], [1, 0, 3]);
    const model = expression(b, { x: [3, 4] }, ({ x }) =>
      b.node('SoftmaxCrossEntropyLoss', [x!, labels], {}, { outputs: 2 }).outputs.map((y) => y!),
    );
    expect(await checkGradient(engine, model)).toBeLessThan(1e-6);
  });
});
