/**
 * Whole numbers near `shares` with the sum `total`: each is rounded down, and what is left goes to the largest remainders, the
 * first of equals (the method of Hamilton). `total` is the rounded sum of the shares.
 */
export function apportion(shares: readonly number[], total: number): number[] {
  const whole = shares.map((share) => Math.floor(share));
  const byRemainder = shares
    .map((share, i) => ({ i, remainder: share - Math.floor(share) }))
    .sort((a, b) => b.remainder - a.remainder || a.i - b.i);
  let left = total - whole.reduce((sum, n) => sum + n, 0);
  for (const { i } of byRemainder) {
    if (left-- <= 0) break;
    whole[i] = (whole[i] as number) + 1;
  }
  return whole;
}

/**
 * Erdős–Rényi-kernel densities: the share of weights that a layer keeps is proportional to the sum of its dimensions over their
 * product, so that small and thin layers stay denser; none exceeds 1. Layers that would, are kept whole, and the others give more
 * (Evci et al., "Rigging the lottery", 2020).
 */
export function erkDensities(dims: readonly (readonly number[])[], density: number): number[] {
  const sizes = dims.map((d) => d.reduce((product, n) => product * n, 1));
  const raw = dims.map((d, i) => d.reduce((sum, n) => sum + n, 0) / (sizes[i] as number));
  const isWhole = dims.map(() => false);
  const kept = density * sizes.reduce((sum, n) => sum + n, 0);
  for (;;) {
    let wanted = kept;
    let spread = 0;
    for (const [i, size] of sizes.entries()) {
      if (isWhole[i]) wanted -= size;
      else spread += (raw[i] as number) * size;
    }
    const scale = spread > 0 ? wanted / spread : 0;
    const over = raw.flatMap((r, i) => (!isWhole[i] && r * scale > 1 ? [i] : []));
    if (over.length === 0) return raw.map((r, i) => (isWhole[i] ? 1 : r * scale));
    for (const i of over) isWhole[i] = true;
  }
}
