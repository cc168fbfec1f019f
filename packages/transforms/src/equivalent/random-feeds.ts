import {
  arrayType,
  type Dim,
  type DType,
  dimNames,
  type Feeds,
  type HostTensor,
  isFloat,
  type Model,
  PareError,
  type Shape,
  substituteDim,
  type TypedArray,
} from '@pare/core';
import { kernels } from '../kernels/index.js';

/** One way to fill the inputs of a model. */
export interface FeedPlan {
  /** Length of the first dimension of each input, when it is free. */
  readonly batch: number;
  /** Lengths of the other free dimensions: multiples of this, different from each other. */
  readonly length: number;
  /** Whether they may differ from each other. */
  readonly distinct: boolean;
  /** Integers are drawn from 0 to this, both included. */
  readonly maxInteger: number;
}

/** An input that a caller must feed. */
export interface FreeInput {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
}

/**
 * The inputs of `before` that have no default; where `after`, a changed copy, has fixed a dimension, that length.
 * @throws PareError `unsupported` when one is no tensor of known rank.
 */
export function inputsToFeed(before: Model, after: Model): FreeInput[] {
  const { inputs, initializers } = before.graph;
  return inputs
    .filter((input) => !initializers.has(input))
    .map(({ name, dtype, shape }) => {
      const fixed = after.graph.inputs.find((value) => value.name === name)?.shape;
      const known = shape ?? fixed;
      if (!dtype || !known) {
        throw new PareError('unsupported', `Input "${name}" is no tensor of known rank: no random data fits it.`);
      }
      return { name, dtype, shape: known.map((dim, i) => (typeof fixed?.[i] === 'number' ? fixed[i] : dim)) };
    });
}

/** Lengths that `after` has fixed of dimensions that are named in `before`. */
export function fixedDims(before: Model, after: Model): Record<string, number> {
  const fixed: Record<string, number> = {};
  for (const { name, shape } of before.graph.inputs) {
    const twin = after.graph.inputs.find((value) => value.name === name)?.shape;
    shape?.forEach((dim, i) => {
      const length = twin?.[i];
      if (typeof dim === 'string' && typeof length === 'number') fixed[dim] = length;
    });
  }
  return fixed;
}

/** Uniform numbers in [0, 1), the same for the same seed (mulberry32). */
export function seededUniform(seed: number): () => number {
  let state = Math.imul(seed + 1, 0x9e3779b9) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** Shapes for `inputs`: a name means the same length everywhere, unknown dimensions are free. */
export function chooseShapes(
  inputs: readonly FreeInput[],
  plan: FeedPlan,
  fixed: Readonly<Record<string, number>>,
): number[][] {
  const lengths = new Map<string, Dim>(Object.entries(fixed));
  let next = 1;
  const draw = (axis: number): number => (axis === 0 ? plan.batch : plan.length * (plan.distinct ? next++ : 1));
  return inputs.map(({ shape }) =>
    shape.map((dim, axis) => {
      if (dim === null) return draw(isState(shape) ? 0 : axis);
      for (const name of dimNames(dim)) if (!lengths.has(name)) lengths.set(name, draw(axis));
      const length = substituteDim(dim, lengths);
      return typeof length === 'number' ? Math.max(0, length) : draw(axis);
    }),
  );
}

/** [layers, batch, hidden] with the batch free: the state of a recurrent network. */
const isState = (shape: Shape): boolean =>
  shape.length === 3 && shape[1] === null && typeof shape[0] === 'number' && typeof shape[2] === 'number';

/** Seeded random data of `shapes` for `inputs`: normal floats, integers from 0 to `maxInteger`, random bits. */
export function randomFeeds(
  inputs: readonly FreeInput[],
  shapes: readonly (readonly number[])[],
  maxInteger: number,
  seed: number,
): Feeds {
  const uniform = seededUniform(seed);
  return Object.fromEntries(
    inputs.map(({ name, dtype }, i) => [name, randomTensor(dtype, shapes[i] ?? [], maxInteger, uniform)]),
  );
}

function randomTensor(dtype: DType, dims: readonly number[], maxInteger: number, uniform: () => number): HostTensor {
  const size = dims.reduce((a, b) => a * b, 1);
  if (dtype === 'string')
    return { dtype, dims, data: Array.from({ length: size }, () => `${Math.floor(uniform() * 10)}`) };
  if (isFloat(dtype)) {
    const normal = Float32Array.from({ length: size }, () => gaussian(uniform));
    return { dtype, dims, data: fromFloat32(dtype, normal) };
  }
  const data = new (arrayType(dtype))(size);
  const top = dtype === 'bool' ? 1 : maxInteger;
  const big = data instanceof BigInt64Array || data instanceof BigUint64Array;
  for (let i = 0; i < size; i++) {
    const v = Math.floor(uniform() * (top + 1));
    data[i] = (big ? BigInt(v) : v) as never;
  }
  return { dtype, dims, data };
}

const gaussian = (uniform: () => number): number =>
  Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());

function fromFloat32(dtype: DType, values: Float32Array): TypedArray {
  if (dtype === 'float16') return kernels().toFloat16(values);
  if (dtype === 'bfloat16') return kernels().toBfloat16(values);
  if (dtype === 'float64') return Float64Array.from(values);
  if (dtype === 'float32') return values;
  throw new PareError('unsupported', `No random data is made for inputs of type ${dtype}.`);
}

/** `feeds` with every float32 and float64 moved by one part in 2^23: what rounding does to a number. */
export function jitter(feeds: Feeds, seed: number): Feeds {
  const uniform = seededUniform(seed);
  return Object.fromEntries(
    Object.entries(feeds).map(([name, tensor]) => {
      const { data } = tensor;
      if (!(data instanceof Float32Array || data instanceof Float64Array)) return [name, tensor];
      return [name, { ...tensor, data: data.map((v) => v * (1 + (uniform() < 0.5 ? -1 : 1) * 2 ** -23)) }];
    }),
  );
}
