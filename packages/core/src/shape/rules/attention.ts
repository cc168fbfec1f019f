import type { Dim } from '../../ir/type.js';
import { addDim, floorDivDim, mulDim, subDim } from '../dim.js';
import { type Op, type Rule, type RuleTable, tensor } from '../op.js';
import { unary } from './elementwise.js';

/** Heads, length and size of a head of the tensor at input `index`: [B, heads, L, size] or [B, L, heads*size]. */
function heads(op: Op, index: number, count: Dim): readonly [heads: Dim, length: Dim, size: Dim] {
  if (op.rank(index) === 4) return [op.dim(index, 1), op.dim(index, 2), op.dim(index, 3)];
  if (op.rank(index) === 3)
    return [count, op.dim(index, 1), count === null ? null : floorDivDim(op.dim(index, 2), count)];
  return [null, null, null];
}

/** Scaled dot product attention of the default domain: Q, K, V, mask, past key, past value. */
const attention: Rule = (op) => {
  const batch = op.dim(0, 0);
  const [queryHeads, queryLength] = heads(op, 0, op.int('q_num_heads') ?? null);
  const [keyHeads, keyLength, keySize] = heads(op, 1, op.int('kv_num_heads') ?? null);
  const [valueHeads, , valueSize] = heads(op, 2, op.int('kv_num_heads') ?? null);
  const total = op.has(4) ? addDim(op.dim(4, 2), keyLength) : keyLength;
  const rank = op.rank(0);
  const result =
    rank === 4
      ? [batch, queryHeads, queryLength, valueSize]
      : rank === 3
        ? [batch, queryLength, mulDim(queryHeads, valueSize)]
        : undefined;
  return [
    tensor(op.dtype(0), result),
    tensor(op.dtype(1), [batch, keyHeads, total, keySize]),
    tensor(op.dtype(2), [batch, valueHeads, total, valueSize]),
    tensor(op.dtype(0), [batch, queryHeads, queryLength, total]),
  ];
};

/** Packed queries, keys and values; the state is [B, heads, key size, value size]. */
export const linearAttention: Rule = (op) => {
  const keyHeads = op.int('kv_num_heads') ?? null;
  const queryHeads = op.int('q_num_heads') ?? null;
  if (keyHeads === null || queryHeads === null) return [tensor(op.dtype(0)), tensor(op.dtype(3))];
  const valueSize = floorDivDim(op.dim(2, 2), keyHeads);
  const state = [op.dim(0, 0), keyHeads, floorDivDim(op.dim(1, 2), keyHeads), valueSize];
  const width = mulDim(Math.max(queryHeads, keyHeads), valueSize);
  return [
    tensor(op.dtype(0), [op.dim(0, 0), op.dim(0, 1), width]),
    // Without a past state its type is that of the query only by default.
    tensor(op.has(3) ? op.dtype(3) : undefined, op.has(3) ? op.shape(3) : state),
  ];
};

/** Depthwise convolution of [B, C, length] with a weight [C, 1, k] that looks back: the state is the last k - 1 positions. */
const causalConvolution: Rule = (op) => {
  const state = [op.dim(0, 0), op.dim(0, 1), subDim(op.dim(1, 2), 1)];
  return [tensor(op.dtype(0), op.shape(0)), tensor(op.dtype(0), op.has(3) ? op.shape(3) : state)];
};

export const attentions: RuleTable = {
  Attention: attention,
  RotaryEmbedding: unary(),
  LinearAttention: linearAttention,
  CausalConvWithState: causalConvolution,
};
