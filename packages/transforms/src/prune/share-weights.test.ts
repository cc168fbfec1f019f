import { type Feeds, GraphBuilder, type HostTensor, type Model, serializeModel, Tensor } from '@pare/core';
import { nodeEngine, wasmEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel } from '../../test/run-model.js';
import { kernels } from '../kernels/index.js';
import { pruneWeights } from './prune-weights.js';
import { type ShareWeightsOptions, shareWeights } from './share-weights.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Convolutions of each kind and products of each kind, with weights large enough to be worth a codebook. */
function network(opset = 17): Model {
  const b = new GraphBuilder({ seed: 1 });
  const x = b.input('x', 'float32', ['n', 16, 5, 5]);
  const conv = b.node('Conv', [x, b.random([32, 16, 3, 3], { name: 'conv' })], {}, { name: 'c' }).output;
  const grouped = b.op('Conv', [b.op('Relu', [conv]), b.random([64, 16, 3, 3], { name: 'grouped' })], { group: 2 });
  const up = b.op('ConvTranspose', [b.op('Relu', [grouped]), b.random([64, 17, 2, 2], { name: 'up' })], { group: 2 });
  const flat = b.op('Flatten', [b.op('GlobalAveragePool', [up])]);
  const gemm = b.op('Gemm', [flat, b.random([99, 34], { name: 'gemm' }), b.random([99])], { transB: 1 });
  const last = b.op('MatMul', [b.op('Relu', [gemm]), b.random([99, 33], { name: 'matmul' })]);
  return b.output('y', last, 'float32', ['n', 33]).model({ opset });
}

const NAMES = ['conv', 'grouped', 'up', 'gemm', 'matmul'] as const;
const feeds: Feeds = { x: normal([2, 16, 5, 5]) };
const bytes = (model: Model): number => serializeModel(model).file.byteLength;

/** What ONNX Runtime makes of the value that reader `index` of the original read as `name`. */
async function realWeights(model: Model): Promise<Map<string, Float32Array>> {
  const copy = model.clone();
  const weights = [...copy.graph.nodes()].filter((n) => ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'].includes(n.opType));
  const values = weights.map((node) => node.inputs[1]!);
  for (const value of values) copy.graph.addOutput(value);
  const outputs = await runModel(engine, copy, feeds);
  return new Map(values.map((value, i) => [NAMES[i]!, outputs[value.name]!.data as Float32Array]));
}

/** The same model with these weights as plain initializers. */
function withWeights(weights: Map<string, Float32Array>): Model {
  const model = network();
  for (const [name, values] of weights) {
    const value = model.graph.value(name)!;
    model.graph.setInitializer(value, Tensor.of('float32', value.initializer!.dims, values));
  }
  return model;
}

const error = (before: Float32Array, after: Float32Array): number =>
  Math.sqrt(before.reduce((s, v, i) => s + (v - after[i]!) ** 2, 0) / before.reduce((s, v) => s + v * v, 0));

describe('shareWeights', () => {
  it.each([2, 3, 4, 5, 6, 7, 8] as const)('stores %i bits a weight that ONNX Runtime makes real', async (bits) => {
    const original = network();
    const model = network();
    const [result] = await model.transform(shareWeights({ bits }));
    expect(result?.changed).toBe(5);
    const shared = await realWeights(model);
    for (const name of NAMES) {
      const before = (await original.graph.value(name)!.initializer!.toArray()) as Float32Array;
      const after = shared.get(name)!;
      expect(new Set(after).size).toBeLessThanOrEqual(2 ** bits);
      // Distortion of the optimal quantizer of a normal distribution: about 1.2 * 2^-2b for 2 bits, more bits 2.7 * 2^-2b.
      expect(error(before, after)).toBeLessThan(1.65 * 2 ** -bits);
      const noted = result?.notes.find((note) => note.includes(`${before.byteLength} to`));
      expect(noted).toContain(`relative error ${(100 * error(before, after)).toFixed(1)} %`);
    }
    // The file is as much smaller as the notes say, give or take names.
    const [, after, before] = /take (\d+) bytes instead of (\d+)/.exec(result!.notes.at(-1)!)!.map(Number);
    expect(Math.abs(bytes(original) - bytes(model) - (before! - after!))).toBeLessThan(5 * 350);
    // As the runtime folds the nodes when it loads the model, it computes what it computes with plain weights.
    expect(await runModel(engine, model, feeds)).toEqual(await runModel(engine, withWeights(shared), feeds));
  });

  it('gives groups of output channels codebooks of their own', async () => {
    const options: ShareWeightsOptions = { bits: 3, channels: 5 };
    const model = network();
    await model.transform(shareWeights(options));
    const shared = await realWeights(model);
    // Output channel of an element, from the layouts in the operators' specification.
    const channelOf: Record<string, (i: number) => number> = {
      conv: (i) => Math.floor(i / 144),
      grouped: (i) => Math.floor(i / 144),
      up: (i) => Math.floor(i / 4) % 17,
      gemm: (i) => Math.floor(i / 34),
      matmul: (i) => i % 33,
    };
    const whole = network();
    await whole.transform(shareWeights({ bits: 3 }));
    const wholeWeights = await realWeights(whole);
    for (const [name, channel] of Object.entries(channelOf)) {
      const books = new Map<number, Set<number>>();
      for (const [i, v] of shared.get(name)!.entries()) {
        const book = Math.floor(channel(i) / 5);
        books.set(book, (books.get(book) ?? new Set()).add(v));
      }
      expect(Math.max(...[...books.values()].map((values) => values.size)), name).toBeLessThanOrEqual(8);
      expect(new Set(shared.get(name)!).size, name).toBeGreaterThan(8);
      const before = (await network().graph.value(name)!.initializer!.toArray()) as Float32Array;
      expect(error(before, shared.get(name)!), name).toBeLessThan(error(before, wholeWeights.get(name)!));
    }
  });

  it('leaves pruned weights at 0', async () => {
    const model = network();
    await model.transform(pruneWeights({ sparsity: 0.7, distribution: 'uniform' }));
    const before = await realWeights(model);
    await model.transform(shareWeights({ bits: 4 }));
    const after = await realWeights(model);
    for (const name of NAMES) {
      expect(before.get(name)!.every((v, i) => v !== 0 || after.get(name)![i] === 0)).toBe(true);
      expect(error(before.get(name)!, after.get(name)!)).toBeLessThan(0.1);
    }
  });

  it('runs in the WebAssembly build, and brings an old opset to 11', async () => {
    const wasm = wasmEngine();
    try {
      const model = network(9);
      const [result] = await model.transform(shareWeights({ bits: 5 }));
      expect(model.opset).toBe(11);
      expect(result?.notes[0]).toContain('from opset 9 to 11');
      const native = (await runModel(engine, model, feeds)).y as HostTensor;
      const web = (await runModel(wasm, model, feeds)).y as HostTensor;
      for (const [i, v] of (native.data as Float32Array).entries()) expect(web.data[i]).toBeCloseTo(v, 4);
    } finally {
      await wasm.close();
    }
  });

  it('keeps float16 float16, and the nodes of a tied weight together', async () => {
    const b = new GraphBuilder();
    const weight = kernels().toFloat16(normal([64, 64]).data as Float32Array);
    const tied = b.constant(Tensor.of('float16', [64, 64], weight), 'tied');
    const y = b.op('MatMul', [b.op('MatMul', [b.input('x', 'float16', ['n', 64]), tied]), tied]);
    const model = b.output('y', y, 'float16', ['n', 64]).model();
    await model.transform(shareWeights({ bits: 6 }));
    expect([...model.graph.nodes()].filter((node) => node.is('Gather'))).toHaveLength(1);
    expect(model.graph.value('tied')).toBeUndefined();
    const x: HostTensor = { dtype: 'float16', dims: [1, 64], data: new Uint16Array(64).fill(0x3c00) };
    expect((await runModel(engine, model, { x })).y?.dtype).toBe('float16');
  });

  it('leaves alone what would not get smaller, and says so', async () => {
    const b = new GraphBuilder();
    const y = b.node('MatMul', [b.input('x', 'float32', ['n', 8]), b.random([8, 8])], {}, { name: 'small' }).output;
    const model = b.output('y', y).model();
    const before = await serializeModel(model).file.bytes();
    const [result] = await model.transform(shareWeights({ bits: 8 }));
    expect(result).toEqual({
      changed: 0,
      notes: [
        'MatMul "small" stays as it is: its 256 bytes would be 1788 with indices and codebook.',
        'Sharing brings nothing: no weight of Conv, ConvTranspose, Gemm or MatMul gets smaller.',
      ],
    });
    expect(await serializeModel(model).file.bytes()).toEqual(before);
  });

  it('refuses weights that are not finite, and other numbers of bits', async () => {
    const values = new Map([['gemm', new Float32Array(99 * 34).fill(Number.NaN)]]);
    await expect(withWeights(values).transform(shareWeights())).rejects.toThrow(
      'Weight "gemm" of Gemm "Gemm_out" holds NaN',
    );
    await expect(network().transform(shareWeights({ bits: 1 as 2 }))).rejects.toMatchObject({ code: 'bad-option' });
    await expect(network().transform(shareWeights({ channels: 0 }))).rejects.toMatchObject({ code: 'bad-option' });
  });
});
