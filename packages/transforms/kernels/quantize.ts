// q = clamp(round(x / scale), qmin - zero, qmax - zero) + zero with a true division and ties to even, as ONNX
// QuantizeLinear. The result is the low byte: int8 and uint8 alike. NaN becomes qmin.
//
// Rounding adds 1.5 * 2^23: in that binade the unit of a float is 1, so the addition itself rounds to nearest even and
// leaves the integer in the low bits of the sum. Clamping first keeps the quotient small enough and changes nothing,
// because the bounds are integers and rounding is monotone.

const ROUND: f32 = 12582912;

@inline
function quantize4(x: usize, scale: v128, zero: v128, lo: v128, hi: v128): v128 {
  const v = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.div(v128.load(x), scale)));
  return v128.and(i32x4.add(f32x4.add(v, f32x4.splat(ROUND)), zero), i32x4.splat(0xff));
}

@inline
function quantize1(x: f32, scale: f32, zero: i32, lo: f32, hi: f32): i32 {
  let v = x / scale;
  v = lo < v ? v : lo;
  v = v < hi ? v : hi;
  return reinterpret<i32>(v + ROUND) + zero;
}

/** Rows of x f32[rows, cols] with scale f32[rows] and zero i32[rows], into out bytes[rows, cols]. */
export function quantizeRows(x: usize, rows: i32, cols: i32, scale: usize, zero: usize, qmin: i32, qmax: i32, out: usize): void {
  for (let r = 0; r < rows; r++) {
    const s = load<f32>(scale + (<usize>r << 2));
    const z = load<i32>(zero + (<usize>r << 2));
    const lo = <f32>(qmin - z);
    const hi = <f32>(qmax - z);
    const s4 = f32x4.splat(s);
    const z4 = i32x4.splat(z);
    const lo4 = f32x4.splat(lo);
    const hi4 = f32x4.splat(hi);
    let i = 0;
    for (; i + 16 <= cols; i += 16) {
      const a = quantize4(x, s4, z4, lo4, hi4);
      const b = quantize4(x + 16, s4, z4, lo4, hi4);
      const c = quantize4(x + 32, s4, z4, lo4, hi4);
      const d = quantize4(x + 48, s4, z4, lo4, hi4);
      v128.store(out, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)));
      x += 64;
      out += 16;
    }
    for (; i < cols; i++) {
      store<u8>(out, quantize1(load<f32>(x), s, z, lo, hi));
      x += 4;
      out += 1;
    }
  }
}

/** Columns of x f32[rows, cols] with scale f32[cols] and zero i32[cols], into out bytes[rows, cols]. */
export function quantizeColumns(x: usize, rows: i32, cols: i32, scale: usize, zero: usize, qmin: i32, qmax: i32, out: usize): void {
  const min4 = i32x4.splat(qmin);
  const max4 = i32x4.splat(qmax);
  for (let r = 0; r < rows; r++) {
    let s = scale;
    let z = zero;
    let i = 0;
    for (; i + 16 <= cols; i += 16) {
      const za = v128.load(z);
      const zb = v128.load(z, 16);
      const zc = v128.load(z, 32);
      const zd = v128.load(z, 48);
      const a = quantize4(x, v128.load(s), za, bound(min4, za), bound(max4, za));
      const b = quantize4(x + 16, v128.load(s, 16), zb, bound(min4, zb), bound(max4, zb));
      const c = quantize4(x + 32, v128.load(s, 32), zc, bound(min4, zc), bound(max4, zc));
      const d = quantize4(x + 48, v128.load(s, 48), zd, bound(min4, zd), bound(max4, zd));
      v128.store(out, i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d)));
      x += 64;
      s += 64;
      z += 64;
      out += 16;
    }
    for (; i < cols; i++) {
      const z1 = load<i32>(z);
      store<u8>(out, quantize1(load<f32>(x), load<f32>(s), z1, <f32>(qmin - z1), <f32>(qmax - z1)));
      x += 4;
      s += 4;
      z += 4;
      out += 1;
    }
  }
}

@inline
function bound(q: v128, zero: v128): v128 {
  return f32x4.convert_i32x4_s(i32x4.sub(q, zero));
}
