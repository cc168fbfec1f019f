import { byteLength, type DType, elementCount, PareError, Tensor, type TypedArray, viewBytes } from '@pare/core';
import { kernels } from '../kernels/index.js';

/** Weights as numbers: the 16-bit floats decoded to float32. Arithmetic on them is float64, rounded once when stored. */
export type Weights = Float32Array | Float64Array;

const FLOATS: ReadonlySet<DType> = new Set<DType>(['float32', 'float64', 'float16', 'bfloat16']);

/** Whether `tensor` holds floats that can be computed with. */
export function isWeight(tensor: Tensor | undefined): tensor is Tensor {
  return tensor !== undefined && FLOATS.has(tensor.dtype);
}

/** Results up to this many elements of sources in memory are computed at once, so that later rules can look at them. */
const EAGER = 4096;

/**
 * A tensor that `fill` computes from `sources`. It is computed when it is read or written, and not kept: memory is bounded
 * by one tensor.
 */
export function derive(
  dtype: DType,
  dims: readonly number[],
  sources: readonly Tensor[],
  fill: (out: Weights, ...sources: Weights[]) => void,
): Tensor {
  const size = elementCount(dims);
  const run = (bytes: readonly Uint8Array[]): Uint8Array => {
    const out = dtype === 'float64' ? new Float64Array(size) : new Float32Array(size);
    fill(out, ...sources.map((source, i) => decode(source.dtype, bytes[i] as Uint8Array)));
    return encode(dtype, out);
  };
  const present = sources.map((source) => source.bytes);
  if (size <= EAGER && present.every((bytes) => bytes !== undefined)) {
    return new Tensor(dtype, dims, { kind: 'bytes', bytes: run(present) });
  }
  return new Tensor(dtype, dims, {
    kind: 'producer',
    byteLength: byteLength(dtype, size),
    produce: async () => run(await Promise.all(sources.map((source) => source.load()))),
  });
}

/** The elements of `tensor`, read or computed. Do not change them. */
export async function readWeights(tensor: Tensor): Promise<Weights> {
  return decode(tensor.dtype, await tensor.load());
}

/** A tensor of `values`, rounded to `dtype`. */
export function storeWeights(dtype: DType, dims: readonly number[], values: Weights): Tensor {
  const rounded = dtype === 'float64' ? Float64Array.from(values) : Float32Array.from(values);
  return new Tensor(dtype, dims, { kind: 'bytes', bytes: encode(dtype, rounded) });
}

function decode(dtype: DType, bytes: Uint8Array): Weights {
  if (dtype === 'float16') return kernels().fromFloat16(bytes);
  if (dtype === 'bfloat16') return kernels().fromBfloat16(bytes);
  if (dtype === 'float32' || dtype === 'float64') return viewBytes(dtype, bytes) as Weights;
  throw new PareError('unsupported', `Weights of type ${dtype} cannot be computed with.`);
}

function encode(dtype: DType, values: Weights): Uint8Array {
  let stored: TypedArray = values;
  if (dtype === 'float16') stored = kernels().toFloat16(values as Float32Array);
  if (dtype === 'bfloat16') stored = kernels().toBfloat16(values as Float32Array);
  return new Uint8Array(stored.buffer, stored.byteOffset, stored.byteLength);
}
