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
    const axes = axesFrom(op, op.axis('axis', -1));
    if (op.flows(1) || op.flows(2)) {
      throw new PareError('unsupported', `${op.node.label} has no gradient where its mean or deviation is read.`);
    }
    return affine(op, { dims: op.shape(), axes, statistics: () => layerStatistics(op, axes) });
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

  InstanceNormalization: (op) => {
    const dims = op.shape();
    return affine(op, { dims, axes: axesFrom(op, 2), scale: [dims[1] as number, ...dims.slice(2).map(() => 1)] });
  },

  // [N, C, ...] as [N, G, C/G, ...]; scale and bias have an element a channel.
  GroupNormalization: (op) => {
    const [n, c, ...spatial] = op.shape() as [number, number, ...number[]];
    const groups = op.node.int('num_groups') ?? op.node.fail('has no num_groups');
    if (op.shape(1)[0] !== c) op.node.fail(`has a scale of ${op.shape(1)[0]} elements for ${c} channels`);
    const dims = [n, groups, c / groups, ...spatial];
    const scale = [groups, c / groups, ...spatial.map(() => 1)];
    return affine(op, { dims, axes: dims.map((_, axis) => axis).slice(2), scale });
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

/** How a normalization with scale and bias looks at its input. */
interface View {
  /** Shape that the input is seen in. */
  readonly dims: readonly number[];
  /** Axes of it that are normalized over. */
  readonly axes: readonly number[];
  /** Shape of scale and bias that broadcasts to it. Default: their own. */
  readonly scale?: readonly number[];
  /** Default: computed again from the input. */
  readonly statistics?: () => Statistics;
}

function affine(op: Adjoint, view: View): ReturnType<Rule> {
  const { emit } = op;
  const { dims, axes } = view;
  const shaped = (index: number): readonly number[] => view.scale ?? op.shape(index);
  const g = once(() => emit.reshape(op.g(), dims));
  const parts = once(view.statistics ?? (() => statistics(emit, emit.reshape(op.x(), dims), axes, epsilon(op))));
  return [
    () => {
      const u = emit.mul(g(), emit.reshape(op.x(1), shaped(1)));
      return emit.reshape(throughStatistics(emit, u, parts(), axes), op.shape());
    },
    () => emit.reshape(emit.sumTo(emit.mul(g(), parts().normal), shaped(1)), op.shape(1)),
    () => emit.reshape(emit.sumTo(g(), shaped(2)), op.shape(2)),
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
