import type { Dim, Shape } from '../../ir/type.js';
import { productDim } from '../dim.js';
import { normalizeAxis, type Op, type Rule, type RuleTable, tensor, withDim } from '../op.js';

const gather: Rule = (op) => {
  const data = op.shape(0);
  return [tensor(op.dtype(0), gatherShape(data, op.shape(1), op.int('axis', 0)), data && gatherValues(op, data))];
};

/** `data` with axis `at` replaced by the shape of the indices. */
export function gatherShape(data: Shape | undefined, indices: Shape | undefined, at: number): Shape | undefined {
  const axis = data && normalizeAxis(at, data.length);
  if (!data || !indices || axis === undefined) return undefined;
  return [...data.slice(0, axis), ...indices, ...data.slice(axis + 1)];
}

/** Contents of a gather from a vector. */
function gatherValues(op: Op, data: Shape): readonly Dim[] | undefined {
  const values = op.values(0);
  const indices = op.values(1);
  if (!values || !indices || data.length !== 1) return undefined;
  return indices.map((i) => (typeof i === 'number' ? (values.at(i) ?? null) : null));
}

export const gatherND: Rule = (op) => {
  const [data, indices] = [op.shape(0), op.shape(1)];
  const depth = indices?.at(-1);
  if (!data || !indices || indices.length === 0 || typeof depth !== 'number') return [tensor(op.dtype(0))];
  const batch = op.int('batch_dims', 0);
  return [tensor(op.dtype(0), [...indices.slice(0, -1), ...data.slice(batch + depth)])];
};

/** Contents of data after ScatterElements or ScatterND writes into a vector at known places. */
function scatterValues(op: Op): readonly Dim[] | undefined {
  const values = op.values(0);
  const indices = op.numbers(1);
  if (!values || op.rank(0) !== 1 || !indices || op.string('reduction', 'none') !== 'none') return undefined;
  const updates = op.values(2);
  if (updates && updates.length !== indices.length) return undefined;
  const result = [...values];
  for (const [i, index] of indices.entries()) result[index < 0 ? index + values.length : index] = updates?.[i] ?? null;
  return result.length === values.length ? result : undefined;
}

const scatter: Rule = (op) => [tensor(op.dtype(0), op.shape(0), scatterValues(op))];

const compress: Rule = (op) => {
  const input = op.shape(0);
  const given = op.int('axis');
  if (given === undefined) return [tensor(op.dtype(0), [taken(op, input ? productDim(input) : null)])];
  const axis = input && normalizeAxis(given, input.length);
  if (!input || axis === undefined) return [tensor(op.dtype(0))];
  return [tensor(op.dtype(0), withDim(input, axis, taken(op, input[axis] as Dim)))];
};

/** How many of `length` entries the condition of a Compress takes; it may be shorter or longer. */
function taken(op: Op, length: Dim): Dim {
  const condition = op.numbers(1);
  if (!condition || typeof length !== 'number') return op.fresh();
  return condition.slice(0, length).filter((c) => c !== 0).length;
}

const topK: Rule = (op) => {
  const input = op.shape(0);
  const axis = input && normalizeAxis(op.int('axis', -1), input.length);
  if (!input || axis === undefined) return [tensor(op.dtype(0)), tensor('int64')];
  const k = op.version < 10 ? op.int('k', 0) : (op.values(1)?.[0] ?? null);
  const shape = withDim(input, axis, k);
  return [tensor(op.dtype(0), shape), tensor('int64', shape)];
};

const unique: Rule = (op) => {
  const input = op.shape(0);
  const count = op.fresh();
  const given = op.int('axis');
  const axis = given === undefined || !input ? undefined : normalizeAxis(given, input.length);
  const inverse =
    given === undefined ? (input ? productDim(input) : null) : axis === undefined ? null : (input?.[axis] ?? null);
  const shape = given === undefined ? [count] : axis === undefined || !input ? undefined : withDim(input, axis, count);
  return [tensor(op.dtype(0), shape), tensor('int64', [count]), tensor('int64', [inverse]), tensor('int64', [count])];
};

const oneHot: Rule = (op) => {
  const indices = op.shape(0);
  if (!indices) return [tensor(op.dtype(2))];
  const axis = normalizeAxis(op.int('axis', -1), indices.length + 1);
  if (axis === undefined) return [tensor(op.dtype(2))];
  const depth = op.values(1)?.[0] ?? null;
  return [tensor(op.dtype(2), [...indices.slice(0, axis), depth, ...indices.slice(axis)])];
};

const nonZero: Rule = (op) => {
  const rank = op.rank(0);
  // The runtimes disagree on the coordinates of a scalar.
  if (rank === 0) return [tensor('int64', [null, op.fresh()])];
  const values = op.numbers(0);
  const count = values ? values.filter((v) => v !== 0).length : op.fresh();
  const found = values && rank === 1 ? values.flatMap((v, i) => (v === 0 ? [] : [i])) : undefined;
  return [tensor('int64', [rank ?? null, count], found)];
};

const tensorScatter: Rule = (op) => [tensor(op.dtype(0), op.shape(0))];

const arrayOrder: Rule = (op) => [tensor(op.dtype(0), op.shape(0))];

export const gathering: RuleTable = {
  Gather: gather,
  GatherElements: (op) => [tensor(op.dtype(0), op.shape(1))],
  GatherND: gatherND,
  Scatter: scatter,
  ScatterElements: scatter,
  ScatterND: scatter,
  TensorScatter: tensorScatter,
  Compress: compress,
  TopK: topK,
  Unique: unique,
  OneHot: oneHot,
  NonZero: nonZero,
  ReverseSequence: arrayOrder,
  Trilu: arrayOrder,
  CumSum: arrayOrder,
  CumProd: arrayOrder,
};
