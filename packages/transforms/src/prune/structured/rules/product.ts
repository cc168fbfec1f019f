import type { ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';
import { broadcastAxis } from './broadcast.js';

/** A [..., M, K] times B [..., K, N]; a vector is a matrix of one row or column that the output does not have. */
const matmul: ChannelRule = (op) => {
  const [a, b] = [op.shape(0)?.length, op.shape(1)?.length];
  if (a === undefined || b === undefined) {
    return op.pinAll([...op.axes(0), ...op.axes(1)], 'has an input of unknown shape') && [];
  }
  op.tie(op.axis(0, -1, 'input'), op.axis(1, b > 1 ? -2 : 0, 'input'));
  const batches = Math.max(a, b, 2) - 2;
  const batch = Array.from({ length: batches }, (_, i) => broadcastAxis(op, [0, 1], i - batches - 2));
  const rows: Axis[] = a > 1 ? [op.axis(0, -2, 'output')] : [];
  const columns: Axis[] = b > 1 ? [op.axis(1, -1, 'output')] : [];
  return [[...batch, ...rows, ...columns]];
};

/** A [M, K] times B [K, N], each perhaps transposed, plus C, which broadcasts to [M, N]. */
const gemm: ChannelRule = (op) => {
  const [a, b] = [op.node.int('transA', 0), op.node.int('transB', 0)];
  op.tie(op.axis(0, a ? 0 : 1, 'input'), op.axis(1, b ? 1 : 0, 'input'));
  const out = [op.axis(0, a ? 1 : 0, 'output'), op.axis(1, b ? 0 : 1, 'output')];
  const rank = op.shape(2)?.length ?? 0;
  for (let i = 0; i < rank; i++) {
    if (op.length(2, i) !== 1) op.tie(out[2 - rank + i] as Axis, op.axis(2, i));
  }
  return [out];
};

/** One letter an axis: equal letters are tied, letters that the output does not have are summed over. */
const einsum: ChannelRule = (op) => {
  const [left = '', right] = op.node.string('equation', '').replace(/\s/g, '').split('->');
  const terms = left.split(',');
  const letters = [...new Set(left.replaceAll(',', ''))].sort();
  const plain = right !== undefined && !left.includes('.') && terms.every((term) => new Set(term).size === term.length);
  if (!plain)
    return (
      op.pinAll(
        [...op.node.inputs.keys()].flatMap((i) => op.axes(i)),
        'has an equation with more than letters',
      ) && []
    );
  const channels = new Map(
    letters.map((letter) => {
      const places = terms.flatMap((term, i) => (term.includes(letter) ? [[i, term.indexOf(letter)] as const] : []));
      const role = right.includes(letter) ? 'output' : 'input';
      const long = places.filter(([i, axis]) => op.length(i, axis) !== 1);
      const axis = op.tie(...long.map(([i, at]) => op.axis(i, at, role)));
      // A sum over what only one operand has is no product: zeros there mean nothing to the other.
      if (role === 'input' && places.length === 1) op.markInexact(axis);
      return [letter, axis] as const;
    }),
  );
  return [[...right].map((letter) => channels.get(letter) ?? null)];
};

export const products: ChannelRules = { MatMul: matmul, Gemm: gemm, Einsum: einsum };
