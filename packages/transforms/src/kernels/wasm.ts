import type { BlockSpec, Blocks } from './blocks.js';
import {
  type AffineSpec,
  bytesOf,
  type ChannelExtremes,
  type Extremes,
  type FloatInput,
  type FloatReader,
  type Floats,
  type Halves,
  type Kernels,
  type Products,
  readerOf,
  type TrialErrors,
  type TrialSpec,
} from './kernels.js';
import { KERNELS_WASM } from './kernels.wasm.js';
import { Arena, type KernelExports } from './memory.js';
import { quantizeBlocks } from './wasm-blocks.js';

let loaded: Kernels | undefined;

/**
 * The kernels in WebAssembly SIMD, compiled on the first call (about a millisecond), in Node and in browsers. Their memory
 * stays at a few megabytes: big inputs pass through it in pieces.
 */
export function kernels(): Kernels {
  loaded ??= instantiate();
  return loaded;
}

function instantiate(): Kernels {
  const wasm = Uint8Array.from(atob(KERNELS_WASM), (c) => c.charCodeAt(0));
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasm));
  return new WasmKernels(exports as unknown as KernelExports);
}

/** Elements of a piece: it stays in the second-level cache between the copy in, the kernel and the copy out. */
const PIECE = 1 << 16;

class WasmKernels implements Kernels {
  readonly #wasm: KernelExports;
  readonly #arena: Arena;

  constructor(wasm: KernelExports) {
    this.#wasm = wasm;
    this.#arena = new Arena(wasm);
  }

  range(x: Floats): Extremes {
    const all = this.rangeRows(x, 1, bytesOf(x).byteLength / 4);
    return { min: all.min[0] as number, max: all.max[0] as number, nan: all.nan, inf: all.inf };
  }

  rangeRows(x: FloatInput, rows: number, cols: number): ChannelExtremes {
    const arena = this.#start();
    const ranges = new RangeState(arena, rows);
    eachRowPiece(readerOf(x, rows * cols), arena, rows, cols, (at, row, count, length) => {
      this.#wasm.rangeRows(at, count, length, ranges.min + row * 4, ranges.max + row * 4, ranges.counts);
    });
    return ranges.result();
  }

  rangeColumns(x: FloatInput, rows: number, cols: number): ChannelExtremes {
    const arena = this.#start();
    const ranges = new RangeState(arena, cols);
    eachRows(readerOf(x, rows * cols), arena, rows, cols, 1, (at, _row, count) => {
      this.#wasm.rangeColumns(at, count, cols, ranges.min, ranges.max, ranges.counts);
    });
    return ranges.result();
  }

  quantizeRows(x: FloatInput, rows: number, cols: number, spec: AffineSpec): Uint8Array {
    const arena = this.#start();
    const scale = arena.put(spec.scale);
    const zero = arena.put(spec.zeroPoint);
    const out = new Uint8Array(rows * cols);
    const made = arena.take(PIECE);
    eachRowPiece(readerOf(x, out.length), arena, rows, cols, (at, row, count, length, offset) => {
      this.#wasm.quantizeRows(at, count, length, scale + row * 4, zero + row * 4, spec.qmin, spec.qmax, made);
      out.set(arena.bytes.subarray(made, made + count * length), offset);
    });
    return out;
  }

  quantizeColumns(x: FloatInput, rows: number, cols: number, spec: AffineSpec): Uint8Array {
    const arena = this.#start();
    const scale = arena.put(spec.scale);
    const zero = arena.put(spec.zeroPoint);
    const out = new Uint8Array(rows * cols);
    const made = arena.take(Math.max(PIECE, cols));
    eachRows(readerOf(x, out.length), arena, rows, cols, 1, (at, row, count) => {
      this.#wasm.quantizeColumns(at, count, cols, scale, zero, spec.qmin, spec.qmax, made);
      out.set(arena.bytes.subarray(made, made + count * cols), row * cols);
    });
    return out;
  }

  errorRows(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors {
    const arena = this.#start();
    const { inverse, lo, hi } = putTrial(arena, spec);
    const sums = arena.zeros(rows * 96);
    eachRowPiece(readerOf(x, rows * cols), arena, rows, cols, (at, row, count, length) => {
      this.#wasm.errorRows(at, count, length, inverse + row * 4, lo + row * 4, hi + row * 4, sums + row * 96);
    });
    const lanes = arena.get(sums, new Float64Array(rows * 12));
    const errors = emptyErrors(rows);
    for (let r = 0; r < rows; r++) {
      errors.dd[r] = sumLanes(lanes, r * 12);
      errors.ad[r] = sumLanes(lanes, r * 12 + 4);
      errors.aa[r] = sumLanes(lanes, r * 12 + 8);
    }
    return errors;
  }

  errorColumns(x: FloatInput, rows: number, cols: number, spec: TrialSpec): TrialErrors {
    const arena = this.#start();
    const { inverse, lo, hi } = putTrial(arena, spec);
    const sums = arena.zeros(cols * 24);
    eachRows(readerOf(x, rows * cols), arena, rows, cols, 64, (at, _row, count) => {
      this.#wasm.errorColumns(at, count, cols, inverse, lo, hi, sums);
    });
    const errors = emptyErrors(cols);
    arena.get(sums, errors.dd);
    arena.get(sums + cols * 8, errors.ad);
    arena.get(sums + cols * 16, errors.aa);
    return errors;
  }

  products(x: Floats, y: Floats): Products {
    const a = bytesOf(x);
    const b = bytesOf(y);
    const arena = this.#start();
    const sums = arena.zeros(96);
    const x0 = arena.take(PIECE * 4);
    const y0 = arena.take(PIECE * 4);
    for (let at = 0; at < a.byteLength; at += PIECE * 4) {
      const piece = a.subarray(at, at + PIECE * 4);
      arena.bytes.set(piece, x0);
      arena.bytes.set(b.subarray(at, at + PIECE * 4), y0);
      this.#wasm.products(x0, y0, piece.byteLength / 4, sums);
    }
    const lanes = arena.get(sums, new Float64Array(12));
    return { xx: sumLanes(lanes, 0), xy: sumLanes(lanes, 4), dd: sumLanes(lanes, 8) };
  }

  toFloat16(x: Floats, saturate = false): Uint16Array {
    // The cap is the bits of 65504, or of infinity.
    return this.#toHalf(x, (at, n, out) => this.#wasm.float32ToFloat16(at, n, saturate ? 0x477fe000 : 0x7f800000, out));
  }

  toBfloat16(x: Floats): Uint16Array {
    return this.#toHalf(x, (at, n, out) => this.#wasm.float32ToBfloat16(at, n, out));
  }

  fromFloat16(bits: Halves): Float32Array {
    return this.#fromHalf(bits, (at, n, out) => this.#wasm.float16ToFloat32(at, n, out));
  }

  fromBfloat16(bits: Halves): Float32Array {
    return this.#fromHalf(bits, (at, n, out) => this.#wasm.bfloat16ToFloat32(at, n, out));
  }

  #toHalf(x: Floats, kernel: (at: number, n: number, out: number) => void): Uint16Array {
    const out = new Uint16Array(bytesOf(x).byteLength / 4);
    this.#convert(bytesOf(x), 4, new Uint8Array(out.buffer), 2, kernel);
    return out;
  }

  #fromHalf(bits: Halves, kernel: (at: number, n: number, out: number) => void): Float32Array {
    const out = new Float32Array(bytesOf(bits).byteLength / 2);
    this.#convert(bytesOf(bits), 2, new Uint8Array(out.buffer), 4, kernel);
    return out;
  }

  #convert(
    from: Uint8Array,
    fromSize: number,
    to: Uint8Array,
    toSize: number,
    kernel: (at: number, n: number, out: number) => void,
  ): void {
    const arena = this.#start();
    const at = arena.take(PIECE * fromSize);
    const made = arena.take(PIECE * toSize);
    for (let i = 0, n = from.byteLength / fromSize; i < n; i += PIECE) {
      const count = Math.min(PIECE, n - i);
      arena.bytes.set(from.subarray(i * fromSize, (i + count) * fromSize), at);
      kernel(at, count, made);
      to.set(arena.bytes.subarray(made, made + count * toSize), i * toSize);
    }
  }

  histogram(x: Floats, exponent: number, positive: Float64Array, negative: Float64Array): number {
    const bytes = bytesOf(x);
    const half = positive.length;
    const bins = half * 2;
    const arena = this.#start();
    const counts = arena.zeros((bins + 1) * 16);
    const folded = arena.take(bins * 4);
    const at = arena.take(Math.min(PIECE * 4, bytes.byteLength));
    for (let i = 0; i < bytes.byteLength; i += PIECE * 4) {
      const piece = bytes.subarray(i, i + PIECE * 4);
      arena.bytes.set(piece, at);
      this.#wasm.histogram(at, piece.byteLength / 4, 2 ** -exponent, half, counts);
    }
    this.#wasm.fold(counts, bins, folded);
    const sums = new Uint32Array(arena.bytes.buffer, folded, bins);
    let total = 0;
    for (let i = 0; i < half; i++) {
      const above = sums[half + i] as number;
      const below = sums[half - 1 - i] as number;
      positive[i]! += above;
      negative[i]! += below;
      total += above + below;
    }
    return total;
  }

  quantizeBlocks(x: FloatInput, spec: BlockSpec): Blocks {
    return quantizeBlocks(this.#start(), x, spec);
  }

  #start(): Arena {
    this.#arena.reset();
    return this.#arena;
  }
}

/**
 * Passes x[rows, cols] through the arena in pieces of whole rows, or of parts of one row when rows are long:
 * `count` rows of `length` elements, from element `offset` on.
 */
function eachRowPiece(
  x: FloatReader,
  arena: Arena,
  rows: number,
  cols: number,
  kernel: (at: number, row: number, count: number, length: number, offset: number) => void,
): void {
  const at = arena.take(Math.min(PIECE, x.length) * 4);
  const length = Math.min(cols, PIECE);
  const step = Math.max(1, Math.floor(PIECE / Math.max(1, cols)));
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    for (let col = 0; col < cols; col += length) {
      const offset = row * cols + col;
      const n = Math.min(length, cols - col);
      x.read(offset, arena.bytes.subarray(at, at + count * n * 4));
      kernel(at, row, count, n, offset);
    }
  }
}

/** Passes x[rows, cols] through the arena in pieces of whole rows, as many as fit but always a multiple of `multiple`. */
function eachRows(
  x: FloatReader,
  arena: Arena,
  rows: number,
  cols: number,
  multiple: number,
  kernel: (at: number, row: number, count: number) => void,
): void {
  const step = Math.max(1, Math.floor(PIECE / Math.max(1, cols * multiple))) * multiple;
  const at = arena.take(Math.min(step, rows) * cols * 4);
  for (let row = 0; row < rows; row += step) {
    const count = Math.min(step, rows - row);
    x.read(row * cols, arena.bytes.subarray(at, at + count * cols * 4));
    kernel(at, row, count);
  }
}

/** The state of a range kernel in the arena: where it lies, and what it came to. */
class RangeState {
  readonly min: number;
  readonly max: number;
  readonly counts: number;

  constructor(
    readonly arena: Arena,
    readonly channels: number,
  ) {
    this.min = arena.put(new Float32Array(channels).fill(Number.POSITIVE_INFINITY));
    this.max = arena.put(new Float32Array(channels).fill(Number.NEGATIVE_INFINITY));
    this.counts = arena.zeros(8);
  }

  result(): ChannelExtremes {
    const [nan, inf] = this.arena.get(this.counts, new Int32Array(2)) as unknown as [number, number];
    const min = this.arena.get(this.min, new Float32Array(this.channels));
    const max = this.arena.get(this.max, new Float32Array(this.channels));
    // The order of lanes decides which zero comes out of -0 and 0: make it 0.
    for (let i = 0; i < this.channels; i++) {
      min[i]! += 0;
      max[i]! += 0;
    }
    return { min, max, nan, inf };
  }
}

function putTrial(arena: Arena, { inverse, lo, hi }: TrialSpec): { inverse: number; lo: number; hi: number } {
  return { inverse: arena.put(inverse), lo: arena.put(lo), hi: arena.put(hi) };
}

function sumLanes(lanes: Float64Array, at: number): number {
  return lanes[at]! + lanes[at + 1]! + (lanes[at + 2]! + lanes[at + 3]!);
}

function emptyErrors(channels: number): TrialErrors {
  return { dd: new Float64Array(channels), ad: new Float64Array(channels), aa: new Float64Array(channels) };
}
