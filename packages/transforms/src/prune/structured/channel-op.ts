import {
  type Dim,
  type Graph,
  type Inference,
  isTensorType,
  type Node,
  type Shape,
  Tensor,
  type Value,
} from '@pare/core';
import { elementsInMemory } from '../../simplify/scope.js';
import type { Axis, ChannelSpace } from './channel-space.js';
import type { Cut } from './cut.js';

/** What a constant along an axis is to the node that reads it. */
export type Role =
  /** What the node computes: filters of Conv, columns of a product, gates of an LSTM. */
  | 'output'
  /** What it reads: the other axis of a weight. */
  | 'input'
  /** A normalization's factor. */
  | 'scale'
  /** Anything else: biases, running statistics, constants in arithmetic. */
  | 'other';

/** Channels along axis `axis` of a constant, as input `input` of `node`. */
export interface Place {
  readonly node: Node;
  readonly input: number;
  readonly value: Value;
  readonly tensor: Tensor;
  readonly axis: number;
  readonly role: Role;
  readonly channels: Int32Array;
}

/** What all rules of one analysis share. */
export interface Surroundings {
  readonly space: ChannelSpace;
  readonly types: Inference;
  readonly opset: number;
  /** Channels of what nodes computed, axis by axis. */
  readonly axes: Map<Value, readonly Axis[]>;
  readonly places: Place[];
  /** Parts of axes that must not become empty. */
  readonly zones: Int32Array[];
  readonly cuts: ((cut: Cut) => void)[];
}

/**
 * The rule of an operator: the channels along each axis of each output, made of those of its inputs. What it does not name
 * stays: outputs without channels need not be listed, and input axes that it does not ask for are not pruned.
 */
export type ChannelRule = (op: ChannelOp) => readonly (readonly Axis[])[];
export type ChannelRules = Readonly<Record<string, ChannelRule>>;

/** A node as its rule sees it. */
export class ChannelOp {
  readonly #asked = new Map<number, Set<number>>();

  constructor(
    readonly node: Node,
    private readonly around: Surroundings,
    private readonly key: string,
  ) {}

  get opset(): number {
    return this.around.opset;
  }

  has(index: number): boolean {
    return Boolean(this.node.inputs[index]);
  }

  /** Shape of input `index`; undefined when left out or of unknown rank. */
  shape(index: number): Shape | undefined {
    return this.shapeOf(this.node.inputs[index]);
  }

  outputShape(index: number): Shape | undefined {
    return this.shapeOf(this.node.outputs[index]);
  }

  /** Length along an axis of input `index`, when it is a known number. */
  length(index: number, axis: number): number | undefined {
    const dim: Dim | undefined = this.shape(index)?.at(axis);
    return typeof dim === 'number' ? dim : undefined;
  }

  /** Elements of a small constant input; undefined when they are not all known. */
  integers(index: number): number[] | undefined {
    return this.integersOf(this.node.inputs[index]);
  }

  integersOf(value: Value | null | undefined): number[] | undefined {
    if (!value) return undefined;
    // Lengths "to the end" are the largest integer, which no double holds.
    const found = value.constant ? elementsInMemory(value.constant) : this.around.types.valuesOf(value);
    return found?.every((v) => typeof v === 'number') ? (found as number[]) : undefined;
  }

  isConstant(index: number): boolean {
    return this.node.inputs[index]?.constant !== undefined;
  }

  /** Channels along every axis of input `index`, as `axis` gives them. */
  axes(index: number): readonly Axis[] {
    return (this.shape(index) ?? []).map((_, axis) => this.axis(index, axis));
  }

  /** Channels along `axis` (negative: from the end) of input `index`. `role` says what a constant there is. */
  axis(index: number, axis: number, role: Role = 'other'): Axis {
    const value = this.node.inputs[index];
    const rank = this.shape(index)?.length;
    if (!value || rank === undefined) return null;
    const at = axis < 0 ? axis + rank : axis;
    const asked = this.#asked.get(index) ?? new Set();
    this.#asked.set(index, asked.add(at));
    const computed = this.around.axes.get(value);
    if (computed) return computed[at] ?? null;
    return value.constant ? this.#constantAxis(index, value, value.constant, at, role) : null;
  }

  /**
   * The same channels in the same order: they stay or go together. The first axis that has any, for an output. An axis without
   * channels pins the others.
   */
  tie(...axes: readonly Axis[]): Axis {
    const first = axes.find((axis) => axis !== null) ?? null;
    for (const axis of axes) {
      if (axis === first) continue;
      if (!first || axis?.length !== first.length) {
        for (const each of axes) this.pin(each, 'joins it with what cannot be removed');
        return null;
      }
      for (let i = 0; i < first.length; i++) this.around.space.tie(first[i] as number, axis[i] as number);
    }
    return first;
  }

  /** The channels of `axis` stay, because this node `verb`s: "averages over them". */
  pin(axis: Axis, verb: string): null {
    for (const channel of axis ?? []) this.around.space.pin(channel, `${this.node.label} ${verb}`);
    return null;
  }

  pinAll(axes: readonly Axis[], verb: string): null[] {
    return axes.map((axis) => this.pin(axis, verb));
  }

  markInexact(axis: Axis): void {
    for (const channel of axis ?? []) this.around.space.markInexact(channel);
  }

  /** `count` new channels. */
  fresh(count: number): Int32Array {
    return this.around.space.fresh(count);
  }

  /** `count` new channels that stay. */
  fixed(count: number): Int32Array {
    const axis = this.fresh(count);
    this.pin(axis, 'has inputs that stay');
    return axis;
  }

  /** `part` of an axis that must not become empty. */
  zone(part: Int32Array): Int32Array {
    this.around.zones.push(part);
    return part;
  }

  merge(factors: readonly Axis[], lengths: readonly number[]): Axis {
    return this.around.space.merge(factors, lengths);
  }

  split(axis: Axis, lengths: readonly number[], part = ''): Axis[] {
    return this.around.space.split(axis, lengths, `${this.key}${part}`);
  }

  /** Called when channels are removed: for what a node says of its channels in attributes and constants of shape. */
  onCut(adapt: (cut: Cut) => void): void {
    this.around.cuts.push(adapt);
  }

  /** Replaces input `index` by a list of int64, or by the only one as a scalar. */
  setIntegers(index: number, values: readonly number[], isScalar = false): void {
    const { node } = this;
    const old = node.inputs[index];
    const dims = isScalar ? [] : [values.length];
    node.setInput(index, this.graph.addInitializer(old?.name ?? 'const', Tensor.of('int64', dims, values)));
    if (old?.initializer && old.isUnused && !old.isGraphInput) old.graph.removeValue(old);
  }

  /**
   * Puts lengths (by place) over those of the shape that input `index` is told; 0 and -1 in a constant one keep their meaning. A
   * computed shape gets a node (ScatterElements, opset 11).
   */
  overwriteShape(index: number, lengths: ReadonlyMap<number, number>): void {
    if (lengths.size === 0) return;
    const given = this.isConstant(index) ? this.integers(index) : undefined;
    if (given) {
      this.setIntegers(
        index,
        given.map((length, i) => (length > 0 ? (lengths.get(i) ?? length) : length)),
      );
      return;
    }
    const { node, graph } = this;
    const list = (values: Iterable<number>): Value =>
      graph.addInitializer('lengths', Tensor.of('int64', [lengths.size], [...values]));
    const inputs = [node.inputs[index] ?? null, list(lengths.keys()), list(lengths.values())];
    node.setInput(index, graph.addNode('ScatterElements', inputs, { before: node }).output);
  }

  /** Whether the rule can put the shape on input `index` right later. */
  canOverwriteShape(index: number): boolean {
    return (this.isConstant(index) && this.integers(index) !== undefined) || this.opset >= 11;
  }

  get graph(): Graph {
    return this.node.graph ?? this.node.fail('is in no graph');
  }

  /** Channels of inputs that the rule did not ask for can only stay. */
  finish(): void {
    for (const [index, value] of this.node.inputs.entries()) {
      for (const [axis, channels] of (value && this.around.axes.get(value))?.entries() ?? []) {
        if (!this.#asked.get(index)?.has(axis)) this.pin(channels, 'needs all of them');
      }
    }
  }

  #constantAxis(index: number, value: Value, tensor: Tensor, axis: number, role: Role): Axis {
    const length = tensor.dims[axis] ?? 1;
    if (length < 2 || !PRUNABLE.has(tensor.dtype)) return null;
    // A matrix that several nodes read is tied on purpose; equal vectors are often shared to save bytes, and may part.
    const isTied = tensor.dims.filter((d) => d > 1).length > 1;
    const present = this.around.places.find(
      (p) => p.value === value && p.axis === axis && (isTied || (p.node === this.node && p.input === index)),
    );
    const channels = present?.channels ?? this.fresh(length);
    if (!present || present.node !== this.node || present.input !== index) {
      this.around.places.push({ node: this.node, input: index, value, tensor, axis, role, channels });
    }
    return channels;
  }

  private shapeOf(value: Value | null | undefined): Shape | undefined {
    if (!value) return undefined;
    if (value.constant) return value.constant.dims;
    const type = this.around.types.typeOf(value);
    return isTensorType(type) ? type.shape : value.shape;
  }
}

/** Element types of whole bytes: what can be cut out of a tensor. */
const PRUNABLE: ReadonlySet<string> = new Set([
  'float32',
  'float64',
  'float16',
  'bfloat16',
  'int8',
  'uint8',
  'int32',
  'int64',
  'bool',
]);
