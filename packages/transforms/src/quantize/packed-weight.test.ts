import { GraphBuilder, seededRandom } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { writePacked } from './packed-weight.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('writePacked', () => {
  it.each([
    { limit: 1, dims: [4, 5], bytes: 4 },
    { limit: 1, dims: [3, 7], bytes: 5 },
    { limit: 3, dims: [2, 3, 3, 3], bytes: 27 },
    { limit: 7, dims: [5, 3], bytes: 8 },
  ])(
    'gives back integers up to $limit of shape $dims from $bytes bytes, at any opset',
    async ({ limit, dims, bytes }) => {
      for (const multiplier of [1, Math.floor(127 / limit)]) {
        const b = new GraphBuilder();
        const x = b.input('x', 'float32', []);
        const y = b.op('Identity', [x]);
        const random = seededRandom(limit);
        const size = dims.reduce((product, d) => product * d, 1);
        const integers = Int8Array.from({ length: size }, () => random.integer(2 * limit + 1) - limit);
        const produce = async () => new Uint8Array(integers.buffer);
        const packed = writePacked(b.graph, 'w', { limit, multiplier, dims, produce }, b.graph.first ?? expect.fail());
        expect(b.graph.value('w')?.initializer?.byteLength).toBe(bytes);
        const model = b.output('y', y).output('q', packed).model({ opset: 13, irVersion: 7 });
        const session = await engine.open(model);
        const { q } = await session.run({ x: { dtype: 'float32', dims: [], data: new Float32Array(1) } });
        expect([...(q?.dims ?? [])]).toEqual(dims);
        expect(Array.from((q?.data ?? []) as Int8Array)).toEqual(Array.from(integers, (v) => v * multiplier));
        await session.close();
      }
    },
  );
});
