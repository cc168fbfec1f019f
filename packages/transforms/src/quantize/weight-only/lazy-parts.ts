import { byteLength, type DType, elementCount, PareError, Tensor } from '@pare/core';
import { type FloatInput, kernels } from '../../kernels/index.js';

/** Type of a tensor to be computed. */
export interface PartType {
  readonly dtype: DType;
  readonly dims: readonly number[];
}

/** What one computation over a weight gives, as bytes of initializers. */
export interface Parts<T> {
  readonly values: T;
  readonly scales: T;
  /** Null or left out when symmetric. */
  readonly zeroPoints: T | null;
}

/**
 * A quantized weight as tensors that come out of one computation. Nothing is computed before a part is asked for. Then all of
 * them are, and each waits until it is fetched: writing a model computes every weight once, and holds of it only the small
 * parts that follow.
 */
export function lazyParts(types: Parts<PartType>, compute: () => Promise<Parts<Uint8Array>>): Parts<Tensor> {
  const waiting = new Map<keyof Parts<unknown>, Uint8Array>();
  let running: Promise<void> | undefined;
  const fill = async (): Promise<void> => {
    try {
      const { values, scales, zeroPoints } = await compute();
      waiting.set('values', values).set('scales', scales);
      if (types.zeroPoints && zeroPoints) waiting.set('zeroPoints', zeroPoints);
    } finally {
      running = undefined;
    }
  };
  const part = (name: keyof Parts<unknown>, { dtype, dims }: PartType): Tensor => {
    const produce = async (): Promise<Uint8Array> => {
      while (!waiting.has(name)) {
        running ??= fill();
        await running;
      }
      const bytes = waiting.get(name) as Uint8Array;
      waiting.delete(name);
      return bytes;
    };
    return new Tensor(dtype, dims, { kind: 'producer', byteLength: byteLength(dtype, elementCount(dims)), produce });
  };
  return {
    values: part('values', types.values),
    scales: part('scales', types.scales),
    zeroPoints: types.zeroPoints && part('zeroPoints', types.zeroPoints),
  };
}

/** The float types that weights may have. */
export type WeightType = 'float32' | 'float16';

/** The values of a weight as float32; where they lie in a file that can be read at once, they stay there until then. */
export async function openWeight(tensor: Tensor): Promise<FloatInput> {
  const { data } = tensor;
  if (tensor.dtype === 'float32' && data.kind === 'reference' && data.source.readSync) {
    const { source, offset } = data;
    return { length: tensor.size, read: (index, target) => source.readSync?.(offset + index * 4, target) };
  }
  const bytes = await tensor.load();
  return tensor.dtype === 'float16' ? kernels().fromFloat16(bytes) : bytes;
}

/** Throws the error of a weight that holds NaN or infinite values: no scale would fit them. */
export async function refuseNonFinite(tensor: Tensor, name: string): Promise<never> {
  const { nan, inf } = kernels().rangeRows(await openWeight(tensor), 1, tensor.size);
  throw new PareError(
    'bad-model',
    `Weight "${name}" holds ${nan} NaN and ${inf} infinite values and cannot be quantized; exclude the nodes that read it.`,
  );
}

/** Scales in the type of the weight, as bytes. */
export function scaleBytes(scales: Float32Array, dtype: WeightType): Uint8Array {
  const array = dtype === 'float16' ? kernels().toFloat16(scales) : scales;
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
