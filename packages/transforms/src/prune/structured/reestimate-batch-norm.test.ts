import { GraphBuilder, PareError, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { normal, runModel } from '../../../test/run-model.js';
import { reestimateBatchNorm } from './reestimate-batch-norm.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const b = new GraphBuilder();
const x = b.input('x', 'float32', ['n', 3, 6, 6]);
const shared = b.random([4], { scale: 1 });
const norm = (v: Value): Value =>
  b.op('BatchNormalization', [v, b.random([4], { scale: 1 }), shared, shared, b.random([4], { scale: 0.1 })]);
const conv = (v: Value, from: number): Value =>
  b.op('Conv', [v, b.random([4, from, 3, 3]), b.random([4], { scale: 50 })]);
const first = b.op('Relu', [norm(conv(x, 3))]);
const [left, right] = [norm(conv(first, 4)), norm(conv(first, 4))];
const model = b.output('y', norm(b.op('Add', [left, right])), 'float32').model({ opset: 14 });

it('gives every layer the moments that its input has in the model that results', async () => {
  const samples = [1, 2, 3].map((seed) => ({ x: normal([5 - seed, 3, 6, 6], seed) }));
  const changed = model.clone();
  const [result] = await changed.transform(reestimateBatchNorm({ samples }), { engine });
  expect(result?.notes).toEqual(['4 BatchNormalization layers were measured anew, in 3 passes.']);
  const norms = [...changed.graph.nodes()].filter((node) => node.is('BatchNormalization'));
  const observing = changed.clone();
  for (const { inputs } of norms) {
    const value = observing.graph.value(inputs[0]?.name ?? '') as Value;
    value.type = { kind: 'tensor', dtype: 'float32' };
    observing.graph.addOutput(value);
  }
  const outputs = await Promise.all(samples.map((feeds) => runModel(engine, observing, feeds)));
  for (const { inputs } of norms) {
    for (let c = 0; c < 4; c++) {
      const all = outputs.flatMap((of) => {
        const { data, dims } = of[inputs[0]?.name ?? ''] as { data: Float32Array; dims: readonly number[] };
        const area = (dims[2] as number) * (dims[3] as number);
        return [...data].filter((_, i) => Math.floor(i / area) % 4 === c);
      });
      const mean = all.reduce((sum, v) => sum + v, 0) / all.length;
      const variance = all.reduce((sum, v) => sum + (v - mean) ** 2, 0) / all.length;
      expect(inputs[3]?.constant?.numbers()?.[c]).toBeCloseTo(mean, 3);
      expect((inputs[4]?.constant?.numbers()?.[c] as number) / variance).toBeCloseTo(1, 4);
    }
  }
  // The constant that all layers shared as bias is still the bias.
  expect(norms.map(({ inputs }) => inputs[2]?.constant?.numbers())).toEqual(
    new Array(4).fill(shared.initializer?.numbers()),
  );
});

it('needs samples that can be read again', async () => {
  function* once(): Generator<{ x: ReturnType<typeof normal> }> {
    yield { x: normal([1, 3, 6, 6]) };
  }
  await expect(model.clone().transform(reestimateBatchNorm({ samples: once() }), { engine })).rejects.toThrow(
    PareError,
  );
  await expect(model.clone().transform(reestimateBatchNorm({ samples: [] }), { engine })).rejects.toThrow(
    /not one sample/,
  );
});
