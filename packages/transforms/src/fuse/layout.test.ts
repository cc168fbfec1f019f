import { type DType, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { mergeArithmetic } from './arithmetic.js';
import { isLossless, mergeChains } from './chains.js';
import { mergeReshapes } from './reshapes.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);
const INT64_MAX = Tensor.of('int64', [1], [2n ** 63n - 1n]);

type Build = (b: GraphBuilder, x: Value) => Value;
const turn = (b: GraphBuilder, x: Value, ...perm: number[]): Value => b.op('Transpose', [x], { perm });

describe('mergeReshapes', () => {
  const cases: Record<string, [(number | string)[], Build, string[]]> = {
    'two Reshapes': [[2, 3, 4], (b, x) => b.op('Reshape', [b.op('Reshape', [x, [6, 4]]), [0, 2, 2]]), ['Reshape']],
    'Reshape there and back': [
      ['n', 3, 4],
      (b, x) => b.op('Neg', [b.op('Reshape', [b.op('Reshape', [x, [-1, 4]]), [-1, 3, 4]])]),
      ['Neg'],
    ],
    'Unsqueeze and Squeeze': [
      ['n', 'm'],
      (b, x) => b.op('Neg', [b.op('Squeeze', [b.op('Unsqueeze', [x, [1]]), [1]])]),
      ['Neg'],
    ],
    'Unsqueezes of unknown lengths': [
      ['n', 'm', 'k'],
      (b, x) => b.op('Unsqueeze', [b.op('Unsqueeze', [x, [0, 2]]), [1, -1]]),
      ['Unsqueeze'],
    ],
    'Flatten and Reshape': [['n', 3, 4], (b, x) => b.op('Reshape', [b.op('Flatten', [x]), [-1, 2, 6]]), ['Reshape']],
    'Unsqueezes that share the first': [
      ['n', 4],
      (b, x) => {
        const wide = b.op('Unsqueeze', [x, [0]]);
        return b.op('Add', [b.op('Unsqueeze', [wide, [2]]), b.op('Unsqueeze', [wide, [3]])]);
      },
      ['Reshape', 'Reshape', 'Add'],
    ],
    Transposes: [[2, 3, 4], (b, x) => turn(b, turn(b, x, 1, 2, 0), 0, 2, 1), ['Transpose']],
    'Transposes that cancel': [['n', 3, 4], (b, x) => b.op('Neg', [turn(b, turn(b, x, 1, 2, 0), 2, 0, 1)]), ['Neg']],
    'a Transpose of axes of length 1': [['n', 1, 4], (b, x) => turn(b, x, 1, 0, 2), ['Reshape']],
    'a Transpose before a Squeeze': [['n', 4, 1], (b, x) => b.op('Squeeze', [turn(b, x, 0, 2, 1), [1]]), ['Reshape']],
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const [shape, build, expected] = cases[name] as (typeof cases)[string];
    expect((await rewritten(engine, modelOf(shape, build), [mergeReshapes(), mergeReshapes()])).ops).toEqual(expected);
  });

  const kept: Record<string, [(number | string)[], Build]> = {
    'a Reshape that others read': [
      [2, 3, 4],
      (b, x) => {
        const flat = b.op('Reshape', [x, [6, 4]]);
        return b.op('MatMul', [b.op('Reshape', [flat, [4, 6]]), flat]);
      },
    ],
    'a Transpose of two axes': [['n', 1, 4], (b, x) => turn(b, x, 1, 2, 0)],
    'lengths that no Reshape can say': [
      ['n', 'm', 'k'],
      (b, x) =>
        b.op('Unsqueeze', [
          b.op('Reshape', [x, b.op('Concat', [b.op('Shape', [x], { start: 2 }), [-1]], { axis: 0 })]),
          [1],
        ]),
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [shape, build] = kept[name] as (typeof kept)[string];
    const model = modelOf(shape, build);
    expect((await rewritten(engine, model, [mergeReshapes()])).ops).toEqual(opsOf(model));
  });
});

describe('mergeChains', () => {
  const slice = (b: GraphBuilder, x: Value, start: number, end: number | Tensor, axis: number, step?: number): Value =>
    b.op('Slice', [x, [start], end instanceof Tensor ? end : [end], [axis], ...(step === undefined ? [] : [[step]])]);

  const cases: Record<string, [(number | string)[], Build, string[]]> = {
    'Slices of two axes, to the end, with steps': [
      ['n', 6, 7],
      (b, x) => slice(b, slice(b, x, -4, INT64_MAX, 1, 2), 5, -6, -1, -1),
      ['Slice'],
    ],
    'Slices of one axis': [[9, 2], (b, x) => slice(b, slice(b, x, 1, 8, 0), 2, 100, 0), ['Slice']],
    'Slices that share the first': [
      [6, 6],
      (b, x) => {
        const even = slice(b, x, 0, INT64_MAX, 0, 2);
        return b.op('Concat', [slice(b, even, 0, 3, 1), slice(b, even, 3, 6, 1)], { axis: 1 });
      },
      ['Slice', 'Slice', 'Concat'],
    ],
    Concats: [
      [2, 3],
      (b, x) => b.op('Concat', [x, b.op('Concat', [b.op('Exp', [x]), x], { axis: -1 }), x], { axis: 1 }),
      ['Exp', 'Concat'],
    ],
    'Split and Concat': [
      [2, 6],
      (b, x) =>
        b.op('Neg', [
          b.op('Concat', b.node('Split', [x, [1, 5]], { axis: 1 }, { outputs: 2 }).outputs as Value[], { axis: -1 }),
        ]),
      ['Neg'],
    ],
    Casts: [
      [3],
      (b, x) => b.op('Cast', [b.op('Cast', [b.op('Cast', [x], { to: 9 })], { to: 7 })], { to: 1 }),
      ['Cast', 'Cast'],
    ],
    'Relu and Relu': [[3], (b, x) => b.op('Relu', [b.op('Relu', [x])]), ['Relu']],
    'Neg and Neg': [[3], (b, x) => b.op('Exp', [b.op('Neg', [b.op('Neg', [x])])]), ['Exp']],
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const [shape, build, expected] = cases[name] as (typeof cases)[string];
    expect((await rewritten(engine, modelOf(shape, build), [mergeChains()])).ops).toEqual(expected);
  });

  it('merges Slices of opset 9', async () => {
    const build: Build = (b, x) =>
      b.op('Slice', [b.op('Slice', [x], { starts: [1], ends: [9], axes: [1] })], { starts: [0], ends: [2], axes: [0] });
    expect((await rewritten(engine, modelOf([3, 4], build, { opset: 9 }), [mergeChains()])).ops).toEqual(['Slice']);
  });

  const kept: Record<string, [(number | string)[], Build]> = {
    'Slices of one axis with steps': [[9, 2], (b, x) => slice(b, slice(b, x, 1, 8, 0, 2), 1, 3, 0)],
    'Slices of one axis from the back': [[9, 2], (b, x) => slice(b, slice(b, x, -5, -1, 0), 1, 3, 0)],
    'a Slice that others read': [
      [6, 6],
      (b, x) => {
        const first = slice(b, x, 0, 3, 0);
        return b.op('MatMul', [slice(b, first, 0, 3, 1), b.op('Exp', [first])]);
      },
    ],
    'Concats of two axes': [
      [2, 2],
      (b, x) => b.op('Concat', [b.op('Concat', [x, x], { axis: 0 }), b.op('Concat', [x, x], { axis: 0 })], { axis: 1 }),
    ],
    'Split and Concat in another order': [
      [2, 6],
      (b, x) =>
        b.op('Concat', (b.node('Split', [x, [3, 3]], { axis: 1 }, { outputs: 2 }).outputs as Value[]).reverse(), {
          axis: 1,
        }),
    ],
    'a Cast that rounds': [[3], (b, x) => b.op('Cast', [b.op('Cast', [x], { to: 6 })], { to: 1 })],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [shape, build] = kept[name] as (typeof kept)[string];
    const model = modelOf(shape, build);
    expect((await rewritten(engine, model, [mergeChains()])).ops).toEqual(opsOf(model));
  });

  it('knows which types hold all values of another', () => {
    const yes =
      'bool:uint8 bool:float16 uint8:int16 int8:float16 int16:float32 int32:float64 float16:float32 bfloat16:float32 uint32:int64';
    const no =
      'uint8:int8 int8:uint8 int32:float32 int64:float64 float32:float16 float16:bfloat16 bfloat16:float16 float32:bool uint16:float16 int64:int32';
    for (const pair of yes.split(' '))
      expect([pair, isLossless(...(pair.split(':') as [DType, DType]))]).toEqual([pair, true]);
    for (const pair of no.split(' '))
      expect([pair, isLossless(...(pair.split(':') as [DType, DType]))]).toEqual([pair, false]);
  });
});

describe('mergeArithmetic', () => {
  const cases: Record<string, [(number | string)[], Build, string[]]> = {
    'Add and Add': [[2, 3], (b, x) => b.op('Add', [b.op('Add', [x, f32([3], [1, 2, 3])]), f32([1], [4])]), ['Add']],
    'Sub and Add': [[2, 3], (b, x) => b.op('Sub', [b.op('Add', [f32([], [1]), x]), f32([2, 1], [4, 5])]), ['Add']],
    'Mul and Div': [['n', 3], (b, x) => b.op('Div', [b.op('Mul', [x, f32([3], [1, 2, 3])]), f32([], [6])]), ['Mul']],
    Expand: [
      ['n', 3],
      (b, x) => b.op('Add', [x, b.op('Expand', [f32([1, 3], [1, 2, 3]), b.op('Shape', [x])])]),
      ['Add'],
    ],
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const [shape, build, expected] = cases[name] as (typeof cases)[string];
    expect((await rewritten(engine, modelOf(shape, build), [mergeArithmetic()])).ops).toEqual(expected);
  });

  const kept: Record<string, [(number | string)[], Build]> = {
    'Add and Mul': [[2, 3], (b, x) => b.op('Mul', [b.op('Add', [x, f32([], [1])]), f32([], [4])])],
    'constants along different axes': [
      [2, 3],
      (b, x) => b.op('Add', [b.op('Add', [x, f32([3], [1, 2, 3])]), f32([2, 1], [4, 5])]),
    ],
    'constants less a value': [[3], (b, x) => b.op('Sub', [f32([], [1]), b.op('Add', [x, f32([], [4])])])],
    'an Expand that makes the result larger': [
      [1, 3],
      (b, x) => b.op('Add', [b.op('Expand', [x, [4, 3]]), f32([], [1])]),
    ],
    'an Expand to lengths that may differ': [
      ['n', 3],
      (b, x) =>
        b.op('Add', [
          b.op('Expand', [x, b.op('Concat', [b.op('Shape', [x], { end: 1 }), [1]], { axis: 0 })]),
          b.op('Exp', [x]),
        ]),
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [shape, build] = kept[name] as (typeof kept)[string];
    const model = modelOf(shape, build);
    const { ops } = await rewritten(engine, model, [mergeArithmetic()]);
    // Lengths that are the same by their names are no reason to keep the Expand.
    expect(ops).toEqual(name.startsWith('an Expand to') ? ['Exp', 'Add'] : opsOf(model));
  });
});
