import { type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { type CheckOptions, checkExpression, gradientsAt } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Small steps where float32 is the only kernel: the error is that of the quotient, not of the gradient. */
const SINGLE = { dtype: 'float32', step: 2 ** -8, tolerance: 2e-4 } as const;
const SHAPES = [[2, 3], [], [0, 3], [1, 1, 5]];

describe('functions of one element', () => {
  it.each<[string, CheckOptions]>([
    ['Identity', {}],
    ['Neg', {}],
    ['Abs', {}],
    ['Exp', {}],
    ['Log', { range: [0.1, 4] }],
    ['Sqrt', { range: [0.1, 4] }],
    ['Reciprocal', { range: [0.5, 4] }],
    ['Reciprocal', { range: [-4, -0.5] }],
    ['Erf', SINGLE],
    ['Sin', {}],
    ['Cos', SINGLE],
    ['Tan', { ...SINGLE, range: [-1, 1] }],
    ['Asin', { ...SINGLE, range: [-0.9, 0.9] }],
    ['Acos', { ...SINGLE, range: [-0.9, 0.9] }],
    ['Atan', SINGLE],
    ['Sinh', { ...SINGLE, range: [-2, 2] }],
    ['Cosh', { ...SINGLE, range: [-2, 2] }],
    ['Asinh', SINGLE],
    ['Acosh', { ...SINGLE, range: [1.5, 4] }],
    ['Atanh', { ...SINGLE, range: [-0.8, 0.8] }],
  ])('%s %j', async (type, options) => {
    for (const x of SHAPES) await checkExpression(engine, { x }, (b, { x }) => b.op(type, [x!]), options);
  });

  it('Abs has the gradient 0 at 0', async () => {
    const { x } = await gradientsAt(engine, { x: [-2, 0, 3] }, (b, { x }) => b.op('Abs', [x!]));
    expect(x).toEqual([-1, 0, 1]);
  });

  it('Round passes the gradient straight through, and what is left of a Floor or Ceil keeps its own', async () => {
    const { x } = await gradientsAt(engine, { x: [-1.5, 0.2, 3] }, (b, { x }) => b.op('Round', [x!]));
    expect(x).toEqual([1, 1, 1]);
    for (const type of ['Floor', 'Ceil']) {
      const rest = await gradientsAt(engine, { x: [-1.4, 0.2, 3.3] }, (b, { x }) =>
        b.op('Sub', [x!, b.op(type, [x!])]),
      );
      expect(rest.x).toEqual([1, 1, 1]);
    }
  });
});

describe('Cast', () => {
  it('converts the gradient back', async () => {
    for (const x of SHAPES) {
      await checkExpression(
        engine,
        { x },
        (b, { x }) => b.op('Cast', [b.op('Cast', [x!], { to: 1 })], { to: 11 }),
        SINGLE,
      );
      await checkExpression(engine, { x }, (b, { x }) => b.op('CastLike', [b.op('Cast', [x!], { to: 1 }), x!]), SINGLE);
    }
  });
});

describe('Pow', () => {
  it.each([0, 1, 2, 3, -1, 0.5, 2.5])('to the constant %d', async (p) => {
    const exponent = Tensor.of('float64', [], [p]);
    for (const x of SHAPES) {
      await checkExpression(engine, { x }, (b, { x }) => b.op('Pow', [x!, exponent]), { range: [0.5, 2] });
    }
  });

  it('to a power that is trained too, broadcast', async () => {
    for (const [x, p] of [
      [[2, 3], [3]],
      [[3], [2, 1]],
      [[], [2]],
    ] as const) {
      await checkExpression(engine, { x, p }, (b, { x, p }) => b.op('Pow', [x!, p!]), { range: [0.5, 2] });
    }
  });

  it('to integers, of negative numbers too', async () => {
    await checkExpression(engine, { x: [3, 2] }, (b, { x }) => b.op('Pow', [x!, [2, 3]]));
  });

  it('has a gradient at 0 where the function has one', async () => {
    const d = await gradientsAt(engine, { x: [0, 0, 0, 2], p: [0, 1, 2, 0] }, (b, { x, p }) => b.op('Pow', [x!, p!]));
    expect(d.x).toEqual([0, 1, 0, 0]);
    expect(d.p).toEqual([0, 0, 0, Math.log(2)]);
    const zero = Tensor.of('float64', [], [0]);
    expect((await gradientsAt(engine, { x: [0, 2] }, (b, { x }) => b.op('Pow', [x!, zero]))).x).toEqual([0, 0]);
  });
});

describe('Mod', () => {
  it('of floats', async () => {
    const options = { range: [0.6, 4] } as const;
    for (const a of [[2, 3], [3]]) {
      await checkExpression(engine, { a, b: [2, 1] }, (g, { a, b }) => g.op('Mod', [a!, b!], { fmod: 1 }), options);
      const negative = (g: GraphBuilder, a: Value, b: Value): Value => g.op('Mod', [g.op('Neg', [a]), b], { fmod: 1 });
      await checkExpression(engine, { a, b: [2, 1] }, (g, { a, b }) => negative(g, a!, b!), options);
    }
  });
});

describe('CumSum', () => {
  it.each([0, 1, 2, 3])('with exclusive and reverse as in the bits of %i', async (bits) => {
    for (const axis of [0, 1, -1, -3]) {
      const at = Tensor.of('int64', [], [axis]);
      const attributes = { exclusive: bits & 1, reverse: bits >> 1 };
      for (const x of [
        [3, 2, 4],
        [1, 1, 1],
        [2, 0, 3],
      ]) {
        await checkExpression(engine, { x }, (b, { x }) => b.op('CumSum', [x!, at], attributes));
      }
    }
  });
});

describe('Dropout', () => {
  it('is the identity in inference', async () => {
    for (const opset of [7, 11, 21]) {
      await checkExpression(engine, { x: [2, 3] }, (b, { x }) => b.op('Dropout', [x!]), { opset });
    }
  });

  it('scales by its mask in training', async () => {
    const ratio = Tensor.of('float64', [], [0.25]);
    const training = Tensor.of('bool', [], [1]);
    const x = Array.from({ length: 64 }, (_, i) => i + 1);
    const d = await gradientsAt(engine, { x }, (b, { x }) => b.op('Dropout', [x!, ratio, training], { seed: 3 }));
    const kept = d.x!.filter((v) => v !== 0);
    expect(kept.length).toBeGreaterThan(32);
    expect(kept.length).toBeLessThan(64);
    for (const v of kept) expect(v).toBeCloseTo(4 / 3, 12);
    const y = await gradientsAt(engine, { x }, (b, { x }) => {
      const y = b.op('Dropout', [x!, ratio, training], { seed: 3 });
      return b.op('Mul', [y, y]);
    });
    // d(y^2)/dx = 2 y mask / (1 - ratio) with y = x mask / (1 - ratio), whatever the mask was.
    for (const [i, v] of y.x!.entries()) if (v !== 0) expect(v).toBeCloseTo((2 * x[i]! * 16) / 9, 9);
  });
});
