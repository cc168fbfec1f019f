/** y += scale * x. */
export function accumulate(y: usize, x: usize, n: i32, scale: f32): void {
  const scale4 = f32x4.splat(scale);
  for (const end = y + (<usize>n << 2); y < end; y += 16, x += 16) {
    v128.store(y, f32x4.add(v128.load(y), f32x4.mul(scale4, v128.load(x))));
  }
}

/** y += weight * (x - y): a step of an exponential moving average. */
export function blend(y: usize, x: usize, n: i32, weight: f32): void {
  const weight4 = f32x4.splat(weight);
  for (const end = y + (<usize>n << 2); y < end; y += 16, x += 16) {
    const y4 = v128.load(y);
    v128.store(y, f32x4.add(y4, f32x4.mul(weight4, f32x4.sub(v128.load(x), y4))));
  }
}

/** x becomes 0 where `keep` (a byte an element) is 0, NaN and infinities too. */
export function mask(x: usize, keep: usize, n: i32): void {
  for (const end = x + (<usize>n << 2); x < end; x += 64, keep += 16) {
    const bytes = i8x16.ne(v128.load(keep), i8x16.splat(0));
    const low = i16x8.extend_low_i8x16_s(bytes);
    const high = i16x8.extend_high_i8x16_s(bytes);
    v128.store(x, v128.and(v128.load(x), i32x4.extend_low_i16x8_s(low)));
    v128.store(x, v128.and(v128.load(x, 16), i32x4.extend_high_i16x8_s(low)), 16);
    v128.store(x, v128.and(v128.load(x, 32), i32x4.extend_low_i16x8_s(high)), 32);
    v128.store(x, v128.and(v128.load(x, 48), i32x4.extend_high_i16x8_s(high)), 48);
  }
}
