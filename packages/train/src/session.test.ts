import { GraphBuilder, type HostTensor, type Model, seededRandom, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { crossEntropy, mse } from './loss/index.js';
import { sgd, updateParameters } from './optimizer/index.js';
import { type TrainingBatch, TrainingSession } from './session.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** 4 numbers -> 8 -> dropout -> 3 classes. */
function classifier(options: { readonly dropout?: number; readonly widen?: number } = {}): Model {
  const b = new GraphBuilder({ seed: 3 });
  const x = b.input('x', 'float32', ['batch', 4]);
  const bias = (n: number, name: string) => b.constant(Tensor.of('float32', [n], new Float32Array(n)), name);
  let h = b.op('Relu', [b.op('Gemm', [x, b.random([4, 8], { name: 'w1' }), bias(8, 'b1')])]);
  if (options.dropout) h = b.op('Dropout', [h, Tensor.of('float32', [], [options.dropout])]);
  return b.output('logits', b.op('Gemm', [h, b.random([8, 3], { name: 'w2' }), bias(3, 'b2')])).model();
}

function batchOf(size: number, seed = 1): TrainingBatch {
  const random = seededRandom(seed);
  const x = Float32Array.from({ length: size * 4 }, () => random.normal());
  // The class is the largest of the first three numbers.
  const label = BigInt64Array.from({ length: size }, (_, i) => {
    const row = Array.from(x.subarray(i * 4, i * 4 + 3));
    return BigInt(row.indexOf(Math.max(...row)));
  });
  return {
    inputs: { x: { dtype: 'float32', dims: [size, 4], data: x } },
    targets: { label: { dtype: 'int64', dims: [size], data: label } },
  };
}

const open = (model: Model, more: Partial<Parameters<typeof TrainingSession.open>[1]> = {}) =>
  TrainingSession.open(model, { engine, loss: crossEntropy(), inputShapes: { x: [16, 4] }, ...more });

describe('TrainingSession', () => {
  it('learns in a loop of three lines, and the model answers what it learnt', async () => {
    const model = classifier();
    const session = await open(model);
    const losses: number[] = [];
    for (let step = 1; step <= 150; step++) {
      session.parameters.clearGradients();
      losses.push((await session.gradients(batchOf(16, step))).loss);
      updateParameters(session.parameters, sgd({ momentum: 0.9 }), { step, learningRate: 0.1 });
    }
    session.writeTo();
    await session.close();
    expect(losses[0]).toBeGreaterThan(0.8);

    const test = batchOf(200, 999);
    const inference = await engine.open(model);
    const { logits } = await inference.run(test.inputs);
    await inference.close();
    const right = Array.from({ length: 200 }, (_, i) => {
      const row = Array.from((logits as HostTensor).data.slice(i * 3, i * 3 + 3) as Float32Array);
      return BigInt(row.indexOf(Math.max(...row))) === test.targets.label?.data[i];
    }).filter(Boolean).length;
    expect(right).toBeGreaterThan(170);
  });

  it('gives the same gradients in two parts as in one', async () => {
    const gradients = async (shards: number): Promise<Float32Array> => {
      const session = await open(classifier(), { shards });
      await session.gradients(batchOf(16));
      await session.close();
      return session.parameters.gradients.slice();
    };
    const [one, two] = [await gradients(1), await gradients(2)];
    expect(Math.max(...one.map((g, i) => Math.abs(g - (two[i] as number))))).toBeLessThan(1e-6);
    expect(Math.max(...one.map(Math.abs))).toBeGreaterThan(0.01);
  });

  it('draws the same dropout in the same step, and another one in the next', async () => {
    const losses = async (seed: number, step: number): Promise<number> => {
      const session = await open(classifier({ dropout: 0.5 }), { seed });
      session.step = step;
      const { loss } = await session.gradients(batchOf(16));
      await session.close();
      return loss;
    };
    const first = await losses(1, 5);
    expect(await losses(1, 5)).toBe(first);
    expect(await losses(1, 6)).not.toBe(first);
    expect(await losses(2, 5)).not.toBe(first);
  });

  it('computes nothing for what is frozen', async () => {
    const session = await open(classifier(), { freeze: (name) => name === 'w1' || name === 'b1' });
    expect(session.parameters.parameters.map((p) => p.name)).toEqual(['w2', 'b2']);
    await session.close();
    await expect(open(classifier(), { freeze: () => true })).rejects.toThrow('Every parameter is frozen');
  });

  it('names the step and the first bad tensor when the loss is not finite', async () => {
    const model = classifier();
    const session = await open(model, { loss: mse(), inputShapes: { x: [2, 4] } });
    session.parameters.get('w1').values.fill(3e38);
    session.step = 7;
    const batch: TrainingBatch = {
      inputs: { x: { dtype: 'float32', dims: [2, 4], data: new Float32Array(8).fill(1) } },
      targets: { label: { dtype: 'float32', dims: [2, 3], data: new Float32Array(6) } },
    };
    await expect(session.gradients(batch)).rejects.toThrow(
      /at step 7: the first bad tensor is "\w+" of \w+ ".*which holds/,
    );
    await session.close();
  });

  it('refuses what does not fit', async () => {
    await expect(open(classifier(), { shards: 3 })).rejects.toThrow(
      'A batch of 16 cannot be split into 3 equal parts.',
    );
    const session = await open(classifier());
    await expect(session.gradients(batchOf(8))).rejects.toThrow('A batch brings "x" as [8, 4]');
    await session.close();
  });
});
