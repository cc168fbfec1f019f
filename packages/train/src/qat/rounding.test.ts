import { GraphBuilder } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { gradient } from '../autodiff/index.js';
import { FakeQuantizer, removeRounding } from './rounding.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const X = [-2.7, -0.9, -0.26, -0.25, 0, 0.11, 0.6, 0.75, 1.2, 9];
const WEIGHTS = [1, -2, 3, 0.5, 4, -1, 2, 1.5, -0.5, 0.25];

/** loss = sum(w * fakeQuantize(x)) with the gradients by x and the logarithm of the step (and the zero point). */
async function run(options: { lo?: number; hi: number; step: number; zeroPoint?: number }) {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', [X.length]);
  const w = b.input('w', 'float32', [X.length]);
  const q = b.op('Identity', [x]);
  const loss = b.op('ReduceSum', [b.op('Mul', [q, w])], { keepdims: 0 });
  const model = b.output('loss', loss, 'float32', []).model();
  const writer = new FakeQuantizer(b.graph);
  const scale = writer.scale('q', [], [options.step]);
  const learned = options.zeroPoint === undefined ? undefined : writer.zeroPoint('q', options.zeroPoint, options.hi);
  writer.activation(q, scale, { lo: options.lo, hi: options.hi, zeroPoint: learned?.rounded }, 'all');
  model.graph.addOutput(q);
  const wrt = ['x', scale.name, ...(learned ? [learned.parameter.name] : [])];
  const graph = await gradient(model, { loss: 'loss', wrt });
  const session = await engine.open(graph);
  const feed = (data: readonly number[]) => ({
    dtype: 'float32' as const,
    dims: [X.length],
    data: Float32Array.from(data),
  });
  const parameters = Object.fromEntries(
    [scale, ...(learned ? [learned.parameter] : [])].map((value) => {
      const data = Float32Array.from(model.graph.value(value.name)?.initializer?.numbers() ?? []);
      return [value.name, { dtype: 'float32' as const, dims: [], data }];
    }),
  );
  const out = await session.run({ x: feed(X), w: feed(WEIGHTS), ...parameters });
  await session.close();
  const numbers = (name: string): number[] => Array.from((out[name]?.data ?? []) as Float32Array);
  return {
    rounded: numbers(q.name),
    dx: numbers('d/x'),
    dLogStep: numbers(`d/${scale.name}`)[0] as number,
    dZeroPoint: learned && (numbers(`d/${learned.parameter.name}`)[0] as number),
  };
}

describe('FakeQuantizer', () => {
  it('rounds to the grid, ties to even, and saturates', async () => {
    const { rounded } = await run({ lo: -3, hi: 3, step: 0.5 });
    expect(rounded.map((v) => v + 0)).toEqual([-1.5, -1, -0.5, 0, 0, 0, 0.5, 1, 1, 1.5]);
  });

  it('has the gradients of LSQ', async () => {
    const [lo, hi, step] = [-3, 3, 0.5];
    const { dx, dLogStep } = await run({ lo, hi, step });
    let expected = 0;
    X.forEach((x, i) => {
      const v = x / step;
      const inside = v > lo && v < hi;
      expect(dx[i]).toBe(inside ? WEIGHTS[i] : 0);
      const even = 2 * Math.round(v / 2);
      const rounded = Math.abs(v - Math.trunc(v)) === 0.5 ? even : Math.round(v);
      expected += (WEIGHTS[i] as number) * (inside ? rounded - v : v <= lo ? lo : hi);
    });
    // d/d(ln s) = s d/ds
    expect(dLogStep).toBeCloseTo(step * expected, 5);
  });

  it('moves a learned zero point by what is clipped', async () => {
    const [step, most] = [0.5, 7];
    const { rounded, dx, dZeroPoint } = await run({ lo: 0, hi: most, step, zeroPoint: 3 });
    expect(rounded.map((v) => v + 0)).toEqual([-1.5, -1, -0.5, 0, 0, 0, 0.5, 1, 1, 2]);
    // Both ends move down by one step with each zero point: what lies beyond them follows.
    const clipped = X.map((x) => x / step < -3 || x / step > 4);
    const expected = X.reduce((sum, _, i) => sum - (clipped[i] ? (WEIGHTS[i] as number) * step : 0), 0);
    expect(dx.map((d, i) => d === WEIGHTS[i])).toEqual(clipped.map((c) => !c));
    expect(dZeroPoint).toBeCloseTo(expected * most, 5);
  });

  it('is taken out again without a trace', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4]);
    const y = b.op('Relu', [x]);
    b.output('y', y, 'float32', [4]);
    const writer = new FakeQuantizer(b.graph);
    const scale = writer.scale('y', [], [1]);
    const all = writer.activation(y, scale, { lo: undefined, hi: 15 }, 'all');
    expect([all.name, y.producer?.opType]).toEqual(['y', 'Mul']);
    removeRounding(b.graph, 'y', 'y');
    expect(y.producer?.is('Relu')).toBe(true);
    expect([...b.graph.nodes()].map((node) => node.opType)).toEqual(['Exp', 'Relu']);
    expect(() => removeRounding(b.graph, 'nothing', 'y')).toThrow(/no fake quantization "nothing"/);
  });
});
