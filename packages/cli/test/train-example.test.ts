import { type Dataset, datasetOf, type Engine, type Feeds, type Model, seededRandom, serializeModel } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import type { TrainResult } from '@pare/train';
import { afterAll, expect, it } from 'vitest';

/** What `npm run demo:train` is made of, without its pictures. */
interface Lesson {
  readonly engine: Engine;
  readonly data: Dataset;
  readonly validation: Dataset;
  readonly samples: readonly Feeds[];
}
interface Steps {
  learn(model: Model, lesson: Lesson, epochs: number): Promise<TrainResult>;
  slim(model: Model, lesson: Lesson, share: number, epochs: number): Promise<{ result: TrainResult }>;
  quantize(model: Model, lesson: Lesson, precision: string, epochs: number): Promise<{ result: TrainResult }>;
  round(model: Model, lesson: Lesson, precision: string): Promise<void>;
}

const example = (file: string): string => new URL(`../../../examples/train/${file}`, import.meta.url).href;
const engine = nodeEngine();
afterAll(() => engine.close());

/** Noise over a tile of 4 by 4 pixels that repeats and tells the class. */
function tiles(count: number, seed: number): Dataset {
  const fixed = seededRandom(9);
  const patterns = Array.from({ length: 10 }, () => Float32Array.from({ length: 16 }, () => fixed.normal()));
  const random = seededRandom(seed);
  const samples = Array.from({ length: count }, (_, i) => {
    const label = i % 10;
    const data = Float32Array.from({ length: 28 * 28 }, (_, p) => {
      const at = (Math.floor(p / 28) % 4) * 4 + (p % 4);
      return 0.3 * random.normal() + (patterns[label]?.[at] ?? 0);
    });
    return { inputs: { image: { dtype: 'float32' as const, dims: [1, 28, 28], data } }, label };
  });
  return datasetOf(samples, { name: 'tiles' });
}

const widthOf = (model: Model): number | undefined => model.graph.value('head.weight')?.initializer?.dims[1];
const last = ({ epochs, best, start }: TrainResult): number => (best ? epochs[best - 1]?.score : start) ?? 0;
const bytesOf = (model: Model): number => serializeModel(model, { externalData: false }).file.byteLength;

it('the training example learns, halves its channels, and keeps what it knows in 4 bits', async () => {
  const { smallResnet } = (await import(example('network.mjs'))) as { smallResnet(options: object): Model };
  const { learn, slim, quantize, round } = (await import(example('compress.mjs'))) as Steps;
  const data = tiles(1280, 1);
  const first = [];
  for (let i = 0; i < 32; i++) {
    const image = (await data.at?.(i))?.inputs.image;
    if (image) first.push({ image: { ...image, dims: [1, ...image.dims] } });
  }
  const lesson: Lesson = { engine, data, validation: tiles(200, 2), samples: first };
  const model = smallResnet({ widths: [8, 16], seed: 3 });
  expect(last(await learn(model, lesson, 3))).toBeGreaterThan(0.9);
  const before = bytesOf(model);

  expect(last((await slim(model, lesson, 0.5, 1)).result)).toBeGreaterThan(0.9);
  expect(widthOf(model)).toBe(8);

  const untrained = model.clone();
  await round(untrained, lesson, 'w4a8');
  const { result } = await quantize(model, lesson, 'w4a8', 1);
  expect(last(result)).toBeGreaterThan(0.9);
  for (const integers of [model, untrained]) {
    expect([...integers.allNodes()].some((node) => node.is('QuantizeLinear'))).toBe(true);
    const session = await engine.open(integers);
    const { logits } = await session.run(first[7] as Feeds);
    const answer = logits?.data as Float32Array;
    expect(answer.indexOf(Math.max(...answer))).toBe(7);
    await session.close();
  }
  expect(bytesOf(model)).toBeLessThan(before);
});
