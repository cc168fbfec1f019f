import { float, GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('MatMul', () => {
  it.each([
    [
      [3, 4],
      [4, 5],
    ],
    [
      [2, 3, 4],
      [4, 5],
    ],
    [
      [2, 3, 4],
      [2, 4, 5],
    ],
    [
      [2, 1, 3, 4],
      [5, 4, 2],
    ],
    [[4], [4, 5]],
    [[3, 4], [4]],
    [[4], [4]],
    [[2, 3, 4], [4]],
    [[4], [2, 4, 3]],
    [
      [1, 1],
      [1, 1],
    ],
    [
      [2, 0, 4],
      [4, 5],
    ],
  ] as const)('%j x %j', async (a, b) => {
    const builder = new GraphBuilder();
    const model = expression(builder, { a, b }, ({ a, b }) => builder.op('MatMul', [a!, b!]));
    expect(await checkGradient(engine, model)).toBeLessThan(1e-6);
  });
});

describe('Gemm', () => {
  it.each([0, 1, 2, 3])('with transposition %i', async (bits) => {
    const [transA, transB] = [bits & 1, bits >> 1];
    for (const c of [[3, 5], [5], [3, 1], []]) {
      const builder = new GraphBuilder();
      const model = expression(
        builder,
        { a: transA ? [4, 3] : [3, 4], b: transB ? [5, 4] : [4, 5], c },
        ({ a, b, c }) => builder.op('Gemm', [a!, b!, c!], { alpha: float(0.5), beta: float(2), transA, transB }),
      );
      expect(await checkGradient(engine, model)).toBeLessThan(1e-6);
    }
  });
});
