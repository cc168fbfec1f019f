import type { Adjoint, Rule } from '../rule.js';
import { type AxisMap, axisMap, transposeMaps } from '../separable.js';

/**
 * Resizing is linear and separable: y = M x along each axis, so dx = Mᵀ g. M is built as the ONNX specification of Resize and
 * ONNX Runtime (where that is not clear) compute the output.
 */
export const RESIZE: Readonly<Record<string, Rule>> = {
  Resize: (op) => [
    () =>
      transposeMaps(
        op.emit,
        op.g(),
        axes(op).map((axis) => interpolation(op, axis)),
      ),
  ],
};

/** How one axis is resized. */
interface Axis {
  readonly axis: number;
  readonly inputs: number;
  readonly outputs: number;
  readonly scale: number;
  /** Begin and end of the region of interest, as shares of the axis. */
  readonly region: readonly [number, number];
}

/** The axes that change. */
function axes(op: Adjoint): Axis[] {
  const { node } = op;
  const [dims, result] = [op.shape(), op.emit.shape(op.y())];
  const listed = (node.ints('axes') ?? [...dims.keys()]).map((axis) => (axis < 0 ? axis + dims.length : axis));
  // An empty tensor stands for one that is left out.
  const given = (index: number): readonly number[] | undefined => {
    const values = op.numbers(index);
    return values?.length ? values : undefined;
  };
  const cropped = coordinates(op) === 'tf_crop_and_resize';
  const roi = cropped ? given(1) : undefined;
  const scales = given(2) ?? scalesOfSizes(op, listed, given(3) ?? []);
  return listed.flatMap((axis, i) => {
    const [inputs, outputs, scale] = [dims[axis] as number, result[axis] as number, scales[i] as number];
    if (scale === 1 && inputs === outputs && !cropped) return [];
    return [{ axis, inputs, outputs, scale, region: [roi?.[i] ?? 0, roi?.[listed.length + i] ?? 1] }];
  });
}

function scalesOfSizes(op: Adjoint, listed: readonly number[], sizes: readonly number[]): number[] {
  const scales = listed.map((axis, i) => Math.fround((sizes[i] as number) / (op.shape()[axis] as number)));
  const policy = op.node.string('keep_aspect_ratio_policy', 'stretch');
  if (policy === 'stretch') return scales;
  return scales.fill(policy === 'not_larger' ? Math.min(...scales) : Math.max(...scales));
}

const coordinates = (op: Adjoint): string => op.node.string('coordinate_transformation_mode', 'half_pixel');

/** Where output `o` lies among the inputs. ONNX Runtime computes in float32, which decides which neighbour is nearest. */
type Coordinate = (o: number, axis: Axis) => number;

const halfPixel: Coordinate = (o, { scale }) => Math.fround(Math.fround((o + 0.5) / scale) - 0.5);

const COORDINATES: Readonly<Record<string, Coordinate>> = {
  half_pixel: halfPixel,
  pytorch_half_pixel: (o, axis) => (axis.outputs > 1 ? halfPixel(o, axis) : 0),
  half_pixel_symmetric: (o, axis) => {
    // The image is centered when its length had to be rounded.
    const adjustment = Math.fround(axis.outputs / Math.fround(axis.scale * axis.inputs));
    const offset = Math.fround((axis.inputs / 2) * Math.fround(1 - adjustment));
    return Math.fround(Math.fround(offset + Math.fround((o + 0.5) / axis.scale)) - 0.5);
  },
  asymmetric: (o, { scale }) => Math.fround(o / scale),
  align_corners: (o, { inputs, outputs }) => (outputs > 1 ? Math.fround((o * (inputs - 1)) / (outputs - 1)) : 0),
  tf_crop_and_resize: (o, { inputs, outputs, region: [begin, end] }) =>
    outputs > 1
      ? Math.fround(begin * (inputs - 1) + (o * (end - begin) * (inputs - 1)) / (outputs - 1))
      : Math.fround(0.5 * (begin + end) * (inputs - 1)),
};

const NEAREST: Readonly<Record<string, (x: number) => number>> = {
  round_prefer_floor: (x) => Math.ceil(x - 0.5),
  round_prefer_ceil: (x) => Math.floor(x + 0.5),
  floor: Math.floor,
  ceil: Math.ceil,
};

/** Weight of an input that is `t` away, zero from `reach` on. */
interface Filter {
  readonly reach: number;
  weight(t: number): number;
}

const LINEAR: Filter = { reach: 1, weight: (t) => Math.max(0, 1 - Math.abs(t)) };

/** Keys, Cubic Convolution Interpolation for Digital Image Processing, IEEE Trans. ASSP 29 (1981), formula 15. */
const cubic = (a: number): Filter => ({
  reach: 2,
  weight: (distance) => {
    const t = Math.abs(distance);
    if (t <= 1) return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
  },
});

/** The matrix of one axis: each output is a weighed mean of the inputs around its coordinate. */
function interpolation(op: Adjoint, axis: Axis): AxisMap {
  const { node } = op;
  const { inputs, outputs } = axis;
  const mode = coordinates(op);
  const coordinate = COORDINATES[mode] ?? node.fail(`has the unknown coordinate_transformation_mode "${mode}"`);
  const neighbours = neighboursOf(op, axis);
  const map = axisMap(axis.axis, outputs, inputs);
  for (let o = 0; o < outputs; o++) {
    const x = coordinate(o, axis);
    // Outside of the region the output is a constant.
    if (mode === 'tf_crop_and_resize' && (x < 0 || x > inputs - 1)) continue;
    const around = neighbours(x);
    const total = around.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [i, weight] of around) {
      const at = o * inputs + Math.min(Math.max(i, 0), inputs - 1);
      map.weights[at] = (map.weights[at] as number) + weight / total;
    }
  }
  return map;
}

/** Which inputs make an output at a coordinate, and their weights; those beyond an end stand for the last one there. */
function neighboursOf(op: Adjoint, { inputs, scale }: Axis): (x: number) => [input: number, weight: number][] {
  const { node } = op;
  const mode = node.string('mode', 'nearest');
  if (mode === 'nearest') {
    const rounding = node.string('nearest_mode', 'round_prefer_floor');
    const round = NEAREST[rounding] ?? node.fail(`has the unknown nearest_mode "${rounding}"`);
    return (x) => [[round(x), 1]];
  }
  const antialias = node.int('antialias', 0) !== 0;
  const filter = mode === 'linear' ? LINEAR : cubic(node.float('cubic_coeff_a', -0.75));
  const inside = node.int('exclude_outside', 0) !== 0 && (mode === 'cubic' || antialias);
  // Against aliasing, the filter is as wide as an output where the image shrinks.
  const stretch = antialias ? Math.max(1, 1 / scale) : 1;
  const reach = filter.reach * stretch;
  return (x) => {
    const first = inside ? Math.max(0, Math.ceil(x - reach)) : Math.ceil(x - reach);
    const last = inside ? Math.min(inputs - 1, Math.floor(x + reach)) : Math.floor(x + reach);
    return Array.from({ length: last - first + 1 }, (_, i) => [first + i, filter.weight((first + i - x) / stretch)]);
  };
}
