import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, outputDims, positions, product } from './geometry.js';
import type { ForwardForm } from './quicken.js';

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

/** Elements that a transform of a whole picture may have. */
const LIMIT = 2 ** 18;

/**
 * 3x3 convolutions of small pictures. The transforms are one dense matrix each for all tiles of a picture, padding included, so
 * that nothing is cut into tiles or moved: v [36 tiles, images * channels] = B x, a product a frequency with u = G w, y = A m.
 */
export const winograd: ForwardForm = {
  fits: (c) => {
    const isPlain = c.groups === 1 && c.kernel.length === 2 && c.kernel.every((k) => k === KERNEL);
    if (!isPlain || [...c.strides, ...c.dilations].some((n) => n !== 1)) return false;
    const [inputs, outputs] = [product(c.inputs), product(c.outputs)];
    const frequencies = LENGTH ** 2 * product(tilesOf(c));
    if (frequencies * Math.max(inputs, outputs) > LIMIT) return false;
    const direct = KERNEL ** 2 * outputs * c.channels * c.filters;
    const transforms = frequencies * (inputs * c.channels + outputs * c.filters);
    return direct > 1.2 * (transforms + frequencies * c.channels * c.filters);
  },
  emit: (e, c, x, w) => {
    const { batch, channels, filters } = c;
    const [inputs, tiles, all] = [product(c.inputs), product(tilesOf(c)), LENGTH ** 2];
    const pictures = e.reshape(x, [batch * channels, inputs]);
    const v = e.op('Gemm', [inputTransform(e, c, x), pictures], { transB: 1 });
    const u = e.op('Gemm', [kernelTransform(e, w), e.reshape(w, [filters * channels, KERNEL ** 2])], { transB: 1 });
    const m = e.op('MatMul', [
      e.reshape(v, [all, tiles * batch, channels]),
      e.swap(e.reshape(u, [all, filters, channels])),
    ]);
    const flat = e.reshape(m, [all * tiles, batch * filters]);
    const y = e.op('Gemm', [flat, outputTransform(e, c, x)], { transA: 1 });
    return e.reshape(y, outputDims(c));
  },
};

const tilesOf = (c: ConvGeometry): number[] => c.outputs.map((n) => Math.ceil(n / OUTPUTS));

/** [frequencies * tiles, inputs] */
function inputTransform(e: Emitter, c: ConvGeometry, like: Value): Value {
  return table(e, like, [positions([LENGTH, LENGTH]), positions(tilesOf(c))], positions(c.inputs), ([f, tile], p) =>
    product(
      p.map((v, i) => INPUT[f?.[i] as number]?.[v + (c.begin[i] as number) - OUTPUTS * (tile?.[i] as number)] ?? 0),
    ),
  );
}

/** [frequencies, kernel] */
function kernelTransform(e: Emitter, like: Value): Value {
  return table(e, like, [positions([LENGTH, LENGTH])], positions([KERNEL, KERNEL]), ([f], t) =>
    product(t.map((v, i) => KERNELS[f?.[i] as number]?.[v] as number)),
  );
}

/** [frequencies * tiles, outputs] */
function outputTransform(e: Emitter, c: ConvGeometry, like: Value): Value {
  return table(e, like, [positions([LENGTH, LENGTH]), positions(tilesOf(c))], positions(c.outputs), ([f, tile], p) =>
    product(p.map((v, i) => RESULT[v - OUTPUTS * (tile?.[i] as number)]?.[f?.[i] as number] ?? 0)),
  );
}

/** A constant matrix: a row for each combination of `rows`, a column for each of `columns`. */
function table(
  e: Emitter,
  like: Value,
  rows: readonly (readonly number[][])[],
  columns: readonly number[][],
  element: (row: readonly number[][], column: readonly number[]) => number,
): Value {
  const combinations = rows.reduce<number[][][]>(
    (all, part) => all.flatMap((lead) => part.map((p) => [...lead, p])),
    [[]],
  );
  const values = combinations.flatMap((row) => columns.map((column) => element(row, column)));
  return e.constant(e.dtype(like), [combinations.length, columns.length], values);
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
