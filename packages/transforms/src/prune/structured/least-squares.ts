/**
 * Solves `(G[K,K] + damping * mean diagonal * I) A = G[K,R]` for A [K, R], row-major, by Cholesky factorization: the ridge regression of
 * rows R on rows K of whatever the Gram matrix G [n, n] is of. Rows of zeros (dead channels) get weight 0.
 */
export function regress(
  gram: Float64Array,
  n: number,
  known: readonly number[],
  wanted: readonly number[],
  damping: number,
): Float64Array {
  const size = known.length;
  const at = (i: number, j: number): number => gram[i * n + j] as number;
  const ridge = (damping * known.reduce((sum, i) => sum + at(i, i), 0)) / Math.max(1, size);
  const out = new Float64Array(size * wanted.length);
  if (!(ridge > 0)) return out;
  // Lower triangle of L with L L' = G[K,K] + ridge I.
  const factor = new Float64Array(size * size);
  for (let i = 0; i < size; i++) {
    const row = i * size;
    for (let j = 0; j <= i; j++) {
      const other = j * size;
      let sum = at(known[i] as number, known[j] as number) + (i === j ? ridge : 0);
      for (let k = 0; k < j; k++) sum -= (factor[row + k] as number) * (factor[other + k] as number);
      factor[row + j] = i === j ? Math.sqrt(Math.max(sum, ridge * 1e-6)) : sum / (factor[other + j] as number);
    }
  }
  const x = new Float64Array(size);
  for (const [r, target] of wanted.entries()) {
    for (let i = 0; i < size; i++) {
      let sum = at(known[i] as number, target);
      for (let k = 0; k < i; k++) sum -= (factor[i * size + k] as number) * (x[k] as number);
      x[i] = sum / (factor[i * size + i] as number);
    }
    for (let i = size - 1; i >= 0; i--) {
      let sum = x[i] as number;
      for (let k = i + 1; k < size; k++) sum -= (factor[k * size + i] as number) * (x[k] as number);
      x[i] = sum / (factor[i * size + i] as number);
      out[i * wanted.length + r] = x[i] as number;
    }
  }
  return out;
}
