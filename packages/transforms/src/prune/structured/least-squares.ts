/**
 * Lower triangle of L [n, n] with L L' = A, for symmetric positive definite A (Cholesky). Pivots that rounding brings below `least`
 * count as `least`.
 */
function cholesky(n: number, element: (i: number, j: number) => number, least: number): Float64Array {
  const factor = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const row = i * n;
    for (let j = 0; j <= i; j++) {
      const other = j * n;
      let sum = element(i, j);
      for (let k = 0; k < j; k++) sum -= (factor[row + k] as number) * (factor[other + k] as number);
      factor[row + j] = i === j ? Math.sqrt(Math.max(sum, least)) : sum / (factor[other + j] as number);
    }
  }
  return factor;
}

/**
 * For each row of whatever the Gram matrix G [n, n] is of: what is left of its square when all other rows have explained what they can,
 * `1 / [(G + ridge I)^-1]_ii - ridge`, with a ridge of `damping` times the mean diagonal.
 */
export function unexplained(gram: Float64Array, n: number, damping: number): Float64Array {
  let trace = 0;
  for (let i = 0; i < n; i++) trace += gram[i * n + i] as number;
  const ridge = (damping * trace) / n;
  const left = new Float64Array(n);
  if (!(ridge > 0)) return left;
  const factor = cholesky(n, (i, j) => (gram[i * n + j] as number) + (i === j ? ridge : 0), ridge * 1e-6);
  // Column c of the inverse of L: the diagonal of (L L')^-1 is its sum of squares.
  const column = new Float64Array(n);
  for (let c = 0; c < n; c++) {
    let squares = 0;
    for (let i = c; i < n; i++) {
      let sum = i === c ? 1 : 0;
      for (let k = c; k < i; k++) sum -= (factor[i * n + k] as number) * (column[k] as number);
      column[i] = sum / (factor[i * n + i] as number);
      squares += (column[i] as number) ** 2;
    }
    left[c] = Math.max(0, 1 / squares - ridge);
  }
  return left;
}

/**
 * Solves `(G[K,K] + damping * mean diagonal * I) A = P` for A [K, wanted], row-major: the ridge regression of `wanted` on rows K of whatever
 * the Gram matrix G [n, n] is of. P holds the products of rows K with what is wanted, by default rows of G themselves. Rows of
 * zeros (dead channels) get weight 0.
 */
export function regress(
  gram: Float64Array,
  n: number,
  known: readonly number[],
  wanted: readonly number[],
  damping: number,
  product: (known: number, wanted: number) => number = (i, j) => gram[i * n + j] as number,
): Float64Array {
  const size = known.length;
  const at = (i: number, j: number): number => gram[i * n + j] as number;
  const ridge = (damping * known.reduce((sum, i) => sum + at(i, i), 0)) / Math.max(1, size);
  const out = new Float64Array(size * wanted.length);
  if (!(ridge > 0)) return out;
  const factor = cholesky(
    size,
    (i, j) => at(known[i] as number, known[j] as number) + (i === j ? ridge : 0),
    ridge * 1e-6,
  );
  const x = new Float64Array(size);
  for (const [r, target] of wanted.entries()) {
    for (let i = 0; i < size; i++) {
      let sum = product(known[i] as number, target);
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
