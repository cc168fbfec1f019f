import { datasetOf, GraphBuilder, type Model, type Sample, seededRandom, Tensor } from '@pare/core';
import { nodeEngine, wasmEngine } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { constantSchedule, crossEntropy, sgd, train } from '../src/index.js';

// What a browser tab would do: the same training on the WebAssembly build of ONNX Runtime.

const native = nodeEngine();
const wasm = wasmEngine();
afterAll(() => Promise.all([native.close(), wasm.close()]));

function network(): Model {
  const b = new GraphBuilder({ seed: 4 });
  const x = b.input('x', 'float32', ['batch', 2, 8, 8]);
  const filled = (n: number, v: number, name: string) =>
    b.constant(Tensor.of('float32', [n], new Float32Array(n).fill(v)), name);
  let v = b.op('Conv', [x, b.random([8, 2, 3, 3], { name: 'k1' })], { pads: [1, 1, 1, 1] });
  v = b.op('BatchNormalization', [v, ...[1, 0, 0, 1].map((value, i) => filled(8, value, `norm${i}`))]);
  v = b.op('MaxPool', [b.op('Relu', [v])], { kernel_shape: [2, 2], strides: [2, 2] });
  v = b.op('Conv', [v, b.random([8, 1, 3, 3], { name: 'k2' })], { group: 8, pads: [1, 1, 1, 1], strides: [2, 2] });
  v = b.op('Flatten', [b.op('GlobalAveragePool', [b.op('Sigmoid', [v])])]);
  return b.output('logits', b.op('Gemm', [v, b.random([8, 3], { name: 'head' }), filled(3, 0, 'bias')])).model();
}

function pictures(): Sample[] {
  const random = seededRandom(6);
  return Array.from({ length: 96 }, (_, i) => {
    const data = Float32Array.from({ length: 128 }, () => random.normal() + ((i % 3) - 1));
    return { inputs: { x: { dtype: 'float32', dims: [2, 8, 8], data } }, label: i % 3 };
  });
}

it('trains on WebAssembly as on the native runtime, to rounding', async () => {
  const curves = await Promise.all(
    [native, wasm].map(async (engine) => {
      const settings = {
        epochs: 3,
        batchSize: 32,
        optimizer: sgd({ momentum: 0.9 }),
        schedule: () => constantSchedule(0.1),
      };
      const { curve } = await train(network(), {
        engine,
        data: datasetOf(pictures()),
        loss: crossEntropy(),
        ...settings,
      });
      return curve;
    }),
  );
  const [a = [], b = []] = curves;
  expect(a.length).toBe(9);
  expect(a.at(-1)).toBeLessThan((a[0] as number) * 0.9);
  for (const [i, loss] of a.entries()) expect(Math.abs(loss - (b[i] as number))).toBeLessThan(1e-3 * loss);
});
