import {
  type Engine,
  type Feeds,
  type Model,
  PareError,
  Tensor,
  type TransformContext,
  tensorType,
  throwIfAborted,
  type Value,
} from '@pare/core';

/** Smallest and largest element that a tensor was seen with. */
export interface TensorRange {
  readonly min: number;
  readonly max: number;
}

const RANGES = 'pare_ranges';

/**
 * Smallest and largest element of each of `names`, float32 values of the main graph, over all samples. They are found inside
 * the runtime, so activations never leave it.
 * @throws PareError `bad-data` when there is no sample, `engine`, `aborted`.
 */
export async function measureRanges(
  model: Model,
  names: readonly string[],
  samples: Iterable<Feeds> | AsyncIterable<Feeds>,
  engine: Engine,
  context: TransformContext = {},
): Promise<Map<string, TensorRange>> {
  if (names.length === 0) return new Map();
  const session = await engine.open(observed(model, names), context.signal ? { signal: context.signal } : {});
  const ranges = new Map<string, TensorRange>();
  try {
    let done = 0;
    for await (const feeds of samples) {
      throwIfAborted(context.signal);
      const bounds = (await session.run(feeds, [RANGES]))[RANGES]?.data as Float32Array;
      for (const [i, name] of names.entries()) {
        const [min, max] = [bounds[2 * i] as number, bounds[2 * i + 1] as number];
        const known = ranges.get(name);
        ranges.set(name, { min: Math.min(min, known?.min ?? min), max: Math.max(max, known?.max ?? max) });
      }
      context.onProgress?.('measure', ++done, Number.NaN);
    }
  } finally {
    await session.close();
  }
  if (ranges.size === 0) throw new PareError('bad-data', 'There was no sample to measure ranges with.');
  return ranges;
}

/** A copy of `model` with one more output: smallest and largest element of each of `names`, [min0, max0, min1, ...]. */
function observed(model: Model, names: readonly string[]): Model {
  const copy = model.clone();
  const { graph } = copy;
  const one = graph.addInitializer('pare_one', Tensor.of('int64', [1], [1]));
  const parts = names.flatMap((name, i) =>
    ['ReduceMin', 'ReduceMax'].map((op) => {
      const outputs = [graph.freshName(`pare_${op}_${i}`)];
      const extreme = graph.addNode(op, [graph.value(name) as Value], { attributes: { keepdims: 0 }, outputs }).output;
      return graph.addNode('Reshape', [extreme, one], { outputs: [graph.freshName(`pare_${op}_${i}_flat`)] }).output;
    }),
  );
  const ranges = graph.addNode('Concat', parts, { attributes: { axis: 0 }, outputs: [RANGES] }).output;
  ranges.type = tensorType('float32', [parts.length]);
  graph.addOutput(ranges);
  return copy;
}
