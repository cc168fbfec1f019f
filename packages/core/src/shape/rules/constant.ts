import { type DType, dtypeOfCode } from '../../dtype.js';
import type { Tensor } from '../../ir/tensor.js';
import { elementCount } from '../../ir/tensor.js';
import type { Dim } from '../../ir/type.js';
import { addDim, ceilDivDim, maxDim, mulDim, productDim, subDim } from '../dim.js';
import { type Known, MAX_VALUES, type Rule, type RuleTable, tensor } from '../op.js';
import { smallShape, tensorValues } from '../values.js';
import { shapeInput } from './reshape.js';

/** What is known of a constant. */
export const knownTensor = (t: Tensor): Known => tensor(t.dtype, t.dims, tensorValues(t));

const constant: Rule = (op) => {
  const value = op.tensor('value');
  if (value) return [knownTensor(value)];
  const sparse = op.attribute('sparse_value', 'sparseTensor');
  if (sparse) return [tensor(sparse.values.dtype, sparse.dims)];
  const int = op.int('value_int');
  if (int !== undefined) return [tensor('int64', [], [int])];
  const ints = op.ints('value_ints');
  if (ints) return [tensor('int64', [ints.length], ints)];
  const float = op.attribute('value_float', 'float');
  if (float !== undefined) return [tensor('float32', [], [float])];
  const floats = op.attribute('value_floats', 'floats');
  if (floats) return [tensor('float32', [floats.length], floats)];
  if (op.attribute('value_string', 'string') !== undefined) return [tensor('string', [])];
  const strings = op.attribute('value_strings', 'strings');
  return [strings && tensor('string', [strings.length])];
};

const constantOfShape: Rule = (op) => {
  const value = op.tensor('value');
  const shape = shapeInput(op, 0);
  const small = smallShape(shape);
  const fill = value ? (value.scalar() ?? null) : 0;
  return [tensor(value?.dtype ?? 'float32', shape, small && new Array<Dim>(elementCount(small)).fill(fill))];
};

const shape: Rule = (op) => {
  const input = op.shape(0);
  if (!input) return [tensor('int64', [null])];
  const clamp = (axis: number): number => Math.min(Math.max(axis < 0 ? axis + input.length : axis, 0), input.length);
  const end = op.int('end');
  const dims = input.slice(clamp(op.int('start', 0)), end === undefined ? input.length : clamp(end));
  return [tensor('int64', [dims.length], dims)];
};

const size: Rule = (op) => {
  const input = op.shape(0);
  return [tensor('int64', [], input && [productDim(input)])];
};

const range: Rule = (op) => {
  const dtype = op.dtype(0) ?? op.dtype(1) ?? op.dtype(2);
  const [start, limit, delta] = [0, 1, 2].map((i) => op.values(i)?.[0] ?? null) as [Dim, Dim, Dim];
  const step = op.inputCount < 3 ? 1 : delta;
  const length = rangeLength(start, limit, step, dtype);
  const values =
    typeof length === 'number' && length <= MAX_VALUES
      ? Array.from({ length }, (_, i) => addDim(start, mulDim(step, i)))
      : undefined;
  return [tensor(dtype, [length], values)];
};

/** max(0, ceil((limit - start) / step)), where all are integers (also in a float type) or known floats. */
function rangeLength(start: Dim, limit: Dim, step: Dim, dtype: DType | undefined): Dim {
  if (typeof step !== 'number' || step === 0) return null;
  if ([start, limit, step].some((v) => typeof v === 'number' && !Number.isInteger(v))) {
    if (typeof start !== 'number' || typeof limit !== 'number' || dtype !== 'float32') return null;
    const [single, double] = [Math.fround(limit - start), limit - start].map((span) => Math.ceil(span / step));
    return single === double ? Math.max(0, single as number) : null;
  }
  return maxDim(ceilDivDim(subDim(limit, start), step), 0);
}

const eyeLike: Rule = (op) => [tensor(dtypeOfCode(op.int('dtype', 0)) ?? op.dtype(0), op.shape(0))];

/** Random values of the shape in attribute `shape`. */
const random: Rule = (op) => [tensor(dtypeOfCode(op.int('dtype', 1)), op.ints('shape'))];
const randomLike: Rule = (op) => [tensor(dtypeOfCode(op.int('dtype', 0)) ?? op.dtype(0), op.shape(0))];

const multinomial: Rule = (op) => [tensor(dtypeOfCode(op.int('dtype', 6)), [op.dim(0, 0), op.int('sample_size', 1)])];

/** A window of the length in input 0. */
const window: Rule = (op) => [tensor(dtypeOfCode(op.int('output_datatype', 1)), [op.values(0)?.[0] ?? null])];

export const constants: RuleTable = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Shape: shape,
  Size: size,
  Range: range,
  EyeLike: eyeLike,
  RandomNormal: random,
  RandomUniform: random,
  RandomNormalLike: randomLike,
  RandomUniformLike: randomLike,
  Bernoulli: randomLike,
  Multinomial: multinomial,
  HannWindow: window,
  HammingWindow: window,
  BlackmanWindow: window,
};
