import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';
import { broadcast } from './broadcast.js';

/** Every channel for itself: vectors of parameters along axis 1. */
const perChannel: ChannelRule = (op) => {
  const axes = [...op.axes(0)];
  const vectors = [...op.node.inputs.keys()].slice(1).map((i) => op.axis(i, 0, i === 1 ? 'scale' : 'other'));
  if (axes.length > 1) axes[1] = op.tie(axes[1] as Axis, ...vectors);
  return [axes];
};

/**
 * Statistics over the axes from `axis` on. Channels that are gone count as the zeros that they are supposed to be near: over
 * D' of D channels the mean square is D/D' times as large, so the factor grows by sqrt(D/D') and epsilon by D/D'. For the root mean
 * square that is exact; a mean that is subtracted over fewer channels is exact only where it was zero.
 */
const overLast =
  (epsilon: number, isExact: boolean): ChannelRule =>
  (op) => {
    const rank = op.shape(0)?.length ?? 0;
    const given = op.node.int('axis', -1);
    const first = given < 0 ? given + rank : given;
    const axes = op.axes(0).map((axis, i) => {
      if (i < first) return axis;
      if (!isExact) op.markInexact(axis);
      const vectors = [...op.node.inputs.keys()].slice(1).map((index) => parameter(op, index, i - rank));
      return op.tie(axis, ...vectors.filter((v) => v !== undefined));
    });
    rescale(op, axes.slice(first), epsilon);
    return [axes];
  };

/** Channels of a factor or bias along axis `at` from the end; undefined where it is spread over the data. */
function parameter(op: ChannelOp, index: number, at: number): Axis | undefined {
  const rank = op.shape(index)?.length ?? 0;
  if (rank + at < 0 || op.length(index, at) === 1) return undefined;
  return op.axis(index, at, index === 1 ? 'scale' : 'other');
}

/** Data and shortcut (and a bias) are added, and normalized over the last axis; the sum is the fourth output. */
const skip =
  (isExact: boolean): ChannelRule =>
  (op) => {
    const last = (op.shape(0)?.length ?? 0) - 1;
    const vectors = [...op.node.inputs.keys()].slice(2).map((i) => op.axis(i, 0, i === 2 ? 'scale' : 'other'));
    const axes = broadcast(op, [0, 1]).map((axis, i) => (i === last ? op.tie(axis, ...vectors) : axis));
    if (!isExact) op.markInexact(axes[last] ?? null);
    rescale(op, axes.slice(last), 1e-12, 2);
    return [axes, [], [], axes];
  };

/** Keeps the outputs the same when zeros leave the mean square over `axes`; input `factor` is multiplied in the end. */
function rescale(op: ChannelOp, axes: readonly Axis[], epsilon: number, factor = 1): void {
  if (!op.isConstant(factor)) for (const axis of axes) op.pin(axis, 'has a factor that is not constant');
  op.onCut((cut) => {
    const ratio = axes.reduce((product, axis) => product * (axis ? axis.length / cut.kept(axis).length : 1), 1);
    if (ratio === 1) return;
    cut.scale(op.node, factor, Math.sqrt(ratio));
    op.node.setAttribute('epsilon', { type: 'float', value: Math.fround(op.node.float('epsilon', epsilon) * ratio) });
  });
}

/** Statistics over each of `num_groups` groups of axis 1. Parameters are one a channel, before opset 21 one a group. */
const group: ChannelRule = (op) => {
  const groups = op.node.int('num_groups', 1);
  const axes = [...op.axes(0)];
  const channels = axes[1] ?? null;
  if (!channels) return op.pinAll([op.axis(1, 0), op.axis(2, 0)], 'normalizes what cannot be removed') && [axes];
  const [g = null, inner = null] = op.split(channels, [groups, channels.length / groups]);
  op.markInexact(inner);
  const along = op.length(1, 0) === channels.length ? channels : g;
  op.tie(along, op.axis(1, 0, 'scale'), op.axis(2, 0));
  op.onCut((cut) => {
    if (g) op.node.setAttribute('num_groups', cut.count(g, groups));
  });
  rescale(op, [inner], 1e-5);
  return [axes];
};

/** Neighbouring channels are read to compute one. */
const acrossChannels: ChannelRule = (op) => {
  op.pin(op.axis(0, 1), 'reads neighbouring channels');
  return [op.axes(0)];
};

export const normalization: ChannelRules = {
  BatchNormalization: perChannel,
  InstanceNormalization: perChannel,
  LayerNormalization: overLast(1e-5, false),
  RMSNormalization: overLast(1e-5, true),
  SimplifiedLayerNormalization: overLast(1e-5, true),
  GroupNormalization: group,
  'com.microsoft.SkipLayerNormalization': skip(false),
  'com.microsoft.SkipSimplifiedLayerNormalization': skip(true),
  LRN: acrossChannels,
};
