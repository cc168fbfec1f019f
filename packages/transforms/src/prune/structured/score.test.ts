import { GraphBuilder, type Model, PareError, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal } from '../../../test/run-model.js';
import { type ChannelScore, type ScoreOptions, scorerOf, weightReader } from './channel-score.js';
import { channelGroups } from './groups.js';

const engine = nodeEngine();
afterAll(() => engine.close());

// x [n, 2] -> 3 hidden units -> y [n, 1]. W1 rows: (3,4), (0,0), (0,5); W2: 1, 2, 2; gamma 1, -2, 3.
const W1 = [3, 4, 0, 0, 0, 5];
const W2 = [1, 2, 2];

function network(withNorm = false): Model {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['n', 2]);
  let hidden = b.op('Gemm', [x, b.constant(Tensor.of('float32', [3, 2], W1), 'w1')], { transB: 1 });
  if (withNorm) {
    const vector = (values: number[], name: string) => b.constant(Tensor.of('float32', [3], values), name);
    const more = [
      vector([1, -2, 3], 'gamma'),
      vector([0, 0, 0], 'beta'),
      vector([0, 0, 0], 'mean'),
      vector([1, 1, 1], 'var'),
    ];
    hidden = b.op('BatchNormalization', [hidden, ...more]);
  }
  hidden = b.op('Relu', [hidden]);
  const y = b.op('MatMul', [hidden, b.constant(Tensor.of('float32', [3, 1], W2), 'w2')]);
  return b.output('y', y, 'float32', ['n', 1]).model({ opset: 17 });
}

async function scoresOf(score: ChannelScore, options: ScoreOptions = {}, model = network()): Promise<number[]> {
  const { groups } = channelGroups(model);
  expect(groups.map(({ size }) => size)).toEqual([3]);
  const scorer = await scorerOf(score, model, groups, options, { engine });
  return [...(await scorer(groups[0]!, weightReader()))];
}

const close = (found: readonly number[], expected: readonly number[]): void => {
  for (const [i, v] of expected.entries()) expect(found[i]).toBeCloseTo(v, 5);
};

describe('scores of units', () => {
  it('magnitude: norms over their mean, averaged over what computes and what reads a unit', async () => {
    // Norms of W1: 5, 0, 5, mean 10/3; of W2: 1, 2, 2, mean 5/3.
    close(await scoresOf('magnitude'), [(1.5 + 0.6) / 2, (0 + 1.2) / 2, (1.5 + 1.2) / 2]);
  });

  it('bn-gamma: |gamma|; what passes no normalization must stay', async () => {
    close(await scoresOf('bn-gamma', {}, network(true)), [1, 2, 3]);
    expect(await scoresOf('bn-gamma')).toEqual(new Array(3).fill(Number.POSITIVE_INFINITY));
  });

  it('taylor: |sum of gradient times weight| over all members', async () => {
    const gradients = new Map([
      ['w1', [1, -1, 1, 1, 0, 1]],
      ['w2', [-2, 5, 1]],
    ]);
    close(await scoresOf('taylor', { gradients }), [Math.abs(3 - 4 - 2), 10, 5 + 2]);
    await expect(scoresOf('taylor')).rejects.toThrow(/needs `gradients`/);
    await expect(scoresOf('taylor', { gradients: new Map() })).rejects.toThrow(/needs gradients for Gemm/);
    await expect(scoresOf('taylor', { gradients: new Map([['w1', [1]]]) })).rejects.toThrow(PareError);
  });

  it('fpgm: distances to all others', async () => {
    const [ab, ac, bc] = [5, Math.hypot(3, 1), 5];
    close(await scoresOf('fpgm'), [ab + ac, ab + bc, ac + bc]);
  });

  it('lamp: energy over that of all units at least as large', async () => {
    const [a, b, c] = [1.05 ** 2, 0.6 ** 2, 1.35 ** 2] as const;
    close(await scoresOf('lamp'), [a / (a + c), b / (a + b + c), 1]);
  });

  it('activation: what really comes out, over samples', async () => {
    const samples = [{ x: normal([5, 2], 1) }, { x: normal([3, 2], 2) }];
    const sums = [0, 0, 0];
    for (const { x } of samples) {
      for (let n = 0; n < (x.dims[0] as number); n++) {
        for (let u = 0; u < 3; u++) {
          const [x0, x1] = [x.data[2 * n] as number, x.data[2 * n + 1] as number];
          sums[u] = (sums[u] as number) + Math.max(0, (W1[2 * u] as number) * x0 + (W1[2 * u + 1] as number) * x1);
        }
      }
    }
    const mean = sums.reduce((p, q) => p + q, 0) / 3;
    close(
      await scoresOf('activation', { samples }),
      sums.map((sum) => sum / mean),
    );
    await expect(scoresOf('activation')).rejects.toThrow(/needs `samples`/);
  });

  it('reconstruction: what no other unit can stand in for, as a share of what the layers behind compute', async () => {
    // Hidden units 0 and 1 are proportional; unit 2 stands alone.
    const samples = [{ x: normal([60, 2], 1) }];
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['n', 2]);
    const hidden = b.op('Relu', [b.op('Gemm', [x, b.constant(Tensor.of('float32', [2, 3], [1, 2, 0, 0, 0, 1]))])]);
    const y = b.op('MatMul', [hidden, b.constant(Tensor.of('float32', [3, 1], [5, 5, 1]))]);
    const model = b.output('y', y, 'float32').model({ opset: 17 });
    const [a = 0, c = 0, alone = 0] = await scoresOf('reconstruction', { samples }, model);
    // The share of unit 2, less what the half-correlated others explain of it.
    let [squares, whole, cross, other] = [0, 0, 0, 0];
    for (let n = 0; n < 60; n++) {
      const [p, q] = [0, 1].map((i) => Math.max(0, samples[0]?.x.data[2 * n + i] as number)) as [number, number];
      squares += q * q;
      other += p * p;
      cross += p * q;
      whole += 25 * (p * p + 4 * p * p) + q * q;
    }
    expect(alone).toBeCloseTo((squares - (cross * cross) / other) / whole, 3);
    expect(Math.max(a, c)).toBeLessThan(0.01);
    await expect(scoresOf('reconstruction')).rejects.toThrow(/needs `samples`/);
  });

  it('random: the same for the same seed', async () => {
    expect(await scoresOf('random', { seed: 3 })).toEqual(await scoresOf('random', { seed: 3 }));
    expect(await scoresOf('random', { seed: 3 })).not.toEqual(await scoresOf('random', { seed: 4 }));
  });
});
