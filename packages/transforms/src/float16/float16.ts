import {
  type Feeds,
  inferTypes,
  type Model,
  type Node,
  PareError,
  type Transform,
  type TransformContext,
  type TransformResult,
  throwIfAborted,
  type Value,
  type ValueType,
} from '@pare/core';
import { type NodeSelection, nodeSelector } from '../quantize/select.js';
import { FactsCache, type HalfType } from './constants.js';
import { softenMasks } from './masks.js';
import { measureRanges, type TensorRange } from './measure.js';
import { operatorRow } from './operators.js';
import { findPins } from './pins.js';
import { isFloat32, place } from './placement.js';
import { type Rewritten, rewrite } from './rewrite.js';

/** Options of `float16`. */
export interface Float16Options extends NodeSelection {
  /** Type to convert to. `bfloat16` has the range of float32 and 8 bits of precision. Default `float16`. */
  readonly type?: HalfType;
  /** Inputs and outputs of the model stay float32. Default true. */
  readonly keepIo?: boolean;
  /** Smallest and largest element of activations by name, as measured; what overflows float16 stays float32. */
  readonly ranges?: ReadonlyMap<string, TensorRange> | undefined;
  /** Inputs to measure the ranges with, through the context's engine. Default: nothing is measured. */
  readonly samples?: Iterable<Feeds> | AsyncIterable<Feeds> | undefined;
}

/**
 * Converts a model to float16 or bfloat16. Stays in float32: what ranges show to overflow (with a factor of two to spare),
 * operators without a 16-bit form at the model's opset, positions and lengths computed as floats, quantized regions, and
 * constants that 16 bits cannot hold. Between the two precisions stands one Cast a value, placed by a minimum cut so that
 * casts and lost gains cost least. Without ranges, squares and exponentials stay in float32 to be safe.
 *
 * Nodes in subgraphs take part; their values are not measured. The CPU provider of ONNX Runtime computes most float16
 * operators in float32 through casts of its own: there it halves the file, not the time.
 * @throws PareError `unsupported` for bfloat16 below opset 13, `bad-option` for samples without an engine.
 */
export function float16(options: Float16Options = {}): Transform {
  return { name: 'float16', apply: (model, context) => apply(model, options, context) };
}

async function apply(model: Model, options: Float16Options, context: TransformContext): Promise<TransformResult> {
  const to = options.type ?? 'float16';
  if (to === 'bfloat16' && model.opset < 13) {
    throw new PareError('unsupported', `bfloat16 needs opset 13 or newer; the model is opset ${model.opset}.`);
  }
  const { graph } = model;
  const notes: string[] = [];
  const masks = to === 'float16' ? await softenMasks(graph) : undefined;
  if (masks && masks.replaced > 0) notes.push(`${masks.replaced} attention masks now use -30000 for minus infinity.`);
  const types = inferTypes(model);
  const typeOf = (value: Value): ValueType | undefined => types.typeOf(value);
  const rowOf = (node: Node) => operatorRow(node, model.opset, to);
  const ranges = options.ranges ?? (await measured(model, typeOf, options, context));
  throwIfAborted(context.signal);
  const facts = new FactsCache();
  const pins = await findPins({
    graph,
    to,
    typeOf,
    rowOf,
    selected: nodeSelector(options),
    ranges,
    masks: masks?.values ?? new Set(),
    facts,
  });
  const io = (options.keepIo ?? true) ? 'high' : 'low';
  const pinned = new Set(pins.nodes.keys());
  const placement = place({ graph, typeOf, rowOf, io, pinned, wide: pins.wide });
  const candidates = [...model.allNodes()].filter((node) => touchesFloat(node, typeOf));
  const changed = candidates.filter((node) => placement.node(node) === 'low').length;
  notes.push(...pinNotes(pins.nodes), ...wideNotes(pins.wide, ranges));
  if (ranges === undefined && to === 'float16') notes.push('No ranges were measured: overflow was not looked for.');
  if (model.functions.length > 0) notes.push('Local functions were left as they are; inline them first.');
  const result = rewrite({ graph, to, typeOf, rowOf, placement });
  notes.push(...(await constantNotes(result, facts, to)));
  notes.push(`${changed} of ${candidates.length} float32 nodes now are ${to}, with ${result.casts} Casts between.`);
  return { changed, notes };
}

const touchesFloat = (node: Node, typeOf: (value: Value) => ValueType | undefined): boolean =>
  !node.is('Constant') && [...node.inputs, ...node.outputs].some((v) => v && isFloat32(typeOf(v)));

/** Ranges of the main graph's float32 values over the samples. */
async function measured(
  model: Model,
  typeOf: (value: Value) => ValueType | undefined,
  { samples, type }: Float16Options,
  context: TransformContext,
): Promise<Map<string, TensorRange> | undefined> {
  if (!samples || type === 'bfloat16') return undefined;
  if (!context.engine) throw new PareError('bad-option', 'Samples for float16 need an engine to run them.');
  const names = [...model.graph.values].filter((v) => !v.constant && isFloat32(typeOf(v))).map((v) => v.name);
  return measureRanges(model, names, samples, context.engine, context);
}

/** One sentence a reason, naming up to three nodes. */
function pinNotes(nodes: ReadonlyMap<Node, string>): string[] {
  const byReason = new Map<string, string[]>();
  for (const [node, reason] of nodes) byReason.set(reason, [...(byReason.get(reason) ?? []), node.label]);
  return [...byReason].map(([reason, labels]) => {
    const more = labels.length > 3 ? ` and ${labels.length - 3} more` : '';
    return `${labels.slice(0, 3).join(', ')}${more}: float32, because ${reason}.`;
  });
}

/** Values that overflow: what the furthest of them reach, and how many were not measured. */
function wideNotes(wide: ReadonlySet<Value>, ranges: ReadonlyMap<string, TensorRange> | undefined): string[] {
  const measured = [...wide].flatMap((value) => {
    const range = ranges?.get(value.name);
    return range ? [{ value, range, reach: Math.max(-range.min, range.max) }] : [];
  });
  const listed = measured.sort((a, b) => b.reach - a.reach).slice(0, 5);
  const notes = listed.map(
    ({ value, range }) =>
      `"${value.name}" stays float32: it reaches [${range.min.toPrecision(3)}, ${range.max.toPrecision(3)}].`,
  );
  if (measured.length > listed.length) notes.push(`${measured.length - listed.length} more values reach too far.`);
  const unknown = wide.size - measured.length;
  if (unknown > 0) notes.push(`${unknown} values stay float32: they may overflow, and were not measured.`);
  return notes;
}

async function constantNotes({ constants }: Rewritten, cache: FactsCache, to: HalfType): Promise<string[]> {
  if (to === 'bfloat16') return [];
  const notes: string[] = [];
  let flushed = 0;
  let subnormal = 0;
  let elements = 0;
  for (const { name, tensor } of constants) {
    const facts = await cache.of(tensor);
    elements += tensor.size;
    flushed += facts.flushed;
    subnormal += facts.subnormal;
    if (facts.beyond > 0) {
      const largest = -facts.lowest > facts.highest ? facts.lowest : facts.highest;
      notes.push(
        `"${name}": ${facts.beyond} elements beyond float16 (up to ${largest.toPrecision(3)}) became +-65504.`,
      );
    }
  }
  if (flushed + subnormal > 0) {
    notes.push(
      `Of ${elements} constant elements, ${flushed} too small for float16 became 0 and ${subnormal} became subnormal.`,
    );
  }
  return notes;
}
