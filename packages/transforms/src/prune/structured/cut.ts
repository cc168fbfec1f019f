import {
  byteLength,
  elementCount,
  equalDims,
  inferTypes,
  isTensorType,
  type Model,
  type Node,
  PareError,
  Tensor,
  tensorType,
  type Value,
} from '@pare/core';
import { derive } from '../../fuse/weights.js';
import type { ChannelAnalysis } from './analyze.js';
import type { Place } from './channel-op.js';
import type { Axis, ChannelSpace } from './channel-space.js';

/** What is removed: what the rules ask when they adapt attributes and constants of shape. */
export class Cut {
  readonly #factors = new Map<Node, Map<number, number>>();

  constructor(
    private readonly space: ChannelSpace,
    private readonly removed: ReadonlySet<number>,
  ) {}

  /** Positions along `axis` that stay. */
  kept(axis: Int32Array): number[] {
    const kept: number[] = [];
    for (const [i, channel] of axis.entries()) {
      if (!this.space.units(channel).some((unit) => this.removed.has(unit))) kept.push(i);
    }
    return kept;
  }

  /** How many channels of `axis` stay; `length` when it has none. */
  count(axis: Axis, length: number): number {
    return axis ? this.kept(axis).length : length;
  }

  /** Multiplies the constant that is input `index` of `node`. */
  scale(node: Node, index: number, factor: number): void {
    if (factor === 1) return;
    const inputs = this.#factors.get(node) ?? new Map<number, number>();
    this.#factors.set(node, inputs.set(index, factor));
  }

  factor(node: Node, index: number): number {
    return this.#factors.get(node)?.get(index) ?? 1;
  }
}

/**
 * Removes the units `removed` from the model that `analysis` is of: constants become shorter, attributes and constants of shape
 * follow. The analysis is worth nothing afterwards.
 * @throws PareError `unsupported` when the model that results has other shapes than it must have.
 */
export function applyCut(model: Model, analysis: ChannelAnalysis, removed: ReadonlySet<number>): void {
  if (removed.size === 0) return;
  const cut = new Cut(analysis.space, removed);
  for (const adapt of analysis.cuts) adapt(cut);
  cutConstants(analysis.places, cut);
  const expected = updateTypes(analysis, cut);
  check(model, expected);
}

/** One use of a constant and what stays of it. */
interface Shorter {
  readonly node: Node;
  readonly input: number;
  readonly tensor: Tensor;
  /** By axis. */
  readonly kept: Map<number, readonly number[]>;
}

function cutConstants(places: readonly Place[], cut: Cut): void {
  const values = new Map<Value, Shorter[]>();
  for (const { node, input, value, tensor, axis, channels } of places) {
    const uses = values.get(value) ?? [];
    values.set(value, uses);
    const use = uses.find((each) => each.node === node && each.input === input) ?? {
      node,
      input,
      tensor,
      kept: new Map(),
    };
    if (!uses.includes(use)) uses.push(use);
    const kept = cut.kept(channels);
    if (kept.length < channels.length) use.kept.set(axis, kept);
  }
  for (const [value, uses] of values) replaceConstant(value, uses, cut);
}

/** Uses that keep the same share one tensor. An initializer that nobody reads whole any more keeps its name for the first. */
function replaceConstant(value: Value, uses: readonly Shorter[], cut: Cut): void {
  const forms = new Map<string, Shorter[]>();
  for (const use of uses) {
    const factor = cut.factor(use.node, use.input);
    if (use.kept.size === 0 && factor === 1) continue;
    const form = JSON.stringify([[...use.kept].sort(([a], [b]) => a - b), factor]);
    forms.set(form, [...(forms.get(form) ?? []), use]);
  }
  const changed = [...forms.values()];
  const isFree = changed.flat().length === value.uses.size && !value.isGraphOutput;
  const { graph } = value;
  for (const [i, form] of changed.entries()) {
    const { node, input, tensor, kept } = form[0] as Shorter;
    const shorter = scaled(takeAlong(tensor, kept), cut.factor(node, input));
    if (i === 0 && isFree && value.initializer) {
      graph.setInitializer(value, shorter);
      value.type = tensorType(shorter.dtype, shorter.dims);
      continue;
    }
    const replacement = graph.addInitializer(value.name, shorter);
    for (const use of form) use.node.setInput(use.input, replacement);
  }
  if (value.isUnused && value.producer) graph.remove(value.producer);
}

function scaled(tensor: Tensor, factor: number): Tensor {
  if (factor === 1) return tensor;
  return derive(tensor.dtype, tensor.dims, [tensor], (out, source) => {
    for (let i = 0; i < out.length; i++) out[i] = (source[i] as number) * factor;
  });
}

/** `tensor` with only the places `kept` along each axis; read and computed when it is asked for, unless it is small. */
export function takeAlong(tensor: Tensor, kept: ReadonlyMap<number, readonly number[]>): Tensor {
  if (kept.size === 0) return tensor;
  const dims = tensor.dims.map((d, axis) => kept.get(axis)?.length ?? d);
  const take = (bytes: Uint8Array): Uint8Array => {
    const element = byteLength(tensor.dtype, 1);
    let current = bytes;
    const shape = [...tensor.dims];
    for (const [axis, places] of kept) {
      const outer = elementCount(shape.slice(0, axis));
      const row = elementCount(shape.slice(axis + 1)) * element;
      const length = shape[axis] as number;
      const next = new Uint8Array(outer * places.length * row);
      for (let o = 0; o < outer; o++) {
        for (const [i, place] of places.entries()) {
          const from = (o * length + place) * row;
          next.set(current.subarray(from, from + row), (o * places.length + i) * row);
        }
      }
      shape[axis] = places.length;
      current = next;
    }
    return current;
  };
  const size = byteLength(tensor.dtype, elementCount(dims));
  const present = tensor.bytes;
  if (present && size <= EAGER_BYTES) return new Tensor(tensor.dtype, dims, { kind: 'bytes', bytes: take(present) });
  return new Tensor(tensor.dtype, dims, {
    kind: 'producer',
    byteLength: size,
    produce: async () => take(await tensor.load()),
  });
}

const EAGER_BYTES = 1 << 16;

/** Declares the new lengths where lengths were declared. Answers what each value must be now. */
function updateTypes({ axes, types }: ChannelAnalysis, cut: Cut): Map<Value, readonly (number | undefined)[]> {
  const expected = new Map<Value, readonly (number | undefined)[]>();
  for (const [value, channels] of axes) {
    const lengths = channels.map((axis) => (axis ? cut.kept(axis).length : undefined));
    if (lengths.every((length, i) => length === undefined || length === channels[i]?.length)) continue;
    expected.set(value, lengths);
    const type = types.typeOf(value);
    if (!value.type || !isTensorType(type) || !type.shape) continue;
    value.type = tensorType(
      type.dtype,
      type.shape.map((dim, i) => lengths[i] ?? dim),
    );
  }
  return expected;
}

/** The last line of defence: a rule that adapts a node wrongly must not leave a model that does not run. */
function check(model: Model, expected: ReadonlyMap<Value, readonly (number | undefined)[]>): void {
  const types = inferTypes(model);
  for (const [value, lengths] of expected) {
    const type = types.typeOf(value);
    const shape = isTensorType(type) ? type.shape : undefined;
    const wrong = shape?.some((dim, i) => lengths[i] !== undefined && equalDims(dim, lengths[i]) === false);
    if (!wrong) continue;
    throw new PareError(
      'unsupported',
      `Removing channels would give "${value.name}" the shape [${shape?.join(', ')}]. Exclude ${value.producer?.label ?? 'what reads it'}.`,
    );
  }
}
