import type { Dim } from '../../ir/type.js';
import { addDim, floorDivDim, mulDim } from '../dim.js';
import { type Op, type Rule, type RuleTable, tensor, unknownShape, withDim } from '../op.js';
import { linearAttention } from './attention.js';
import { unary } from './elementwise.js';

/** Of com.microsoft: the fused operators of transformers. */

/** Sum of input, skip and bias, normalized; the fourth output is the sum. */
const skipLayerNormalization: Rule = (op) => {
  const input = op.shape(0);
  const statistics = tensor('float32', input && withDim(input, input.length - 1, 1));
  return [tensor(op.dtype(0), input), statistics, statistics, tensor(op.dtype(0), input)];
};

/** Word ids, segment ids, embeddings of words, positions and segments: [B, L, hidden]. */
const embed =
  (dtype: (op: Op) => ReturnType<Op['dtype']>): Rule =>
  (op) => {
    const shape = [op.dim(0, 0), op.dim(0, 1), op.dim(2, 1)];
    return [tensor(dtype(op), shape), tensor('int32', [op.dim(0, 0)]), tensor(dtype(op), shape)];
  };

/** Attention with its input projection: the weight is [input, q + k + v]. */
const projectedAttention =
  (dtype: (op: Op) => ReturnType<Op['dtype']>, pastInput: number): Rule =>
  (op) => {
    const sizes = op.ints('qkv_hidden_sizes');
    const hidden: Dim = sizes?.length === 3 ? (sizes[2] as number) : sizes ? null : floorDivDim(op.dim(1, 1), 3);
    const [batch, length] = [op.dim(0, 0), op.dim(0, 1)];
    const headCount = op.int('num_heads') ?? null;
    const head = sizes || headCount === null ? null : floorDivDim(hidden, headCount);
    // A shared buffer holds the past and the present at their greatest length.
    const shared = op.int('past_present_share_buffer', 0) !== 0;
    const total = shared ? op.dim(pastInput, 3) : op.has(pastInput) ? addDim(op.dim(pastInput, 3), length) : length;
    return [tensor(dtype(op), [batch, length, hidden]), tensor(dtype(op), [2, batch, headCount, total, head])];
  };

/** Queries, keys and values apart, or packed; states are [B, heads, length, size]. */
const multiHeadAttention: Rule = (op) => {
  const query = op.shape(0);
  const heads = op.int('num_heads') ?? null;
  const [batch, length] = [op.dim(0, 0), op.dim(0, 1)];
  // Only separate 3-D inputs without buffer sharing say it all.
  const plain = query?.length === 3 && op.rank(1) === 3 && op.rank(2) === 3 && !op.has(8) && heads !== null;
  if (!plain) {
    const width =
      query?.length === 5
        ? mulDim(query[2] as Dim, query[4] as Dim)
        : op.rank(2) === 4
          ? null
          : op.rank(2) === 3
            ? op.dim(2, 2)
            : null;
    const states = tensor(op.dtype(0), unknownShape(4));
    return [tensor(op.dtype(0), [batch, length, width]), states, states];
  }
  const total = op.has(6) ? addDim(op.dim(6, 2), op.dim(1, 1)) : op.dim(1, 1);
  return [
    tensor(op.dtype(0), [batch, length, op.dim(2, 2)]),
    tensor(op.dtype(0), [batch, heads, total, floorDivDim(op.dim(1, 2), heads)]),
    tensor(op.dtype(0), [batch, heads, total, floorDivDim(op.dim(2, 2), heads)]),
  ];
};

/** Grouped queries; the length of the cache depends on whether its buffer is shared, which the model does not say. */
const groupQueryAttention: Rule = (op) => {
  const query = op.shape(0);
  const [heads, keyHeads] = [op.int('num_heads') ?? null, op.int('kv_num_heads') ?? null];
  // Packed: the last axis holds the heads of queries, keys and values.
  const all = heads === null || keyHeads === null ? null : heads + 2 * keyHeads;
  const packed = !op.has(1);
  const head = packed
    ? all === null
      ? null
      : floorDivDim(op.dim(0, 2), all)
    : heads === null
      ? null
      : floorDivDim(op.dim(0, 2), heads);
  const width = packed ? mulDim(head, heads) : op.dim(0, 2);
  const cache = (past: number): ReturnType<typeof tensor> =>
    tensor(op.has(past) ? op.dtype(past) : undefined, [op.dim(0, 0), keyHeads, null, null]);
  return [tensor(op.dtype(0), query && [op.dim(0, 0), op.dim(0, 1), width]), cache(3), cache(4)];
};

const sparseAttention: Rule = (op) => {
  const [result] = groupQueryAttention(op);
  return [result, tensor(op.dtype(3), op.shape(3)), tensor(op.dtype(4), op.shape(4))];
};

const linearAttentionState: Rule = (op) => {
  const [result, present] = linearAttention(op);
  // A window of states has one more axis.
  return [result, op.int('state_window', 0) === 0 ? present : tensor(op.has(3) ? op.dtype(3) : undefined)];
};

/** The state has the shape of the one before; without one, the layout decides, and nothing is said. */
const causalConvolution: Rule = (op) => [
  tensor(op.dtype(0), op.shape(0)),
  tensor(op.dtype(0), op.has(3) ? op.shape(3) : undefined),
];

const nGramHash: Rule = (op) => {
  const most = op.int('max_ngram_size');
  const heads = op.int('n_head_per_ngram');
  const columns = most === undefined || heads === undefined ? null : (most - 1) * heads;
  const [batch, length] = [op.dim(0, 0), op.dim(0, 1)];
  return [
    tensor(op.dtype(0), [batch, length, columns]),
    tensor(op.dtype(0), [batch, most === undefined ? null : most - 1]),
  ];
};

/** Generated token ids: their number depends on the data. */
const generate =
  (...ranks: readonly number[]): Rule =>
  (op) =>
    ranks.map((rank) => tensor('int32', [op.dim(0, 0), ...unknownShape(rank - 1)]));

export const transformer: RuleTable = {
  Gelu: unary(),
  FastGelu: unary(),
  QuickGelu: unary(),
  BiasGelu: unary(),
  BiasAdd: unary(),
  BiasSplitGelu: (op) => {
    const input = op.shape(0);
    return [tensor(op.dtype(0), input && withDim(input, input.length - 1, floorDivDim(input.at(-1) ?? null, 2)))];
  },
  GatedAdd: unary(),
  GatedRMSNorm: unary(),
  GroupNorm: unary(),
  SkipGroupNorm: (op) => [tensor(op.dtype(0), op.shape(0)), tensor(op.dtype(0), op.shape(0))],
  RotaryEmbedding: unary(),
  MRotaryEmbedding: unary(),
  SkipLayerNormalization: skipLayerNormalization,
  SkipSimplifiedLayerNormalization: skipLayerNormalization,
  EmbedLayerNormalization: embed((op) => op.dtype(2)),
  QEmbedLayerNormalization: embed((op) => op.dtype(8)),
  Attention: projectedAttention((op) => op.dtype(0), 4),
  QAttention: projectedAttention((op) => op.dtype(3), 8),
  PackedAttention: (op) => [
    tensor(op.dtype(0), [op.dim(0, 0), op.ints('qkv_hidden_sizes') ? null : floorDivDim(op.dim(1, 1), 3)]),
  ],
  MultiHeadAttention: multiHeadAttention,
  DecoderMaskedMultiHeadAttention: (op) => [tensor(op.dtype(0), [op.dim(0, 0), op.dim(0, 1), null])],
  GroupQueryAttention: groupQueryAttention,
  SparseAttention: sparseAttention,
  LinearAttention: linearAttentionState,
  LinearAttentionGate: (op) => [tensor(op.dtype(0), op.shape(0)), tensor(op.dtype(3) ?? op.dtype(0), op.shape(0))],
  CausalConvWithState: causalConvolution,
  EngramGate: (op) => [tensor(op.dtype(0), op.shape(0))],
  MoE: unary(),
  QMoE: unary(),
  NGramHashMapping: nGramHash,
  BifurcationDetector: (op) => [tensor(op.dtype(0), [op.fresh()]), tensor(op.dtype(0), [1])],
  GreedySearch: generate(2),
  Sampling: generate(2),
  BeamSearch: generate(3),
  WhisperBeamSearch: generate(3),
};
