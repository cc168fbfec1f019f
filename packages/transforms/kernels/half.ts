// Conversions between float32 and the two 16-bit floats, rounding to nearest even. NaN becomes the quiet NaN of its sign.

/** Four float32 to four float16 in the low halves of i32 lanes. `limit` caps finite magnitudes (bits of a float32). */
@inline
function toFloat16(v: v128, limit: v128): v128 {
  const bits = v128.and(v, i32x4.splat(0x7fffffff));
  const special = i32x4.ge_s(bits, i32x4.splat(0x7f800000));
  const a = v128.bitselect(bits, i32x4.min_s(bits, limit), special);
  // Normal: move the exponent bias from 127 to 15, add half a unit less the even bit, and drop 13 bits of fraction.
  const odd = v128.and(i32x4.shr_u(a, 13), i32x4.splat(1));
  let h = i32x4.shr_u(i32x4.add(i32x4.add(a, i32x4.splat(0xc8000fff)), odd), 13);
  // Subnormal (below 2^-14): 0.5 has the unit 2^-24, which is that of a subnormal float16, so adding it rounds.
  const small = i32x4.sub(f32x4.add(a, f32x4.splat(0.5)), i32x4.splat(0x3f000000));
  h = v128.bitselect(small, h, i32x4.lt_s(a, i32x4.splat(0x38800000)));
  h = v128.bitselect(i32x4.splat(0x7c00), h, i32x4.ge_s(a, i32x4.splat(0x47800000)));
  h = v128.bitselect(i32x4.splat(0x7e00), h, i32x4.gt_s(a, i32x4.splat(0x7f800000)));
  return v128.or(h, v128.and(i32x4.shr_u(v, 16), i32x4.splat(0x8000)));
}

@inline
function toBfloat16(v: v128): v128 {
  const odd = v128.and(i32x4.shr_u(v, 16), i32x4.splat(1));
  const h = i32x4.shr_u(i32x4.add(i32x4.add(v, i32x4.splat(0x7fff)), odd), 16);
  const nan = v128.or(v128.and(i32x4.shr_u(v, 16), i32x4.splat(0x8000)), i32x4.splat(0x7fc0));
  return v128.bitselect(nan, h, f32x4.ne(v, v));
}

/** Low or high four float16 of i32 lanes to float32. */
@inline
function fromFloat16(h: v128): v128 {
  const shifted = i32x4.shl(v128.and(h, i32x4.splat(0x7fff)), 13);
  const normal = i32x4.add(shifted, i32x4.splat(0x38000000));
  const small = f32x4.sub(i32x4.add(shifted, i32x4.splat(0x38800000)), f32x4.splat(0.00006103515625));
  const special = i32x4.add(shifted, i32x4.splat(0x70000000));
  let v = v128.bitselect(small, normal, i32x4.lt_s(shifted, i32x4.splat(0x00800000)));
  v = v128.bitselect(special, v, i32x4.ge_s(shifted, i32x4.splat(0x0f800000)));
  return v128.or(v, i32x4.shl(v128.and(h, i32x4.splat(0x8000)), 16));
}

// Every function takes n rounded up to 8: the memory behind x and out has room for it.

export function float32ToFloat16(x: usize, n: i32, limit: i32, out: usize): void {
  const cap = i32x4.splat(limit);
  for (let i = 0; i < n; i += 8) {
    v128.store(out, i16x8.narrow_i32x4_u(toFloat16(v128.load(x), cap), toFloat16(v128.load(x, 16), cap)));
    x += 32;
    out += 16;
  }
}

export function float32ToBfloat16(x: usize, n: i32, out: usize): void {
  for (let i = 0; i < n; i += 8) {
    v128.store(out, i16x8.narrow_i32x4_u(toBfloat16(v128.load(x)), toBfloat16(v128.load(x, 16))));
    x += 32;
    out += 16;
  }
}

export function float16ToFloat32(x: usize, n: i32, out: usize): void {
  for (let i = 0; i < n; i += 8) {
    const h = v128.load(x);
    v128.store(out, fromFloat16(i32x4.extend_low_i16x8_u(h)));
    v128.store(out, fromFloat16(i32x4.extend_high_i16x8_u(h)), 16);
    x += 16;
    out += 32;
  }
}

export function bfloat16ToFloat32(x: usize, n: i32, out: usize): void {
  for (let i = 0; i < n; i += 8) {
    const h = v128.load(x);
    v128.store(out, i32x4.shl(i32x4.extend_low_i16x8_u(h), 16));
    v128.store(out, i32x4.shl(i32x4.extend_high_i16x8_u(h), 16), 16);
    x += 16;
    out += 32;
  }
}
