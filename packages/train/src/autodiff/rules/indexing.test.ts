import { elementCount, GraphBuilder, type HostTensor, seededRandom, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkExpression, checkGradient, expression } from '../../../test/check-gradient.js';
import { gradient } from '../gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const int64 = (dims: readonly number[], values: readonly number[]): Tensor => Tensor.of('int64', dims, values);

describe('Gather', () => {
  it.each([0, 1, 2, -1])('along axis %i', async (axis) => {
    for (const dims of [[], [1], [3], [2, 2], [0]]) {
      const at = int64(dims, [1, -1, 1, 0].slice(0, elementCount(dims)));
      for (const x of [
        [3, 2, 4],
        [2, 2, 2],
      ]) {
        await checkExpression(engine, { x }, (b, { x }) => b.op('Gather', [x!, at], { axis }));
      }
    }
  });

  it('of rows that follow each other', async () => {
    await checkExpression(engine, { x: [5, 2] }, (b, { x }) => b.op('Gather', [x!, [1, 2, 3]]));
    await checkExpression(engine, { x: [2, 5] }, (b, { x }) => b.op('Gather', [x!, [-2, -1]], { axis: 1 }));
  });

  it('at indices that are fed, of both integer types', async () => {
    for (const [dtype, Data] of [
      ['int64', BigInt64Array],
      ['int32', Int32Array],
    ] as const) {
      const b = new GraphBuilder();
      const at = b.input('at', dtype, [2, 3]);
      const model = expression(b, { x: [4, 3] }, ({ x }) => b.op('Gather', [x!, at]));
      const numbers = [3, 0, -4, 3, 3, -1];
      const data = Data === Int32Array ? Int32Array.from(numbers) : BigInt64Array.from(numbers, BigInt);
      await checkGradient(engine, model, { feeds: { at: { dtype, dims: [2, 3], data } } });
    }
  });

  it('adds exactly in two threads, however often an index repeats', async () => {
    const count = 4096;
    const b = new GraphBuilder();
    const at = b.input('at', 'int64', [count]);
    const model = expression(b, { x: [4, 32] }, ({ x }) =>
      b.op('ReduceSum', [b.op('Gather', [x!, at])], { keepdims: 0 }),
    );
    const session = await engine.open(await gradient(model, { loss: 'y0', wrt: ['x'] }), { threads: 2 });
    const random = seededRandom(5);
    const indices = Array.from({ length: count }, () => random.integer(4));
    const feeds: Record<string, HostTensor> = {
      at: { dtype: 'int64', dims: [count], data: BigInt64Array.from(indices, BigInt) },
      x: { dtype: 'float64', dims: [4, 32], data: new Float64Array(128) },
    };
    const expected = [0, 1, 2, 3].flatMap((row) => Array(32).fill(indices.filter((i) => i === row).length));
    for (let i = 0; i < 5; i++)
      expect(Array.from((await session.run(feeds))['d/x']?.data as Float64Array)).toEqual(expected);
    await session.close();
  });
});

describe('GatherElements', () => {
  it('along each axis', async () => {
    const at = int64([2, 3], [1, 0, 1, -1, 1, 1]);
    for (const axis of [0, 1, -1]) {
      await checkExpression(engine, { x: [2, 3] }, (b, { x }) => b.op('GatherElements', [x!, at], { axis }));
    }
    await checkExpression(engine, { x: [2, 3] }, (b, { x }) =>
      b.op('GatherElements', [x!, int64([2, 0], [])], { axis: 1 }),
    );
  });
});

describe('GatherND', () => {
  it.each<[number[], Tensor, number]>([
    [[3, 4], int64([2, 2], [0, 1, -1, 3]), 0],
    [[3, 4], int64([3, 1], [2, 0, 2]), 0],
    [[3, 4, 2], int64([2, 2, 2], [0, 1, 0, 1, 2, -4, 1, 1]), 0],
    [[2, 3, 4], int64([2, 1], [1, -3]), 1],
    [[2, 3, 4], int64([2, 2, 2], [1, 0, 2, 3, 1, 0, 1, 0]), 1],
    [[2, 2, 4, 3], int64([2, 2, 3, 1], [0, 1, 1, 2, 3, 3, 0, 0, 0, -1, 1, 3]), 2],
    [[3, 4], int64([0, 2], []), 0],
  ])('of %j', async (x, at, batch_dims) => {
    await checkExpression(engine, { x }, (b, { x }) => b.op('GatherND', [x!, at], { batch_dims }));
  });
});

describe('Compress', () => {
  it('by a constant condition, over an axis and over all', async () => {
    for (const condition of [
      [0, 1, 1],
      [1, 0],
      [0, 0, 0],
    ]) {
      const mask = Tensor.of('bool', [condition.length], condition);
      for (const axis of [0, 1, -1]) {
        await checkExpression(engine, { x: [3, 3] }, (b, { x }) => b.op('Compress', [x!, mask], { axis }));
      }
      await checkExpression(engine, { x: [2, 2] }, (b, { x }) => b.op('Compress', [x!, mask]));
    }
  });
});

describe('ScatterElements', () => {
  it.each([
    ['none', [0, 2, 1, 0, 1, 2]],
    ['add', [0, 0, 0, -1, 2, 2]],
  ])('with the reduction %s', async (reduction, indices) => {
    const [rows, columns] = [
      int64(
        [2, 3],
        indices.map((i) => i % 3),
      ),
      int64([3, 2], [0, 3, 1, 2, -1, 1]),
    ];
    await checkExpression(engine, { x: [2, 3], u: [2, 3] }, (b, { x, u }) =>
      b.op('ScatterElements', [x!, rows, u!], { axis: 1, reduction }),
    );
    await checkExpression(engine, { x: [3, 4], u: [3, 2] }, (b, { x, u }) =>
      b.op('ScatterElements', [x!, columns, u!], { axis: -1, reduction }),
    );
  });

  it('refuses other reductions by name', async () => {
    const b = new GraphBuilder();
    const scatter = b.op(
      'ScatterElements',
      [b.input('x', 'float64', [2]), int64([1], [0]), b.input('u', 'float64', [1])],
      {
        reduction: 'mul',
      },
    );
    const model = b.output('L', b.op('ReduceSum', [scatter], { keepdims: 0 })).model();
    await expect(gradient(model, { loss: 'L', wrt: ['x'] })).rejects.toThrow(/ScatterElements .*"mul"/);
  });
});

describe('ScatterND', () => {
  it.each([
    ['none', [0, 1, 2, 3]],
    ['add', [0, 1, 0, 1]],
  ])('with the reduction %s', async (reduction, indices) => {
    await checkExpression(engine, { x: [3, 4], u: [2] }, (b, { x, u }) =>
      b.op('ScatterND', [x!, int64([2, 2], indices), u!], { reduction }),
    );
    await checkExpression(engine, { x: [4, 2, 3], u: [2, 1, 2, 3] }, (b, { x, u }) =>
      b.op('ScatterND', [x!, int64([2, 1, 1], [indices[0]!, indices[2]!]), u!], { reduction }),
    );
  });
});

describe('TopK', () => {
  it.each([
    [0, 1, 1],
    [1, 0, 0],
    [-1, 1, 0],
  ])('along axis %i, largest = %i, sorted = %i', async (axis, largest, sorted) => {
    for (const k of [1, 3]) {
      await checkExpression(
        engine,
        { x: [3, 4] },
        (b, { x }) => b.node('TopK', [x!, [k]], { axis, largest, sorted }, { outputs: 2 }).outputs[0]!,
      );
    }
  });
});

describe('ReverseSequence', () => {
  it.each([
    [0, 1],
    [1, 0],
  ])('with batches on axis %i and time on axis %i', async (batch_axis, time_axis) => {
    const lengths = int64([3], [1, 3, 2]);
    await checkExpression(engine, { x: [3, 3, 2] }, (b, { x }) =>
      b.op('ReverseSequence', [x!, lengths], { batch_axis, time_axis }),
    );
  });
});
