import {
  type Feeds,
  type Graph,
  type Model,
  type Node,
  PareError,
  Tensor,
  type TransformContext,
  tensorType,
  throwIfAborted,
  type Value,
} from '@pare/core';
import type { Layer } from './layers.js';

const SQUARES = 'pare_squares';

/**
 * The Euclidean length of each input channel of each layer, over all samples and places. Squares are summed inside the runtime:
 * activations never leave it, and memory does not grow with the samples. Layers in subgraphs are left out.
 * @throws PareError `bad-option` without an engine; `bad-data` without a sample, or for an activation that is not finite; `engine`;
 *   `aborted`.
 */
export async function inputNorms(
  model: Model,
  layers: readonly Layer[],
  samples: AsyncIterable<Feeds> | Iterable<Feeds>,
  { engine, signal, onProgress }: TransformContext,
): Promise<Map<Layer, Float64Array>> {
  if (!engine) throw new PareError('bad-option', 'The score "wanda" runs the model: give an engine.');
  const observations = layers.flatMap((layer) =>
    layer.nodes.flatMap((node) => (node.graph === model.graph ? [{ layer, ...observe(node, layer) }] : [])),
  );
  const norms = new Map(observations.map(({ layer, count }) => [layer, new Float64Array(count)]));
  if (observations.length === 0) return norms;
  const session = await engine.open(observing(model, observations), {
    threads: 0,
    memoryPattern: false,
    ...(signal && { signal }),
  });
  let done = 0;
  try {
    for await (const feeds of samples) {
      throwIfAborted(signal);
      const squares = (await session.run(feeds, [SQUARES]))[SQUARES]?.data as Float32Array;
      let at = 0;
      for (const { layer, activation, count } of observations) {
        const sums = norms.get(layer) as Float64Array;
        for (let c = 0; c < count; c++) sums[c] = (sums[c] as number) + (squares[at++] as number);
        if (!sums.every(Number.isFinite)) throw notFinite(activation, done + 1);
      }
      done++;
      onProgress?.('prune', done, Number.NaN);
    }
  } finally {
    await session.close();
  }
  if (done === 0)
    throw new PareError('bad-data', 'There is no sample to measure inputs with: the score "wanda" needs some.');
  for (const sums of norms.values()) for (const [c, sum] of sums.entries()) sums[c] = Math.sqrt(sum);
  return norms;
}

/** One activation, and along which of its axes the input channels lie. */
interface Observation {
  readonly activation: string;
  readonly count: number;
  readonly axis: 'first' | 'second' | 'last';
  readonly rank: number;
}

function observe(node: Node, { view, tensor }: Layer): Observation {
  const activation = node.inputs[0]?.name ?? node.fail('has no input');
  const rank = tensor.dims.length;
  const count = view.inputs * (view.ownInputs ? view.groups : 1);
  const isConvolution = node.is('Conv') || node.is('ConvTranspose');
  const isTurned = node.is('Gemm') && node.int('transA', 0) !== 0;
  return { activation, count, rank, axis: isConvolution ? 'second' : isTurned ? 'first' : 'last' };
}

const notFinite = (activation: string, sample: number): PareError =>
  new PareError(
    'bad-data',
    `Activation "${activation}" holds NaN or infinity, or its squares overflow, in sample ${sample}: no score follows from ` +
      'it. Look at that sample, or exclude the nodes that read it.',
  );

/** A copy of `model` with one output: the sums of squares of each observation in turn. */
function observing(model: Model, observations: readonly Observation[]): Model {
  const copy = model.clone();
  const { graph } = copy;
  while (graph.outputs.length > 0) graph.removeOutput(0);
  // ONNX Runtime runs first what comes last: written from the last layer to the first, each activation is reduced as soon as it is
  // there, and not all of them wait in memory.
  const sums = observations.toReversed().map((observation) => squares(copy, observation));
  const all = graph.addNode('Concat', sums.toReversed(), { attributes: { axis: 0 }, outputs: [SQUARES] }).output;
  all.type = tensorType('float32', [observations.reduce((sum, { count }) => sum + count, 0)]);
  graph.addOutput(all);
  return copy;
}

function squares({ graph, opset }: Model, { activation, count, axis, rank }: Observation): Value {
  // Squares of float16 activations soon exceed what float16 holds.
  const real = graph.addNode('Cast', [graph.value(activation) as Value], { attributes: { to: 1 } }).output;
  if (axis === 'last') {
    return sumSquares(graph, opset, graph.addNode('Reshape', [real, ints(graph, [-1, count])]).output, [0]);
  }
  if (axis === 'first') return sumSquares(graph, opset, real, [1]);
  const axes = Array.from({ length: rank }, (_, i) => i).filter((i) => i !== 1);
  return sumSquares(graph, opset, real, axes);
}

/** Axes are an attribute before opset 18 and an input from there on. */
function sumSquares(graph: Graph, opset: number, value: Value, axes: readonly number[]): Value {
  const inputs = opset >= 18 ? [value, ints(graph, axes)] : [value];
  const attributes = opset >= 18 ? { keepdims: 0 } : { keepdims: 0, axes };
  return graph.addNode('ReduceSumSquare', inputs, { attributes }).output;
}

const ints = (graph: Graph, values: readonly number[]): Value =>
  graph.addInitializer('pare_ints', Tensor.of('int64', [values.length], values));
