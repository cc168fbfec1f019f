import { float, type Node, PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type Adjoint, once, type Rule } from '../rule.js';

/**
 * y = gamma n + beta with n = (x - mean) r, r = 1 / sqrt(variance + epsilon), for each channel (axis 1). Summed over all other
 * axes, M elements a channel:
 *
 *     dbeta = sum(g),   dgamma = sum(g n) = r (sum(g x) - mean dbeta)
 *     with given statistics:      dx = gamma r g
 *     with those of the batch:    dx = gamma r (g - dbeta / M - n dgamma / M)
 *
 * The last is written as a g + b x + c with a number each a channel, so that x is passed over once.
 *
 * Ioffe and Szegedy, Batch Normalization, arXiv 1502.03167, section 3.
 */
export const BATCH_NORMALIZATION: Readonly<Record<string, Rule>> = {
  BatchNormalization: (op) => {
    const { emit, node } = op;
    if (op.flows(1) || op.flows(2)) {
      throw new PareError('unsupported', `${node.label} has no gradient where its running statistics are read.`);
    }
    const training = node.int('training_mode', 0) === 1;
    const shape = op.shape();
    const axes = shape.flatMap((_, i) => (i === 1 ? [] : [i]));
    const gamma = op.x(1);
    const { mean, variance } = training ? batchStatistics(op, axes) : { mean: () => op.x(3), variance: () => op.x(4) };
    const rate = once(() => {
      const shifted = emit.add(variance(), node.float('epsilon', 1e-5));
      return emit.op('Reciprocal', [emit.op('Sqrt', [shifted])]);
    });
    const dbeta = once(() => sumChannels(emit, op.g()));
    const dgamma = once(() => {
      const products = sumChannels(emit, emit.mul(op.g(), op.x()));
      return emit.mul(rate(), emit.sub(products, emit.mul(mean(), dbeta())));
    });
    const slope = once(() => emit.mul(gamma, rate()));

    const dx = (): Value => {
      if (!training) return emit.mul(op.g(), perChannel(emit, slope(), shape.length));
      const share = emit.div(slope(), -count(shape));
      const b = emit.mul(emit.mul(share, rate()), dgamma());
      const c = emit.sub(emit.mul(share, dbeta()), emit.mul(b, mean()));
      return emit.add(affine(emit, op.g(), slope(), c), affine(emit, op.x(), b, zeros(emit, b)));
    };
    const half = (): Value => emit.mul(emit.mul(slope(), rate()), -0.5);
    return [
      dx,
      dgamma,
      dbeta,
      training ? null : () => emit.neg(emit.mul(slope(), dbeta())),
      training ? null : () => emit.mul(half(), dgamma()),
    ];
  },
};

/**
 * Sum over all axes but that of the channels. First the axes behind it, which lie next to each other: ONNX Runtime takes twice
 * as long for all at once.
 */
export function sumChannels(emit: Emitter, v: Value): Value {
  const inner = emit
    .shape(v)
    .slice(2)
    .map((_, i) => i + 2);
  return emit.sum(emit.sum(v, inner, false), [0], false);
}

/** Mean and (biased) variance of the batch. */
function batchStatistics(op: Adjoint, axes: readonly number[]): { mean: () => Value; variance: () => Value } {
  const { emit, node } = op;
  // running' = momentum running + (1 - momentum) batch: with momentum 0 the node gives them away.
  if (node.float('momentum', 0.9) === 0) {
    ownStatistics(emit, node);
    return { mean: () => op.extraOutput(1), variance: () => op.extraOutput(2) };
  }
  const mean = once(() => emit.mean(op.x(), axes, false));
  const variance = once(() => {
    const centred = emit.sub(op.x(), perChannel(emit, mean(), op.shape().length));
    return emit.mean(emit.mul(centred, centred), axes, false);
  });
  return { mean, variance };
}

/**
 * Gives `node`, in training mode with momentum 0, running statistics of its own to forget. ONNX Runtime writes the new ones over
 * the old ones, and keeps small constants of equal value only once: without this, layers would overwrite each other's.
 */
export function ownStatistics(emit: Emitter, node: Node): void {
  const graph = node.graph ?? node.fail('is in no graph');
  const x = node.inputs[0] ?? node.fail('has no input');
  if (!node.inputs[3]?.initializer && !node.inputs[4]?.initializer) return;
  const insert = (type: string, inputs: readonly Value[]): Value => {
    const added = graph.addNode(type, inputs, { before: node });
    emit.inference.extend(added);
    return added.output;
  };
  // Any numbers that no optimisation can take for constants.
  const axes = emit.shape(x).flatMap((_, i) => (i === 1 ? [] : [i]));
  const [zero, one] = [0, 1].map((v) => emit.ints(axes.map(() => v))) as [Value, Value];
  const first = insert('Slice', [x, zero, one, emit.ints(axes)]);
  const mean = insert('Reshape', [first, emit.ints([emit.size(first)])]);
  node.setInput(3, mean);
  node.setInput(4, insert('Neg', [mean]));
}

/** scale v + bias with an element of each a channel: the operator itself does that in one pass over v. */
function affine(emit: Emitter, v: Value, scale: Value, bias: Value): Value {
  const ones = emit.constant(emit.dtype(scale), emit.shape(scale), new Array(emit.size(scale)).fill(1));
  return emit.op('BatchNormalization', [v, scale, bias, zeros(emit, scale), ones], { epsilon: float(0) });
}

function zeros(emit: Emitter, like: Value): Value {
  return emit.constant(emit.dtype(like), emit.shape(like), new Array(emit.size(like)).fill(0));
}

/** [C] as [C, 1, ...], which lies along axis 1 of a tensor of `rank`. */
function perChannel(emit: Emitter, v: Value, rank: number): Value {
  return emit.reshape(v, [emit.size(v), ...new Array<number>(Math.max(0, rank - 2)).fill(1)]);
}

const count = (shape: readonly number[]): number => shape.reduce((n, d, i) => (i === 1 ? n : n * d), 1);
