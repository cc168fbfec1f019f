import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, outputDims, product } from './geometry.js';
import type { ForwardForm } from './quicken.js';
import { turned } from './taps.js';

/**
 * Winograd's minimal filtering F(4, 3): four outputs of a kernel of three from six products instead of twelve, y = A ((G w) *
 * (B x)) on each axis. Toom-Cook with the points 0, -1, 1, 1/2, -2 and infinity, which round the least.
 *
 * Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, arXiv 1509.09308; Barabasz et al., Error Analysis and
 * Improving the Accuracy of Winograd Convolution for Deep Neural Networks, arXiv 1803.10986.
 */
const POINTS = [0, -1, 1, 1 / 2, -2];
const [OUTPUTS, KERNEL] = [4, 3];
const LENGTH = OUTPUTS + KERNEL - 1;

/** Larger pictures do not fit into the caches, where the passes of the transforms would have to go. */
const MOST_OUTPUTS = 16 * 16;
/** Fewer channels make the products too thin to pay for the transforms. */
const LEAST_CHANNELS = 32;

/**
 * 3x3 convolutions of small pictures. With the positions first and the channels last, the transforms along each axis are one
 * product with a matrix for all tiles, padding included, and the products of the frequencies lie where the transforms leave
 * them: nothing is cut into tiles.
 */
export const winograd: ForwardForm = {
  fits: (c) => {
    const isPlain = c.groups === 1 && c.kernel.length === 2 && c.kernel.every((k) => k === KERNEL);
    if (!isPlain || [...c.strides, ...c.dilations].some((n) => n !== 1)) return false;
    if (product(c.outputs) > MOST_OUTPUTS || Math.min(c.channels, c.filters) < LEAST_CHANNELS) return false;
    return KERNEL ** 2 * product(c.outputs) >= 2 * LENGTH ** 2 * product(tilesOf(c));
  },
  emit: (e, c, x, w) => {
    const { batch, channels, filters } = c;
    const [height, width] = c.inputs as [number, number];
    const [rows, columns] = c.outputs as [number, number];
    const [down, across] = tilesOf(c) as [number, number];
    const [above, left] = c.begin as [number, number];

    // [height, width, batch, channels], then [frequency, tile] instead of each axis.
    const last = turned(e, x, batch * channels);
    const byRows = e.op('Gemm', [
      inputTransform(e, x, height, down, above),
      e.reshape(last, [height, width * batch * channels]),
    ]);
    const v = e.op('MatMul', [
      inputTransform(e, x, width, across, left),
      e.reshape(byRows, [LENGTH * down, width, batch * channels]),
    ]);
    const kernels = e.reshape(w, [filters * channels, KERNEL ** 2]);
    const u = e.op('Gemm', [kernelTransform(e, w), kernels], { transB: 1 });
    const m = e.op('MatMul', [
      e.reshape(v, [LENGTH, down, LENGTH, across * batch, channels]),
      e.swap(e.reshape(u, [LENGTH, 1, LENGTH, filters, channels])),
    ]);

    // And back.
    const byColumns = e.op('MatMul', [
      outputTransform(e, x, columns, across),
      e.reshape(m, [LENGTH * down, LENGTH * across, batch * filters]),
    ]);
    const y = e.op('Gemm', [
      outputTransform(e, x, rows, down),
      e.reshape(byColumns, [LENGTH * down, columns * batch * filters]),
    ]);
    return e.reshape(turned(e, y, rows * columns), outputDims(c));
  },
};

const tilesOf = (c: ConvGeometry): number[] => c.outputs.map((n) => Math.ceil(n / OUTPUTS));

/** B for all tiles of an axis: [6 tiles, inputs]. Zeros stand for the padding: `begin` of them before the first input. */
function inputTransform(e: Emitter, like: Value, inputs: number, tiles: number, begin: number): Value {
  return matrix(e, like, LENGTH * tiles, inputs, (row, i) => {
    const [frequency, tile] = [Math.floor(row / tiles), row % tiles];
    return INPUT[frequency]?.[i + begin - OUTPUTS * tile] ?? 0;
  });
}

/** A for all tiles of an axis: [outputs, 6 tiles]. */
function outputTransform(e: Emitter, like: Value, outputs: number, tiles: number): Value {
  return matrix(e, like, outputs, LENGTH * tiles, (o, column) => {
    const [frequency, tile] = [Math.floor(column / tiles), column % tiles];
    return RESULT[o - OUTPUTS * tile]?.[frequency] ?? 0;
  });
}

/** G on both axes: [36, 9]. */
function kernelTransform(e: Emitter, like: Value): Value {
  return matrix(e, like, LENGTH ** 2, KERNEL ** 2, (row, t) => {
    const along = (f: number, i: number): number => KERNELS[f]?.[i] as number;
    return along(Math.floor(row / LENGTH), Math.floor(t / KERNEL)) * along(row % LENGTH, t % KERNEL);
  });
}

function matrix(
  e: Emitter,
  like: Value,
  rows: number,
  columns: number,
  element: (row: number, column: number) => number,
): Value {
  const values = Array.from({ length: rows * columns }, (_, at) => element(Math.floor(at / columns), at % columns));
  return e.constant(e.dtype(like), [rows, columns], values);
}

/** Coefficients of the polynomial with the given roots, lowest degree first. */
function polynomial(roots: readonly number[]): number[] {
  return roots.reduce<number[]>(
    (c, root) => Array.from({ length: c.length + 1 }, (_, i) => (c[i - 1] ?? 0) - root * (c[i] ?? 0)),
    [1],
  );
}

const others = (j: number): number[] => POINTS.filter((_, k) => k !== j);
/** B [6, 6]: the last row is that of the point at infinity. */
const INPUT: readonly number[][] = [...POINTS.map((_, j) => [...polynomial(others(j)), 0]), polynomial(POINTS)];
/** G [6, 3] */
const KERNELS: readonly number[][] = [
  ...POINTS.map((p, j) => {
    const norm = product(others(j).map((q) => p - q));
    return Array.from({ length: KERNEL }, (_, i) => p ** i / norm);
  }),
  [0, 0, 1],
];
/** A [4, 6] */
const RESULT: readonly number[][] = Array.from({ length: OUTPUTS }, (_, i) => [
  ...POINTS.map((p) => p ** i),
  i === OUTPUTS - 1 ? 1 : 0,
]);
