import { type Engine, GraphBuilder, type Model } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { gradient } from '../gradient.js';
import { autotune } from './autotune.js';
import { fittingForms } from './choose.js';
import { convGeometry } from './geometry.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Two convolutions of equal geometry, and one of another. */
function network(): Model {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', ['batch', 3, 10, 10]);
  const w = b.input('w', 'float32', [3, 3, 3, 3]);
  const same = (v: typeof x): typeof x => b.op('Conv', [v, w], { pads: [1, 1, 1, 1] });
  const y = b.op('Conv', [same(same(x)), b.input('v', 'float32', [4, 3, 1, 1])], { strides: [2, 2] });
  return b.output('loss', b.op('ReduceSum', [y], { keepdims: 0 })).model();
}

/** Refuses to be used. */
const idle: Engine = {
  name: 'idle',
  open: () => Promise.reject(new Error('nothing was to be measured')),
  close: () => Promise.resolve(),
};

describe('autotune', () => {
  it('measures each geometry once, and nothing that is known', async () => {
    let opened = 0;
    const counting: Engine = {
      ...idle,
      open: (...args) => {
        opened++;
        return engine.open(...args);
      },
    };
    const choices = await autotune(network(), { engine: counting, dims: { batch: 2 }, runs: 1 });
    expect(Object.keys(choices)).toHaveLength(2);
    expect(opened).toBeGreaterThan(4);
    const stored = JSON.parse(JSON.stringify(choices)) as typeof choices;
    expect(await autotune(network(), { engine: idle, dims: { batch: 2 }, known: stored })).toEqual(choices);
    await expect(autotune(network(), { engine: idle, dims: { batch: 3 }, known: stored })).rejects.toThrow('measured');
  });

  it('decides how gradients are written', async () => {
    const model = network();
    const options = { loss: 'loss', wrt: ['x', 'w'], dims: { batch: 2 } };
    const operators = async (weight: 'conv' | 'taps'): Promise<string[]> => {
      const c = convGeometry([...model.graph.nodes()][0]!, [2, 3, 10, 10], [3, 3, 3, 3], [2, 3, 10, 10]);
      expect(fittingForms(c).weight).toContain(weight);
      const key = Object.keys(await autotune(model, { engine, dims: { batch: 2 }, runs: 1 }))[0]!;
      const convolutions = { [key]: { weight } };
      return [...(await gradient(model, { ...options, convolutions })).graph.nodes()].map((node) => node.opType);
    };
    const count = (names: readonly string[], name: string): number => names.filter((n) => n === name).length;
    expect(count(await operators('taps'), 'Gemm')).toBe(count(await operators('conv'), 'Gemm') + 18);
  });
});
