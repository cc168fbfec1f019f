import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type Adjoint, once, type Rule } from '../rule.js';
import { axisMap, transposeMaps } from '../separable.js';

/**
 * Normalization over some axes, y = scale * n + bias with n = (x - mean) / deviation. With u = g * scale and r = 1 / deviation
 *
 *     dx = r (u - mean(u) - n mean(u n)),   dscale = sum(g n),   dbias = sum(g)
 *
 * Ba, Kiros and Hinton, Layer Normalization, arXiv:1607.06450; the derivation is that of batch normalization,
 * Ioffe and Szegedy, arXiv:1502.03167, section 3.
 */
export const NORMALIZATION: Readonly<Record<string, Rule>> = {
  LayerNormalization: (op) => {
    const { emit } = op;
    const axes = axesFrom(op, op.axis('axis', -1));
    if (op.flows(1) || op.flows(2)) {
      throw new PareError('unsupported', `${op.node.label} has no gradient where its mean or deviation is read.`);
    }
    const parts = once(() => layerStatistics(op, axes));
    return [
      () => throughStatistics(emit, emit.mul(op.g(), op.x(1)), parts(), axes),
      () => emit.mul(op.g(), parts().normal),
      () => op.g(),
    ];
  },

  // n = x / sqrt(mean(x²) + epsilon): the mean is not taken away, and its term falls out of dx.
  RMSNormalization: (op) => {
    const { emit } = op;
    const axes = axesFrom(op, op.axis('axis', -1));
    const rate = once(() => inverseDeviation(emit, op.x(), axes, epsilon(op)));
    const normal = once(() => emit.mul(op.x(), rate()));
    return [
      () => {
        const u = emit.mul(op.g(), op.x(1));
        return emit.mul(rate(), emit.sub(u, emit.mul(normal(), emit.mean(emit.mul(u, normal()), axes))));
      },
      () => emit.mul(op.g(), normal()),
    ];
  },

  InstanceNormalization: (op) => channelwise(op, op.shape()[1] as number),

  GroupNormalization: (op) => {
    const channels = op.shape()[1] as number;
    const scales = op.shape(1)[0];
    if (scales !== channels) op.node.fail(`has a scale of ${scales} elements for ${channels} channels`);
    return channelwise(op, op.node.int('num_groups') ?? op.node.fail('has no num_groups'));
  },

  // n itself, with the deviation over `axes`.
  MeanVarianceNormalization: (op) => {
    const { emit } = op;
    const rank = op.shape().length;
    const axes = (op.node.ints('axes') ?? [0, 2, 3]).map((axis) => (axis < 0 ? axis + rank : axis));
    return [
      () => {
        const rate = inverseDeviation(emit, emit.sub(op.x(), emit.mean(op.x(), axes)), axes, 0);
        return throughStatistics(emit, op.g(), { normal: op.y(), rate }, axes);
      },
    ];
  },

  // y = x / norm. p = 2: dx = (g - y sum(g y)) / norm; p = 1: dx = (g - sign(x) sum(g y)) / norm.
  LpNormalization: (op) => {
    const { emit } = op;
    const axis = op.axis('axis', -1);
    const p = op.node.int('p', 2);
    return [
      () => {
        const norm = emit.op(p === 1 ? 'ReduceL1' : 'ReduceL2', [op.x(), emit.ints([axis])], { keepdims: 1 });
        const slope = p === 1 ? emit.op('Sign', [op.x()]) : op.y();
        const inner = emit.sum(emit.mul(op.g(), op.y()), [axis]);
        // ONNX Runtime gives zeros for a norm of zero, where there is no gradient.
        const rate = emit.where(emit.compare('Equal', norm, 0), 0, emit.op('Reciprocal', [norm]));
        return emit.mul(rate, emit.sub(op.g(), emit.mul(slope, inner)));
      },
    ];
  },

  // y = x d^-beta with d = bias + alpha/size * (sum of x² over a window of channels):
  // dx = g d^-beta - 2 alpha beta / size * x * (sum of g y / d over the windows that x is in).
  // Krizhevsky, Sutskever and Hinton, ImageNet Classification with Deep CNNs, section 3.3.
  LRN: (op) => {
    const { emit, node } = op;
    const size = node.int('size') ?? node.fail('has no size');
    const [alpha, beta] = [node.float('alpha', 1e-4), node.float('beta', 0.75)];
    const channels = op.shape()[1] as number;
    const before = Math.floor((size - 1) / 2);
    const window = axisMap(1, channels, channels);
    const mirror = axisMap(1, channels, channels);
    for (let o = 0; o < channels; o++) {
      for (let i = Math.max(0, o - before); i < Math.min(channels, o - before + size); i++) {
        window.weights[o * channels + i] = 1;
        mirror.weights[i * channels + o] = 1;
      }
    }
    return [
      () => {
        const squares = transposeMaps(emit, emit.mul(op.x(), op.x()), [mirror]);
        const d = emit.add(emit.mul(squares, alpha / size), node.float('bias', 1));
        const direct = emit.mul(op.g(), emit.op('Pow', [d, emit.scalar(-beta, d)]));
        const through = transposeMaps(emit, emit.div(emit.mul(op.g(), op.y()), d), [window]);
        return emit.sub(direct, emit.mul(emit.mul(op.x(), through), (2 * alpha * beta) / size));
      },
    ];
  },
};

/** n and r, as the head of this file has them. */
interface Statistics {
  readonly normal: Value;
  readonly rate: Value;
}

/**
 * Gradients of [N, C, ...] normalized over groups of channels, with scale and bias by channel. As those do not change within a
 * channel, the sums of g and of g x over one are all that dx needs, which spares passes over the image:
 *
 *     dx = r scale g - r (mean(u) + n mean(u n)),   mean(u) = sum(scale sum(g)) / size of a group
 */
function channelwise(op: Adjoint, groups: number): ReturnType<Rule> {
  const { emit } = op;
  const [batch, channels] = op.shape() as [number, number];
  const dims = [batch, groups, channels / groups, emit.size(op.x()) / Math.max(1, batch * channels)];
  const size = (dims[2] as number) * (dims[3] as number);
  const g = once(() => emit.reshape(op.g(), dims));
  const centered = once(() => {
    const x = emit.reshape(op.x(), dims);
    return emit.sub(x, emit.mean(x, [2, 3]));
  });
  const rate = once(() => inverseDeviation(emit, centered(), [2, 3], epsilon(op)));
  const sums = once(() => emit.sum(g(), [3]));
  const products = once(() => emit.sum(emit.mul(g(), centered()), [3]));
  return [
    () => {
      const scale = emit.reshape(op.x(1), [groups, channels / groups, 1]);
      const mean = (v: Value): Value => emit.div(emit.sum(emit.mul(scale, v), [2]), size);
      const slope = emit.mul(mean(products()), emit.mul(rate(), rate()));
      const shift = emit.add(emit.mul(centered(), emit.mul(rate(), slope)), emit.mul(rate(), mean(sums())));
      return emit.reshape(emit.sub(emit.mul(g(), emit.mul(rate(), scale)), shift), op.shape());
    },
    () => emit.reshape(emit.sum(emit.mul(products(), rate()), [0]), op.shape(1)),
    () => emit.reshape(emit.sum(sums(), [0]), op.shape(2)),
  ];
}

/** r (u - mean(u) - n mean(u n)) */
function throughStatistics(emit: Emitter, u: Value, { normal, rate }: Statistics, axes: readonly number[]): Value {
  const centered = emit.sub(u, emit.mean(u, axes));
  return emit.mul(rate, emit.sub(centered, emit.mul(normal, emit.mean(emit.mul(u, normal), axes))));
}

/** The statistics that ONNX Runtime has computed already. They are float32: in float64 that is not enough. */
function layerStatistics(op: Adjoint, axes: readonly number[]): Statistics {
  const { emit } = op;
  if (emit.dtype(op.x()) !== 'float32') return statistics(emit, op.x(), axes, epsilon(op));
  const [mean, rate] = [op.extraOutput(1), op.extraOutput(2)];
  return { normal: emit.mul(emit.sub(op.x(), mean), rate), rate };
}

function statistics(emit: Emitter, x: Value, axes: readonly number[], epsilon: number): Statistics {
  const centered = emit.sub(x, emit.mean(x, axes));
  const rate = inverseDeviation(emit, centered, axes, epsilon);
  return { normal: emit.mul(centered, rate), rate };
}

/** 1 / sqrt(mean(x²) + epsilon) */
function inverseDeviation(emit: Emitter, x: Value, axes: readonly number[], epsilon: number): Value {
  const variance = emit.add(emit.mean(emit.mul(x, x), axes), epsilon);
  return emit.op('Reciprocal', [emit.op('Sqrt', [variance])]);
}

const epsilon = (op: Adjoint): number => op.node.float('epsilon', 1e-5);

/** The axes of the input from `first` on. */
const axesFrom = (op: Adjoint, first: number): number[] => [...op.shape().keys()].slice(first);
