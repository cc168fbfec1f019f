/**
 * The inner loops of optimization, over float32 arrays in one memory. Pointers are byte offsets that are multiples of 64;
 * `n` counts elements and is a multiple of 16. packages/train/kernels has them in WebAssembly SIMD, reference.ts in plain
 * TypeScript, equal bit for bit.
 */
export interface Kernels {
  /** p -= lr * g', with g' = scale * g + l2 * p. */
  sgd(p: number, g: number, n: number, lr: number, scale: number, l2: number): void;
  /** v = mu * v + g', then p -= lr * (ahead * g' + along * v). */
  momentum(
    p: number,
    g: number,
    v: number,
    n: number,
    lr: number,
    scale: number,
    l2: number,
    mu: number,
    ahead: number,
    along: number,
  ): void;
  /** m += rest1 * (g' - m), v = beta2 * v + rest2 * g' * g', then p = keep * p - rate * m / (root * sqrt(v) + eps). */
  adam(
    p: number,
    g: number,
    m: number,
    v: number,
    n: number,
    rate: number,
    scale: number,
    l2: number,
    keep: number,
    rest1: number,
    beta2: number,
    rest2: number,
    root: number,
    eps: number,
  ): void;
  /** y += scale * x. */
  accumulate(y: number, x: number, n: number, scale: number): void;
  /** y += weight * (x - y). */
  blend(y: number, x: number, n: number, weight: number): void;
  /** x becomes 0 where the byte of `keep` is 0. */
  mask(x: number, keep: number, n: number): void;
  /** Sum of x * x in float64. */
  sumOfSquares(x: number, n: number): number;
  /** Index of the first NaN or infinity, or -1. */
  firstNonFinite(x: number, n: number): number;
}

/** A memory and the kernels that work in it. */
export interface KernelMemory {
  readonly buffer: ArrayBuffer;
  readonly kernels: Kernels;
}
