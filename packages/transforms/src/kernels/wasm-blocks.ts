import { PareError } from '@pare/core';
import { type BlockSpec, type Blocks, blocksPerRun, candidateRatios } from './blocks.js';
import { type FloatInput, type FloatReader, readerOf } from './kernels.js';
import type { Arena } from './memory.js';

/** Bytes of x that lie in the arena at once. */
const STRIP = 1 << 20;

/** `Kernels.quantizeBlocks` in WebAssembly. */
export function quantizeBlocks(arena: Arena, x: FloatInput, spec: BlockSpec): Blocks {
  const reader = readerOf(x, spec.rows * spec.cols);
  if (spec.size % 16 !== 0 || spec.size <= 0) {
    throw new PareError('bad-option', `Block size ${spec.size} is not a multiple of 16.`);
  }
  const search = new BlockSearch(arena, spec);
  const blocks =
    spec.axis === 1
      ? alongRows(reader, spec, arena, search)
      : spec.layout === 'blocks'
        ? downColumns(reader, spec, arena, search)
        : downColumnsInOrder(reader, spec, arena, search);
  return search.finish(blocks);
}

/** Where the kernel finds a strip of x and puts what it makes of it; names as in packages/transforms/kernels/blocks.ts. */
interface Job {
  x: number;
  across: number;
  along: number;
  n: number;
  lanes: number;
  packed?: number;
  packedLane?: number;
  codes?: number;
  codesRow?: number;
  scales: number;
  zeros: number;
  paramLane: number;
  paramBlock: number;
}

/** The kernel with what stays the same from strip to strip. */
class BlockSearch {
  readonly #ratios: number;
  readonly #candidates: number;
  readonly #tile: number;
  readonly #energy: number;

  constructor(
    readonly arena: Arena,
    readonly spec: BlockSpec,
  ) {
    const ratios = candidateRatios(spec);
    this.#candidates = ratios.length;
    this.#ratios = arena.put(ratios);
    this.#tile = arena.take(spec.size * 80);
    this.#energy = arena.zeros(16);
  }

  run(s: Job): void {
    const { bits, size, symmetric, signed } = this.spec;
    this.arena.exports.blocks(
      s.x,
      s.across,
      s.along,
      s.n,
      s.lanes,
      bits,
      size,
      Number(symmetric),
      signed ? 0 : 2 ** (bits - 1),
      this.#ratios,
      this.#candidates,
      this.#tile,
      s.packed ?? 0,
      s.packedLane ?? 0,
      s.codes ?? 0,
      s.codesRow ?? 0,
      s.scales,
      s.zeros,
      s.paramLane,
      s.paramBlock,
      this.#energy,
    );
  }

  finish(blocks: Omit<Blocks, 'noise' | 'signal'>): Blocks {
    const energy = this.arena.get(this.#energy, new Float64Array(2));
    return { ...blocks, noise: energy[0] as number, signal: energy[1] as number };
  }
}

/** The result being filled, and the scales and zero points of one strip in the arena. */
class Output {
  readonly packed: Uint8Array;
  readonly scales: Float32Array;
  readonly zeroPoints: Uint8Array;
  readonly stripScales: number;
  readonly stripZeros: number;

  constructor(
    readonly arena: Arena,
    size: { bytes: number; blocks: number; blocksOfStrip: number },
  ) {
    this.packed = new Uint8Array(size.bytes);
    this.scales = new Float32Array(size.blocks);
    this.zeroPoints = new Uint8Array(size.blocks);
    this.stripScales = arena.take(size.blocksOfStrip * 4);
    this.stripZeros = arena.take(size.blocksOfStrip);
  }

  takePacked(at: number, length: number, to: number): void {
    this.packed.set(this.arena.bytes.subarray(at, at + length), to);
  }

  takeParameters(block: number, count: number): void {
    this.arena.get(this.stripScales, this.scales.subarray(block, block + count));
    this.zeroPoints.set(this.arena.bytes.subarray(this.stripZeros, this.stripZeros + count), block);
  }
}

/** Blocks along the rows, in strips of whole rows. */
function alongRows(x: FloatReader, spec: BlockSpec, arena: Arena, search: BlockSearch): Output {
  const { rows, cols, bits, size } = spec;
  const perRun = blocksPerRun(spec);
  const padded = (perRun * size * bits) / 8;
  const run = spec.layout === 'blocks' ? padded : (cols * bits) / 8;
  if (!Number.isInteger(run)) {
    throw new PareError('unsupported', `Rows of ${cols} elements of ${bits} bits do not fill whole bytes.`);
  }
  const height = Math.max(4, Math.floor(STRIP / (cols * 16)) * 4);
  const out = new Output(arena, { bytes: rows * run, blocks: rows * perRun, blocksOfStrip: height * perRun });
  const strip = new RowStrip(arena, x, cols, height);
  const packed = arena.take(height * padded);
  for (let row = 0; row < rows; row += height) {
    const lanes = Math.min(height, rows - row);
    search.run({
      x: strip.load(row, lanes),
      across: cols * 4,
      along: 4,
      n: cols,
      lanes,
      packed,
      packedLane: padded,
      scales: out.stripScales,
      zeros: out.stripZeros,
      paramLane: perRun,
      paramBlock: 1,
    });
    if (run === padded) out.takePacked(packed, lanes * run, row * run);
    else for (let lane = 0; lane < lanes; lane++) out.takePacked(packed + lane * padded, run, (row + lane) * run);
    out.takeParameters(row * perRun, lanes * perRun);
  }
  return out;
}

/** Blocks down the columns, packed column after column, in strips of whole rows. All packed codes lie in the arena. */
function downColumns(x: FloatReader, spec: BlockSpec, arena: Arena, search: BlockSearch): Output {
  const { rows, cols, bits, size } = spec;
  const perRun = blocksPerRun(spec);
  const blob = (size * bits) / 8;
  const run = perRun * blob;
  const height = Math.max(1, Math.floor(STRIP / (cols * size * 4))) * size;
  const out = new Output(arena, { bytes: cols * run, blocks: cols * perRun, blocksOfStrip: cols * perRun });
  const strip = new RowStrip(arena, x, cols, height);
  const packed = arena.take(cols * run);
  for (let row = 0; row < rows; row += height) {
    const n = Math.min(height, rows - row);
    const block = row / size;
    search.run({
      x: strip.load(row, n),
      across: 4,
      along: cols * 4,
      n,
      lanes: cols,
      packed: packed + block * blob,
      packedLane: run,
      scales: out.stripScales + block * 4,
      zeros: out.stripZeros + block,
      paramLane: perRun,
      paramBlock: 1,
    });
  }
  out.takePacked(packed, cols * run, 0);
  out.takeParameters(0, cols * perRun);
  return out;
}

/** Blocks down the columns, packed in the order of the elements: one row of blocks after the other. */
function downColumnsInOrder(x: FloatReader, spec: BlockSpec, arena: Arena, search: BlockSearch): Output {
  const { rows, cols, size, bits } = spec;
  const out = new Output(arena, {
    bytes: Math.ceil((rows * cols * bits) / 8),
    blocks: cols * blocksPerRun(spec),
    blocksOfStrip: cols,
  });
  const strip = new RowStrip(arena, x, cols, size);
  const codes = arena.take(size * cols);
  const packed = arena.take(size * cols);
  for (let row = 0; row < rows; row += size) {
    const n = Math.min(size, rows - row);
    search.run({
      x: strip.load(row, n),
      across: 4,
      along: cols * 4,
      n,
      lanes: cols,
      codes,
      codesRow: cols,
      scales: out.stripScales,
      zeros: out.stripZeros,
      paramLane: 1,
      paramBlock: cols,
    });
    // Strips start at whole bytes, because a block has a multiple of 16 elements.
    arena.exports.pack(codes, n * cols, bits, packed);
    out.takePacked(packed, Math.ceil((n * cols * bits) / 8), (row * cols * bits) / 8);
    out.takeParameters((row / size) * cols, cols);
  }
  return out;
}

/** Some rows of a matrix in the arena. */
class RowStrip {
  readonly #at: number;

  constructor(
    readonly arena: Arena,
    readonly x: FloatReader,
    readonly cols: number,
    height: number,
  ) {
    this.#at = arena.take(height * cols * 4);
  }

  /** Reads `count` rows and returns where they are. */
  load(row: number, count: number): number {
    this.x.read(row * this.cols, this.arena.bytes.subarray(this.#at, this.#at + count * this.cols * 4));
    return this.#at;
  }
}
