import { isTensorType, type Node, type Value } from '@pare/core';
import type { ChannelAnalysis } from './analyze.js';
import type { Place } from './channel-op.js';

/** A layer that sums over the channels of an activation with its weights. */
export interface Consumer {
  readonly node: Node;
  /** The weight along its input channels. */
  readonly place: Place;
  /** The activation, and its axis that is summed over. */
  readonly data: Value;
  readonly axis: number;
  readonly rank: number;
  /** The channels along that axis. A convolution with groups has those of all groups here, of one in the weight. */
  readonly channels: Int32Array;
}

/** The layers of an analysed model that sum over channels with constant weights, in order. */
export function consumersOf({ places, axes, types }: ChannelAnalysis): Consumer[] {
  return places.flatMap((place) => {
    const { node } = place;
    const data = node.inputs[0];
    const type = data ? types.typeOf(data) : undefined;
    const rank = isTensorType(type) ? (type.shape?.length ?? 0) : 0;
    const axis = SUMMED[node.opType]?.(node, rank);
    if (place.role !== 'input' || place.input !== 1 || !data || axis === undefined) return [];
    const channels = axes.get(data)?.[axis];
    return channels ? [{ node, place, data, axis, rank, channels }] : [];
  });
}

/** Which axis of its first input an operator sums over with its second. */
const SUMMED: Readonly<Record<string, (node: Node, rank: number) => number>> = {
  Conv: () => 1,
  FusedConv: () => 1,
  ConvTranspose: () => 1,
  Gemm: (node) => (node.int('transA', 0) ? 0 : 1),
  MatMul: (_, rank) => rank - 1,
  LSTM: () => 2,
  GRU: () => 2,
  RNN: () => 2,
};
