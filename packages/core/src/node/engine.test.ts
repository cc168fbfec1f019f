import { afterAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import type { HostTensor } from '../engine.js';
import { nodeEngine } from './engine.js';

const engine = nodeEngine();
afterAll(() => engine.close());

/** y = x * w, big enough that a run takes a while. */
function matmuls(): ReturnType<GraphBuilder['model']> {
  const b = new GraphBuilder();
  let v = b.input('x', 'float32', ['rows', 512]);
  for (let i = 0; i < 4; i++) v = b.op('MatMul', [v, b.random([512, 512])]);
  return b.output('y', v, 'float32', ['rows', 512]).model();
}
const rows = (n: number): HostTensor => ({ dtype: 'float32', dims: [n, 512], data: new Float32Array(n * 512).fill(1) });

describe('nodeEngine', () => {
  it('tells the ports, runs off the main thread and leaves the feeds attached', async () => {
    const session = await engine.open(matmuls());
    expect(session.inputs).toEqual([{ name: 'x', dtype: 'float32', dims: ['rows', 512] }]);
    const x = rows(2048);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    const { y } = await session.run({ x });
    clearInterval(timer);
    expect(y?.dims).toEqual([2048, 512]);
    expect(x.data.length).toBe(2048 * 512);
    expect(ticks).toBeGreaterThan(2);
    expect((await session.time({ x: rows(1) }, 3)).length).toBe(3);
    await session.close();
  });

  it('turns refusals of the runtime into typed errors', async () => {
    await expect(engine.open(new Uint8Array([1, 2, 3]))).rejects.toMatchObject({ code: 'engine' });
    const session = await engine.open(matmuls());
    await expect(session.run({ wrong: rows(1) })).rejects.toMatchObject({ code: 'engine', message: /'x' is missing/ });
    await session.close();
    await expect(session.run({ x: rows(1) })).rejects.toThrow(/closed/);
  });

  it('refuses 4-bit outputs, which would abort the process', async () => {
    const b = new GraphBuilder();
    const q = b.op('QuantizeLinear', [b.input('x', 'float32', [8]), b.random([]), null], { output_dtype: 22 });
    const model = b.output('y', q, 'int4', [8]).model({ opset: 21 });
    await expect(engine.open(model)).rejects.toThrow(/"y" is int4/);
  });

  it('gives up at once when aborted, and closes without waiting for the whole queue', async () => {
    const own = nodeEngine();
    const controller = new AbortController();
    const session = await own.open(matmuls(), { signal: controller.signal });
    const long = session.time({ x: rows(512) }, 100_000);
    setTimeout(() => controller.abort(), 50);
    const start = Date.now();
    await expect(long).rejects.toMatchObject({ code: 'aborted' });
    const queued = own.open(matmuls());
    const closing = own.close();
    await expect(queued).rejects.toMatchObject({ code: 'aborted' });
    await closing;
    expect(Date.now() - start).toBeLessThan(5000);
  });
});
