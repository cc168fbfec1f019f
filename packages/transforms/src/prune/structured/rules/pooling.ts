import type { ChannelRule, ChannelRules } from '../channel-op.js';
import type { Axis } from '../channel-space.js';

/** Batch and channels pass; lengths are made anew. The places that MaxPool can tell count through all channels. */
const spatial: ChannelRule = (op) => {
  if (op.node.outputs[1]) op.pin(op.axis(0, 1), 'tells places among them');
  return [op.axes(0).slice(0, 2)];
};

/** Which axes a reduction is over: an attribute, from opset 18 (ReduceSum: 13) on an input. */
function reducedAxes(op: Parameters<ChannelRule>[0]): number[] | undefined {
  const rank = op.shape(0)?.length ?? 0;
  const given = op.has(1) ? op.integers(1) : (op.node.ints('axes') ?? []);
  if (!given) return undefined;
  if (given.length === 0) return op.node.int('noop_with_empty_axes', 0) ? [] : [...new Array(rank).keys()];
  return given.map((axis) => (axis < 0 ? axis + rank : axis));
}

/** Sums, means and extremes over fewer channels mean much the same (`isTolerant`); products and exponentials do not. */
const reduce =
  (isTolerant: boolean): ChannelRule =>
  (op) => {
    const axes = op.axes(0);
    const over = reducedAxes(op);
    if (!over) return op.pinAll(axes, 'reduces over axes that are computed') && [];
    for (const axis of over) {
      if (isTolerant) op.markInexact(axes[axis] ?? null);
      else op.pin(axes[axis] ?? null, 'reduces over them');
    }
    const keeps = op.node.int('keepdims', 1) !== 0;
    return [axes.flatMap((axis, i): Axis[] => (!over.includes(i) ? [axis] : keeps ? [null] : []))];
  };

/** The largest along an axis, as a place: all of them stay. */
const arg: ChannelRule = (op) => {
  const axes = op.axes(0);
  const given = op.node.int('axis', 0);
  const over = given < 0 ? given + axes.length : given;
  op.pin(axes[over] ?? null, 'gives the place of one of them');
  return [axes.flatMap((axis, i): Axis[] => (i !== over ? [axis] : op.node.int('keepdims', 1) ? [null] : []))];
};

/** Every element depends on all along an axis; before opset 13 on all axes from there on. */
const softmax: ChannelRule = (op) => {
  const rank = op.shape(0)?.length ?? 0;
  const given = op.node.int('axis', op.opset >= 13 ? -1 : 1);
  const first = given < 0 ? given + rank : given;
  const axes = op
    .axes(0)
    .map((axis, i) => (i === first || (op.opset < 13 && i > first) ? op.pin(axis, 'shares one out over them') : axis));
  return [axes];
};

export const pooling: ChannelRules = {
  AveragePool: spatial,
  GlobalAveragePool: spatial,
  GlobalLpPool: spatial,
  GlobalMaxPool: spatial,
  GridSample: spatial,
  LpPool: spatial,
  MaxPool: spatial,
  ReduceL1: reduce(true),
  ReduceL2: reduce(true),
  ReduceSum: reduce(true),
  ReduceSumSquare: reduce(true),
  ReduceLogSum: reduce(false),
  ReduceLogSumExp: reduce(false),
  ReduceMax: reduce(true),
  ReduceMean: reduce(true),
  ReduceMin: reduce(true),
  ReduceProd: reduce(false),
  ArgMax: arg,
  ArgMin: arg,
  Softmax: softmax,
  LogSoftmax: softmax,
  Hardmax: softmax,
};
