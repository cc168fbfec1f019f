import { type Engine, type Feeds, type HostTensor, type Model, type SessionOptions, serializeModel } from '@pare/core';

/** One run of `model`, as ONNX Runtime sees it when it has been written. */
export async function runModel(
  engine: Engine,
  model: Model,
  feeds: Feeds,
  options: SessionOptions = {},
): Promise<Record<string, HostTensor>> {
  const session = await engine.open(await serializeModel(model).file.bytes(), options);
  try {
    return await session.run(feeds);
  } finally {
    await session.close();
  }
}

/** Seeded float32 values, normal with standard deviation `scale`. */
export function normal(dims: readonly number[], seed = 1, scale = 1): HostTensor {
  let state = seed * 2654435761;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 4294967296;
  };
  const size = dims.reduce((a, b) => a * b, 1);
  const data = Float32Array.from(
    { length: size },
    () => scale * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
  return { dtype: 'float32', dims, data };
}

/** 10 log10(sum of squares of `truth` / sum of squares of the difference), dB. */
export function sqnr(truth: HostTensor | undefined, test: HostTensor | undefined): number {
  const a = truth?.data as Float32Array;
  const b = test?.data as Float32Array;
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let signal = 0;
  let noise = 0;
  for (let i = 0; i < a.length; i++) {
    signal += (a[i] as number) ** 2;
    noise += ((a[i] as number) - (b[i] as number)) ** 2;
  }
  return 10 * Math.log10(signal / noise);
}
