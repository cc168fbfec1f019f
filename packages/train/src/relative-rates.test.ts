import { datasetOf, GraphBuilder, type Sample, seededRandom } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { crossEntropy } from './loss/index.js';
import { relativeRates } from './relative-rates.js';
import { constantSchedule } from './schedule/index.js';
import { train } from './train.js';

const engine = nodeEngine();
afterAll(() => engine.close());

it('makes the course of a training independent of the units of the weights', async () => {
  // The same network twice: once it reads numbers a thousand times as large with weights a thousandth as large.
  const course = async (unit: number): Promise<readonly number[]> => {
    const b = new GraphBuilder({ seed: 2 });
    const h = b.op('Relu', [
      b.op('MatMul', [b.input('x', 'float32', ['n', 6]), b.random([6, 8], { name: 'a', scale: 0.5 / unit })]),
    ]);
    const model = b.output('y', b.op('MatMul', [h, b.random([8, 3], { name: 'b', scale: 0.5 })])).model();
    const random = seededRandom(7);
    const samples = Array.from({ length: 60 }, (_, i): Sample => {
      const data = Float32Array.from({ length: 6 }, (_, k) => unit * (random.normal() + (k === i % 3 ? 2 : 0)));
      return { inputs: { x: { dtype: 'float32', dims: [6], data } }, label: i % 3 };
    });
    const rates = await relativeRates(model, ['a', 'b']);
    const options = { engine, data: datasetOf(samples), loss: crossEntropy(), epochs: 3, batchSize: 20 };
    const { curve } = await train(model, {
      ...options,
      schedule: () => constantSchedule(0.02),
      treat: (name) => ({ decay: false, learningRate: rates.get(name) }),
    });
    return curve;
  };
  const [plain, scaled] = [await course(1), await course(100)];
  expect(plain.at(-1)).toBeLessThan((plain[0] as number) * 0.95);
  for (const [i, loss] of plain.entries()) expect(scaled[i]).toBeCloseTo(loss, 4);
});

it('has a least rate for zeros, and none for what is no constant', async () => {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', [1]);
  const model = b.output('y', b.op('Add', [x, b.random([4], { name: 'zero', scale: 0 })])).model();
  expect([...(await relativeRates(model, ['zero', 'x', 'nothing']))]).toEqual([['zero', 1e-3]]);
});
