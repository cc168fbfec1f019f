import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { GraphBuilder, type HostTensor, type Model } from '@pare/core';
import { writeModel } from '@pare/core/node';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeNpy, encodeNpz, indexData, type Sample } from '../src/index.js';
import { freshProcess, hostInfo, imageToTensor, openData, preprocessDataset } from '../src/node/index.js';

const folder = mkdtempSync(join(tmpdir(), 'pare-verify-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...parts: string[]): string => join(folder, ...parts);
const all = async (samples: AsyncIterable<Sample>): Promise<Sample[]> => {
  const list: Sample[] = [];
  for await (const sample of samples) list.push(sample);
  return list;
};
const png = async (file: string, rgb: [number, number, number], width = 4, height = 2): Promise<void> => {
  const [r, g, b] = rgb;
  await sharp({ create: { width, height, channels: 3, background: { r, g, b } } })
    .png()
    .toFile(file);
};
const f32 = (dims: number[]): HostTensor => ({
  dtype: 'float32',
  dims,
  data: new Float32Array(dims.reduce((a, b) => a * b, 1)),
});

describe('folders of images', () => {
  beforeAll(async () => {
    for (const name of ['cat', 'dog', '.hidden', 'empty']) mkdirSync(at('images', name), { recursive: true });
    await png(at('images', 'dog', '1.png'), [10, 20, 30]);
    await png(at('images', 'cat', '2.png'), [40, 50, 60]);
    await png(at('images', 'cat', '1.png'), [70, 80, 90]);
    await png(at('images', '.hidden', '1.png'), [0, 0, 0]);
    writeFileSync(at('images', 'cat', 'readme.txt'), 'not an image');
  });

  it('one folder a class, in order of the names', async () => {
    const data = await openData(at('images'), { preprocess: { scale: 1 } });
    expect([data.size, data.classes]).toEqual([3, ['cat', 'dog']]);
    const samples = await all(data);
    expect(samples.map((s) => [s.id, s.label])).toEqual([
      ['1.png', 0],
      ['2.png', 0],
      ['1.png', 1],
    ]);
    const tensor = samples[2]?.inputs.image as HostTensor;
    expect(tensor.dims).toEqual([3, 2, 4]);
    expect(Array.from(tensor.data as Float32Array)).toEqual([10, 20, 30].flatMap((v) => new Array(8).fill(v)));
    expect(await data.at?.(2)).toEqual(samples[2]);
  });
  it('is indexed without decoding, by content', async () => {
    const data = await openData(at('images'));
    const index = await indexData(data);
    expect(index.classes).toBe(2);
    expect(new Set(index.samples.map((s) => s.hash)).size).toBe(3);
  });
  it('takes the preprocessing that lies beside them', async () => {
    const config = { do_resize: true, size: { height: 6, width: 5 }, do_rescale: false, do_normalize: false };
    writeFileSync(at('images', 'preprocessor_config.json'), JSON.stringify(config));
    const [sample] = await all(await openData(at('images')));
    expect(sample?.inputs.image?.dims).toEqual([3, 6, 5]);
    rmSync(at('images', 'preprocessor_config.json'));
  });
  it('a CSV lists images and truths', async () => {
    writeFileSync(at('list.csv'), 'path,text\nimages/cat/1.png,"Grüße, 007"\nimages/dog/1.png,12\n');
    const samples = await all(await openData(at('list.csv')));
    expect(samples.map((s) => s.label)).toEqual(['Grüße, 007', '12']);
  });
  it('drops alpha, understands grey and 16 bits', async () => {
    const raw = (channels: 1 | 4, values: number[]) =>
      sharp(Buffer.from(values), { raw: { width: 1, height: 1, channels } }).png();
    await raw(4, [9, 8, 7, 100]).toFile(at('alpha.png'));
    await raw(1, [200]).toFile(at('grey.png'));
    await sharp(Uint16Array.of(257 * 50), { raw: { width: 1, height: 1, channels: 1 } })
      .toColourspace('grey16')
      .png()
      .toFile(at('deep.png'));
    const values = async (file: string): Promise<number[]> =>
      Array.from((await imageToTensor(at(file), { scale: 1 })).data as Float32Array);
    expect(await values('alpha.png')).toEqual([9, 8, 7]);
    expect(await values('grey.png')).toEqual([200, 200, 200]);
    expect(await values('deep.png')).toEqual([50, 50, 50]);
  });

  it('says what is wrong', async () => {
    mkdirSync(at('none'));
    await expect(openData(at('none'))).rejects.toThrow(/"[^"]*none" has no images/);
    writeFileSync(at('bad.csv'), 'file,label\nlist.csv,1\nmissing.png,2\n');
    const bad = await openData(at('bad.csv'));
    await expect(bad.at?.(0)).rejects.toMatchObject({ code: 'bad-data' });
    await expect(bad.at?.(0)).rejects.toThrow(/list\.csv" is no image that can be read/);
    await expect(bad.at?.(1)).rejects.toThrow(/missing\.png/);
    writeFileSync(at('columns.csv'), 'a,b\n1,2\n');
    await expect(openData(at('columns.csv'))).rejects.toThrow(/has the columns a, b; one must name the image files/);
    const cut = readFileSync(at('images', 'cat', '1.png'));
    writeFileSync(at('cut.png'), cut.subarray(0, cut.length - 20));
    await expect(imageToTensor(at('cut.png'), {})).rejects.toThrow(/cut\.png" is no image/);
  });
});

describe('resizing', () => {
  const golden = JSON.parse(readFileSync(new URL('./fixtures/pil.json', import.meta.url), 'utf8')) as Record<
    'nearest' | 'bilinear' | 'bicubic' | 'lanczos',
    Record<string, number[]>
  >;
  // The picture of test/fixtures/generate.py: three gradients that wrap around.
  const [height, width] = [24, 36];
  const data = Uint8Array.from({ length: height * width * 3 }, (_, i) => {
    const [y, x, c] = [Math.floor(i / 3 / width), Math.floor(i / 3) % width, i % 3];
    return [x * 7, y * 10, (x + y) * 4][c]! % 256;
  });
  const image: Sample = { inputs: { image: { dtype: 'uint8', dims: [height, width, 3], data } } };

  it.each(['bilinear', 'bicubic', 'lanczos'] as const)(
    '%s as Pillow, shrinking and enlarging',
    async (interpolation) => {
      for (const [size, expected] of Object.entries(golden[interpolation])) {
        const [w, h] = size.split('x').map(Number) as [number, number];
        const spec = { resize: { height: h, width: w }, interpolation, scale: 1, layout: 'NHWC' as const };
        const source = {
          name: 'd',
          async *[Symbol.asyncIterator]() {
            yield image;
          },
        };
        const [sample] = await all(preprocessDataset(source, spec));
        const values = Array.from(((sample as Sample).inputs.image as HostTensor).data as Float32Array);
        const errors = values.map((v, i) => Math.abs(v - (expected[i] as number)));
        expect(values.length).toBe(expected.length);
        expect([size, errors.reduce((a, b) => a + b) / errors.length]).toEqual([size, expect.closeTo(0, 0)]);
      }
    },
  );
});

describe('files', () => {
  it('arrays of pixels go through the preprocessing', async () => {
    const images: HostTensor = {
      dtype: 'uint8',
      dims: [2, 2, 2, 3],
      data: Uint8Array.from({ length: 24 }, (_, i) => i * 10),
    };
    writeFileSync(
      at('pixels.npz'),
      encodeNpz({ images, labels: { dtype: 'int64', dims: [2], data: BigInt64Array.of(0n, 1n) } }),
    );
    writeFileSync(at('prep.json'), JSON.stringify({ mean: [0.5], std: [0.5] }));
    const [first, second] = await all(await openData(at('pixels.npz'), { preprocess: at('prep.json') }));
    expect(first?.inputs.images).toMatchObject({ dtype: 'float32', dims: [3, 2, 2] });
    expect(((second as Sample).inputs.images as HostTensor).data[0]).toBeCloseTo((120 / 255 - 0.5) / 0.5, 6);
    expect(second?.label).toBe(1);
    const planes: HostTensor = { ...images, dims: [1, 3, 1, 8] };
    writeFileSync(at('planes.npy'), encodeNpy(planes));
    const [plane] = await all(await openData(at('planes.npy'), { preprocess: { scale: 1, input: 'x' } }));
    expect(Array.from(((plane as Sample).inputs.x as HostTensor).data as Float32Array)).toEqual(
      Array.from(images.data as Uint8Array),
    );
    const floats = await openData(at('floats.npz'), { preprocess: {} }).catch((e: Error) => e);
    expect(floats).toMatchObject({ code: 'io' });
    writeFileSync(at('floats.npz'), encodeNpz({ x: f32([2, 3]) }));
    await expect(all(await openData(at('floats.npz'), { preprocess: {} }))).rejects.toThrow(/needs uint8 pixels/);
  });
  it('JSON lines and modules', async () => {
    writeFileSync(at('val.jsonl'), '{"x": [1, 2], "label": 0}\n');
    expect((await all(await openData(at('val.jsonl'))))[0]?.inputs.x?.dims).toEqual([2]);
    const sample = '{ inputs: { x: { dtype: "float32", dims: [1], data: Float32Array.of(5) } }, label: 3 }';
    for (const [name, text] of Object.entries({
      'array.mjs': `export default [${sample}];`,
      'function.mjs': `export async function* data() { yield ${sample}; }`,
      'object.mjs': `export default { name: 'own', async *[Symbol.asyncIterator]() { yield ${sample}; } };`,
    })) {
      writeFileSync(at(name), text);
      const data = await openData(at(name));
      expect([name, (await all(data)).map((s) => s.label), (await all(data)).length]).toEqual([name, [3], 1]);
    }
    writeFileSync(at('odd.mjs'), 'export default 7;');
    await expect(openData(at('odd.mjs'))).rejects.toThrow(/odd\.mjs must export/);
    writeFileSync(at('syntax.mjs'), 'export default [;');
    await expect(openData(at('syntax.mjs'))).rejects.toThrow(/syntax\.mjs cannot be loaded/);
  });
  it('what is no dataset', async () => {
    await expect(openData(at('nowhere.npz'))).rejects.toThrow(/there is no such file or folder/);
    writeFileSync(at('model.onnx'), 'x');
    await expect(openData(at('model.onnx'))).rejects.toMatchObject({ code: 'bad-option' });
    writeFileSync(at('empty.npz'), '');
    await expect(openData(at('empty.npz'))).rejects.toMatchObject({ code: 'bad-file' });
    writeFileSync(at('broken.json'), '{');
    await expect(openData(at('pixels.npz'), { preprocess: at('broken.json') })).rejects.toThrow(
      /broken\.json is not JSON/,
    );
  });
});

describe('a process of its own', () => {
  const feeds = { x: f32([1, 64]) };
  /** `megabytes` of weights. */
  const heavy = (megabytes: number): Model => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 64]);
    const y = b.op('MatMul', [x, b.random([64, megabytes * 4096])]);
    return b.output('y', b.op('ReduceSum', [y]), 'float32').model();
  };
  it('sees the memory of the model, from a path, bytes or a graph', async () => {
    await writeModel(at('heavy.onnx'), heavy(40));
    const large = await freshProcess(at('heavy.onnx'), feeds);
    expect(large.peakBytes - large.baselineBytes).toBeGreaterThan(40e6);
    expect(large.loadMs).toBeGreaterThan(0);
    expect(large.firstRunMs).toBeGreaterThan(0);
    // A large parent does not count: its memory is not the child's.
    const ballast = new Uint8Array(200e6).fill(1);
    const small = await freshProcess(heavy(1), feeds);
    expect(small.peakBytes).toBeLessThan(ballast.byteLength);
    expect(small.peakBytes - small.baselineBytes).toBeLessThan(30e6);
  });
  it('sees the memory of WebAssembly', async () => {
    const { peakBytes, baselineBytes } = await freshProcess(at('heavy.onnx'), feeds, { runtime: 'wasm' });
    expect(peakBytes - baselineBytes).toBeGreaterThan(40e6);
    await expect(freshProcess(new Uint8Array(10), feeds, { runtime: 'wasm' })).rejects.toMatchObject({
      code: 'engine',
    });
  });
  it('says when the model fails, and is gone when stopped', async () => {
    await expect(freshProcess(new Uint8Array(10), feeds)).rejects.toMatchObject({ code: 'engine' });
    const controller = new AbortController();
    const stopped = freshProcess(at('heavy.onnx'), feeds, { signal: controller.signal });
    setTimeout(() => controller.abort(), 50);
    await expect(stopped).rejects.toMatchObject({ code: 'aborted' });
  });
});

it('knows the host', () => {
  const host = hostInfo('engine 1.0');
  expect(host.cores).toBeGreaterThan(0);
  expect(host.memoryBytes).toBeGreaterThan(1e8);
  expect(host.runtime).toBe(`Node.js ${process.versions.node}`);
  expect(host.pare).toMatch(/^\d+\.\d+\.\d+/);
});
