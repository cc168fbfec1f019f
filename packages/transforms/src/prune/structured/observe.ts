import {
  type Engine,
  type Feeds,
  type Graph,
  type HostTensor,
  type Model,
  PareError,
  Tensor,
  type TransformContext,
  tensorType,
  throwIfAborted,
  type Value,
} from '@pare/core';

export type Samples = AsyncIterable<Feeds> | Iterable<Feeds>;

/** @throws PareError `bad-option` without an engine. */
export function engineOf({ engine }: TransformContext): Engine {
  if (engine) return engine;
  throw new PareError('bad-option', 'This runs the model: pass an engine, as in model.transform(..., { engine }).');
}

/** @throws PareError `bad-option` for a generator: samples are read several times. */
export function refuseOneShot(samples: Samples): void {
  const iterator: unknown =
    Symbol.asyncIterator in samples ? samples[Symbol.asyncIterator]() : samples[Symbol.iterator]();
  if (iterator !== samples) return;
  throw new PareError(
    'bad-option',
    'The samples are read several times: give an array or a data set, not a generator.',
  );
}

/** How a model is run to be observed. */
export interface ObserveOptions {
  readonly engine: Engine;
  readonly samples: Samples;
  /** Threads of the runtime; 0 lets it choose. Default 0. */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((samples: number) => void) | undefined;
}

/** An axis of an activation, by name. */
export interface ObservedAxis {
  readonly name: string;
  readonly axis: number;
  readonly rank: number;
  readonly length: number;
  /** Another activation of the same shape, for statistics of two. */
  readonly other?: string | undefined;
}

/** What is computed of the matrix [length, everything else] of an activation; all of it adds up over samples. */
export type Statistic =
  /** Sum of magnitudes of each row. */
  | 'magnitude'
  /** Sum of each row. */
  | 'sum'
  /** Sum of squares of each row; only with `sum`, so that large means take nothing from the precision. */
  | 'square'
  /** Products of all pairs of rows. */
  | 'gram'
  /** Sum of each row of the other activation. */
  | 'other-sum'
  /** Products of the rows of the other activation with those of this one. */
  | 'cross';

/** Sums over all samples. */
export interface Observed {
  /** Columns of the matrix, of all samples together. */
  count: number;
  readonly sums: ReadonlyMap<Statistic, Float64Array>;
}

/**
 * Runs `model` over the samples once, and sums up statistics of activations that are computed inside the graph: what comes out is
 * small, and memory does not grow with the samples.
 * @throws PareError `bad-data` without a single sample, or when a statistic is not finite; `engine`; `aborted`.
 */
export async function observeChannels(
  model: Model,
  axes: readonly ObservedAxis[],
  statistics: readonly Statistic[],
  { engine, samples, threads = 0, signal, onProgress }: ObserveOptions,
): Promise<Observed[]> {
  const observing = observer(model, axes, statistics);
  const found = axes.map(({ length }): Observed => {
    const sums = statistics.map((s) => [s, new Float64Array(isSquare(s) ? length * length : length)] as const);
    return { count: 0, sums: new Map(sums) };
  });
  const session = await engine.open(observing, { threads, ...(signal && { signal }) });
  let seen = 0;
  try {
    for await (const feeds of samples) {
      throwIfAborted(signal);
      const outputs = await session.run(feeds);
      for (const [i, { name }] of axes.entries()) add(found[i] as Observed, i, name, outputs);
      seen++;
      onProgress?.(seen);
    }
  } finally {
    await session.close();
  }
  if (seen > 0) return found;
  throw new PareError(
    'bad-data',
    'There is not one sample to observe. A generator can be read only once: give an array.',
  );
}

function add(observed: Observed, i: number, name: string, outputs: Readonly<Record<string, HostTensor>>): void {
  const count = Number(outputs[outputName(i, 'count')]?.data[0]);
  observed.count += count;
  for (const [statistic, sum] of observed.sums) {
    const data = outputs[outputName(i, statistic)]?.data as Float32Array;
    for (let k = 0; k < sum.length; k++) sum[k] = (sum[k] as number) + (data[k] as number);
    if (statistic === 'square') {
      // The graph gives squares of deviations from the mean of the sample.
      const rows = outputs[outputName(i, 'sum')]?.data as Float32Array;
      for (let k = 0; k < sum.length; k++) sum[k] = (sum[k] as number) + (rows[k] as number) ** 2 / count;
    }
    if (sum.every(Number.isFinite)) continue;
    throw new PareError(
      'bad-data',
      `Activation "${name}" is not finite on the samples: look at them, or at the weights.`,
    );
  }
}

const isSquare = (statistic: Statistic): boolean => statistic === 'gram' || statistic === 'cross';

const outputName = (i: number, statistic: string): string => `pare_${statistic}_${i}`;

/** A copy of `model` that computes nothing but the statistics. */
function observer(model: Model, axes: readonly ObservedAxis[], statistics: readonly Statistic[]): Model {
  const copy = model.clone();
  const { graph } = copy;
  while (graph.outputs.length > 0) graph.removeOutput(0);
  for (const [i, axis] of axes.entries()) {
    const rows = asRows(graph, axis, axis.name);
    const others = axis.other === undefined ? rows : asRows(graph, axis, axis.other);
    const columns = graph.addNode('Gather', [graph.addNode('Shape', [rows]).output, integers(graph, [1])]).output;
    give(graph, columns, outputName(i, 'count'), 'int64', [1]);
    for (const statistic of statistics) {
      const { output } = STATISTICS[statistic](graph, rows, copy.opset, others);
      const shape = isSquare(statistic) ? [axis.length, axis.length] : [axis.length];
      give(graph, output, outputName(i, statistic), 'float32', shape);
    }
  }
  return copy;
}

/** The activation as a float32 matrix of one row a channel. */
function asRows(graph: Graph, { axis, rank, length }: ObservedAxis, name: string): Value {
  const value = graph.value(name);
  if (!value) throw new PareError('bad-model', `The model has no activation named "${name}".`);
  const perm = [axis, ...[...new Array(rank).keys()].filter((i) => i !== axis)];
  const { output } = graph.addNode('Transpose', [value], { attributes: { perm } });
  const rows = graph.addNode('Reshape', [output, integers(graph, [length, -1])]).output;
  return graph.addNode('Cast', [rows], { attributes: { to: 1 } }).output;
}

const integers = (graph: Graph, values: readonly number[]): Value =>
  graph.addInitializer('const', Tensor.of('int64', [values.length], values));

function give(graph: Graph, value: Value, name: string, dtype: 'float32' | 'int64', shape: number[]): void {
  graph.rename(value, name);
  value.type = tensorType(dtype, shape);
  graph.addOutput(value);
}

type Reduction = (graph: Graph, rows: Value, opset: number, others: Value) => { readonly output: Value };

/** ReduceSum took its axes as an attribute before opset 13; the others of its family until 18. */
const reduce =
  (opType: string, since: number, keepdims = 0): Reduction =>
  (graph, rows, opset) =>
    opset >= since
      ? graph.addNode(opType, [rows, integers(graph, [1])], { attributes: { keepdims } })
      : graph.addNode(opType, [rows], { attributes: { axes: [1], keepdims } });

const sum = reduce('ReduceSum', 13);

const products = (graph: Graph, left: Value, right: Value): { readonly output: Value } =>
  graph.addNode('MatMul', [left, graph.addNode('Transpose', [right], { attributes: { perm: [1, 0] } }).output]);

const STATISTICS: Readonly<Record<Statistic, Reduction>> = {
  magnitude: reduce('ReduceL1', 18),
  sum,
  square: (graph, rows, opset, others) => {
    const { output: mean } = reduce('ReduceMean', 18, 1)(graph, rows, opset, others);
    return reduce('ReduceSumSquare', 18)(graph, graph.addNode('Sub', [rows, mean]).output, opset, others);
  },
  gram: (graph, rows) => products(graph, rows, rows),
  'other-sum': (graph, _, opset, others) => sum(graph, others, opset, others),
  cross: (graph, rows, _, others) => products(graph, others, rows),
};
