import type { ChannelOp, ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';

/** X [N, C, ...], W [M, C/g, ...], bias [M]. With groups both channel axes are grids of `groups x channels of a group`. */
const conv: ChannelRule = (op) => {
  const groups = op.node.int('group', 1);
  const filters = op.length(1, 0);
  const depth = op.length(1, 1);
  const data = op.axis(0, 1);
  const out = op.axis(1, 0, 'output');
  const own = op.axis(1, 1, 'input');
  if (filters === undefined || depth === undefined)
    return op.pinAll([data, out, own], 'has weights of unknown shape') && [];
  if (groups === 1) op.tie(data, own);
  else {
    const [g = null, inner = null] = op.split(data, [groups, depth], 'in');
    const [h = null] = op.split(out, [groups, filters / groups], 'out');
    op.tie(inner, own);
    keepGroups(op, op.tie(g, h), groups);
  }
  if (op.has(2)) op.tie(out, op.axis(2, 0));
  return [spatial(op, out)];
};

/** X [N, C, ...], W [C, M/g, ...], bias [M]. */
const convTranspose: ChannelRule = (op) => {
  const groups = op.node.int('group', 1);
  const channels = op.length(1, 0);
  const perGroup = op.length(1, 1);
  const own = op.axis(1, 0, 'input');
  const filters = op.axis(1, 1, 'output');
  op.tie(op.axis(0, 1), own);
  if (channels === undefined || perGroup === undefined) {
    return op.pinAll([own, filters], 'has weights of unknown shape') && [];
  }
  let out = filters;
  if (groups > 1) {
    const [g = null] = op.split(own, [groups, channels / groups]);
    keepGroups(op, g, groups);
    out = op.merge([g, filters], [groups, perGroup]);
  }
  if (op.has(2)) op.tie(out, op.axis(2, 0));
  return [spatial(op, out)];
};

function keepGroups(op: ChannelOp, axis: Axis, groups: number): void {
  op.onCut((cut) => {
    if (axis) op.node.setAttribute('group', cut.count(axis, groups));
  });
}

/** Batch, channels, then lengths that stay. */
function spatial(op: ChannelOp, channels: Axis): readonly Axis[] {
  const batch = op.axis(0, 0);
  return (op.outputShape(0) ?? []).map((_, i) => (i === 0 ? batch : i === 1 ? channels : null));
}

export const convolution: ChannelRules = { Conv: conv, 'com.microsoft.FusedConv': conv, ConvTranspose: convTranspose };
