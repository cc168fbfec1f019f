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

export const products: ChannelRules = { MatMul: matmul, Gemm: gemm };
