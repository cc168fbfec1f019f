import { type Inference, inferTypes, type Model, type Node, type Value } from '@pare/core';
import { ChannelOp, type Place, type Surroundings } from './channel-op.js';
import { type Axis, ChannelSpace } from './channel-space.js';
import type { Cut } from './cut.js';
import { channelRule } from './rules/index.js';

/** Which channels a model has, and what couples them. */
export interface ChannelAnalysis {
  readonly space: ChannelSpace;
  readonly types: Inference;
  /** Channels of every value that a node computes, axis by axis. */
  readonly axes: ReadonlyMap<Value, readonly Axis[]>;
  /** Channels of every constant, use by use. */
  readonly places: readonly Place[];
  /** Parts of axes that must not become empty. */
  readonly zones: readonly Int32Array[];
  readonly cuts: readonly ((cut: Cut) => void)[];
}

/** Attempts to give up factors of grids that do not fit; each gives up more. */
const MAX_ATTEMPTS = 8;

/**
 * Walks the main graph and finds which channels can be removed, and which only together. Deterministic: a clone of the model
 * has the same channels under the same numbers.
 */
export function analyzeChannels(model: Model, isExcluded: (node: Node) => boolean = () => false): ChannelAnalysis {
  const types = inferTypes(model);
  let best: { analysis: ChannelAnalysis; units: number } | undefined;
  const reduced = new Set<string>();
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const { analysis, misfits } = walk(model, types, isExcluded, reduced);
    const units = countUnits(analysis);
    if (best && units <= best.units) break;
    best = { analysis, units };
    if (misfits.length === 0) break;
    for (const factor of misfits) reduced.add(factor);
  }
  return (best as { analysis: ChannelAnalysis }).analysis;
}

function walk(
  model: Model,
  types: Inference,
  isExcluded: (node: Node) => boolean,
  reduced: ReadonlySet<string>,
): { analysis: ChannelAnalysis; misfits: string[] } {
  const space = new ChannelSpace(new Set(reduced));
  const around: Surroundings = { space, types, opset: model.opset, axes: new Map(), places: [], zones: [], cuts: [] };
  let number = 0;
  for (const node of model.graph.nodes()) {
    const op = new ChannelOp(node, around, `${number++}`);
    const rule = channelRule(node);
    const outputs = rule ? rule(op) : [];
    if (!rule) for (const index of node.inputs.keys()) op.pinAll(op.axes(index), 'has no rule for pruning');
    op.finish();
    for (const [i, value] of node.outputs.entries()) {
      const rank = op.outputShape(i)?.length;
      if (value && outputs[i] && rank !== undefined) around.axes.set(value, outputs[i].slice(0, rank));
      else for (const axis of outputs[i] ?? []) op.pin(axis, 'has an output of unknown shape');
    }
    if (isExcluded(node)) exclude(node, around);
    pinCaptured(node, around);
  }
  for (const output of model.graph.outputs) {
    for (const axis of around.axes.get(output) ?? []) {
      for (const channel of axis ?? []) space.pin(channel, `they are the output "${output.name}" of the model`);
    }
  }
  const misfits = space.solve();
  return { analysis: around, misfits };
}

/** What `node` computes with weights stays as it is. Nodes without weights are no layers that could be chosen. */
function exclude(node: Node, { places, space }: Surroundings): void {
  for (const { channels, role } of places.filter((place) => place.node === node)) {
    for (const channel of role === 'output' ? channels : []) space.pin(channel, `${node.label} is excluded`);
  }
}

/** Subgraphs are not analysed: what they read from outside stays. */
function pinCaptured(node: Node, { axes, space }: Surroundings): void {
  for (const graph of node.subgraphs()) {
    for (const inner of graph.allNodes()) {
      for (const value of inner.inputs) {
        for (const axis of (value && axes.get(value)) ?? []) {
          for (const channel of axis ?? []) space.pin(channel, `a subgraph of ${node.label} reads them`);
        }
      }
    }
    for (const output of graph.outputs) {
      for (const axis of axes.get(output) ?? []) {
        for (const channel of axis ?? []) space.pin(channel, `a subgraph of ${node.label} gives them out`);
      }
    }
  }
}

function countUnits({ places, space }: ChannelAnalysis): number {
  const units = new Set<number>();
  for (const { channels } of places) for (const channel of channels) for (const u of space.units(channel)) units.add(u);
  return units.size;
}
