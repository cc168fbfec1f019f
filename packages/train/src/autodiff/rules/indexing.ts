import { PareError, type Value } from '@pare/core';
import { addRows, type Rows } from '../add-rows.js';
import type { Adjoint, Rule } from '../rule.js';

/** Operators that read or write at indices: the adjoint of a read is an addition at the same places, that of a write a read. */
export const INDEXING: Readonly<Record<string, Rule>> = {
  Gather: (op) => [() => ungather(op), null],
  // A Gather of what the condition takes, without an axis from the flat input.
  Compress: (op) => [
    () => {
      const dims = op.shape();
      const flat = op.node.int('axis') === undefined;
      const axis = flat ? 0 : op.axis('axis', 0);
      const rows: Rows = flat ? [1, product(dims), 1] : around(dims, axis);
      const taken = (op.numbers(1) ?? []).slice(0, rows[1]).flatMap((condition, i) => (condition ? [i] : []));
      return unread(op, rows, op.emit.constant('int64', [1, taken.length], taken));
    },
    null,
  ],
  GatherElements: (op) => [
    () => {
      const { emit, node } = op;
      const attributes = { axis: node.int('axis', 0), reduction: 'add' };
      return emit.op('ScatterElements', [emit.fill(op.shape(), 0, op.x()), op.x(1), op.g()], attributes);
    },
    null,
  ],
  GatherND: (op) => [() => ungatherND(op), null],
  ScatterElements: (op) => {
    const axis = { axis: op.node.int('axis', 0) };
    refuseReduction(op);
    return [
      () => overwritten(op, 'ScatterElements', axis),
      null,
      () => op.emit.op('GatherElements', [op.g(), op.x(1)], axis),
    ];
  },
  ScatterND: (op) => {
    refuseReduction(op);
    return [() => overwritten(op, 'ScatterND', {}), null, () => op.emit.op('GatherND', [op.g(), op.x(1)])];
  },
  // The values; the indices, output 1, are no function of x that has a gradient.
  TopK: (op) => [
    () => {
      const { emit, node } = op;
      const zeros = emit.fill(op.shape(), 0, op.x());
      return emit.op('ScatterElements', [zeros, op.extraOutput(1), op.g()], { axis: node.int('axis', -1) });
    },
    null,
  ],
  // Reversing twice is the identity.
  ReverseSequence: (op) => [
    () => {
      const attributes = { batch_axis: op.node.int('batch_axis', 1), time_axis: op.node.int('time_axis', 0) };
      return op.emit.op('ReverseSequence', [op.g(), op.x(1)], attributes);
    },
    null,
  ],
};

function ungather(op: Adjoint): Value {
  const e = op.emit;
  const dims = op.shape();
  const axis = op.axis('axis', 0);
  const extent = dims[axis] as number;
  const indices = op.x(1);
  const count = e.size(indices);
  const known = e.numbers(indices)?.map((i) => (i < 0 ? i + extent : i));
  const first = known?.[0];
  // One row, or rows that follow each other: they go back to their place, between zeros.
  if (first !== undefined && known?.every((at, i) => at === first + i)) {
    const zeros = dims.map(() => 0);
    const g = e.reshape(op.g(), dims.with(axis, count));
    return e.pad(g, zeros.with(axis, first), zeros.with(axis, extent - first - count));
  }
  const at = e.op('Mod', [e.cast(indices, 'int64'), e.ints([extent])]);
  return unread(op, around(dims, axis), e.reshape(at, [1, count]));
}

/** Data [batch.., d_1, .., d_k, inner..], indices [batch.., .., k]. */
function ungatherND(op: Adjoint): Value {
  const e = op.emit;
  const dims = op.shape();
  const batches = op.node.int('batch_dims', 0);
  const width = op.shape(1).at(-1) as number;
  const indexed = dims.slice(batches, batches + width);
  const strides = indexed.map((_, i) => product(indexed.slice(i + 1)));
  const tuple = e.op('Mod', [op.x(1), e.ints(indexed)]);
  const outer = product(dims.slice(0, batches));
  const at = e.reshape(e.sum(e.mul(tuple, e.ints(strides)), [-1]), [outer, product(op.shape(1).slice(batches, -1))]);
  return unread(op, [outer, product(indexed), product(dims.slice(batches + width))], at);
}

/** dL/dx for x, as rows, of which the rows `at` were read. */
function unread(op: Adjoint, rows: Rows, at: Value): Value {
  return op.emit.reshape(addRows(op.emit, rows, at, op.g()), op.shape());
}

/** The gradient of what a scatter writes into: nothing where it was overwritten, all of it where it was added to. */
function overwritten(op: Adjoint, type: string, attributes: Readonly<Record<string, number>>): Value {
  const e = op.emit;
  if (op.node.string('reduction', 'none') === 'add') return op.g();
  return e.op(type, [op.g(), op.x(1), e.fill(op.shape(2), 0, op.x(2))], attributes);
}

function refuseReduction(op: Adjoint): void {
  const reduction = op.node.string('reduction', 'none');
  if (reduction === 'none' || reduction === 'add') return;
  throw new PareError(
    'unsupported',
    `${op.node.label} reduces by "${reduction}", which has no gradient rule ("none" and "add" have): freeze the parameters ` +
      'before it, or cut the model there.',
  );
}

/** A shape as rows along `axis`. */
function around(dims: readonly number[], axis: number): Rows {
  return [product(dims.slice(0, axis)), dims[axis] as number, product(dims.slice(axis + 1))];
}

const product = (dims: readonly number[]): number => dims.reduce((a, b) => a * b, 1);
