// Minimum and maximum of the finite values. `min` and `max` hold f32 state that the caller starts at +-Infinity, so that
// long inputs can come in pieces. `counts` is [NaN, Inf] as i32, added to.

/** Adds one value to the state, or to the counts where it is not finite. */
function rangeOne(v: f32, min: usize, max: usize, counts: usize): void {
  if (abs(v) < f32(Infinity)) {
    if (v < load<f32>(min)) store<f32>(min, v);
    if (v > load<f32>(max)) store<f32>(max, v);
  } else {
    const slot = counts + (isNaN(v) ? 0 : 4);
    store<i32>(slot, load<i32>(slot) + 1);
  }
}

@inline
function finite(v: v128): v128 {
  return f32x4.lt(f32x4.abs(v), f32x4.splat(Infinity));
}

function rangeRow(x: usize, n: i32, min: usize, max: usize, counts: usize): void {
  const end = x + (<usize>n << 2);
  const from = x;
  let min0 = f32x4.splat(load<f32>(min));
  let max0 = f32x4.splat(load<f32>(max));
  let min1 = min0;
  let max1 = max0;
  let min2 = min0;
  let max2 = max0;
  let min3 = min0;
  let max3 = max0;
  let ok = i32x4.splat(-1);
  for (; x + 64 <= end; x += 64) {
    const a = v128.load(x);
    const b = v128.load(x, 16);
    const c = v128.load(x, 32);
    const d = v128.load(x, 48);
    ok = v128.and(ok, v128.and(v128.and(finite(a), finite(b)), v128.and(finite(c), finite(d))));
    min0 = f32x4.pmin(min0, a);
    max0 = f32x4.pmax(max0, a);
    min1 = f32x4.pmin(min1, b);
    max1 = f32x4.pmax(max1, b);
    min2 = f32x4.pmin(min2, c);
    max2 = f32x4.pmax(max2, c);
    min3 = f32x4.pmin(min3, d);
    max3 = f32x4.pmax(max3, d);
  }
  for (; x + 16 <= end; x += 16) {
    const a = v128.load(x);
    ok = v128.and(ok, finite(a));
    min0 = f32x4.pmin(min0, a);
    max0 = f32x4.pmax(max0, a);
  }
  if (!i32x4.all_true(ok)) {
    // Rare: some value is NaN or infinite. Take the row again, one by one.
    for (x = from; x < end; x += 4) rangeOne(load<f32>(x), min, max, counts);
    return;
  }
  const lo = f32x4.pmin(f32x4.pmin(min0, min1), f32x4.pmin(min2, min3));
  const hi = f32x4.pmax(f32x4.pmax(max0, max1), f32x4.pmax(max2, max3));
  store<f32>(min, Mathf.min(Mathf.min(f32x4.extract_lane(lo, 0), f32x4.extract_lane(lo, 1)), Mathf.min(f32x4.extract_lane(lo, 2), f32x4.extract_lane(lo, 3))));
  store<f32>(max, Mathf.max(Mathf.max(f32x4.extract_lane(hi, 0), f32x4.extract_lane(hi, 1)), Mathf.max(f32x4.extract_lane(hi, 2), f32x4.extract_lane(hi, 3))));
  for (; x < end; x += 4) rangeOne(load<f32>(x), min, max, counts);
}

/** Range of each row of x f32[rows, cols], into min f32[rows] and max f32[rows]. */
export function rangeRows(x: usize, rows: i32, cols: i32, min: usize, max: usize, counts: usize): void {
  for (let r = 0; r < rows; r++) {
    rangeRow(x, cols, min, max, counts);
    x += <usize>cols << 2;
    min += 4;
    max += 4;
  }
}

/** Range of each column of x f32[rows, cols], into min f32[cols] and max f32[cols]. */
export function rangeColumns(x: usize, rows: i32, cols: i32, min: usize, max: usize, counts: usize): void {
  const stride = <usize>cols << 2;
  let c = 0;
  // Eight columns at a time stay in registers all the way down.
  for (; c + 8 <= cols; c += 8) {
    const at = <usize>c << 2;
    let min0 = v128.load(min + at);
    let max0 = v128.load(max + at);
    let min1 = v128.load(min + at, 16);
    let max1 = v128.load(max + at, 16);
    let ok = i32x4.splat(-1);
    let p = x + at;
    for (let r = 0; r < rows; r++) {
      const a = v128.load(p);
      const b = v128.load(p, 16);
      ok = v128.and(ok, v128.and(finite(a), finite(b)));
      min0 = f32x4.pmin(min0, a);
      max0 = f32x4.pmax(max0, a);
      min1 = f32x4.pmin(min1, b);
      max1 = f32x4.pmax(max1, b);
      p += stride;
    }
    if (i32x4.all_true(ok)) {
      v128.store(min + at, min0);
      v128.store(max + at, max0);
      v128.store(min + at, min1, 16);
      v128.store(max + at, max1, 16);
    } else {
      for (let i: usize = 0; i < 32; i += 4) rangeColumn(x + at + i, rows, stride, min + at + i, max + at + i, counts);
    }
  }
  for (; c < cols; c++) {
    const at = <usize>c << 2;
    rangeColumn(x + at, rows, stride, min + at, max + at, counts);
  }
}

function rangeColumn(x: usize, rows: i32, stride: usize, min: usize, max: usize, counts: usize): void {
  for (let r = 0; r < rows; r++) {
    rangeOne(load<f32>(x), min, max, counts);
    x += stride;
  }
}
