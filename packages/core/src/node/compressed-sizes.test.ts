import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import zlib from 'node:zlib';
import { expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import { Tensor } from '../ir/tensor.js';
import { seededRandom } from '../random.js';
import { serializeModel } from '../write.js';
import { compressedSizes } from './compressed-sizes.js';
import { readModel } from './read-model.js';
import { writeModel } from './write-model.js';

/** A product with 1200 x 1200 weights, a tenth of them not 0: more bytes than are read in one piece. */
function sparse(): ReturnType<GraphBuilder['model']> {
  const b = new GraphBuilder();
  const random = seededRandom(1);
  const values = Float32Array.from({ length: 1200 * 1200 }, () => (random.uniform() < 0.1 ? random.normal() : 0));
  const v = b.op('MatMul', [b.input('x', 'float32', ['n', 1200]), Tensor.of('float32', [1200, 1200], values)]);
  return b.output('y', v).model();
}

it('counts what the compressors give for the file, in pieces as at once', async () => {
  const model = sparse();
  const bytes = await serializeModel(model).file.bytes();
  const sizes = await compressedSizes(model);
  expect(sizes.raw).toBe(bytes.length);
  // Where the pieces end may move the compressor's blocks a little.
  expect(sizes.gzip / zlib.gzipSync(bytes, { level: 9 }).length).toBeCloseTo(1, 3);
  const params = { [zlib.constants.BROTLI_PARAM_QUALITY]: 9 };
  expect(sizes.brotli / zlib.brotliCompressSync(bytes, { params }).length).toBeCloseTo(1, 2);
  expect(sizes.gzip).toBeLessThan(0.2 * sizes.raw);
  const { zstdCompressSync } = zlib as { zstdCompressSync?: (bytes: Uint8Array) => Uint8Array };
  if (!zstdCompressSync) expect(sizes.zstd).toBeUndefined();
  // The default level is 3.
  else expect(sizes.zstd).toBeLessThanOrEqual(zstdCompressSync(bytes).length);
});

it('counts external data too', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pare-'));
  try {
    await writeModel(join(folder, 'model.onnx'), sparse(), { externalData: true });
    const files = await readdir(folder);
    expect(files.length).toBeGreaterThan(1);
    const sizes = await Promise.all(files.map(async (name) => (await stat(join(folder, name))).size));
    const { raw, gzip } = await compressedSizes(await readModel(join(folder, 'model.onnx')));
    expect(raw).toBe(sizes.reduce((sum, n) => sum + n, 0));
    expect(gzip).toBeLessThan(0.2 * raw);
  } finally {
    await rm(folder, { recursive: true });
  }
});
