import { type BlockSpec, type Blocks, blocksPerRun, candidateRatios } from './blocks.js';
import {
  type AffineSpec,
  bytesOf,
  type ChannelExtremes,
  type Extremes,
  type FloatInput,
  type Floats,
  type Halves,
  type Kernels,
  type Products,
  readerOf,
  type TrialErrors,
  type TrialSpec,
} from './kernels.js';

/**
 * The kernels once more in plain TypeScript, one value at a time: the oracle of the WebAssembly ones. float32 arithmetic is
 * spelled with Math.fround, and sums run over the lanes of a SIMD register, so that both agree bit for bit.
 */
export const referenceKernels: Kernels = {
  range(x: Floats): Extremes {
    const all = ranges(floats(x), 1, () => 0);
    return { min: all.min[0] as number, max: all.max[0] as number, nan: all.nan, inf: all.inf };
  },
  rangeRows: (x, rows, cols) => ranges(floats(x), rows, (i) => Math.floor(i / cols)),
  rangeColumns: (x, _rows, cols) => ranges(floats(x), cols, (i) => i % cols),
  quantizeRows: (x, _rows, cols, spec) => quantize(floats(x), spec, (i) => Math.floor(i / cols)),
  quantizeColumns: (x, _rows, cols, spec) => quantize(floats(x), spec, (i) => i % cols),
  errorRows,
  errorColumns,
  products,
  toFloat16: (x, saturate = false) => Uint16Array.from(floats(x), (v) => float16Bits(v, saturate)),
  fromFloat16: (bits) => fromBits(bits, float32BitsOfFloat16),
  toBfloat16: (x) => Uint16Array.from(new Uint32Array(floats(x).buffer), bfloat16Bits),
  fromBfloat16: (bits) => fromBits(bits, (h) => h << 16),
  histogram(x, exponent, positive, negative) {
    const scale = 2 ** -exponent;
    let total = 0;
    for (const v of floats(x)) {
      if (!Number.isFinite(v) || v === 0) continue;
      const bins = v < 0 ? negative : positive;
      bins[Math.min(bins.length - 1, Math.floor(Math.abs(v) * scale))]! += 1;
      total++;
    }
    return total;
  },
  quantizeBlocks,
};

const f = Math.fround;

function floats(x: FloatInput): Float32Array {
  const values = new Float32Array('read' in x ? x.length : bytesOf(x).byteLength / 4);
  readerOf(x, values.length).read(0, new Uint8Array(values.buffer));
  return values;
}

/** The nearest integer, ties to the even one. */
export function roundHalfEven(v: number): number {
  const down = Math.floor(v);
  const rest = v - down;
  return rest > 0.5 || (rest === 0.5 && down % 2 !== 0) ? down + 1 : down;
}

function clamp(v: number, lo: number, hi: number): number {
  return Math.min(hi, Math.max(lo, v));
}

function ranges(x: Float32Array, channels: number, channel: (i: number) => number): ChannelExtremes {
  const min = new Float32Array(channels).fill(Number.POSITIVE_INFINITY);
  const max = new Float32Array(channels).fill(Number.NEGATIVE_INFINITY);
  let nan = 0;
  let inf = 0;
  x.forEach((v, i) => {
    if (Number.isNaN(v)) nan++;
    else if (!Number.isFinite(v)) inf++;
    else {
      const c = channel(i);
      min[c] = Math.min(min[c] as number, v + 0);
      max[c] = Math.max(max[c] as number, v + 0);
    }
  });
  return { min, max, nan, inf };
}

function quantize(x: Float32Array, spec: AffineSpec, channel: (i: number) => number): Uint8Array {
  return Uint8Array.from(x, (v, i) => {
    const zero = spec.zeroPoint[channel(i)] as number;
    const ratio = f(v / (spec.scale[channel(i)] as number));
    return Number.isNaN(ratio) ? spec.qmin : clamp(roundHalfEven(ratio) + zero, spec.qmin, spec.qmax);
  });
}

/** The three terms of a trial: d*d, a*d, a*a. */
function trial(x: number, inverse: number, lo: number, hi: number): [number, number, number] {
  const v = f(x * inverse);
  const a = clamp(roundHalfEven(v), lo, hi);
  const d = f(v - a);
  return [f(d * d), f(a * d), f(a * a)];
}

/** Adds up `terms` in float32 runs: `flush` is called at the end of each run of `length`. */
class Runs {
  readonly #sums = [0, 0, 0] as [number, number, number];
  #count = 0;

  constructor(
    readonly length: number,
    readonly flush: (sums: readonly [number, number, number]) => void,
  ) {}

  add(terms: readonly [number, number, number]): void {
    for (let k = 0; k < 3; k++) this.#sums[k] = f((this.#sums[k] as number) + (terms[k] as number));
    if (++this.#count === this.length) this.end();
  }

  end(): void {
    this.flush(this.#sums);
    this.#sums.fill(0);
    this.#count = 0;
  }
}

function errorRows(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors {
  const all = floats(x);
  const result = { dd: new Float64Array(rows), ad: new Float64Array(rows), aa: new Float64Array(rows) };
  for (let r = 0; r < rows; r++) {
    const lanes = [0, 1, 2, 3].map(() => [0, 0, 0]);
    const add = (lane: number) => (sums: readonly number[]) => {
      for (const [k, sum] of sums.entries()) lanes[lane]![k]! += sum;
    };
    const runs = lanes.map((_, lane) => new Runs(64, add(lane)));
    const whole = cols - (cols % 4);
    for (let c = 0; c < cols; c++) {
      const terms = trial(all[r * cols + c]!, spec.inverse[r]!, spec.lo[r]!, spec.hi[r]!);
      if (c < whole) runs[c % 4]!.add(terms);
      else {
        if (c === whole) for (const run of runs) run.end();
        add(c % 4)(terms);
      }
    }
    for (const run of runs) run.end();
    const sum = (k: number) => lanes[0]![k]! + lanes[1]![k]! + (lanes[2]![k]! + lanes[3]![k]!);
    result.dd[r] = sum(0);
    result.ad[r] = sum(1);
    result.aa[r] = sum(2);
  }
  return result;
}

function errorColumns(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors {
  const all = floats(x);
  const result = { dd: new Float64Array(cols), ad: new Float64Array(cols), aa: new Float64Array(cols) };
  for (let c = 0; c < cols; c++) {
    // The last columns, less than a register, are summed in float64 at once.
    const runs = new Runs(c < cols - (cols % 4) ? 64 : 1, ([dd, ad, aa]) => {
      result.dd[c]! += dd;
      result.ad[c]! += ad;
      result.aa[c]! += aa;
    });
    for (let r = 0; r < rows; r++) runs.add(trial(all[r * cols + c]!, spec.inverse[c]!, spec.lo[c]!, spec.hi[c]!));
    runs.end();
  }
  return result;
}

function products(x: Floats, y: Floats): Products {
  const b = floats(y);
  const lanes = new Float64Array(12);
  floats(x).forEach((v, i) => {
    const w = b[i] as number;
    lanes[i % 4]! += v * v;
    lanes[4 + (i % 4)]! += v * w;
    lanes[8 + (i % 4)]! += (v - w) * (v - w);
  });
  const sum = (at: number) => lanes[at]! + lanes[at + 1]! + (lanes[at + 2]! + lanes[at + 3]!);
  return { xx: sum(0), xy: sum(4), dd: sum(8) };
}

/** The float16 nearest to `v`, by arithmetic: the unit of a float16 at v is 2^(e-10), never below 2^-24. */
function float16Bits(v: number, saturate: boolean): number {
  const sign = v < 0 || Object.is(v, -0) ? 0x8000 : 0;
  const a = Math.abs(v);
  if (Number.isNaN(v)) return 0x7e00 | signOfNaN(v);
  if (a === Number.POSITIVE_INFINITY) return sign | 0x7c00;
  if (a < 2 ** -14) return sign | roundHalfEven(a * 2 ** 24);
  const exponent = Math.floor(Math.log2(a));
  const e = a < 2 ** exponent ? exponent - 1 : a >= 2 ** (exponent + 1) ? exponent + 1 : exponent;
  const bits = ((e + 15) << 10) + roundHalfEven((a / 2 ** e - 1) * 1024); // a carry out of the fraction raises the exponent
  if (bits >= 0x7c00) return sign | (saturate ? 0x7bff : 0x7c00);
  return sign | bits;
}

function signOfNaN(v: number): number {
  return (new Uint32Array(Float32Array.of(v).buffer)[0]! >>> 16) & 0x8000;
}

function float32BitsOfFloat16(h: number): number {
  const sign = (h & 0x8000) << 16;
  const exponent = (h >> 10) & 31;
  const fraction = h & 1023;
  if (exponent === 31) return sign | 0x7f800000 | (fraction << 13);
  const magnitude = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return sign | new Uint32Array(Float32Array.of(magnitude).buffer)[0]!;
}

function bfloat16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) & 0x8000) | 0x7fc0;
  return roundHalfEven(bits / 65536);
}

function fromBits(bits: Halves, convert: (h: number) => number): Float32Array {
  const halves = new Uint16Array(bytesOf(bits).slice().buffer);
  const out = new Uint32Array(halves.length);
  halves.forEach((h, i) => {
    out[i] = convert(h);
  });
  return new Float32Array(out.buffer);
}

function quantizeBlocks(x: FloatInput, spec: BlockSpec): Blocks {
  const { rows, cols, axis, size, bits, layout } = spec;
  const all = floats(x);
  const perRun = blocksPerRun(spec);
  const [runs, length] = axis === 0 ? [cols, rows] : [rows, cols];
  const codes: number[] = [];
  const scales = new Float32Array(runs * perRun);
  const zeroPoints = new Uint8Array(runs * perRun);
  let noise = 0;
  let signal = 0;
  for (let run = 0; run < runs; run++) {
    for (let b = 0; b < perRun; b++) {
      const at = (i: number) => (axis === 0 ? (b * size + i) * cols + run : run * cols + b * size + i);
      const block = Array.from({ length: size }, (_, i) => (b * size + i < length ? (all[at(i)] as number) : 0));
      const made = searchBlock(block, spec);
      const parameter = layout === 'tensor' && axis === 0 ? b * runs + run : run * perRun + b;
      scales[parameter] = made.scale;
      zeroPoints[parameter] = made.zero;
      made.integers.forEach((a, i) => {
        const code = (a + made.shift) & (2 ** bits - 1);
        if (layout === 'blocks') codes[(run * perRun + b) * size + i] = code;
        else if (b * size + i < length) codes[at(i)] = code;
        const error = f(made.scale * a) - (block[i] as number);
        noise += error * error;
        signal += (block[i] as number) ** 2;
      });
    }
  }
  const packed = new Uint8Array(Math.ceil((codes.length * bits) / 8));
  codes.forEach((code, i) => {
    packed[Math.floor((i * bits) / 8)]! |= code << ((i * bits) % 8);
  });
  return { packed, scales, zeroPoints, noise, signal };
}

/** The search of packages/transforms/kernels/blocks.ts for one block. */
function searchBlock(
  block: readonly number[],
  spec: BlockSpec,
): { scale: number; zero: number; shift: number; integers: number[] } {
  const { bits, symmetric, signed } = spec;
  const half = 2 ** (bits - 1);
  const levels = 2 ** bits - 1;
  const tiny = 2 ** -120;
  let step: number;
  let zero = half;
  let lo = -half;
  let hi = half - 1;
  let shift = signed ? 0 : half;
  if (symmetric) {
    let peak = 0;
    for (const v of block) if (Math.abs(v) > Math.abs(peak)) peak = v;
    step = f(peak / -half);
  } else {
    const least = Math.min(0, ...block);
    step = f(f(Math.max(0, ...block) / levels) - f(least / levels));
    zero = Math.min(levels, roundHalfEven(f(-least / Math.max(tiny, step))));
    shift = zero;
    lo = -zero;
    hi = levels - zero;
  }
  const ok = Math.abs(step) >= tiny;
  if (!ok) step = 1;
  let bestScore = 0;
  let best = step;
  for (const ratio of candidateRatios(spec)) {
    const scale = f(step * ratio);
    const [av, aa] = blockSums(block, f(1 / scale), lo, hi, (a, v) => [a * v, a * a]);
    const gain = f(av / Math.max(1, aa));
    const score = f(f(ratio * ratio) * f(av * gain));
    if (score > bestScore) {
      bestScore = score;
      best = f(scale * gain);
    }
  }
  const inverse = f(1 / best);
  const [ad, aa] = blockSums(block, inverse, lo, hi, (a, v) => [a * f(v - a), a * a]);
  return {
    scale: ok ? f(best + f(best * f(ad / Math.max(1, aa)))) : 1,
    zero,
    shift,
    integers: block.map((v) => clamp(roundHalfEven(f(v * inverse)), lo, hi)),
  };
}

/** Sums of two products of v = x * inverse and its integer a; even and odd elements are added up apart. */
function blockSums(
  block: readonly number[],
  inverse: number,
  lo: number,
  hi: number,
  products: (a: number, v: number) => [number, number],
): [number, number] {
  const sums = [0, 0, 0, 0];
  block.forEach((x, i) => {
    const v = f(x * inverse);
    for (const [k, product] of products(clamp(roundHalfEven(v), lo, hi), v).entries()) {
      const at = k + 2 * (i % 2);
      sums[at] = f((sums[at] as number) + f(product));
    }
  });
  return [f(sums[0]! + sums[2]!), f(sums[1]! + sums[3]!)];
}
