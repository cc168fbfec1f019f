import { float, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, gradientsAt } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('Where', () => {
  it('broadcasts', async () => {
    for (const [a, b] of [
      [
        [2, 3],
        [2, 3],
      ],
      [[2, 3], [3]],
      [[], [2, 3]],
      [
        [2, 1],
        [1, 3],
      ],
      [
        [0, 3],
        [1, 3],
      ],
    ] as const) {
      const choose = (g: GraphBuilder, v: Record<string, Value>): Value =>
        g.op('Where', [g.op('Less', [v.a!, v.b!]), v.a!, v.b!]);
      await checkExpression(engine, { a, b }, choose);
    }
    const mask = Tensor.of('bool', [4, 1, 3], [1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0]);
    await checkExpression(engine, { a: [2, 1], b: [] }, (g, { a, b }) => g.op('Where', [mask, a!, b!]));
  });
});

describe('Clip', () => {
  const bound = (value: number, dtype: 'float32' | 'float64'): Tensor => Tensor.of(dtype, [], [value]);
  it.each<[number | null, number | null]>([
    [-0.5, 0.7],
    [0, 0.7],
    [null, 0.7],
    [-0.5, null],
    [null, null],
    [-Infinity, 0.7],
    [-0.5, Infinity],
    [-3.4e38, 3.4e38],
  ])('from %d to %d', async (low, high) => {
    for (const dtype of ['float32', 'float64'] as const) {
      for (const x of [[3, 4], [], [0, 2]]) {
        await checkExpression(
          engine,
          { x },
          (b, { x }) =>
            b.op('Clip', [x!, low === null ? null : bound(low, dtype), high === null ? null : bound(high, dtype)]),
          dtype === 'float32' ? { dtype, step: 2 ** -8 } : { dtype },
        );
      }
    }
  });

  it('with bounds as attributes, as before opset 11', async () => {
    const attributes = { min: float(0), max: float(0.5) };
    const options = { dtype: 'float32', step: 2 ** -8, opset: 9 } as const;
    await checkExpression(engine, { x: [3, 4] }, (b, { x }) => b.op('Clip', [x!], attributes), options);
  });

  it('stops on the bounds, and passes between', async () => {
    const [low, high] = [bound(0, 'float64'), bound(6, 'float64')];
    const { x } = await gradientsAt(engine, { x: [-1, 0, 1e-300, 5, 6, 7] }, (b, { x }) =>
      b.op('Clip', [x!, low, high]),
    );
    expect(x).toEqual([0, 0, 1, 1, 0, 0]);
  });

  it.each([
    [0, 6],
    [-1, 1],
    [0, 0.1],
  ])('stops on the bounds, and passes between, in float32: %d to %d', async (low, high) => {
    const [least, most] = [Math.fround(low), Math.fround(high)];
    const inside = [0.25, 0.5, 0.75].map((share) => least + share * (most - least));
    const { x } = await gradientsAt(engine, { x: [least - 1, least, ...inside, most, most + 1] }, (b, { x }) => {
      const clipped = b.op('Clip', [b.op('Cast', [x!], { to: 1 }), bound(low, 'float32'), bound(high, 'float32')]);
      return b.op('Cast', [clipped], { to: 11 });
    });
    expect(x).toEqual([0, 0, 1, 1, 1, 0, 0]);
  });

  it('gives its bounds the gradient of what lies beyond them', async () => {
    await checkExpression(engine, { x: [4, 5], high: [] }, (b, { x, high }) =>
      b.op('Clip', [x!, b.op('Neg', [b.op('Abs', [high!])]), b.op('Abs', [high!])]),
    );
  });
});

describe.each(['Max', 'Min'])('%s', (type) => {
  it('of one, two and three tensors that broadcast', async () => {
    for (const shapes of [
      [[2, 3]],
      [[2, 3], [3]],
      [[2, 1], [1, 3], []],
      [
        [0, 3],
        [1, 3],
      ],
    ]) {
      const inputs = Object.fromEntries(shapes.map((dims, i) => [`x${i}`, dims]));
      await checkExpression(engine, inputs, (b, values) => b.op(type, Object.values(values)));
    }
  });

  it('shares ties evenly', async () => {
    const d = await gradientsAt(engine, { a: [1, 2, 3], b: [1, 3, 3], c: [1, 0, 4] }, (g, { a, b, c }) =>
      g.op(type, [a!, b!, c!]),
    );
    const third = 1 / 3;
    expect(d).toEqual(
      type === 'Max'
        ? { a: [third, 0, 0], b: [third, 1, 0], c: [third, 0, 1] }
        : { a: [third, 0, 0.5], b: [third, 0, 0.5], c: [third, 1, 0] },
    );
  });

  it('sends infinite ties on', async () => {
    const least = type === 'Max' ? -Infinity : Infinity;
    const d = await gradientsAt(engine, { a: [least], b: [least] }, (g, { a, b }) => g.op(type, [a!, b!]));
    expect(d).toEqual({ a: [0.5], b: [0.5] });
  });
});
