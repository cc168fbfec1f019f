// Bins by magnitude and sign: |x| in [i * w, (i + 1) * w) falls into bin `half + i` when x >= 0 and `half - 1 - i` when
// x < 0, with w = 1 / scale a power of two. Zeros are not counted: they are exact in any quantization. So zero is an edge, no product is rounded, and a coarser histogram is the
// exact sum of pairs of bins of a finer one.
//
// `counts` holds four u32 a bin, one for each SIMD lane: neighbours that fall into one bin do not wait for each other.
// There are 2 * half + 1 bins; the last one takes what is not counted (zeros, NaN and infinities) and is never read.

export function histogram(x: usize, n: i32, scale: f32, half: i32, counts: usize): void {
  const end = x + (<usize>n << 2);
  const scale4 = f32x4.splat(scale);
  const last = f32x4.splat(<f32>(half - 1));
  const half4 = i32x4.splat(half);
  const trash = i32x4.splat(half << 1);
  for (; x + 16 <= end; x += 16) {
    const v = v128.load(x);
    const a = f32x4.abs(v);
    let i = i32x4.trunc_sat_f32x4_s(f32x4.pmin(last, f32x4.mul(a, scale4)));
    i = i32x4.add(v128.xor(i, f32x4.lt(v, f32x4.splat(0))), half4);
    const counted = v128.and(f32x4.lt(a, f32x4.splat(Infinity)), f32x4.gt(a, f32x4.splat(0)));
    i = i32x4.shl(v128.bitselect(i, trash, counted), 4);
    count(counts + i32x4.extract_lane(i, 0));
    count(counts + i32x4.extract_lane(i, 1) + 4);
    count(counts + i32x4.extract_lane(i, 2) + 8);
    count(counts + i32x4.extract_lane(i, 3) + 12);
  }
  for (; x < end; x += 4) {
    const v = load<f32>(x);
    const a = abs(v);
    if (a < f32(Infinity) && a > 0) {
      const i = i32(min(a * scale, <f32>(half - 1)));
      count(counts + ((<usize>((v < 0 ? -1 - i : i) + half)) << 4));
    }
  }
}

@inline
function count(slot: usize): void {
  store<u32>(slot, load<u32>(slot) + 1);
}

/** The sum of the four lanes of each bin, into out u32[bins]. */
export function fold(counts: usize, bins: i32, out: usize): void {
  for (let i = 0; i < bins; i++) {
    const v = v128.load(counts);
    const pairs = i32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
    store<u32>(out, i32x4.extract_lane(pairs, 0) + i32x4.extract_lane(pairs, 1));
    counts += 16;
    out += 4;
  }
}
