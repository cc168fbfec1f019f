// Sums that judge a quantization.

@inline
function add4(at: usize, v: v128): void {
  v128.store(at, f64x2.add(v128.load(at), f64x2.promote_low_f32x4(v)));
  v128.store(at, f64x2.add(v128.load(at, 16), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3))), 16);
}

/**
 * Adds to out f64[3][4] (state of the caller, one sum a SIMD lane) the products x*x, x*y and (x-y)*(x-y), each computed in
 * float64. Element i goes to lane i mod 4, so pieces must be multiples of 4 except the last.
 */
export function products(x: usize, y: usize, n: i32, out: usize): void {
  let xx0 = v128.load(out);
  let xx1 = v128.load(out, 16);
  let xy0 = v128.load(out, 32);
  let xy1 = v128.load(out, 48);
  let dd0 = v128.load(out, 64);
  let dd1 = v128.load(out, 80);
  let i = 0;
  for (; i + 4 <= n; i += 4) {
    const a0 = f64x2.promote_low_f32x4(v128.load64_zero(x));
    const a1 = f64x2.promote_low_f32x4(v128.load64_zero(x, 8));
    const b0 = f64x2.promote_low_f32x4(v128.load64_zero(y));
    const b1 = f64x2.promote_low_f32x4(v128.load64_zero(y, 8));
    const d0 = f64x2.sub(a0, b0);
    const d1 = f64x2.sub(a1, b1);
    xx0 = f64x2.add(xx0, f64x2.mul(a0, a0));
    xx1 = f64x2.add(xx1, f64x2.mul(a1, a1));
    xy0 = f64x2.add(xy0, f64x2.mul(a0, b0));
    xy1 = f64x2.add(xy1, f64x2.mul(a1, b1));
    dd0 = f64x2.add(dd0, f64x2.mul(d0, d0));
    dd1 = f64x2.add(dd1, f64x2.mul(d1, d1));
    x += 16;
    y += 16;
  }
  v128.store(out, xx0);
  v128.store(out, xx1, 16);
  v128.store(out, xy0, 32);
  v128.store(out, xy1, 48);
  v128.store(out, dd0, 64);
  v128.store(out, dd1, 80);
  for (; i < n; i++) {
    const a = <f64>load<f32>(x);
    const b = <f64>load<f32>(y);
    const d = a - b;
    store<f64>(out, load<f64>(out) + a * a);
    store<f64>(out, load<f64>(out, 32) + a * b, 32);
    store<f64>(out, load<f64>(out, 64) + d * d, 64);
    x += 4;
    y += 4;
    out += 8;
  }
}

// The error of quantizing x with a trial scale, in units of that scale: v = x * inv, a = clamp(nearest(v), lo, hi),
// d = v - a; sums of d*d, a*d and a*a. From them follow the least-squares scale s' = s * (1 + ad / aa) for the same
// integers, and its squared error s^2 * (dd - ad^2 / aa), without a second pass. Terms are float32, sums float64.

/** Rows of x f32[rows, cols] with inv, lo, hi f32[rows]; adds to out f64[rows][3][4], the lane of column c is c mod 4. */
export function errorRows(x: usize, rows: i32, cols: i32, inv: usize, lo: usize, hi: usize, out: usize): void {
  for (let r = 0; r < rows; r++) {
    const inv1 = load<f32>(inv);
    const lo1 = load<f32>(lo);
    const hi1 = load<f32>(hi);
    const inv4 = f32x4.splat(inv1);
    const lo4 = f32x4.splat(lo1);
    const hi4 = f32x4.splat(hi1);
    let c = 0;
    // Short float32 runs of 64 terms a lane, then float64: nearly the speed of the first, the accuracy of the second.
    while (c + 4 <= cols) {
      const stop = min(cols - 3, c + 256);
      let dd = f32x4.splat(0);
      let ad = dd;
      let aa = dd;
      for (; c < stop; c += 4) {
        const v = f32x4.mul(v128.load(x), inv4);
        const a = f32x4.pmin(hi4, f32x4.pmax(lo4, f32x4.nearest(v)));
        const d = f32x4.sub(v, a);
        dd = f32x4.add(dd, f32x4.mul(d, d));
        ad = f32x4.add(ad, f32x4.mul(a, d));
        aa = f32x4.add(aa, f32x4.mul(a, a));
        x += 16;
      }
      add4(out, dd);
      add4(out + 32, ad);
      add4(out + 64, aa);
    }
    for (let lane: usize = 0; c < cols; c++) {
      error1(load<f32>(x), inv1, lo1, hi1, out + lane, 32);
      x += 4;
      lane += 8;
    }
    inv += 4;
    lo += 4;
    hi += 4;
    out += 96;
  }
}

/** Columns of x f32[rows, cols] with inv, lo, hi f32[cols]; adds to out f64[3][cols]. */
export function errorColumns(x: usize, rows: i32, cols: i32, inv: usize, lo: usize, hi: usize, out: usize): void {
  const stride = <usize>cols << 2;
  const third = <usize>cols << 3;
  let c = 0;
  for (; c + 4 <= cols; c += 4) {
    const inv4 = v128.load(inv);
    const lo4 = v128.load(lo);
    const hi4 = v128.load(hi);
    let p = x;
    let r = 0;
    while (r < rows) {
      const stop = min(rows, r + 64);
      let dd = f32x4.splat(0);
      let ad = dd;
      let aa = dd;
      for (; r < stop; r++) {
        const v = f32x4.mul(v128.load(p), inv4);
        const a = f32x4.pmin(hi4, f32x4.pmax(lo4, f32x4.nearest(v)));
        const d = f32x4.sub(v, a);
        dd = f32x4.add(dd, f32x4.mul(d, d));
        ad = f32x4.add(ad, f32x4.mul(a, d));
        aa = f32x4.add(aa, f32x4.mul(a, a));
        p += stride;
      }
      add4(out, dd);
      add4(out + third, ad);
      add4(out + 2 * third, aa);
    }
    x += 16;
    inv += 16;
    lo += 16;
    hi += 16;
    out += 32;
  }
  for (; c < cols; c++) {
    let p = x;
    for (let r = 0; r < rows; r++) {
      error1(load<f32>(p), load<f32>(inv), load<f32>(lo), load<f32>(hi), out, third);
      p += stride;
    }
    x += 4;
    inv += 4;
    lo += 4;
    hi += 4;
    out += 8;
  }
}

@inline
function error1(x: f32, inv: f32, lo: f32, hi: f32, out: usize, next: usize): void {
  const v = x * inv;
  let a = nearest(v);
  a = lo < a ? a : lo;
  a = a < hi ? a : hi;
  const d = v - a;
  store<f64>(out, load<f64>(out) + <f64>(d * d));
  store<f64>(out + next, load<f64>(out + next) + <f64>(a * d));
  store<f64>(out + 2 * next, load<f64>(out + 2 * next) + <f64>(a * a));
}
