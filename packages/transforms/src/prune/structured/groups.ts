import type { Model, Node, Value } from '@pare/core';
import { type NodeSelection, nodeSelector } from '../../quantize/select.js';
import { analyzeChannels, type ChannelAnalysis } from './analyze.js';
import type { Place, Role } from './channel-op.js';
import type { ChannelSpace } from './channel-space.js';
import { type Consumer, consumersOf } from './consumers.js';
import { type CountOptions, macsByNode } from './cost.js';
import { applyCut } from './cut.js';

/** Where the units of a group lie in one constant, as one node reads it. */
export interface ChannelMember {
  /** The constant. */
  readonly value: Value;
  readonly node: Node;
  /** Which input of the node it is. */
  readonly input: number;
  readonly axis: number;
  readonly role: Role;
  /** By unit: the places along the axis. */
  readonly indices: readonly (readonly number[])[];
}

/** Where the units of a group lie in what a layer multiplies with its weights. */
export interface ChannelInput {
  /** The activation. */
  readonly value: Value;
  readonly axis: number;
  readonly rank: number;
  readonly length: number;
  /** By unit: the places along the axis. */
  readonly indices: readonly (readonly number[])[];
  /** The weights that it is multiplied with, as members of the group. */
  readonly weights: readonly ChannelMember[];
}

/** Channels that are in the same places of the same layers, and can be removed independently of each other. */
export interface ChannelGroup {
  /** The layer that computes them, for messages. */
  readonly name: string;
  /** How many units the group has. A unit is what goes together: in a plain layer one output channel. */
  readonly size: number;
  readonly members: readonly ChannelMember[];
  /** What the layers behind read of it. */
  readonly inputs: readonly ChannelInput[];
  /** The same for groups of the same make-up (the operators they go through), whatever their sizes. */
  readonly kind: string;
  /** Whether a unit whose weights are all zero can go without any effect. Not so where an average is taken over the channels. */
  readonly isExact: boolean;
  /** Elements of constants that go with one unit, while all others stay. */
  readonly parametersPerUnit: number;
  /** Multiply-accumulates of layers with weights that go with one unit, while all others stay; 0 when no shape is known. */
  readonly macsPerUnit: number;
}

/** Which layers may lose channels, and what their costs are counted for. */
export interface ChannelGroupsOptions extends NodeSelection, CountOptions {}

/** The channels of a model that can be removed. */
export interface ChannelGroups {
  readonly groups: readonly ChannelGroup[];
  /** Why layers keep their channels, one sentence each. */
  readonly refusals: readonly string[];
}

/** Units to remove, by group: `removal[3]` lists those of group 3. */
export type Removal = readonly (readonly number[])[];

/** A group as the analysis numbers its units. */
interface NumberedGroup extends Omit<ChannelGroup, 'macsPerUnit'> {
  readonly units: readonly number[];
}

/**
 * The channels of `model` that can be removed, and which only together (Fang et al., "DepGraph: Towards Any Structural Pruning",
 * 2023, for the idea): found by following every channel through the graph, from the constants that it is an index of to the
 * inputs and outputs of the model, whose channels stay. Operators without a rule keep what they touch. `options` may leave
 * layers as they are.
 */
export function channelGroups(model: Model, options: ChannelGroupsOptions = {}): ChannelGroups {
  const analysis = analyze(model, options);
  const macs = macsByNode(model, options);
  const groups = numberedGroups(analysis).map((group) => ({ ...group, macsPerUnit: macsOf(group.members, macs) }));
  return { groups, refusals: refusals(analysis) };
}

function macsOf(members: readonly ChannelMember[], macs: ReadonlyMap<Node, number>): number {
  return members.reduce((sum, { node, value, axis, role, indices }) => {
    const length = value.constant?.dims[axis] ?? 1;
    const share = role === 'output' || role === 'input' ? (indices[0]?.length ?? 0) / length : 0;
    return sum + share * (macs.get(node) ?? 0);
  }, 0);
}

/**
 * Removes units of the groups that `channelGroups(model, selection)` gives for this model or the one that it is a clone of.
 * Constants become shorter, attributes and constants of shape follow; the inputs and outputs of the model stay as they are.
 * @throws PareError `unsupported` when the result would not be a valid model.
 */
export function removeChannels(model: Model, removal: Removal, selection: NodeSelection = {}): void {
  const analysis = analyze(model, selection);
  applyCut(model, analysis, unitsOf(analysis, removal));
}

/** The units of `removal` as the analysis numbers them. */
export function unitsOf(analysis: ChannelAnalysis, removal: Removal): Set<number> {
  const groups = numberedGroups(analysis);
  return new Set(removal.flatMap((units, i) => units.map((unit) => groups[i]?.units[unit] as number)));
}

export function analyze(model: Model, selection: NodeSelection): ChannelAnalysis {
  const selected = nodeSelector(selection);
  return analyzeChannels(model, (node) => !selected(node));
}

const numbered = new WeakMap<ChannelAnalysis, readonly NumberedGroup[]>();

/** The groups of an analysis; found once. */
function numberedGroups(analysis: ChannelAnalysis): readonly NumberedGroup[] {
  const present = numbered.get(analysis) ?? findGroups(analysis);
  numbered.set(analysis, present);
  return present;
}

function findGroups(analysis: ChannelAnalysis): NumberedGroup[] {
  const { places, space } = analysis;
  const consumers = consumersOf(analysis);
  const occurrences = occurrencesOf(places, space);
  return alike(analysis, occurrences).map((units) => {
    const first = occurrences.get(units[0] as number) as Occurrence;
    const members = [...first.keys()].map((place): ChannelMember => {
      const { value, node, input, axis, role } = place;
      const indices = units.map((unit) => occurrences.get(unit)?.get(place) ?? []);
      return { value, node, input, axis, role, indices };
    });
    return {
      name: nameOf([...first.keys()]),
      size: units.length,
      members,
      inputs: inputsOf(units, members, consumers, space),
      kind: kindOf(first),
      isExact: !space.isInexact(units[0] as number),
      parametersPerUnit: parametersOf(first),
      units,
    };
  });
}

/** Where one unit lies in constants. */
type Occurrence = Map<Place, number[]>;

function occurrencesOf(places: readonly Place[], space: ChannelSpace): Map<number, Occurrence> {
  const occurrences = new Map<number, Occurrence>();
  for (const place of places) {
    for (const [i, channel] of place.channels.entries()) {
      for (const unit of space.units(channel)) {
        const where: Occurrence = occurrences.get(unit) ?? new Map();
        occurrences.set(unit, where);
        const at = where.get(place);
        if (at) at.push(i);
        else where.set(place, [i]);
      }
    }
  }
  return occurrences;
}

/** Units that are the same number of times in the same places, two at least. A part that must not become empty stands alone. */
function alike({ places, zones, space }: ChannelAnalysis, occurrences: ReadonlyMap<number, Occurrence>): number[][] {
  const within = new Map<number, string>();
  for (const [i, zone] of zones.entries()) {
    const units = new Set([...zone].flatMap((channel) => space.units(channel)));
    for (const unit of units) within.set(unit, `${within.get(unit) ?? ''},${i}`);
  }
  const number = new Map(places.map((place, i) => [place, i]));
  const groups = new Map<string, number[]>();
  for (const [unit, where] of occurrences) {
    const times = [...where].map(([place, at]) => `${number.get(place)}:${at.length}`);
    const signature = `${times}|${within.get(unit)}|${space.isInexact(unit)}`;
    const group = groups.get(signature);
    if (group) group.push(unit);
    else groups.set(signature, [unit]);
  }
  return [...groups.values()].filter((units) => units.length > 1);
}

/** What consumers read of `units`, each activation once. */
function inputsOf(
  units: readonly number[],
  members: readonly ChannelMember[],
  consumers: readonly Consumer[],
  space: ChannelSpace,
): ChannelInput[] {
  const number = new Map(units.map((unit, i) => [unit, i]));
  const inputs = new Map<string, ChannelInput>();
  for (const { data, axis, rank, channels, place } of consumers) {
    const member = members.find((m) => m.node === place.node && m.input === place.input && m.axis === place.axis);
    if (!member) continue;
    const key = `${axis}:${data.name}`;
    const indices = units.map((): number[] => []);
    for (const [i, channel] of channels.entries()) {
      for (const unit of space.units(channel)) indices[number.get(unit) ?? -1]?.push(i);
    }
    const weights = [...(inputs.get(key)?.weights ?? []), member];
    inputs.set(key, { value: data, axis, rank, length: channels.length, indices, weights });
  }
  return [...inputs.values()];
}

function nameOf(places: readonly Place[]): string {
  const { node } = places.find((place) => place.role === 'output') ?? (places[0] as Place);
  return node.label;
}

/** Isomorphic groups go through the same operators at the same inputs (Fang et al., "Isomorphic Pruning", 2024). */
function kindOf(places: Occurrence): string {
  const counts = new Map<string, number>();
  for (const { node, input, axis, role } of places.keys()) {
    const key = `${node.opType}.${input}[${axis}]${role === 'output' ? '>' : ''}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts]
    .map(([key, n]) => (n > 1 ? `${n}*${key}` : key))
    .sort()
    .join(' ');
}

function parametersOf(places: Occurrence): number {
  const counted = new Map<string, number>();
  for (const [{ value, axis, tensor }, at] of places) {
    counted.set(`${value.name}:${axis}`, (tensor.size / (tensor.dims[axis] as number)) * at.length);
  }
  return [...counted.values()].reduce((a, b) => a + b, 0);
}

/** One sentence for each layer whose output channels stay. */
function refusals({ places, space }: ChannelAnalysis): string[] {
  const sentences = new Set<string>();
  for (const { node, role, channels } of places) {
    if (role !== 'output') continue;
    const reason = channels.reduce<string | undefined>((found, channel) => found ?? space.reason(channel), undefined);
    if (reason) sentences.add(`The channels of ${node.label} stay: ${reason}.`);
  }
  return [...sentences];
}
