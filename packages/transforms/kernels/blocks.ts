// Blockwise 2, 4 and 8 bit weights. Four blocks (lanes) are searched at once: a scale is tried, the integers that it gives
// are fixed, and the least-squares scale for these integers and its error follow from three sums (see sums.ts). The zero
// point is an integer from the start, so nothing is lost by rounding it afterwards. The best candidate is quantized once
// more with its refitted scale, which can only lower the error, and refitted again.

const ROUND: f32 = 12582912; // 1.5 * 2^23, see quantize.ts
const TINY: f32 = 7.52316384526264e-37; // 2^-120: a block below it is all zeros for every purpose

/** Lanes of `tile` f32[size][4] from columns: element i of lane l is at x + i * stride + 4 * l. Pads with zeros. */
function fillColumns(x: usize, stride: usize, n: i32, lanes: i32, size: i32, tile: usize): void {
  for (let i = 0; i < size; i++) {
    v128.store(tile, f32x4.splat(0));
    if (i < n) for (let l = 0; l < lanes; l++) store<f32>(tile + (<usize>l << 2), load<f32>(x + (<usize>l << 2)));
    x += stride;
    tile += 16;
  }
}

/** Four tiles from sixteen columns at once: where rows are a power of two apart, they would push each other from the cache. */
function fillColumns16(x: usize, stride: usize, n: i32, size: i32, tile: usize): void {
  const next = <usize>size << 4;
  for (let i = 0; i < n; i++) {
    v128.store(tile, v128.load(x));
    v128.store(tile + next, v128.load(x, 16));
    v128.store(tile + 2 * next, v128.load(x, 32));
    v128.store(tile + 3 * next, v128.load(x, 48));
    x += stride;
    tile += 16;
  }
  for (let i = n; i < size; i++) {
    v128.store(tile, f32x4.splat(0));
    v128.store(tile + next, f32x4.splat(0));
    v128.store(tile + 2 * next, f32x4.splat(0));
    v128.store(tile + 3 * next, f32x4.splat(0));
    tile += 16;
  }
}

/** Lanes of `tile` from rows: element i of lane l is at x + 4 * i + l * stride. Pads with zeros. */
function fillRows(x: usize, stride: usize, n: i32, lanes: i32, size: i32, tile: usize): void {
  if (lanes == 4 && n == size) {
    const end = x + (<usize>n << 2);
    for (; x < end; x += 16) {
      const a = v128.load(x);
      const b = v128.load(x + stride);
      const c = v128.load(x + 2 * stride);
      const d = v128.load(x + 3 * stride);
      const ab0 = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const ab1 = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const cd0 = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      const cd1 = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      v128.store(tile, v128.shuffle<i32>(ab0, cd0, 0, 1, 4, 5));
      v128.store(tile, v128.shuffle<i32>(ab0, cd0, 2, 3, 6, 7), 16);
      v128.store(tile, v128.shuffle<i32>(ab1, cd1, 0, 1, 4, 5), 32);
      v128.store(tile, v128.shuffle<i32>(ab1, cd1, 2, 3, 6, 7), 48);
      tile += 64;
    }
    return;
  }
  for (let i = 0; i < size; i++) {
    v128.store(tile, f32x4.splat(0));
    if (i < n) {
      let p = x + (<usize>i << 2);
      for (let l = 0; l < lanes; l++) {
        store<f32>(tile + (<usize>l << 2), load<f32>(p));
        p += stride;
      }
    }
    tile += 16;
  }
}

// Scratch words: sums of the last pass, then the scales and zero points that it led to, one v128 each.
const SUMS: usize = 64;

/**
 * Sums of a*v and a*a of four lanes, with v = x * inv and a = clamp(nearest(v), lo, hi); even and odd elements apart, so that
 * additions need not wait. The least-squares scale for these integers is s * av / aa, and explains s^2 * av^2 / aa of |x|^2.
 */
@inline
function correlate(tile: usize, size: i32, inv: v128, lo: v128, hi: v128): void {
  const end = tile + (<usize>size << 4);
  let av0 = f32x4.splat(0);
  let aa0 = av0;
  let av1 = av0;
  let aa1 = av0;
  for (; tile < end; tile += 32) {
    const v0 = f32x4.mul(v128.load(tile), inv);
    const v1 = f32x4.mul(v128.load(tile, 16), inv);
    const a0 = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.nearest(v0)));
    const a1 = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.nearest(v1)));
    av0 = f32x4.add(av0, f32x4.mul(a0, v0));
    av1 = f32x4.add(av1, f32x4.mul(a1, v1));
    aa0 = f32x4.add(aa0, f32x4.mul(a0, a0));
    aa1 = f32x4.add(aa1, f32x4.mul(a1, a1));
  }
  v128.store(SUMS, f32x4.add(av0, av1));
  v128.store(SUMS, f32x4.pmax(f32x4.splat(1), f32x4.add(aa0, aa1)), 16); // 0 only when all integers are: av is 0 then too
}

/** Sums dd, ad and aa (sums.ts), which keep small errors exact, and writes a + shift to `codes` i32[size][4]. */
@inline
function encode(tile: usize, size: i32, inv: v128, lo: v128, hi: v128, shift: v128, mask: v128, codes: usize): void {
  const end = tile + (<usize>size << 4);
  const magic = f32x4.add(shift, f32x4.splat(ROUND));
  let dd0 = f32x4.splat(0);
  let ad0 = dd0;
  let aa0 = dd0;
  let dd1 = dd0;
  let ad1 = dd0;
  let aa1 = dd0;
  for (; tile < end; tile += 32) {
    const v0 = f32x4.mul(v128.load(tile), inv);
    const v1 = f32x4.mul(v128.load(tile, 16), inv);
    const a0 = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.nearest(v0)));
    const a1 = f32x4.pmin(hi, f32x4.pmax(lo, f32x4.nearest(v1)));
    v128.store(codes, v128.and(f32x4.add(a0, magic), mask));
    v128.store(codes, v128.and(f32x4.add(a1, magic), mask), 16);
    codes += 32;
    const d0 = f32x4.sub(v0, a0);
    const d1 = f32x4.sub(v1, a1);
    dd0 = f32x4.add(dd0, f32x4.mul(d0, d0));
    dd1 = f32x4.add(dd1, f32x4.mul(d1, d1));
    ad0 = f32x4.add(ad0, f32x4.mul(a0, d0));
    ad1 = f32x4.add(ad1, f32x4.mul(a1, d1));
    aa0 = f32x4.add(aa0, f32x4.mul(a0, a0));
    aa1 = f32x4.add(aa1, f32x4.mul(a1, a1));
  }
  v128.store(SUMS, f32x4.add(dd0, dd1));
  v128.store(SUMS, f32x4.add(ad0, ad1), 16);
  v128.store(SUMS, f32x4.add(aa0, aa1), 32);
}

/**
 * Quantizes a strip of blocks: `lanes` blocks side by side and ceil(n / size) of them along the block axis.
 *
 * x         f32 weights; `across` bytes between lanes and `along` bytes between elements, one of the two being 4
 * bits      2, 4 or 8
 * size      elements of a block, a multiple of 16; the last block is padded with zeros
 * symmetric 1: zero point 2^(bits-1) and the scale takes the sign that lets the largest element reach -2^(bits-1)
 * offset    added to the stored codes of symmetric blocks: 2^(bits-1) for unsigned storage, 0 for two's complement
 * ratios    f32[candidates]: trial scales relative to the one that spans the block
 * tile      work area, 80 * size bytes
 * packed    codes packed along the block, low bits first: lane l, block b at l * packedLane + b * size * bits / 8; or 0
 * codes     one byte an element at element * codesRow + lane (block axis outermost); or 0
 * scales    f32, zeros u8: lane l, block b at index l * paramLane + b * paramBlock
 * energy    f64[2]: adds the squared error and the sum of squares
 */
export function blocks(
  x: usize,
  across: usize,
  along: usize,
  n: i32,
  lanes: i32,
  bits: i32,
  size: i32,
  symmetric: i32,
  offset: i32,
  ratios: usize,
  candidates: i32,
  tile: usize,
  packed: usize,
  packedLane: usize,
  codes: usize,
  codesRow: usize,
  scales: usize,
  zeros: usize,
  paramLane: usize,
  paramBlock: usize,
  energy: usize,
): void {
  const blob = <usize>((size * bits) >> 3);
  const made = tile + (<usize>size << 6);
  for (let i = 0, b: usize = 0; i < n; i += size, b++) {
    const count = min(size, n - i);
    for (let l = 0; l < lanes; l += 4) {
      const from = x + <usize>i * along + <usize>l * across;
      const some = min(4, lanes - l);
      let at = tile;
      if (across != 4) fillRows(from, across, count, some, size, tile);
      else if ((l | 15) >= lanes) fillColumns(from, along, count, some, size, tile);
      else {
        if ((l & 15) == 0) fillColumns16(from, along, count, size, tile);
        at += <usize>((l & 12) * size) << 2;
      }
      search(at, size, bits, symmetric, offset, ratios, candidates, made, energy);
      let p = <usize>l * paramLane + b * paramBlock;
      for (let k = 0; k < some; k++) {
        store<f32>(scales + (p << 2), load<f32>(SUMS + 64 + (<usize>k << 2)));
        store<u8>(zeros + p, load<u8>(SUMS + 80 + (<usize>k << 2)));
        p += paramLane;
      }
      if (packed != 0) storePacked(made, size, bits, packed + <usize>l * packedLane + b * blob, packedLane, some);
      if (codes != 0) storeCodes(made, count, codes + <usize>i * codesRow + l, codesRow, some);
    }
  }
}

/** Codes of the tile in `made` i32[size][4], scale and zero point at SUMS + 64 and SUMS + 80. */
function search(
  tile: usize,
  size: i32,
  bits: i32,
  symmetric: i32,
  offset: i32,
  ratios: usize,
  candidates: i32,
  made: usize,
  energy: usize,
): void {
  const end = tile + (<usize>size << 4);
  const zero4 = f32x4.splat(0);
  const one4 = f32x4.splat(1);
  let step: v128, lo: v128, hi: v128, shift: v128;
  if (symmetric) {
    let most = zero4;
    let peak = zero4;
    for (let p = tile; p < end; p += 16) {
      const v = v128.load(p);
      const a = f32x4.abs(v);
      const more = f32x4.gt(a, most);
      most = v128.bitselect(a, most, more);
      peak = v128.bitselect(v, peak, more);
    }
    const half = <f32>(1 << (bits - 1));
    step = f32x4.div(peak, f32x4.splat(-half));
    lo = f32x4.splat(-half);
    hi = f32x4.splat(half - 1);
    shift = f32x4.splat(<f32>offset);
  } else {
    let least = zero4;
    let most = zero4;
    for (let p = tile; p < end; p += 16) {
      const v = v128.load(p);
      least = f32x4.pmin(least, v);
      most = f32x4.pmax(most, v);
    }
    const levels = f32x4.splat(<f32>((1 << bits) - 1));
    step = f32x4.sub(f32x4.div(most, levels), f32x4.div(least, levels));
    const safe = f32x4.pmax(f32x4.splat(TINY), step);
    shift = f32x4.pmin(levels, f32x4.nearest(f32x4.div(f32x4.neg(least), safe)));
    lo = f32x4.neg(shift);
    hi = f32x4.sub(levels, shift);
  }
  const ok = f32x4.ge(f32x4.abs(step), f32x4.splat(TINY));
  step = v128.bitselect(step, one4, ok);

  let bestScore = zero4;
  let best = step;
  for (let c = 0; c < candidates; c++) {
    const ratio = f32x4.splat(load<f32>(ratios + (<usize>c << 2)));
    const scale = f32x4.mul(step, ratio);
    correlate(tile, size, f32x4.div(one4, scale), lo, hi);
    const gain = f32x4.div(v128.load(SUMS), v128.load(SUMS, 16));
    const score = f32x4.mul(f32x4.mul(ratio, ratio), f32x4.mul(v128.load(SUMS), gain));
    const better = f32x4.gt(score, bestScore);
    bestScore = v128.bitselect(score, bestScore, better);
    best = v128.bitselect(f32x4.mul(scale, gain), best, better);
  }

  encode(tile, size, f32x4.div(one4, best), lo, hi, shift, i32x4.splat((1 << bits) - 1), made);
  const dd = v128.load(SUMS);
  const ad = v128.load(SUMS, 16);
  const aa = v128.load(SUMS, 32);
  const gain = f32x4.div(ad, f32x4.pmax(one4, aa));
  v128.store(SUMS, v128.bitselect(f32x4.add(best, f32x4.mul(best, gain)), one4, ok), 64);
  v128.store(SUMS, i32x4.trunc_sat_f32x4_s(f32x4.neg(lo)), 80);

  // Squared error, and the sum of squares: |x|^2 = best^2 * (dd + 2 ad + aa), because x / best = a + d. The latter is NaN when
  // some x is NaN or infinite.
  const unit = f32x4.mul(best, best);
  addLanes(energy, f32x4.mul(unit, f32x4.pmax(zero4, f32x4.sub(dd, f32x4.mul(ad, gain)))));
  addLanes(energy + 8, f32x4.mul(unit, f32x4.add(dd, f32x4.add(f32x4.add(ad, ad), aa))));
}

@inline
function addLanes(out: usize, v: v128): void {
  const pairs = f64x2.add(f64x2.promote_low_f32x4(v), f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3)));
  store<f64>(out, load<f64>(out) + f64x2.extract_lane(pairs, 0) + f64x2.extract_lane(pairs, 1));
}

function storePacked(made: usize, size: i32, bits: i32, out: usize, lane: usize, lanes: i32): void {
  const end = made + (<usize>size << 4);
  while (made < end) {
    let word = v128.load(made);
    for (let shift = bits; shift < 32; shift += bits) {
      made += 16;
      word = v128.or(word, i32x4.shl(v128.load(made), shift));
    }
    made += 16;
    store<i32>(out, i32x4.extract_lane(word, 0));
    if (lanes > 1) store<i32>(out + lane, i32x4.extract_lane(word, 1));
    if (lanes > 2) store<i32>(out + 2 * lane, i32x4.extract_lane(word, 2));
    if (lanes > 3) store<i32>(out + 3 * lane, i32x4.extract_lane(word, 3));
    out += 4;
  }
}

function storeCodes(made: usize, count: i32, out: usize, row: usize, lanes: i32): void {
  for (let i = 0; i < count; i++) {
    if (lanes == 4) {
      const v = v128.load(made);
      const narrow = i16x8.narrow_i32x4_s(v, v);
      store<i32>(out, i32x4.extract_lane(i8x16.narrow_i16x8_u(narrow, narrow), 0));
    } else {
      for (let l: usize = 0; l < <usize>lanes; l++) store<u8>(out + l, load<u8>(made + (l << 2)));
    }
    made += 16;
    out += row;
  }
}

/** Packs n codes of one byte each into `bits` bits, low bits first: the ONNX order of 2- and 4-bit tensors. */
export function pack(codes: usize, n: i32, bits: i32, out: usize): void {
  const per = 8 / bits;
  for (let i = 0; i < n; ) {
    let byte: i32 = 0;
    for (let k = 0; k < per && i < n; k++, i++) {
      byte |= <i32>load<u8>(codes) << (k * bits);
      codes++;
    }
    store<u8>(out, byte);
    out++;
  }
}
