import { float } from '@pare/core';
import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import { type Axis, consecutive } from '../channel-space.js';

/** Channels of queries, keys or values: their heads, and the columns of a head. */
interface Heads {
  readonly heads: Axis;
  readonly columns: Axis;
  readonly count: number;
  readonly size: number;
}

/** The heads of input `index`: [B, H, T, K] has them apart, [B, T, H*K] together. */
function headsOf(op: ChannelOp, index: number, count: number): Heads {
  if (op.shape(index)?.length === 4) {
    return { heads: op.axis(index, 1), columns: op.axis(index, 3), count, size: op.length(index, 3) ?? 0 };
  }
  return apart(op, op.axis(index, 2), count, `.${index}`, op.length(index, 2) ?? 0);
}

function apart(op: ChannelOp, axis: Axis, count: number, part: string, length = axis?.length ?? 0): Heads {
  const size = length / count;
  const [heads = null, columns = null] = op.split(axis, [count, size], part);
  return { heads, columns, count, size };
}

/** Queries meet keys column by column; several heads of queries may share one of keys and values. Answers the heads that come out. */
function attend(op: ChannelOp, q: Heads, k: Heads, v: Heads): Axis {
  op.tie(q.columns, k.columns);
  const shared = op.tie(k.heads, v.heads);
  if (q.count === k.count) op.tie(q.heads, shared);
  else op.tie(op.split(q.heads, [k.count, q.count / k.count], '.shared')[0] ?? null, shared);
  op.onCut((cut) => {
    // The default scale follows the size of a head: what it was stays.
    if (cut.count(q.columns, q.size) !== q.size && !op.node.float('scale', 0)) {
      op.node.setAttribute('scale', float(1 / Math.sqrt(q.size)));
    }
  });
  return q.heads;
}

/** Masks and biases [..., H, T, S]: one for all heads, or one each. */
function tieMask(op: ChannelOp, index: number, heads: Axis): void {
  const rank = op.shape(index)?.length ?? 0;
  if (rank >= 3 && op.length(index, -3) !== 1) op.tie(heads, op.axis(index, -3));
}

/** Caches that come in or go out keep all heads and columns. */
function pinCaches(op: ChannelOp, inputs: readonly number[], parts: readonly Heads[]): void {
  const caches = inputs.some((i) => op.has(i)) || op.node.outputs.slice(1).some((output) => output);
  for (const { heads, columns } of caches ? parts : []) op.pinAll([heads, columns], 'keeps them in a cache');
}

/** Q, K, V, mask, cached K and V: ONNX 23. */
const attention: ChannelRule = (op) => {
  const { node } = op;
  const q = headsOf(op, 0, node.int('q_num_heads') ?? op.length(0, 1) ?? 1);
  const k = headsOf(op, 1, node.int('kv_num_heads') ?? op.length(1, 1) ?? 1);
  const v = headsOf(op, 2, k.count);
  const heads = attend(op, q, k, v);
  tieMask(op, 3, heads);
  pinCaches(op, [4, 5], [q, k, v]);
  op.onCut((cut) => {
    if (node.int('q_num_heads')) node.setAttribute('q_num_heads', cut.count(q.heads, q.count));
    if (node.int('kv_num_heads')) node.setAttribute('kv_num_heads', cut.count(k.heads, k.count));
  });
  if (op.shape(0)?.length === 4) return [[op.axis(0, 0), heads, null, v.columns]];
  return [[null, null, op.merge([heads, v.columns], [q.count, v.size])]];
};

/** Query, key, value [B, T, H*K], one bias of all three, masks, caches. */
const multiHead: ChannelRule = (op) => {
  const { node } = op;
  const count = node.int('num_heads', 1);
  const axes = [0, 1, 2].map((index) => (op.shape(index)?.length === 3 ? op.axis(index, 2) : null));
  const parts = axes.map((axis, i) => apart(op, axis, count, `.${i}`)) as [Heads, Heads, Heads];
  const heads = attend(op, ...parts);
  if (op.has(3)) {
    const bias = op.axis(3, 0);
    if (axes.every((axis) => axis)) op.tie(bias, Int32Array.from(axes.flatMap((axis) => [...(axis ?? [])])));
    else op.pinAll([bias, ...axes], 'has a bias for channels that stay');
  }
  tieMask(op, 5, heads);
  pinCaches(op, [6, 7], parts);
  op.onCut((cut) => node.setAttribute('num_heads', cut.count(heads, count)));
  return [[null, null, op.merge([heads, parts[2].columns], [count, parts[2].size])]];
};

/** X [B, T, I], W [I, 3*H*K] and bias of queries, keys and values side by side. */
const packed: ChannelRule = (op) => {
  const { node } = op;
  const count = node.int('num_heads', 1);
  const all = op.axis(1, 1, 'output');
  op.tie(op.axis(0, 2), op.axis(1, 0, 'input'));
  if (op.has(2)) op.tie(all, op.axis(2, 0));
  const length = all?.length ?? 0;
  const sizes = node.ints('qkv_hidden_sizes') ?? new Array<number>(3).fill(length / 3);
  const axes = all ? consecutive(all, sizes) : [null, null, null];
  const parts = axes.map((axis, i) => apart(op, axis, count, `.${i}`)) as [Heads, Heads, Heads];
  const heads = attend(op, ...parts);
  tieMask(op, 5, heads);
  pinCaches(op, [4], parts);
  op.onCut((cut) => {
    node.setAttribute('num_heads', cut.count(heads, count));
    const next = axes.map((axis, i) => cut.count(axis, sizes[i] as number));
    if (`${next}` !== `${sizes}`) node.setAttribute('qkv_hidden_sizes', next);
  });
  return [[null, null, op.merge([heads, parts[2].columns], [count, parts[2].size])]];
};

export const attentions: ChannelRules = {
  Attention: attention,
  'com.microsoft.MultiHeadAttention': multiHead,
  'com.microsoft.Attention': packed,
};
