import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import type { DType, TypedArray } from '../dtype.js';
import type { HostTensor } from '../engine.js';
import { PareError } from '../errors.js';
import { Tensor } from '../ir/tensor.js';
import { serializeModel } from '../write.js';
import { nodeEngine } from './engine.js';
import { wasmEngine } from './wasm-engine.js';
import { writeModel } from './write-model.js';

/** y = x * w, big enough that a run takes a while. */
function matmuls(): ReturnType<GraphBuilder['model']> {
  const b = new GraphBuilder();
  let v = b.input('x', 'float32', ['rows', 512]);
  for (let i = 0; i < 4; i++) v = b.op('MatMul', [v, b.random([512, 512])]);
  return b.output('y', v, 'float32', ['rows', 512]).model();
}
const rows = (n: number): HostTensor => ({ dtype: 'float32', dims: [n, 512], data: new Float32Array(n * 512).fill(1) });

describe.each([
  { create: nodeEngine, name: /^onnxruntime-node 1\.30\.0$/ },
  { create: wasmEngine, name: /^onnxruntime-web 1\.30\.0 \(WASM, 1 thread\)$/ },
])('$create.name', ({ create, name }) => {
  const engine = create();
  afterAll(() => engine.close());

  it('has a name for evidence', () => expect(engine.name).toMatch(name));

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

  it('takes a few rows of a large array without the rest, which stays usable', async () => {
    const session = await engine.open(matmuls());
    const all = Float32Array.from({ length: 64 * 512 }, (_, i) => Math.sin(i));
    const view = (from: number, to: number): HostTensor => ({
      ...rows(to - from),
      data: all.subarray(from * 512, to * 512),
    });
    const answer = async (x: HostTensor): Promise<Float32Array> => (await session.run({ x })).y?.data as Float32Array;
    const whole = await answer({ ...rows(64), data: all });
    const expected = whole.subarray(5 * 512, 9 * 512);
    for (const [i, value] of (await answer(view(5, 9))).entries()) expect(value).toBeCloseTo(expected[i] as number, 3);
    expect((await session.time({ x: view(1, 2) }, 2)).length).toBe(2);
    expect(all.length).toBe(64 * 512);
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

  it('carries every type there and back, with its bits', async () => {
    const samples: readonly [DType, TypedArray | string[]][] = [
      ['float32', Float32Array.of(0.1, Number.NaN, -0)],
      ['float64', Float64Array.of(Math.PI, -1e300, 5e-324)],
      ['float16', Uint16Array.of(0x3c00, 0x7c00, 0x0001)],
      ['int8', Int8Array.of(-128, 0, 127)],
      ['uint8', Uint8Array.of(0, 128, 255)],
      ['int16', Int16Array.of(-32768, 0, 32767)],
      ['uint16', Uint16Array.of(0, 1, 65535)],
      ['int32', Int32Array.of(-(2 ** 31), 0, 2 ** 31 - 1)],
      ['uint32', Uint32Array.of(0, 1, 2 ** 32 - 1)],
      ['int64', BigInt64Array.of(-(2n ** 63n), 0n, 2n ** 63n - 1n)],
      ['uint64', BigUint64Array.of(0n, 1n, 2n ** 64n - 1n)],
      ['bool', Uint8Array.of(0, 1, 1)],
      ['string', ['', 'a', 'åß\u{1F600}']],
    ];
    const b = new GraphBuilder();
    for (const [dtype] of samples) b.output(`${dtype} out`, b.op('Identity', [b.input(dtype, dtype, [3])]), dtype, [3]);
    const session = await engine.open(b.model());
    const feeds = Object.fromEntries(samples.map(([dtype, data]) => [dtype, { dtype, dims: [3], data }]));
    const outputs = await session.run(feeds);
    for (const [dtype, data] of samples) expect(outputs[`${dtype} out`]).toEqual({ dtype, dims: [3], data });
    expect(Object.keys(await session.run(feeds, ['int8 out']))).toEqual(['int8 out']);
    await session.close();
  });

  it('opens a Model, its bytes, its file, and its file with weights beside it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'pare-engine-'));
    const model = matmuls();
    const [whole, split] = [join(folder, 'whole.onnx'), join(folder, 'split.onnx')];
    await writeModel(whole, model);
    expect(await writeModel(split, model, { externalData: true })).toHaveLength(2);
    const answers: unknown[] = [];
    for (const form of [model, await serializeModel(model).file.bytes(), whole, split]) {
      const session = await engine.open(form);
      answers.push((await session.run({ x: rows(2) })).y);
      await session.close();
    }
    for (const answer of answers) expect(answer).toEqual(answers[0]);
    await expect(engine.open(join(folder, 'none.onnx'))).rejects.toBeInstanceOf(PareError);
    await rm(folder, { recursive: true });
  });

  it('holds several sessions, which close each on its own', async () => {
    const [a, b] = [await engine.open(matmuls()), await engine.open(matmuls())];
    const expected = await a.run({ x: rows(1) });
    await a.close();
    await a.close();
    expect(await b.run({ x: rows(1) })).toEqual(expected);
    await b.close();
  });

  it('runs an isolated session beside another one', async () => {
    const [first, second] = [await engine.open(matmuls()), await engine.open(matmuls(), { isolated: true })];
    let isRunning = true;
    const long = first.time({ x: rows(512) }, 60).finally(() => {
      isRunning = false;
    });
    await second.run({ x: rows(1) });
    expect(isRunning).toBe(true);
    await Promise.all([long, second.close()]);
    await first.close();
  });

  it('gives up at once when aborted, and closes without waiting for the whole queue', async () => {
    const own = create();
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
    expect(Date.now() - start).toBeLessThan(10_000);
  });
});

describe('wasmEngine', () => {
  const engine = wasmEngine();
  afterAll(() => engine.close());

  it('runs on one thread, and says so', async () => {
    await expect(engine.open(matmuls(), { threads: 2 })).rejects.toMatchObject({
      code: 'bad-option',
      message: 'onnxruntime-web 1.30.0 (WASM, 1 thread) cannot run on 2 threads: ask for 1.',
    });
  });

  it('computes what the native engine computes', async () => {
    const native = nodeEngine();
    const [a, b] = [await engine.open(matmuls()), await native.open(matmuls())];
    const x = { ...rows(3), data: Float32Array.from({ length: 3 * 512 }, (_, i) => Math.sin(i)) };
    const [wasm, cpu] = [(await a.run({ x })).y?.data, (await b.run({ x })).y?.data] as [Float32Array, Float32Array];
    const scale = Math.max(...cpu.map(Math.abs));
    for (const [i, v] of cpu.entries()) expect(Math.abs((wasm[i] as number) - v) / scale).toBeLessThan(1e-5);
    await native.close();
  });

  it('gives back the memory of a large model', async () => {
    const b = new GraphBuilder();
    const y = b.op('MatMul', [
      b.input('x', 'float32', [1, 4096]),
      b.constant(Tensor.of('float32', [4096, 4096], new Float32Array(2 ** 24))),
    ]);
    const model = b.output('y', y, 'float32', [1, 4096]).model();
    const x: HostTensor = { dtype: 'float32', dims: [1, 4096], data: new Float32Array(4096) };
    const session = await engine.open(model);
    await session.run({ x });
    const held = process.memoryUsage.rss();
    await session.close();
    expect(held - process.memoryUsage.rss()).toBeGreaterThan(64e6);
  });

  it('ends a long run when it is closed', async () => {
    const own = wasmEngine();
    const session = await own.open(matmuls());
    const long = session.time({ x: rows(1024) }, 1e6);
    const ended = expect(long).rejects.toMatchObject({ code: 'aborted' });
    const start = Date.now();
    await session.close();
    await ended;
    expect(Date.now() - start).toBeLessThan(10_000);
    await own.close();
  });

  it.each(['int8', 'uint8'] as const)('adds products of uint8 and %s exactly, where others saturate', async (dtype) => {
    const [K, N] = [64, 16];
    const a = new Uint8Array(K).fill(255);
    const values = Array.from(
      { length: K * N },
      (_, i) => (dtype === 'int8' ? [127, -128, 126] : [255, 0, 254])[i % 3],
    );
    const w = (dtype === 'int8' ? Int8Array : Uint8Array).from(values as number[]);
    const g = new GraphBuilder();
    g.output('y', g.op('MatMulInteger', [g.input('a', 'uint8', [1, K]), g.constant(Tensor.of(dtype, [K, N], w))]));
    const session = await engine.open(g.model());
    const { y } = await session.run({ a: { dtype: 'uint8', dims: [1, K], data: a } });
    const sums = Array.from({ length: N }, (_, n) => a.reduce((sum, v, k) => sum + v * (w[k * N + n] as number), 0));
    expect(Array.from(y?.data as Int32Array)).toEqual(sums);
    await session.close();
  });
});
