/**
 * Sum of x * x in float64, which no finite float32 overflows. Element i goes to sum i mod 8; the eight are added pairwise.
 */
export function sumOfSquares(x: usize, n: i32): f64 {
  let a = f64x2.splat(0);
  let b = a;
  let c = a;
  let d = a;
  for (const end = x + (<usize>n << 2); x < end; x += 32) {
    const x0 = f64x2.promote_low_f32x4(v128.load64_zero(x));
    const x1 = f64x2.promote_low_f32x4(v128.load64_zero(x, 8));
    const x2 = f64x2.promote_low_f32x4(v128.load64_zero(x, 16));
    const x3 = f64x2.promote_low_f32x4(v128.load64_zero(x, 24));
    a = f64x2.add(a, f64x2.mul(x0, x0));
    b = f64x2.add(b, f64x2.mul(x1, x1));
    c = f64x2.add(c, f64x2.mul(x2, x2));
    d = f64x2.add(d, f64x2.mul(x3, x3));
  }
  const sum = f64x2.add(f64x2.add(a, b), f64x2.add(c, d));
  return f64x2.extract_lane(sum, 0) + f64x2.extract_lane(sum, 1);
}

/** Index of the first NaN or infinity among n values, or -1. */
export function firstNonFinite(x: usize, n: i32): i32 {
  const infinity = f32x4.splat(Infinity);
  for (let i = 0; i < n; i += 4, x += 16) {
    const finite = f32x4.lt(f32x4.abs(v128.load(x)), infinity);
    if (!i32x4.all_true(finite)) return i + ctz(~i32x4.bitmask(finite));
  }
  return -1;
}
