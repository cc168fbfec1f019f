import type { Dim, Shape } from '../../ir/type.js';
import { floorDim, mulDim } from '../dim.js';
import { normalizeAxes, type Op, type Rule, type RuleTable, tensor, unknownShape } from '../op.js';

/** floor(length * scale) as float32 computes it. */
function scaled(length: Dim, scale: Dim): Dim {
  if (scale === 1) return length;
  if (typeof length === 'number' && typeof scale === 'number') return Math.floor(Math.fround(length * scale));
  return floorDim(mulDim(length, scale));
}

const resize: Rule = (op) => {
  const input = op.shape(0);
  if (!input) return [tensor(op.dtype(0))];
  if (op.version < 11) return [tensor(op.dtype(0), scaledShape(input, op.values(1)))];
  const axes = normalizeAxes(op.ints('axes') ?? input.map((_, i) => i), input.length);
  return [tensor(op.dtype(0), axes && resized(op, input, axes))];
};

const scaledShape = (input: Shape, scales: readonly Dim[] | undefined): Shape =>
  input.map((d, i) => scaled(d, scales?.[i] ?? null));

function resized(op: Op, input: Shape, axes: readonly number[]): Shape {
  // An empty tensor stands for one that is left out.
  const present = (index: number): boolean => op.has(index) && op.dim(index, 0) !== 0;
  const at = (axis: number, values: readonly Dim[] | undefined): Dim => values?.[axes.indexOf(axis)] ?? null;
  if (present(3)) {
    const sizes = op.values(3);
    const policy = op.string('keep_aspect_ratio_policy', 'stretch');
    // ONNX Runtime 1.30 leaves axes that are counted from the back as they are, against the specification.
    const fromBack = op.ints('axes')?.some((axis) => axis < 0);
    if (policy !== 'stretch' && fromBack) return input.map((d, axis) => (axes.includes(axis) ? null : d));
    if (policy !== 'stretch') return keepAspect(input, axes, sizes, policy);
    return input.map((d, axis) => (axes.includes(axis) ? at(axis, sizes) : d));
  }
  // The region of interest enters the size in this mode.
  const cropped = op.string('coordinate_transformation_mode', '') === 'tf_crop_and_resize';
  if (!present(2) || cropped) return input.map((d, axis) => (axes.includes(axis) ? null : d));
  const scales = op.values(2);
  return input.map((d, axis) => (axes.includes(axis) ? scaled(d, at(axis, scales)) : d));
}

/** All axes scaled by one factor, so that the result fits into the sizes (`not_larger`) or covers them. */
function keepAspect(input: Shape, axes: readonly number[], sizes: readonly Dim[] | undefined, policy: string): Shape {
  const ratios = axes.map((axis, i) => {
    const [length, size] = [input[axis], sizes?.[i]];
    return typeof length === 'number' && typeof size === 'number' ? Math.fround(size / length) : Number.NaN;
  });
  const scale = policy === 'not_larger' ? Math.min(...ratios) : Math.max(...ratios);
  return input.map((d, axis) => {
    if (!axes.includes(axis)) return d;
    return typeof d === 'number' && !Number.isNaN(scale) ? Math.floor(Math.fround(d * scale) + 0.5) : null;
  });
}

const upsample: Rule = (op) => {
  const input = op.shape(0);
  const scales = op.version < 9 ? op.attribute('scales', 'floats') : op.values(1);
  return [tensor(op.dtype(0), input && scaledShape(input, scales))];
};

const roiAlign: Rule = (op) => {
  const [height, width] = [op.int('output_height', 1), op.int('output_width', 1)];
  return [tensor(op.dtype(0), [op.dim(1, 0), op.dim(0, 1), height, width])];
};

const gridSample: Rule = (op) => {
  const grid = op.shape(1);
  return [tensor(op.dtype(0), grid && [op.dim(0, 0), op.dim(0, 1), ...grid.slice(1, -1)])];
};

const affineGrid: Rule = (op) => {
  const count = op.dim(1, 0);
  const size = op.values(1) ?? (typeof count === 'number' ? unknownShape(count) : undefined);
  return [tensor(op.dtype(0), size && [size[0] ?? null, ...size.slice(2), size.length - 2])];
};

const imageDecoder: Rule = (op) => {
  const channels = op.string('pixel_format', 'RGB') === 'Grayscale' ? 1 : 3;
  return [tensor('uint8', [op.fresh(), op.fresh(), channels])];
};

export const vision: RuleTable = {
  Resize: resize,
  Upsample: upsample,
  RoiAlign: roiAlign,
  GridSample: gridSample,
  AffineGrid: affineGrid,
  NonMaxSuppression: (op) => [tensor('int64', [op.fresh(), 3])],
  ImageDecoder: imageDecoder,
};
