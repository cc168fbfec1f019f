import type { Value } from '@pare/core';
import type { Adjoint, Rule } from '../rule.js';

/** Operators that read or write at indices: the gradient of a read is an addition at the same places, and the other way round. */
export const INDEXING: Readonly<Record<string, Rule>> = {
  Gather: (op) => [() => gathered(op), null],
  GatherElements: (op) => [
    () =>
      op.emit.op('ScatterElements', [op.emit.fill(op.shape(), 0, op.x()), op.x(1), op.g()], {
        axis: op.axis('axis', 0),
        reduction: 'add',
      }),
    null,
  ],
};

function gathered(op: Adjoint): Value {
  const e = op.emit;
  const dims = op.shape();
  const axis = op.axis('axis', 0);
  const extent = dims[axis] as number;
  const indices = op.x(1);
  const constant = e.size(indices) === 1 ? e.numbers(indices)?.[0] : undefined;
  if (constant !== undefined) {
    const at = constant < 0 ? constant + extent : constant;
    const g = e.reshape(op.g(), dims.with(axis, 1));
    const zeros = dims.map(() => 0);
    return e.pad(g, zeros.with(axis, at), zeros.with(axis, extent - at - 1));
  }
  // The axes of the indices first, as one; then rows of the other axes are added to rows of zeros.
  const rank = e.shape(indices).length;
  const g = e.shape(op.g());
  const axes = [...g.keys()];
  const perm = [...axes.slice(axis, axis + rank), ...axes.slice(0, axis), ...axes.slice(axis + rank)];
  const rest = [...dims.slice(0, axis), ...dims.slice(axis + 1)];
  const count = e.size(indices);
  const rows = e.reshape(e.transpose(op.g(), perm), [count, ...rest]);
  const zeros = e.fill([extent, ...rest], 0, op.x());
  const sum = e.op('ScatterND', [zeros, e.reshape(indices, [count, 1]), rows], { reduction: 'add' });
  return e.transpose(
    sum,
    dims.map((_, i) => (i < axis ? i + 1 : i === axis ? 0 : i)),
  );
}
