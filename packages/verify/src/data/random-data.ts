import type { Dataset, Sample } from '@pare/core';
import {
  arrayType,
  castTensor,
  elementCount,
  type HostTensor,
  type Model,
  PareError,
  type Port,
  type Random,
  seededRandom,
} from '@pare/core';

export interface RandomDataOptions {
  /** Default 32. */
  readonly samples?: number;
  /** Default 1. */
  readonly seed?: number;
  /** Sizes of named or unknown dimensions: by dimension name (`sequence`), or `input:axis` (`x:2`). */
  readonly dims?: Readonly<Record<string, number>>;
  /** Integer inputs are below this, by input name (a vocabulary size); see `indexLimits`. Default 2. */
  readonly limits?: Readonly<Record<string, number>>;
}

/**
 * Seeded random inputs of the right types and shapes, for models without data: floats are standard normal, integers uniform
 * below their limit, `uint8` uniform over 0..255, attention masks all ones. A leading unknown dimension is the batch and left
 * out; others are 224 for the two last of an image (rank 4) and 16 elsewhere.
 * @throws PareError `unsupported` for inputs that are not numbers.
 */
export function randomDataset(inputs: readonly Port[], options: RandomDataOptions = {}): Dataset {
  const { samples = 32, seed = 1 } = options;
  const shapes = inputs.map((port) => ({ port, dims: sampleDims(port, options.dims ?? {}) }));
  const at = async (index: number): Promise<Sample> => {
    // A stream of its own for each sample: any of them can be made alone.
    const random = seededRandom(seed * 1_000_003 + index);
    const tensors: Record<string, HostTensor> = {};
    for (const { port, dims } of shapes) tensors[port.name] = randomTensor(port, dims, random, options.limits ?? {});
    return { inputs: tensors, id: `random sample ${index}` };
  };
  return {
    name: 'random inputs',
    random: true,
    size: samples,
    at,
    async *[Symbol.asyncIterator]() {
      for (let i = 0; i < samples; i++) yield await at(i);
    },
  };
}

function sampleDims(port: Port, sizes: Readonly<Record<string, number>>): number[] {
  const rank = port.dims.length;
  const dims = port.dims.map((d, axis) => {
    if (typeof d === 'number') return d;
    const given = sizes[`${port.name}:${axis}`] ?? (d === null ? undefined : sizes[d]);
    if (given !== undefined) return given;
    return axis === 0 ? 1 : rank === 4 && axis >= 2 ? 224 : 16;
  });
  const first = port.dims[0];
  return rank > 0 && (typeof first !== 'number' || first === 1) && dims[0] === 1 ? dims.slice(1) : dims;
}

function randomTensor(
  port: Port,
  dims: readonly number[],
  random: Random,
  limits: Readonly<Record<string, number>>,
): HostTensor {
  const { dtype, name } = port;
  const size = elementCount(dims);
  if (/^(b?float16|float32|float64)$/.test(dtype)) {
    return castTensor({ dtype: 'float64', dims, data: Float64Array.from({ length: size }, random.normal) }, dtype);
  }
  if (!/^u?int(8|16|32|64)$|^bool$/.test(dtype)) {
    throw new PareError('unsupported', `Input "${name}" is ${dtype}; Pare makes random numbers only. Give data.`);
  }
  const limit = limits[name] ?? (dtype === 'uint8' ? 256 : dtype === 'int8' ? 128 : 2);
  const draw = /mask/i.test(name) && limits[name] === undefined ? () => 1 : () => random.integer(limit);
  const data = new (arrayType(dtype))(size);
  const big = data instanceof BigInt64Array || data instanceof BigUint64Array;
  for (let i = 0; i < size; i++) data[i] = (big ? BigInt(draw()) : draw()) as never;
  return { dtype, dims, data };
}

/** Sizes of the tables that integer inputs of `model` index (token ids into an embedding), by input name. */
export function indexLimits(model: Model): Record<string, number> {
  const limits: Record<string, number> = {};
  for (const input of model.graph.inputs) {
    for (const { node, index } of input.uses) {
      const table = node.is('Gather') && index === 1 ? node.inputs[0]?.shape : undefined;
      const rows = table?.[node.int('axis', 0)];
      if (typeof rows === 'number') limits[input.name] = Math.min(limits[input.name] ?? rows, rows);
    }
  }
  return limits;
}
