import { float, type GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { constantOf, modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { fuseActivations } from './activations.js';
import { mergeClips } from './clip.js';
import { fuseNormalizations } from './normalization.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Build = (b: GraphBuilder, x: Value) => Value;
const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);
const num = (v: number): Tensor => f32([], [v]);

/** Writes arithmetic shortly. */
const add = (b: GraphBuilder, p: Value | Tensor, q: Value | Tensor): Value => b.op('Add', [p, q]);
const mul = (b: GraphBuilder, p: Value | Tensor, q: Value | Tensor): Value => b.op('Mul', [p, q]);
const div = (b: GraphBuilder, p: Value | Tensor, q: Value | Tensor): Value => b.op('Div', [p, q]);
const sub = (b: GraphBuilder, p: Value | Tensor, q: Value | Tensor): Value => b.op('Sub', [p, q]);
const clip = (b: GraphBuilder, x: Value, min: number, max: number): Value => b.op('Clip', [x, num(min), num(max)]);

const erfGate: Build = (b, x) => add(b, b.op('Erf', [div(b, x, num(Math.SQRT2))]), num(1));
const cube = (b: GraphBuilder, x: Value): Value => mul(b, num(0.044715), b.op('Pow', [x, num(3)]));
const tanhGate: Build = (b, x) =>
  add(b, num(1), b.op('Tanh', [mul(b, add(b, x, cube(b, x)), num(Math.sqrt(2 / Math.PI)))]));

describe('fuseActivations', () => {
  const fused: Record<string, [number, Build, string]> = {
    'Gelu: x * gate / 2': [20, (b, x) => mul(b, mul(b, x, erfGate(b, x)), num(0.5)), 'Gelu'],
    'Gelu: x / 2 * gate': [20, (b, x) => mul(b, mul(b, num(0.5), x), erfGate(b, x)), 'Gelu'],
    'Gelu: gate / 2 * x': [20, (b, x) => mul(b, div(b, erfGate(b, x), num(2)), x), 'Gelu'],
    'Gelu with a factor': [
      20,
      (b, x) => mul(b, mul(b, x, add(b, b.op('Erf', [mul(b, x, num(Math.SQRT1_2))]), f32([1], [1]))), num(0.5)),
      'Gelu',
    ],
    'Gelu by tanh': [20, (b, x) => mul(b, mul(b, num(0.5), x), tanhGate(b, x)), 'Gelu'],
    'Gelu by tanh, x taken out': [
      20,
      (b, x) => {
        const inner = add(b, num(1), mul(b, mul(b, num(0.044715), x), x));
        const gate = add(b, b.op('Tanh', [mul(b, mul(b, x, num(0.7978845608)), inner)]), num(1));
        return mul(b, mul(b, x, gate), num(0.5));
      },
      'Gelu',
    ],
    'HardSwish: x * clip / 6': [14, (b, x) => div(b, mul(b, x, clip(b, add(b, x, num(3)), 0, 6)), num(6)), 'HardSwish'],
    'HardSwish: clip / 6 * x': [14, (b, x) => mul(b, div(b, clip(b, add(b, num(3), x), 0, 6), num(6)), x), 'HardSwish'],
    'HardSwish: x * HardSigmoid': [
      14,
      (b, x) => mul(b, x, b.op('HardSigmoid', [x], { alpha: float(1 / 6), beta: float(0.5) })),
      'HardSwish',
    ],
    'HardSigmoid: clip / 6': [14, (b, x) => div(b, clip(b, add(b, x, num(3)), 0, 6), num(6)), 'HardSigmoid'],
    'HardSigmoid: clip of a line': [14, (b, x) => clip(b, add(b, mul(b, x, num(0.2)), num(0.4)), 0, 1), 'HardSigmoid'],
    Mish: [18, (b, x) => mul(b, b.op('Tanh', [b.op('Softplus', [x])]), x), 'Mish'],
    Swish: [24, (b, x) => mul(b, x, b.op('Sigmoid', [x])), 'Swish'],
    'Swish with a factor': [24, (b, x) => mul(b, b.op('Sigmoid', [mul(b, num(1.702), x)]), x), 'Swish'],
  };

  it.each(Object.keys(fused))('%s', async (name) => {
    const [opset, build, op] = fused[name] as (typeof fused)[string];
    const twice = [fuseActivations(), fuseActivations()];
    expect((await rewritten(engine, modelOf([4, 50], build, { opset }), twice)).ops).toEqual([op]);
    // One opset before, the operator is not there.
    if (opset === 14) return;
    const before = await rewritten(engine, modelOf([4, 50], build, { opset: opset - 1 }), twice);
    expect(before.ops).not.toContain(op);
  });

  it('writes HardSwish as two nodes before opset 14', async () => {
    const build: Build = (b, x) =>
      div(b, mul(b, x, b.op('Clip', [add(b, x, num(3))], { min: float(0), max: float(6) })), num(6));
    const { ops } = await rewritten(engine, modelOf([4, 50], build, { opset: 9 }), [fuseActivations()]);
    expect(ops).toEqual(['HardSigmoid', 'Mul']);
  });

  const kept: Record<string, [number, Build]> = {
    'another factor in Gelu': [20, (b, x) => mul(b, mul(b, x, erfGate(b, x)), num(0.51))],
    'erf of something else': [20, (b, x) => mul(b, mul(b, x, erfGate(b, b.op('Exp', [x]))), num(0.5))],
    'a gate that others read': [
      20,
      (b, x) => {
        const gate = erfGate(b, x);
        return sub(b, mul(b, mul(b, x, gate), num(0.5)), gate);
      },
    ],
    'a coarse constant': [
      20,
      (b, x) => mul(b, mul(b, x, add(b, b.op('Erf', [div(b, x, num(1.41))]), num(1))), num(0.5)),
    ],
    'clip to other bounds': [14, (b, x) => div(b, mul(b, x, clip(b, add(b, x, num(3)), 0, 5)), num(6))],
    'HardSigmoid with another slope': [14, (b, x) => mul(b, x, b.op('HardSigmoid', [x]))],
    'sigmoid of something else': [24, (b, x) => mul(b, x, b.op('Sigmoid', [b.op('Exp', [x])]))],
    'softplus of something else': [18, (b, x) => mul(b, x, b.op('Tanh', [b.op('Softplus', [b.op('Neg', [x])])]))],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [opset, build] = kept[name] as (typeof kept)[string];
    const model = modelOf([4, 50], build, { opset });
    expect((await rewritten(engine, model, [fuseActivations()])).ops).toEqual(opsOf(model));
  });
});

describe('fuseNormalizations', () => {
  const mean = (b: GraphBuilder, x: Value, axes = [-1], keepdims = 1): Value =>
    b.op('ReduceMean', [x, axes], { keepdims });
  const variance = (b: GraphBuilder, d: Value, axes?: number[]): Value => mean(b, b.op('Pow', [d, num(2)]), axes);
  const root = (b: GraphBuilder, v: Value): Value => b.op('Sqrt', [add(b, v, num(1e-5))]);
  const layerNorm = (b: GraphBuilder, x: Value, axes?: number[]): Value => {
    const centred = sub(b, x, mean(b, x, axes));
    return div(b, centred, root(b, variance(b, centred, axes)));
  };
  const rms = (b: GraphBuilder, x: Value): Value => root(b, mean(b, mul(b, x, x)));
  const row = f32([5], [1, 2, 3, 4, 5]);

  const fused: Record<string, [number, Build, string[]]> = {
    'LayerNormalization with scale and bias': [
      18,
      (b, x) => add(b, mul(b, row, layerNorm(b, x)), row),
      ['LayerNormalization'],
    ],
    'LayerNormalization alone': [18, layerNorm, ['LayerNormalization']],
    'LayerNormalization over two axes': [18, (b, x) => layerNorm(b, x, [-2, -1]), ['LayerNormalization']],
    'a scale that is applied after others': [
      18,
      (b, x) => mul(b, add(b, layerNorm(b, x), row), row),
      ['LayerNormalization', 'Mul'],
    ],
    RMSNormalization: [23, (b, x) => mul(b, div(b, x, rms(b, x)), row), ['RMSNormalization']],
    'RMSNormalization by a reciprocal': [
      23,
      (b, x) => mul(b, row, mul(b, x, b.op('Reciprocal', [rms(b, x)]))),
      ['RMSNormalization'],
    ],
    Softmax: [
      18,
      (b, x) => {
        const e = b.op('Exp', [sub(b, x, b.op('ReduceMax', [x, [1]]))]);
        return div(b, e, b.op('ReduceSum', [e, [-2]]));
      },
      ['Softmax'],
    ],
    LogSoftmax: [18, (b, x) => b.op('Log', [b.op('Softmax', [x], { axis: 1 })]), ['LogSoftmax']],
  };

  it.each(Object.keys(fused))('%s', async (name) => {
    const [opset, build, expected] = fused[name] as (typeof fused)[string];
    expect((await rewritten(engine, modelOf([2, 4, 5], build, { opset }), [fuseNormalizations()])).ops).toEqual(
      expected,
    );
  });

  it('keeps the epsilon', async () => {
    const { model } = await rewritten(engine, modelOf([2, 4, 5], layerNorm), [fuseNormalizations()]);
    expect([...model.graph.nodes()][0]?.float('epsilon')).toBe(Math.fround(1e-5));
    expect(constantOf(model, 'LayerNormalization', 1)?.dims).toEqual([5]);
  });

  const kept: Record<string, [number, Build, RegExp?]> = {
    'LayerNormalization before opset 17': [
      16,
      (b, x) => {
        const centred = sub(b, x, b.op('ReduceMean', [x], { axes: [-1] }));
        return div(b, centred, root(b, b.op('ReduceMean', [mul(b, centred, centred)], { axes: [-1] })));
      },
    ],
    'a normalization over another axis': [18, (b, x) => layerNorm(b, x, [1]), /axes are not the last ones/],
    'a mean of something else': [
      18,
      (b, x) => {
        const centred = sub(b, x, mean(b, b.op('Exp', [x])));
        return div(b, centred, root(b, variance(b, centred)));
      },
    ],
    'a variance that others read': [
      18,
      (b, x) => {
        const centred = sub(b, x, mean(b, x));
        const v = variance(b, centred);
        return add(b, div(b, centred, root(b, v)), v);
      },
      /others read what is inside it/,
    ],
    'RMSNormalization before opset 23': [22, (b, x) => mul(b, div(b, x, rms(b, x)), row)],
    'a sum over another axis': [
      18,
      (b, x) => {
        const e = b.op('Exp', [sub(b, x, b.op('ReduceMax', [x, [1]]))]);
        return div(b, e, b.op('ReduceSum', [e, [2]]));
      },
    ],
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const [opset, build, reason] = kept[name] as (typeof kept)[string];
    const model = modelOf([2, 4, 5], build, { opset });
    const result = await rewritten(engine, model, [fuseNormalizations()]);
    expect(result.ops).toEqual(opsOf(model));
    if (reason) expect(result.notes.join()).toMatch(reason);
  });
});

describe('mergeClips', () => {
  const cases: Record<string, [Build, string[]]> = {
    'Relu and Clip': [(b, x) => clip(b, b.op('Relu', [x]), -1, 0.5), ['Clip']],
    'Clip and Relu': [(b, x) => b.op('Relu', [clip(b, x, -1, 0.5)]), ['Clip']],
    'Clip and Clip': [(b, x) => clip(b, clip(b, x, -1, 0.5), -0.5, 1), ['Clip']],
    'Clips that do not meet': [(b, x) => clip(b, clip(b, x, -1, -0.5), 0.25, 1), ['Clip']],
    'Max and Min': [(b, x) => b.op('Min', [num(0.5), b.op('Max', [x, f32([1, 1], [-0.5])])]), ['Clip']],
    'Min and Max': [(b, x) => b.op('Max', [b.op('Min', [x, num(0.5)]), num(-0.5)]), ['Clip']],
    'Max and Relu': [(b, x) => b.op('Relu', [b.op('Max', [x, num(-0.5)])]), ['Relu']],
    'Relu after Sigmoid': [(b, x) => b.op('Exp', [b.op('Relu', [b.op('Sigmoid', [x])])]), ['Sigmoid', 'Exp']],
    'Clip after Softmax and Reshape': [
      (b, x) => b.op('Exp', [clip(b, b.op('Reshape', [b.op('Softmax', [x]), [-1]]), 0, 1)]),
      ['Softmax', 'Reshape', 'Exp'],
    ],
  };

  it.each(Object.keys(cases))('%s', async (name) => {
    const [build, expected] = cases[name] as (typeof cases)[string];
    expect((await rewritten(engine, modelOf([4, 20], build), [mergeClips()])).ops).toEqual(expected);
  });

  it('writes attributes before opset 11', async () => {
    const build: Build = (b, x) => b.op('Clip', [b.op('Relu', [x])], { max: float(0.5) });
    const { model, ops } = await rewritten(engine, modelOf([4, 20], build, { opset: 9 }), [mergeClips()]);
    expect(ops).toEqual(['Clip']);
    expect([...model.graph.nodes()][0]?.inputs).toHaveLength(1);
  });

  const kept: Record<string, Build> = {
    'what others read': (b, x) => {
      const relu = b.op('Relu', [x]);
      return add(b, relu, clip(b, relu, -1, 0.5));
    },
    'bounds that are computed': (b, x) =>
      b.op('Clip', [b.op('Relu', [x]), null, b.op('ReduceMax', [x], { keepdims: 0 })]),
    'Max of two values': (b, x) => b.op('Relu', [b.op('Max', [x, b.op('Neg', [x])])]),
    'Max that broadcasts': (b, x) => b.op('Min', [b.op('Max', [x, f32([1, 1, 1], [0])]), num(0.5)]),
    'a range that is too large': (b, x) => clip(b, b.op('Exp', [x]), 0, 1),
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const model = modelOf([4, 20], kept[name] as Build);
    expect((await rewritten(engine, model, [mergeClips()])).ops).toEqual(opsOf(model));
  });
});
