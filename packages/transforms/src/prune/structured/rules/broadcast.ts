import type { ChannelOp } from '../channel-op.js';
import type { Axis } from '../channel-space.js';

/**
 * The channels along axis `at` (negative: from the end) of a broadcast of the inputs `indices`, whose ranks are known: axes of
 * equal length are tied; one of length 1, or beyond the rank of its input, adds none.
 */
export function broadcastAxis(op: ChannelOp, indices: readonly number[], at: number): Axis {
  const reach = indices.filter((index) => (op.shape(index)?.length ?? 0) + at >= 0);
  const long = reach.filter((index) => op.length(index, at) !== 1);
  if (long.length === 0) return op.tie(...reach.map((index) => op.axis(index, at)));
  for (const index of reach) {
    // A single channel that is spread over others cannot go.
    if (!long.includes(index)) op.pin(op.axis(index, at), 'spreads it over others');
  }
  return op.tie(...long.map((index) => op.axis(index, at)));
}

/** The channels of a broadcast of the inputs `indices`, axis by axis. */
export function broadcast(op: ChannelOp, indices: readonly number[]): Axis[] {
  const ranks = indices.map((index) => op.shape(index)?.length);
  if (ranks.includes(undefined)) {
    for (const index of indices) op.pinAll(op.axes(index), 'has an input of unknown shape');
    return [];
  }
  const rank = Math.max(...(ranks as number[]));
  return Array.from({ length: rank }, (_, i) => broadcastAxis(op, indices, i - rank));
}
