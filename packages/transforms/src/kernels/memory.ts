/** What the compiled kernels export; see packages/transforms/kernels for each. Pointers are byte offsets. */
export interface KernelExports {
  readonly memory: WebAssembly.Memory;
  rangeRows(x: number, rows: number, cols: number, min: number, max: number, counts: number): void;
  rangeColumns(x: number, rows: number, cols: number, min: number, max: number, counts: number): void;
  quantizeRows(
    x: number,
    rows: number,
    cols: number,
    scale: number,
    zero: number,
    qmin: number,
    qmax: number,
    out: number,
  ): void;
  quantizeColumns(
    x: number,
    rows: number,
    cols: number,
    scale: number,
    zero: number,
    qmin: number,
    qmax: number,
    out: number,
  ): void;
  errorRows(x: number, rows: number, cols: number, inv: number, lo: number, hi: number, out: number): void;
  errorColumns(x: number, rows: number, cols: number, inv: number, lo: number, hi: number, out: number): void;
  products(x: number, y: number, n: number, out: number): void;
  float32ToFloat16(x: number, n: number, limit: number, out: number): void;
  float32ToBfloat16(x: number, n: number, out: number): void;
  float16ToFloat32(x: number, n: number, out: number): void;
  bfloat16ToFloat32(x: number, n: number, out: number): void;
  histogram(x: number, n: number, scale: number, half: number, counts: number): void;
  fold(counts: number, bins: number, out: number): void;
  blocks(
    x: number,
    across: number,
    along: number,
    n: number,
    lanes: number,
    bits: number,
    size: number,
    symmetric: number,
    offset: number,
    ratios: number,
    candidates: number,
    tile: number,
    packed: number,
    packedLane: number,
    codes: number,
    codesRow: number,
    scales: number,
    zeros: number,
    paramLane: number,
    paramBlock: number,
    energy: number,
  ): void;
  pack(codes: number, n: number, bits: number, out: number): void;
}

/** Below lie the scratch words of the kernels. */
const BASE = 1024;
const PAGE = 65536;

/**
 * The memory of the kernels as a stack that is emptied at the start of every operation. Operations pass big inputs through
 * it in pieces, so it stays at a few megabytes. Views are fresh after every `take`, which may move the memory.
 */
export class Arena {
  #top = BASE;
  bytes: Uint8Array;

  constructor(readonly exports: KernelExports) {
    this.bytes = new Uint8Array(exports.memory.buffer);
  }

  reset(): void {
    this.#top = BASE;
  }

  /** The offset of `size` bytes, aligned to a cache line, with some slack behind for kernels that write whole vectors. */
  take(size: number): number {
    const at = this.#top;
    this.#top = Math.ceil((at + size + 64) / 64) * 64;
    const { memory } = this.exports;
    if (this.#top > memory.buffer.byteLength) memory.grow(Math.ceil((this.#top - memory.buffer.byteLength) / PAGE));
    if (this.bytes.buffer !== memory.buffer) this.bytes = new Uint8Array(memory.buffer);
    return at;
  }

  /** `size` bytes of zeros. */
  zeros(size: number): number {
    const at = this.take(size);
    this.bytes.fill(0, at, at + size);
    return at;
  }

  /** A copy of `values`. */
  put(values: Float32Array | Float64Array | Int32Array): number {
    const at = this.take(values.byteLength);
    this.bytes.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), at);
    return at;
  }

  /** Copies back into `values` what lies at `at`. */
  get<T extends Float32Array | Float64Array | Int32Array | Uint32Array>(at: number, values: T): T {
    new Uint8Array(values.buffer, values.byteOffset, values.byteLength).set(
      this.bytes.subarray(at, at + values.byteLength),
    );
    return values;
  }
}
