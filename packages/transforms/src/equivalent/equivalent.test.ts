import { float, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { difference } from './difference.js';
import { equivalent } from './equivalent.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const modelOf = (build: (b: GraphBuilder, x: Value) => Value, shape: (string | number | null)[] = ['n', 4]): Model => {
  const b = new GraphBuilder();
  return b.output('y', build(b, b.input('x', 'float32', shape)), 'float32').model();
};
const num = (v: number): Tensor => Tensor.of('float32', [], [v]);
const relu = (): Model => modelOf((b, x) => b.op('Relu', [x]));

describe('equivalent', () => {
  it('finds no difference between a model and its copy', async () => {
    const result = await equivalent(engine, relu(), relu().clone());
    expect(result).toEqual({
      isEqual: true,
      runs: 3,
      shapes: [{ x: [2, 4] }, { x: [1, 4] }, { x: [3, 4] }],
      outputs: [{ name: 'y', maxAbs: 0, maxRel: 0, maxUlp: 0, unequal: 0, noise: expect.any(Number), isEqual: true }],
    });
  });

  it('calls rounding equal, and tells how much it was', async () => {
    const third = modelOf((b, x) => b.op('Div', [x, num(3)]));
    const factor = modelOf((b, x) => b.op('Mul', [x, num(1 / 3)]));
    const result = await equivalent(engine, third, factor);
    expect(result.isEqual).toBe(true);
    expect(result.outputs[0]?.maxUlp).toBe(1);
    expect(result.outputs[0]?.unequal).toBeGreaterThan(0);
  });

  it.each([
    ['a small error', modelOf((b, x) => b.op('Mul', [b.op('Relu', [x]), num(1.001)]))],
    ['a wrong sign of a few', modelOf((b, x) => b.op('LeakyRelu', [x], { alpha: float(0.01) }))],
    ['NaN', modelOf((b, x) => b.op('Sqrt', [x]))],
    ['another shape', modelOf((b, x) => b.op('Transpose', [b.op('Relu', [x])], { perm: [1, 0] }))],
  ])('finds %s', async (_, wrong) => {
    const result = await equivalent(engine, relu(), wrong);
    expect(result.isEqual).toBe(false);
    expect(result.outputs[0]?.isEqual).toBe(false);
  });

  it('finds an error that shows for other lengths only', async () => {
    const free = modelOf((b, x) => b.op('Reshape', [x, [-1]]));
    const fixed = modelOf((b, x) => b.op('Reshape', [x, [8]]));
    await expect(equivalent(engine, free, fixed)).rejects.toThrow(/Reshape/);
  });

  it('finds a wrong integer', async () => {
    const index = (last: number): Model => {
      const b = new GraphBuilder();
      const x = b.input('x', 'float32', ['n', 4]);
      return b.output('y', b.op('ArgMax', [x], { axis: 1, select_last_index: last }), 'int64').model();
    };
    expect((await equivalent(engine, index(0), index(1))).isEqual).toBe(true);
    const b = new GraphBuilder();
    const wrong = b.output('y', b.op('ArgMin', [b.input('x', 'float32', ['n', 4])], { axis: 1 }), 'int64').model();
    expect((await equivalent(engine, index(0), wrong)).isEqual).toBe(false);
  });

  it('grants a model that rounds its own noise, and no more', async () => {
    const steps = (shift: number): Model =>
      modelOf((b, x) => b.op('Floor', [b.op('Add', [b.op('Mul', [x, num(2 ** 22)]), num(shift)])]));
    const result = await equivalent(engine, steps(0), steps(0.5), { tolerance: 0 });
    expect(result.outputs[0]?.noise).toBeGreaterThan(0);
    expect(result.isEqual).toBe(true);
    expect((await equivalent(engine, steps(0), steps(100), { tolerance: 0 })).isEqual).toBe(false);
  });

  it('finds lengths that suit the model: names that are shared, sums of names, small vocabularies', async () => {
    const b = new GraphBuilder();
    const ids = b.input('ids', 'int64', ['batch', 'new']);
    const past = b.input('past', 'float32', ['batch', 'old', 3]);
    const mask = b.input('mask', 'float32', ['batch', 'old + new', 1]);
    const embedded = b.op('Gather', [b.random([2, 3]), ids]);
    const all = b.op('Concat', [past, embedded], { axis: 1 });
    const model = b.output('y', b.op('Mul', [all, mask]), 'float32').model();
    expect((await equivalent(engine, model, model.clone())).runs).toBe(3);
  });

  it('uses the lengths that were fixed', async () => {
    const fixed = modelOf((b, x) => b.op('Relu', [x]), [7, 4]);
    expect((await equivalent(engine, relu(), fixed, { runs: 1 })).isEqual).toBe(true);
    const unnamed = modelOf((b, x) => b.op('Relu', [x]), [null, 4]);
    expect((await equivalent(engine, unnamed, fixed, { runs: 1 })).isEqual).toBe(true);
  });

  it('takes inputs and lengths of the caller', async () => {
    const picky = modelOf((b, x) => b.op('Reshape', [x, [2, 50]]));
    await expect(equivalent(engine, picky, picky.clone())).rejects.toMatchObject({
      code: 'bad-model',
      message: expect.stringMatching(/does not run on random inputs/),
    });
    expect((await equivalent(engine, picky, picky.clone(), { dims: { n: 25 } })).runs).toBe(3);
    const x = { dtype: 'float32', dims: [25, 4], data: new Float32Array(100) } as const;
    expect((await equivalent(engine, picky, picky.clone(), { inputs: { x } })).isEqual).toBe(true);
  });

  it('refuses models with other outputs', async () => {
    const other = relu();
    other.graph.rename(other.graph.outputs[0] as Value, 'z');
    await expect(equivalent(engine, relu(), other)).rejects.toMatchObject({
      code: 'bad-model',
      message: 'The outputs were y and are now z.',
    });
  });
});

describe('difference', () => {
  const f32 = (...data: number[]) =>
    ({ dtype: 'float32', dims: [data.length], data: Float32Array.from(data) }) as const;

  it('measures absolutely, relative to the largest, and in units of the last place', () => {
    expect(difference(f32(1, 4, 0), f32(1 + 2 ** -23, 4, 0.5))).toEqual({
      maxAbs: 0.5,
      maxRel: 0.125,
      maxUlp: 2 ** 23,
      unequal: 2,
    });
    expect(difference(f32(4), f32(4 + 2 ** -21)).maxUlp).toBe(1);
    expect(difference(f32(2 ** -149), f32(0)).maxUlp).toBe(1);
    const half = (bits: number) => ({ dtype: 'float16', dims: [1], data: Uint16Array.of(bits) }) as const;
    expect(difference(half(0x3c00), half(0x3c02)).maxUlp).toBe(2);
  });

  it('takes NaN and infinities for themselves, and -0 for 0', () => {
    expect(difference(f32(Number.NaN, Infinity, -0), f32(Number.NaN, Infinity, 0)).unequal).toBe(0);
    expect(difference(f32(1), f32(Number.NaN)).maxAbs).toBe(Infinity);
    expect(difference(f32(Infinity), f32(-Infinity)).maxRel).toBe(Infinity);
  });

  it('compares strings, integers beyond 2^53 nearly, and shapes', () => {
    const text = (word: string) => ({ dtype: 'string', dims: [1], data: [word] }) as const;
    expect(difference(text('a'), text('a')).unequal).toBe(0);
    expect(difference(text('a'), text('b')).maxAbs).toBe(Infinity);
    expect(difference(f32(1, 2), { ...f32(1, 2), dims: [2, 1] }).maxAbs).toBe(Infinity);
    const big = (v: bigint) => ({ dtype: 'int64', dims: [1], data: BigInt64Array.of(v) }) as const;
    expect(difference(big(7n), big(9n))).toMatchObject({ maxAbs: 2, maxUlp: 2 });
  });
});
