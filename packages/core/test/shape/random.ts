import type { DType } from '../../src/dtype.js';
import type { AttributeLike } from '../../src/ir/attribute.js';

/** Seeded random choices (mulberry32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  unit(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  /** Integer from `low` to `high`, both included. */
  int(low: number, high: number): number {
    return low + Math.floor(this.unit() * (high - low + 1));
  }

  chance(p: number): boolean {
    return this.unit() < p;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.int(0, list.length - 1)] as T;
  }

  shuffle<T>(list: readonly T[]): T[] {
    const out = [...list];
    for (let i = out.length - 1; i > 0; i--) {
      const j = this.int(0, i);
      [out[i], out[j]] = [out[j] as T, out[i] as T];
    }
    return out;
  }

  /** `rank` lengths from `low` to `high`. */
  dims(rank: number, low = 1, high = 6): number[] {
    return Array.from({ length: rank }, () => this.int(low, high));
  }
}

/** One input of a case: a tensor of random elements, or of `values`, which the rule may look at. */
export interface CaseInput {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly values?: readonly number[];
  /** Must be an initializer: the runtime asks for it. */
  readonly constant?: boolean;
}

/** One node to be run and inferred. */
export interface OperatorCase {
  readonly op: string;
  readonly domain?: string;
  readonly opset?: number;
  readonly inputs: readonly (CaseInput | null)[];
  readonly attributes?: Readonly<Record<string, AttributeLike>>;
  readonly outputs?: number;
}

export type Generator = (r: Random) => OperatorCase;

export const f32 = (dims: readonly number[]): CaseInput => ({ dtype: 'float32', dims });
export const of = (dtype: DType, dims: readonly number[]): CaseInput => ({ dtype, dims });
/** A vector of int64 that the rule may look at. */
export const i64 = (...values: number[]): CaseInput => ({ dtype: 'int64', dims: [values.length], values });
export const scalar = (dtype: DType, value: number): CaseInput => ({ dtype, dims: [], values: [value] });

/** `v` as an int64, the greatest and least of which numbers cannot say. */
export function toInt64(v: number): bigint {
  if (v >= 2 ** 63) return 2n ** 63n - 1n;
  return v <= -(2 ** 63) ? -(2n ** 63n) : BigInt(v);
}
