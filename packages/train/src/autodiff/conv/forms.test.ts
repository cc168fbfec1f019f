import {
  type Feeds,
  GraphBuilder,
  type HostTensor,
  inferTypes,
  type Model,
  seededRandom,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { convGradients } from '../../../test/conv-oracle.js';
import { Emitter } from '../emitter.js';
import { fittingForms, WEIGHT_FORMS } from './choose.js';
import { type ConvGeometry, inputDims, outputDims, product, weightDims } from './geometry.js';
import { INPUT_FORMS } from './input-gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** Geometry in the words of the framework that the cases were first written for. */
function geometry(
  kernel: readonly number[],
  options: {
    batch?: number;
    groups?: number;
    channels?: number;
    filters?: number;
    inputs?: readonly number[];
    stride?: number | readonly number[];
    pad?: number | readonly number[];
    dilation?: number;
  } = {},
): ConvGeometry {
  const { batch = 2, groups = 1, channels = 3, filters = 4, dilation = 1 } = options;
  const rank = kernel.length;
  const inputs = options.inputs ?? [7, 6, 5].slice(0, rank);
  const each = (v: number | readonly number[] | undefined, fallback: number): number[] =>
    Array.isArray(v) ? [...v] : new Array<number>(rank).fill((v as number | undefined) ?? fallback);
  const strides = each(options.stride, 1);
  const begin = each(options.pad, 0);
  const dilations = new Array<number>(rank).fill(dilation);
  const outputs = kernel.map(
    (k, i) => Math.floor((inputs[i]! + 2 * begin[i]! - (k - 1) * dilation - 1) / strides[i]!) + 1,
  );
  const end = kernel.map((k, i) => (outputs[i]! - 1) * strides[i]! + (k - 1) * dilation + 1 - inputs[i]! - begin[i]!);
  return { batch, groups, channels, filters, inputs, outputs, kernel, strides, dilations, begin, end };
}

const CASES: Readonly<Record<string, ConvGeometry>> = {
  '3x3 padded': geometry([3, 3], { pad: 1 }),
  '3x3 bare': geometry([3, 3]),
  '3x3 stride 2 padded': geometry([3, 3], { stride: 2, pad: 1 }),
  '3x3 stride 2 bare, even': geometry([3, 3], { stride: 2, inputs: [8, 6] }),
  '5x5 stride 3 padded': geometry([5, 5], { stride: 3, pad: 2, inputs: [11, 10] }),
  'dilation 2': geometry([3, 3], { dilation: 2, pad: 2 }),
  'dilation 2, stride 2': geometry([3, 3], { dilation: 2, pad: 2, stride: 2, inputs: [9, 8] }),
  'padded more than the kernel': geometry([2, 2], { pad: 3 }),
  '1x1': geometry([1, 1]),
  '1x1 padded': geometry([1, 1], { pad: 1 }),
  '1x1 stride 2': geometry([1, 1], { stride: 2 }),
  '1x1 stride 3, one channel': geometry([1, 1], { stride: 3, channels: 1, filters: 1 }),
  '4 groups': geometry([3, 3], { groups: 4, channels: 2, filters: 3, pad: 1 }),
  '4 groups stride 2': geometry([3, 3], { groups: 4, channels: 2, filters: 1, pad: 1, stride: 2 }),
  '1x5': geometry([1, 5], { pad: [0, 2] }),
  '2x2 stride 2': geometry([2, 2], { stride: 2 }),
  'stride 2 by 1': geometry([3, 2], { stride: [2, 1], pad: [1, 0] }),
  'stride above the kernel': geometry([2, 2], { stride: 4, inputs: [11, 9] }),
  depthwise: geometry([3, 3], { groups: 5, channels: 1, filters: 1, pad: 1 }),
  'depthwise stride 2': geometry([3, 3], { groups: 5, channels: 1, filters: 1, pad: 1, stride: 2 }),
  'depthwise dilation 2': geometry([3, 3], { groups: 5, channels: 1, filters: 1, pad: 2, dilation: 2 }),
  'depthwise 5x5 stride 2': geometry([5, 5], { groups: 3, channels: 1, filters: 1, pad: 2, stride: 2 }),
  'depthwise multiplier 2': geometry([3, 3], { groups: 3, channels: 1, filters: 2, pad: 1 }),
  'many to one a group': geometry([3, 3], { groups: 2, channels: 3, filters: 1 }),
  '1-D': geometry([3], { inputs: [9], pad: 1 }),
  '1-D depthwise stride 2': geometry([3], { inputs: [9], groups: 4, channels: 1, filters: 1, stride: 2 }),
  '3-D': geometry([3, 2, 3], { inputs: [5, 4, 4], pad: 1 }),
  '3-D stride 2': geometry([3, 2, 3], { inputs: [5, 4, 4], pad: 1, stride: 2 }),
  '3-D depthwise': geometry([3, 3, 3], { inputs: [4, 3, 4], pad: 1, groups: 3, channels: 1, filters: 1 }),
  'one of everything': geometry([1, 1], { batch: 1, channels: 1, filters: 1, inputs: [1, 1] }),
  'asymmetric padding': { ...geometry([3, 3]), begin: [2, 0], end: [0, 1], outputs: [7, 5] },
  'negative padding': { ...geometry([2, 2]), begin: [-1, 0], end: [0, -1], outputs: [5, 4] },
};

const random = seededRandom(3);
/** Small whole numbers: their sums are exact in float32, so every form must give the very same. (No Conv of float64 in the runtime.) */
const tensor = (dims: readonly number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: Float32Array.from({ length: product(dims) }, () => random.integer(9) - 4),
});

/** All fitting forms of both gradients in one model. */
async function run(c: ConvGeometry): Promise<Record<string, HostTensor>> {
  const b = new GraphBuilder();
  const feeds: Feeds = { x: tensor(inputDims(c)), w: tensor(weightDims(c)), g: tensor(outputDims(c)) };
  const [x, w, g] = ['x', 'w', 'g'].map((name) => b.input(name, 'float32', feeds[name]?.dims)) as [Value, Value, Value];
  const model: Model = b.model();
  const e = new Emitter(b.graph, inferTypes(model));
  const { input, weight } = fittingForms(c);
  for (const name of input) b.output(`dx ${name}`, INPUT_FORMS[name].emit(e, c, g, w));
  for (const name of weight) {
    const value = WEIGHT_FORMS[name].emit(e, c, x, g);
    b.output(`dw ${name}`, value);
  }
  for (const value of b.graph.outputs) value.type = e.inference.typeOf(value);
  const session = await engine.open(model);
  const results = await session.run(feeds);
  await session.close();
  return { ...results, x: feeds.x!, w: feeds.w!, g: feeds.g! };
}

describe('every form of the gradients of a convolution is the definition', () => {
  it.each(Object.keys(CASES))('%s', async (name) => {
    const c = CASES[name] as ConvGeometry;
    const { x, w, g, ...results } = await run(c);
    const truth = convGradients(c, x!.data as Float32Array, w!.data as Float32Array, g!.data as Float32Array);
    expect(Object.keys(results).length).toBeGreaterThan(3);
    for (const [form, { dims, data }] of Object.entries(results)) {
      const isInput = form.startsWith('dx');
      expect(dims, form).toEqual(isInput ? inputDims(c) : weightDims(c));
      // Minus zero is zero.
      expect(
        Array.from(data as Float32Array, (v) => v + 0),
        form,
      ).toEqual([...(isInput ? truth.dx : truth.dw)].map((v) => v + 0));
    }
  });
});
