import { type DType, Tensor } from '@pare/core';
import { kernels } from '../kernels/index.js';

/** The 16-bit floats. */
export type HalfType = 'float16' | 'bfloat16';

/** Largest finite float16, smallest normal one, and the magnitude below which a float32 becomes zero. */
export const FLOAT16_MAX = 65504;
const FLOAT16_TINY = 2 ** -14;
const FLOAT16_ZERO = 2 ** -25;

/** What becoming float16 would do to a constant. */
export interface ConstantFacts {
  /** Finite elements beyond +-65504, and the smallest and largest of them. */
  readonly beyond: number;
  readonly lowest: number;
  readonly highest: number;
  /** Every element beyond is a stand-in for infinity: below -65504 (masks), or 1e9 and more (bounds). */
  readonly standIns: boolean;
  /** Elements that are not zero and become zero. */
  readonly flushed: number;
  /** Elements that lose precision because they become subnormal. */
  readonly subnormal: number;
}

/** Looks at every element of a float32 tensor once. */
export async function constantFacts(tensor: Tensor): Promise<ConstantFacts> {
  const values = (await tensor.toArray()) as Float32Array;
  let beyond = 0;
  let lowest = Number.POSITIVE_INFINITY;
  let highest = Number.NEGATIVE_INFINITY;
  let standIns = true;
  let flushed = 0;
  let subnormal = 0;
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    const magnitude = Math.abs(v);
    if (magnitude > FLOAT16_MAX) {
      if (magnitude === Number.POSITIVE_INFINITY) continue;
      beyond++;
      if (v < lowest) lowest = v;
      if (v > highest) highest = v;
      if (v > 0 && v < 1e9) standIns = false;
    } else if (magnitude < FLOAT16_TINY && magnitude > 0) {
      if (magnitude <= FLOAT16_ZERO) flushed++;
      else subnormal++;
    }
  }
  return { beyond, lowest, highest, standIns, flushed, subnormal };
}

/** Facts by tensor, each looked up once. */
export class FactsCache {
  readonly #known = new Map<Tensor, Promise<ConstantFacts>>();

  of(tensor: Tensor): Promise<ConstantFacts> {
    const facts = this.#known.get(tensor) ?? constantFacts(tensor);
    this.#known.set(tensor, facts);
    return facts;
  }
}

/** `tensor` as 16-bit floats, computed when it is written. Finite values beyond float16 become +-65504. */
export function halfTensor(tensor: Tensor, to: HalfType): Tensor {
  const produce = async (): Promise<Uint8Array> => {
    const kernel = await kernels();
    const bytes = await tensor.load();
    const bits = to === 'float16' ? kernel.toFloat16(bytes, true) : kernel.toBfloat16(bytes);
    return new Uint8Array(bits.buffer, bits.byteOffset, bits.byteLength);
  };
  return new Tensor(to satisfies DType, tensor.dims, { kind: 'producer', byteLength: tensor.size * 2, produce });
}
