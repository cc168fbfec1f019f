import { PareError, type Value } from '@pare/core';
import { type Adjoint, once, type Rule } from '../rule.js';

/** Fused operators of transformers. */
export const ATTENTION: Readonly<Record<string, Rule>> = {
  // With S = scale Q Kᵀ, P = softmax(S + mask), Y = P V:
  // dV = Pᵀ g,  dS = P (g Vᵀ - sum(g Y)),  dQ = scale dS K,  dK = scale dSᵀ Q,  dmask = dS.
  // Vaswani et al., arXiv:1706.03762; dS as in Dao et al., FlashAttention, arXiv:2205.14135, appendix B.
  // A soft cap, S = cap tanh(scale Q Kᵀ / cap), comes before the mask, as ONNX Runtime has it.
  Attention: (op) => {
    const { emit } = op;
    refuseUncovered(op);
    const heads = headsOf(op);
    const { q, k, v, g, y, scale } = heads;
    const scores = once(() => emit.op('MatMul', [q(), emit.swap(k())]));
    const cap = op.node.float('softcap', 0);
    const capped = once(() => emit.op('Tanh', [emit.div(scores(), cap)]));
    const p = once(() => probabilities(op, heads.apart(cap === 0 ? scores() : emit.mul(capped(), cap))));
    const dMasked = once(() => {
      const rows = emit.sum(emit.mul(g(), y()), [-1]);
      return emit.mul(heads.joined(p()), emit.sub(emit.op('MatMul', [g(), emit.swap(v())]), rows));
    });
    const dScores = once(() =>
      cap === 0 ? dMasked() : emit.mul(dMasked(), emit.sub(1, emit.mul(capped(), capped()))),
    );
    return [
      () => heads.into(0, emit.mul(emit.op('MatMul', [dScores(), k()]), scale)),
      // q has been scaled.
      () => heads.into(1, emit.op('MatMul', [emit.swap(dScores()), q()])),
      () => heads.into(2, emit.op('MatMul', [emit.swap(heads.joined(p())), g()])),
      () => heads.apart(dMasked()),
    ];
  },

  // A rotation: the gradient is turned back.
  RotaryEmbedding: (op) => {
    const { emit, node } = op;
    const constant = (): never => {
      throw new PareError('unsupported', `${node.label} has no gradient for its tables of cosines and sines.`);
    };
    return [
      () => {
        const attributes = Object.fromEntries(node.attributes);
        const ids = op.has(3) ? [op.x(3)] : [];
        return emit.op('RotaryEmbedding', [op.g(), op.x(1), emit.neg(op.x(2)), ...ids], attributes);
      },
      constant,
      constant,
      null,
    ];
  },
};

/** The operands of an Attention by head. Heads of queries that share one of keys and values are one of more rows. */
interface Heads {
  /** [B, kv heads, group * Lq, size]: queries times `scale`, the output and its gradient. */
  readonly q: () => Value;
  readonly y: () => Value;
  readonly g: () => Value;
  /** [B, kv heads, Lk, size] */
  readonly k: () => Value;
  readonly v: () => Value;
  readonly scale: number;
  /** [B, kv heads, group * Lq, Lk] as [B, q heads, Lq, Lk], and back. */
  apart(scores: Value): Value;
  joined(scores: Value): Value;
  /** One of the above in the form of input `index`. */
  into(index: number, value: Value): Value;
}

function headsOf(op: Adjoint): Heads {
  const { emit, node } = op;
  const count = (index: number, attribute: string): number =>
    op.shape(index).length === 4
      ? (op.shape(index)[1] as number)
      : (node.int(attribute) ?? node.fail(`has no ${attribute}`));
  const [qHeads, kvHeads] = [count(0, 'q_num_heads'), count(1, 'kv_num_heads')];
  const batch = op.shape()[0] as number;
  /** [B, L, heads * size] as [B, heads, L, size]. */
  const split = (value: Value, heads: number): Value => {
    const dims = emit.shape(value);
    if (dims.length === 4) return value;
    const [length, width] = dims.slice(1) as [number, number];
    return emit.transpose(emit.reshape(value, [batch, length, heads, width / heads]), [0, 2, 1, 3]);
  };
  /** The last two axes with those of the heads that share keys. */
  const grouped = (value: Value): Value => {
    const [, heads, length, size] = emit.shape(value) as [number, number, number, number];
    return emit.reshape(value, [batch, kvHeads, (heads / kvHeads) * length, size]);
  };
  const queryLength = op.shape()[op.shape().length - 2] as number;
  const size = op.shape().length === 4 ? (op.shape()[3] as number) : (op.shape()[2] as number) / qHeads;
  const scale = node.float('scale', 0) || 1 / Math.sqrt(size);
  return {
    q: once(() => grouped(emit.mul(split(op.x(0), qHeads), scale))),
    y: once(() => grouped(split(op.y(), qHeads))),
    g: once(() => grouped(split(op.g(), qHeads))),
    k: once(() => split(op.x(1), kvHeads)),
    v: once(() => split(op.x(2), kvHeads)),
    scale,
    apart: (scores) => emit.reshape(scores, [batch, qHeads, queryLength, emit.shape(scores)[3] as number]),
    joined: grouped,
    into: (index, value) => {
      const heads = index === 0 ? qHeads : kvHeads;
      const dims = op.shape(index);
      const [length, width] = dims.slice(-2) as [number, number];
      if (dims.length === 4) return emit.reshape(value, dims);
      const apart = emit.reshape(value, [batch, heads, length, width / heads]);
      return emit.reshape(emit.transpose(apart, [0, 2, 1, 3]), dims);
    },
  };
}

/** softmax of scores [B, heads, Lq, Lk] over the keys that the mask lets through; where there is none, zeros. */
function probabilities(op: Adjoint, scores: Value): Value {
  const { emit } = op;
  const [, , queries, keys] = emit.shape(scores) as [number, number, number, number];
  const mask = op.has(3) ? op.x(3) : null;
  const last = mask ? emit.shape(mask).at(-1) : keys;
  if (last !== keys && last !== 1) {
    throw new PareError('unsupported', `${op.node.label} has no gradient: its mask has ${last} keys, not ${keys}.`);
  }
  const isBool = mask !== null && emit.dtype(mask) === 'bool';
  const biased = mask && !isBool ? emit.add(scores, mask) : scores;
  let allowed = isBool ? mask : null;
  if (op.node.int('is_causal', 0) !== 0) {
    const cells = Array.from({ length: queries * keys }, (_, i) => (i % keys <= Math.floor(i / keys) ? 1 : 0));
    const causal = emit.constant('bool', [queries, keys], cells);
    allowed = allowed ? emit.op('And', [allowed, causal]) : causal;
  }
  if (!allowed) return emit.op('Softmax', [biased], { axis: -1 });
  const soft = emit.op('Softmax', [emit.where(allowed, biased, LOWEST)], { axis: -1 });
  // Rows that see nothing: ONNX Runtime makes them zeros.
  return isBool ? emit.where(allowed, soft, 0) : soft;
}

/** Far below any score, and finite: a row of minus infinities has no softmax. */
const LOWEST = -1e30;

function refuseUncovered(op: Adjoint): void {
  const refuse = (what: string): never => {
    throw new PareError('unsupported', `${op.node.label} has no gradient with ${what}.`);
  };
  if (op.has(4) || op.has(5)) refuse('past keys and values');
  if (op.has(6)) refuse('lengths of keys and values (nonpad_kv_seqlen): give a mask');
  if ([1, 2, 3].some((i) => op.node.outputs[i] && op.flows(i))) refuse('a loss that reads its keys, values or scores');
}
