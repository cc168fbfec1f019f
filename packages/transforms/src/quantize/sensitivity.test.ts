import { type Feeds, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { layerSensitivity, quantizeMixed } from './sensitivity.js';

const engine = nodeEngine();
afterAll(() => engine.close());

function uniform(count: number, seed: number): Float32Array {
  let state = (seed * 0x9e3779b9) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 31 - 1;
  });
}
const samples: Feeds[] = Array.from({ length: 6 }, (_, i) => ({
  x: { dtype: 'float32', dims: [1, 3, 8, 8], data: uniform(192, i + 1) },
}));

/** Three convolutions; one output of "bad" is ten thousand times larger than the others, which then have no integers left. */
function network(): Model {
  const b = new GraphBuilder({ seed: 8 });
  const conv = (x: Value, inputs: number, name: string, factor: (channel: number) => number): Value => {
    const weight = uniform(6 * inputs * 9, inputs + name.length).map(
      (v, i) => v * factor(Math.floor(i / (inputs * 9))),
    );
    return b.node(
      'Conv',
      [x, b.constant(Tensor.of('float32', [6, inputs, 3, 3], weight), 'w')],
      { pads: [1, 1, 1, 1] },
      { name },
    ).output;
  };
  const first = b.op('Relu', [conv(b.input('x', 'float32', ['n', 3, 8, 8]), 3, 'first', () => 0.3)]);
  const bad = conv(first, 6, 'bad.1', (c) => (c === 0 ? 1e4 : 1));
  // What follows takes all channels alike.
  const even = b.op('Mul', [bad, b.constant(Tensor.of('float32', [1, 6, 1, 1], [1e-4, 1, 1, 1, 1, 1]))]);
  const last = conv(even, 6, 'last', () => 0.2);
  return b.output('y', last, 'float32', ['n', 6, 8, 8]).model({ opset: 17 });
}

describe('layerSensitivity', () => {
  it('puts the layer first whose outputs no single scale fits', async () => {
    const progress: number[] = [];
    const layers = await layerSensitivity(network(), { samples, engine, onProgress: (done) => progress.push(done) });
    expect(layers.map(({ name }) => name).sort()).toEqual(['bad.1', 'first', 'last']);
    expect(layers[0]?.name).toBe('bad.1');
    expect(layers[0]?.sqnr).toBeLessThan(10);
    expect(layers[1]?.sqnr).toBeGreaterThan(30);
    expect(progress).toEqual([1, 2, 3]);
  });
});

describe('quantizeMixed', () => {
  const convsInFloat = (model: Model): string[] =>
    [...model.graph.nodes()].filter((n) => n.is('Conv') && n.inputs[1]?.constant).map((n) => n.name);

  it('leaves just the bad layer in float, and says why', async () => {
    const model = network();
    const [result] = await model.transform(quantizeMixed({ samples, target: 25 }), { engine });
    expect(convsInFloat(model)).toEqual(['bad.1']);
    expect(result?.notes[0]).toMatch(/^Conv "bad\.1" stays in float: quantized alone it leaves -?\d+\.\d dB\.$/);
  });

  it('quantizes everything where that is good enough', async () => {
    const model = network();
    await model.transform(quantizeMixed({ samples, target: -10 }), { engine });
    expect(convsInFloat(model)).toEqual([]);
  });

  it('asks the caller, and gives up without touching the model', async () => {
    const model = network();
    let asked = 0;
    const target = (candidate: Model): boolean => {
      asked++;
      expect(candidate).not.toBe(model);
      return false;
    };
    const before = [...model.graph.nodes()].length;
    await expect(model.transform(quantizeMixed({ samples, target }), { engine })).rejects.toMatchObject({
      code: 'unsupported',
    });
    expect(asked).toBe(2);
    expect([...model.graph.nodes()]).toHaveLength(before);
  });
});
