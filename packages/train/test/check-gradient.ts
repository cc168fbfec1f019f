import {
  type DType,
  type Engine,
  elementCount,
  type Feeds,
  GraphBuilder,
  type HostTensor,
  inferTypes,
  type Model,
  seededRandom,
  staticShape,
  type Value,
} from '@pare/core';
import { Emitter, gradient, gradientName } from '../src/autodiff/index.js';

/** What `checkGradient` may be told. */
export interface CheckOptions {
  /** Names to differentiate by; default every float input. */
  readonly wrt?: readonly string[];
  /** Numbers for named dimensions. */
  readonly dims?: Readonly<Record<string, number>>;
  /** Values for inputs; the others are seeded random numbers. */
  readonly feeds?: Feeds;
  /** The other inputs are uniform in this range, for functions that are not defined everywhere; default standard normal. */
  readonly range?: readonly [number, number];
  /** Largest allowed |difference| / max(1, |largest gradient|). Default 1e-6 in float64, 1e-3 in float32. */
  readonly tolerance?: number;
  /**
   * Step of the central difference. Default 1e-5 in float64. In float32 a large step is exact to rounding where the output is
   * linear in the input (convolutions): default 0.5.
   */
  readonly step?: number;
  /** Elements of each tensor that are compared; default 24. */
  readonly samples?: number;
  readonly seed?: number;
}

/**
 * Compares `gradient` of L = sum over outputs of R * y, with fixed random R, to central differences of L through ONNX Runtime.
 * Returns the worst relative error; throws when it is above the tolerance.
 */
export async function checkGradient(engine: Engine, model: Model, options: CheckOptions = {}): Promise<number> {
  const random = seededRandom(options.seed ?? 7);
  const [low, high] = options.range ?? [];
  const draw = (): number =>
    low === undefined || high === undefined ? random.normal() : low + random.uniform() * (high - low);
  const withLoss = model.clone();
  weighOutputs(withLoss, options, random.normal);
  const inference = inferTypes(withLoss, { dims: options.dims ?? {} });
  const feeds: Record<string, HostTensor> = {};
  for (const input of withLoss.graph.inputs) {
    const type = inference.typeOf(input);
    if (type?.kind !== 'tensor') throw new Error(`no type for ${input.name}`);
    const dims = staticShape(type.shape) ?? [];
    feeds[input.name] = options.feeds?.[input.name] ?? randomTensor(type.dtype ?? 'float64', dims, draw);
  }
  const wrt = options.wrt ?? Object.keys(feeds).filter((name) => feeds[name]?.dtype.startsWith('float'));
  const backward = await engine.open(await gradient(withLoss, { loss: 'L', wrt, dims: options.dims ?? {} }));
  const forward = await engine.open(withLoss);
  let worst = 0;
  try {
    // Initializers in `wrt` are inputs of the backward model: their values are part of what is fed.
    const values: Record<string, HostTensor> = { ...feeds };
    for (const name of wrt) {
      const tensor = withLoss.graph.value(name)?.initializer;
      if (tensor) values[name] = { dtype: tensor.dtype, dims: tensor.dims, data: await tensor.toArray() };
    }
    const results = await backward.run(values);
    const constants = wrt.filter((name) => !(name in feeds));
    if (constants.length > 0) throw new Error(`declare ${constants.join(', ')} as inputs to check them`);
    for (const name of wrt) {
      const tensor = feeds[name] as HostTensor;
      const analytic = results[gradientName(name)] as HostTensor;
      if (`${analytic.dims}` !== `${tensor.dims}`)
        throw new Error(`d/${name} is [${analytic.dims}], not [${tensor.dims}]`);
      const single = tensor.dtype === 'float32';
      const step = options.step ?? (single ? 0.5 : 1e-5);
      const scale = Math.max(1, ...Array.from(analytic.data as Float64Array, (v) => Math.abs(v)));
      for (const i of pick(elementCount(tensor.dims), options.samples ?? 24, random.integer)) {
        const at = async (by: number): Promise<number> => {
          const data = (tensor.data as Float64Array).slice();
          data[i] = (data[i] as number) + by;
          const run = await forward.run({ ...feeds, [name]: { ...tensor, data } }, ['L']);
          return Number((run.L as HostTensor).data[0]);
        };
        const numeric = ((await at(step)) - (await at(-step))) / (2 * step);
        const error = Math.abs(numeric - Number(analytic.data[i])) / scale;
        if (!(error <= (options.tolerance ?? (single ? 1e-3 : 1e-6)))) {
          throw new Error(`d/${name}[${i}] is ${analytic.data[i]}, but the difference quotient is ${numeric}`);
        }
        worst = Math.max(worst, error);
      }
    }
  } finally {
    await forward.close();
    await backward.close();
  }
  return worst;
}

/** `checkGradient` of a model of one expression: `inputs` are float64 (or `dtype`) inputs by name and shape. */
export function checkExpression(
  engine: Engine,
  inputs: Readonly<Record<string, readonly number[]>>,
  express: (b: GraphBuilder, values: Record<string, Value>) => Value | readonly Value[],
  options: CheckOptions & { readonly dtype?: DType; readonly opset?: number } = {},
): Promise<number> {
  const builder = new GraphBuilder();
  return checkGradient(
    engine,
    expression(builder, inputs, (values) => express(builder, values), options),
    options,
  );
}

/** The gradients of the sum of `express(values)` by each of `inputs`: lists of float64 at given values. */
export async function gradientsAt(
  engine: Engine,
  inputs: Readonly<Record<string, readonly number[]>>,
  express: (b: GraphBuilder, values: Record<string, Value>) => Value,
): Promise<Record<string, number[]>> {
  const builder = new GraphBuilder();
  const shapes = Object.fromEntries(Object.entries(inputs).map(([name, data]) => [name, [data.length]]));
  const model = expression(builder, shapes, (values) =>
    builder.op('ReduceSum', [express(builder, values)], { keepdims: 0 }),
  );
  const session = await engine.open(await gradient(model, { loss: 'y0', wrt: Object.keys(inputs) }));
  try {
    const feeds = Object.entries(inputs).map(([name, data]) => {
      return [name, { dtype: 'float64', dims: [data.length], data: Float64Array.from(data) }] as const;
    });
    const results = await session.run(Object.fromEntries(feeds));
    return Object.fromEntries(
      Object.keys(inputs).map((name) => [name, Array.from(results[gradientName(name)]?.data as Float64Array)]),
    );
  } finally {
    await session.close();
  }
}

/** Replaces the outputs of `model` by L = sum over outputs of R * y, with fixed random R. */
export function weighOutputs(
  model: Model,
  options: { readonly dims?: CheckOptions['dims'] },
  normal: () => number,
): void {
  const { graph } = model;
  const emit = new Emitter(graph, inferTypes(model, { dims: options.dims ?? {} }));
  const terms: Value[] = [];
  for (const output of [...graph.outputs]) {
    graph.removeOutput(0);
    if (!emit.dtype(output).startsWith('float')) continue;
    const dims = emit.shape(output);
    const weights = Array.from({ length: elementCount(dims) }, normal);
    const weighed = emit.mul(output, emit.constant(emit.dtype(output), dims, weights));
    terms.push(emit.op('ReduceSum', [weighed], { keepdims: 0 }));
  }
  const loss = graph.addNode('Sum', terms, { outputs: ['L'] });
  emit.inference.extend(loss);
  loss.output.type = emit.inference.typeOf(loss.output);
  graph.addOutput(loss.output);
}

export function randomTensor(dtype: DType, dims: readonly number[], normal: () => number): HostTensor {
  const values = Array.from({ length: elementCount(dims) }, normal);
  if (dtype === 'float64') return { dtype, dims, data: Float64Array.from(values) };
  if (dtype === 'float32') return { dtype, dims, data: Float32Array.from(values) };
  throw new Error(`give a value for the ${dtype} input`);
}

function pick(size: number, count: number, integer: (below: number) => number): number[] {
  if (size <= count) return Array.from({ length: size }, (_, i) => i);
  return [...new Set(Array.from({ length: count }, () => integer(size)))];
}

/** A model of one expression: `inputs` are float64 (or `dtype`) inputs by name and shape; opset 21. */
export function expression(
  builder: GraphBuilder,
  inputs: Readonly<Record<string, readonly number[]>>,
  express: (values: Record<string, Value>) => Value | readonly Value[],
  options: { readonly dtype?: DType; readonly opset?: number } = {},
): Model {
  const values: Record<string, Value> = {};
  for (const [name, dims] of Object.entries(inputs))
    values[name] = builder.input(name, options.dtype ?? 'float64', dims);
  const results = express(values);
  for (const [i, y] of (Array.isArray(results) ? (results as Value[]) : [results as Value]).entries())
    builder.output(`y${i}`, y);
  return builder.model({ opset: options.opset ?? 21 });
}
