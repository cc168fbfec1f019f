import { PareError, type Value } from '@pare/core';
import { addRows } from '../add-rows.js';
import type { Emitter } from '../emitter.js';
import { type Adjoint, once, type Rule } from '../rule.js';

/**
 * Reads an image [N, C, spatial...] at the points of a grid. Over the corners k of the cell around a point, y = sum of w_k x_k,
 * where w_k is a product of a weight an axis: dx_k = w_k g, and a coordinate gets the sum over k of dw_k x_k g.
 *
 * Jaderberg et al., Spatial Transformer Networks, arXiv:1506.02025, section 3.3.
 */
export const GRID_SAMPLE: Readonly<Record<string, Rule>> = {
  GridSample: (op) => {
    const { emit } = op;
    const dims = op.shape();
    const spatial = dims.length - 2;
    const corners = once(() => cornersOf(op));
    // A row is a point of the grid, or a pixel, and has a column a channel.
    const g = once(() => channelsLast(emit, op.g()));
    return [
      () => {
        const parts = corners().map(({ sides }) =>
          emit.mul(
            g(),
            all(
              emit,
              sides.map((side) => side.weight),
            ),
          ),
        );
        const places = emit.concat(
          corners().map((corner) => corner.row),
          0,
        );
        const pixels = emit.size(op.x()) / (dims[1] as number);
        const at = emit.reshape(places, [1, emit.size(places)]);
        const sums = addRows(emit, [1, pixels, dims[1] as number], at, emit.concat(parts, 0));
        const image = emit.reshape(sums, [dims[0] as number, ...dims.slice(2), dims[1] as number]);
        return emit.transpose(image, [0, dims.length - 1, ...Array.from({ length: spatial }, (_, i) => i + 1)]);
      },
      () => {
        const x = channelsLast(emit, op.x());
        const products = corners().map(({ row }) => emit.sum(emit.mul(emit.op('GatherND', [x, row]), g()), [1]));
        const coordinates = Array.from({ length: spatial }, (_, axis) => {
          const parts = corners().map(({ sides }, k) => {
            const factors = sides.map((side, i) => (i === axis ? side.slope : side.weight));
            return emit.mul(products[k] as Value, all(emit, factors));
          });
          return emit.op('Sum', parts);
        });
        // The last axis comes first in a grid.
        return emit.reshape(emit.concat(coordinates.toReversed(), 1), op.shape(1));
      },
    ];
  },
};

/** One of the pixels on an axis that a point reads: its index (int64), weight, and the slope of that in the coordinate. */
interface Side {
  readonly index: Value;
  readonly weight: Value;
  readonly slope: Value;
}

/** A pixel that each point reads: its row among all pixels, [points, 1], and what it counts along each axis. */
interface Corner {
  readonly row: Value;
  readonly sides: readonly Side[];
}

function cornersOf(op: Adjoint): Corner[] {
  const { emit } = op;
  const [batch, , ...lengths] = op.shape() as [number, number, ...number[]];
  const points = emit.size(op.x(1)) / lengths.length;
  let combinations: Side[][] = [[]];
  for (const axis of lengths.keys()) {
    const sides = sidesOf(op, axis);
    combinations = combinations.flatMap((chosen) => sides.map((side) => [...chosen, side]));
  }
  const image = emit.constant('int64', [batch, 1], [...Array(batch).keys()]);
  return combinations.map((sides) => {
    const first = emit.expand(image, [batch, points / batch]);
    let row = emit.reshape(first, [points, 1]);
    for (const [axis, side] of sides.entries()) row = emit.add(emit.mul(row, lengths[axis] as number), side.index);
    return { row, sides };
  });
}

function sidesOf(op: Adjoint, axis: number): Side[] {
  const { emit, node } = op;
  const length = op.shape()[2 + axis] as number;
  const count = op.shape().length - 2;
  const last = op.shape(1).length - 1;
  const place = count - 1 - axis;
  const coordinate = emit.reshape(emit.slice(op.x(1), [last], [place], [place + 1]), [emit.size(op.x(1)) / count, 1]);

  // From -1 to 1: the middles of the first and the last pixel, or their outer edges.
  const scale = (node.int('align_corners', 0) !== 0 ? length - 1 : length) / 2;
  const shifted = emit.add(emit.mul(coordinate, scale), (length - 1) / 2);
  const padding = node.string('padding_mode', 'zeros');
  const mode = node.string('mode', 'linear');
  const bound = (v: Value): Value => emit.op('Clip', [v, emit.scalar(0, v), emit.scalar(length - 1, v)]);
  if (padding === 'reflection') refuse(op, 'padding_mode "reflection"');
  const at = padding === 'border' ? bound(shifted) : shifted;
  const one = (v: Value): Value => emit.cast(v, emit.dtype(op.x()) === 'float64' ? 'float64' : 'float32');
  const inside = (v: Value): Value => one(emit.compare('Equal', bound(v), v));
  const index = (v: Value): Value => emit.cast(bound(v), 'int64');
  if (mode === 'nearest') {
    const nearest = emit.op('Round', [at]);
    return [{ index: index(nearest), weight: inside(nearest), slope: emit.mul(at, 0) }];
  }
  if (mode !== 'linear') refuse(op, `mode "${mode}"`);
  const low = emit.op('Floor', [at]);
  const high = emit.add(low, 1);
  // Beyond a border nothing changes with the coordinate.
  const moves = padding === 'border' ? emit.mul(inside(shifted), scale) : emit.fill([1, 1], scale, at);
  const side = (pixel: Value, weight: Value, slope: Value): Side => ({
    index: index(pixel),
    weight: emit.mul(weight, inside(pixel)),
    slope: emit.mul(slope, inside(pixel)),
  });
  return [side(low, emit.sub(high, at), emit.neg(moves)), side(high, emit.sub(at, low), moves)];
}

/** [N, C, spatial...] as [N * spatial, C]. */
function channelsLast(emit: Emitter, v: Value): Value {
  const [n, c, ...spatial] = emit.shape(v) as [number, number, ...number[]];
  const axes = spatial.map((_, axis) => axis + 2);
  return emit.reshape(emit.transpose(v, [0, ...axes, 1]), [spatial.reduce((a, b) => a * b, n), c]);
}

/** Product of all. */
const all = (emit: Emitter, factors: readonly Value[]): Value => factors.reduce((a, b) => emit.mul(a, b));

function refuse(op: Adjoint, what: string): never {
  throw new PareError('unsupported', `${op.node.label} has no gradient with ${what}.`);
}
