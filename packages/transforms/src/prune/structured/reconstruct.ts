import { elementCount, inlineGraph, type Model, type Node, type Value } from '@pare/core';
import { isWeight, readWeights, storeWeights, type Weights } from '../../fuse/weights.js';
import type { NodeSelection } from '../../quantize/select.js';
import type { Place } from './channel-op.js';
import { type Consumer, consumersOf } from './consumers.js';
import { Cut } from './cut.js';
import { analyze, type Removal, unitsOf } from './groups.js';
import { regress } from './least-squares.js';
import { type Observed, type ObservedAxis, type ObserveOptions, observeChannels } from './observe.js';
import { replaceConstant } from './replace-constant.js';

/** Options of `reconstructChannels`. */
export interface ReconstructOptions extends Omit<ObserveOptions, 'onProgress'>, NodeSelection {
  /** Ridge, as a share of the mean square of the channels that stay. Default 0.001. */
  readonly damping?: number | undefined;
  /**
   * Layer after layer, each from what the layers before it really give by then: as many passes over the samples as there are layers in
   * a row, and much better. False: all from the original model, in one pass. Default true.
   */
  readonly sequential?: boolean | undefined;
  /** Called after each pass. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/** A matrix of products of more channels than this is not collected. */
const MAX_CHANNELS = 2048;

/**
 * Prepares `model` for the removal of units: every layer behind gets the weights that bring what it computes from the channels that
 * stay nearest to what it computed, by least squares on samples. With Y what the layer computed in the original model and X what stays
 * of what it reads now, that is `W' = Y X' (X X' + lambda I)^-1` (He et al., "Channel Pruning for Accelerating Very Deep Neural
 * Networks", 2017), with the ridge on the change only: channels of zeros change nothing. Kernels are treated as if each position were
 * alone. Layers without padding also get the mean of what went in their bias. Weights of units that go become zero.
 *
 * Memory is the square of the channel counts. Call `removeChannels` afterwards.
 * @returns one sentence for each layer that was left as it is.
 * @throws PareError `bad-data` without samples or with activations that are not finite; `engine`; `aborted`.
 */
export async function reconstructChannels(
  model: Model,
  removal: Removal,
  options: ReconstructOptions,
): Promise<string[]> {
  const original = model.clone();
  const analysis = analyze(model, options);
  const cut = new Cut(analysis.space, unitsOf(analysis, removal));
  const consumers = consumersOf(analysis);
  const refusals = new Map(consumers.map((consumer) => [consumer, refusal(consumer)]));
  const able = consumers.filter((consumer) => !refusals.get(consumer));
  const loses = ({ channels }: Consumer): boolean => cut.kept(channels).length < channels.length;
  await zeroRemoved(analysis.places, cut);
  const levels = options.sequential === false ? [able.filter(loses)] : levelsOf(model, able);
  // Before the first layer that loses anything there is nothing to make up for.
  const first = levels.findIndex((level) => level.some(loses));
  const affected = first < 0 ? [] : levels.slice(first);
  for (const [done, level] of affected.entries()) {
    const axes = axesOf(level);
    const source = options.sequential === false ? original : model;
    const { model: both, others } = sideBySide(source, original, axes);
    const quiet = { ...options, onProgress: undefined };
    const observed = await observeChannels(both, others, ['gram', 'sum', 'cross', 'other-sum'], quiet);
    for (const consumer of level) {
      const i = axes.findIndex(({ name, axis }) => name === consumer.data.name && axis === consumer.axis);
      const { node, place } = consumer;
      const computed = analysis.places.filter((p) => p.node === node && p.input === place.input && p.role === 'output');
      await adjust(consumer, computed, cut, observed[i] as Observed, options.damping ?? 1e-3);
    }
    options.onProgress?.(done + 1, affected.length);
  }
  return consumers.filter(loses).flatMap((consumer) => refusals.get(consumer) ?? []);
}

/** The activations that `consumers` read, each once. */
function axesOf(consumers: readonly Consumer[]): ObservedAxis[] {
  const axes = new Map<string, ObservedAxis>();
  for (const { data, axis, rank, channels } of consumers) {
    axes.set(`${axis}:${data.name}`, { name: data.name, axis, rank, length: channels.length });
  }
  return [...axes.values()];
}

/** `consumers` by how many others are before them. */
function levelsOf(model: Model, consumers: readonly Consumer[]): Consumer[][] {
  const depth = new Map<Value, number>();
  const levels: Consumer[][] = [];
  for (const node of model.graph.nodes()) {
    const before = Math.max(0, ...node.inputs.map((value) => (value && depth.get(value)) ?? 0));
    const own = consumers.filter((consumer) => consumer.node === node);
    if (own.length > 0) levels[before] = [...(levels[before] ?? []), ...own];
    for (const output of node.outputs) if (output) depth.set(output, before + Math.sign(own.length));
  }
  return levels.filter((level) => level);
}

/** One model that computes both `model` and `original`; `others` names the activations of the original beside those of `axes`. */
function sideBySide(
  model: Model,
  original: Model,
  axes: readonly ObservedAxis[],
): { readonly model: Model; readonly others: ObservedAxis[] } {
  const both = model.clone();
  const { graph } = original.clone();
  while (graph.outputs.length > 0) graph.removeOutput(0);
  // Names of nodes must be unique; those of values are made so.
  for (const node of graph.allNodes()) node.name = '';
  for (const { name } of axes) graph.addOutput(graph.value(name) as Value);
  const inputs = graph.inputs.filter((value) => !value.constant);
  const actuals = new Map(inputs.map((value) => [value, both.graph.value(value.name) as Value]));
  const found = inlineGraph(graph, both.graph.last as Node, actuals);
  return { model: both, others: axes.map((axis, i) => ({ ...axis, other: (found[i] as Value).name })) };
}

/** Operators whose further constants are added. A divisor of zero would be worse than none. */
const ADDED: ReadonlySet<string> = new Set(['Add', 'Conv', 'ConvTranspose', 'Gemm', 'LSTM', 'GRU', 'RNN']);

/** The model computes as it will without the channels: what they do is zero. Vectors that several nodes share are left. */
async function zeroRemoved(places: readonly Place[], cut: Cut): Promise<void> {
  const done = new Set<string>();
  for (const { value, node, axis, role, channels } of places) {
    const tensor = value.constant;
    const key = `${axis}:${value.name}`;
    const isShared = value.uses.size > 1 && (tensor?.dims.filter((d) => d > 1).length ?? 0) < 2;
    if (done.has(key) || isShared || !isWeight(tensor) || (role === 'other' && !ADDED.has(node.opType))) continue;
    done.add(key);
    const kept = new Set(cut.kept(channels));
    if (kept.size === channels.length) continue;
    const weights = (await readWeights(tensor)).slice() as Weights;
    zeroAlong(weights, tensor.dims, axis, kept);
    const zeroed = storeWeights(tensor.dtype, tensor.dims, weights);
    if (value.producer) value.producer.setAttribute('value', zeroed);
    else value.graph.setInitializer(value, zeroed);
  }
}

function refusal({ node, place, channels }: Consumer): string | undefined {
  const { value, tensor } = place;
  const refuse = (why: string): string => `${node.label} is not reconstructed: it ${why}.`;
  if (channels.length > MAX_CHANNELS) return refuse(`reads ${channels.length} channels, more than ${MAX_CHANNELS}`);
  if (value.uses.size > 1) return refuse('shares its weight with others');
  return isWeight(tensor) ? undefined : refuse('has weights that are not floats');
}

/** Zero for all but the places `kept` along an axis. */
function zeroAlong(weights: Weights, dims: readonly number[], axis: number, kept: ReadonlySet<number>): void {
  const row = elementCount(dims.slice(axis + 1));
  const length = dims[axis] as number;
  for (let at = 0; at < weights.length; at += row) {
    if (!kept.has((at / row) % length)) weights.fill(0, at, at + row);
  }
}

/** Channels of one group of a convolution, or all: places along the activation. */
interface Block {
  readonly all: readonly number[];
  readonly known: readonly number[];
  /** Place along the weight's axis of the first channel that the block counts from. */
  readonly first: number;
  /** Whether the filter (place along axis 0 of the weight) reads this block. */
  readonly reads: (filter: number) => boolean;
}

function blocksOf({ node, place, channels }: Consumer, cut: Cut): Block[] {
  const staying = new Set(cut.kept(channels));
  const groups = /Conv/.test(node.opType) ? node.int('group', 1) : 1;
  const length = channels.length / groups;
  const isShort = place.axis === 1 && groups > 1;
  const filters = (place.tensor.dims[0] ?? 1) / groups;
  return Array.from({ length: groups }, (_, g): Block => {
    const all = Array.from({ length }, (_, i) => g * length + i);
    return {
      all,
      known: all.filter((i) => staying.has(i)),
      first: isShort ? g * length : 0,
      reads: (filter) => !isShort || Math.floor(filter / filters) === g,
    };
  }).filter(({ known }) => known.length > 0);
}

/** Gives `consumer` its new weights. `computed`: what it computes, along other axes of the weight. */
async function adjust(
  consumer: Consumer,
  computed: readonly Place[],
  cut: Cut,
  observed: Observed,
  damping: number,
): Promise<void> {
  const { node, place, channels } = consumer;
  // The weights as they were: those in the model have zeros for what goes.
  const { tensor, axis } = place;
  const n = channels.length;
  const [gram, sum, cross, whole] = (['gram', 'sum', 'cross', 'other-sum'] as const).map((statistic) =>
    observed.sums.get(statistic),
  ) as [Float64Array, Float64Array, Float64Array, Float64Array];
  const bias = await biasOf(node, tensor.dims);
  const products = bias ? centred(gram, sum, sum, observed.count) : gram;
  const wanted = bias ? centred(cross, whole, sum, observed.count) : cross;
  const before = await readWeights(tensor);
  const weights = before.slice() as Weights;
  const inner = elementCount(tensor.dims.slice(axis + 1));
  const length = tensor.dims[axis] as number;
  const outer = elementCount(tensor.dims.slice(0, axis));
  const perFilter = outer / (axis > 0 ? (tensor.dims[0] as number) : 1);
  for (const { all, known, first, reads } of blocksOf(consumer, cut)) {
    const stays = new Set(known);
    // What each channel was, as a mixture of those that stay, beyond itself.
    const mix = regress(
      products,
      n,
      known,
      all,
      damping,
      (k, i) => (wanted[i * n + k] as number) - (stays.has(i) ? (products[i * n + k] as number) : 0),
    );
    const means = all.map((c, j) =>
      known.reduce(
        (mean, k, i) => mean - ((mix[i * all.length + j] as number) * (sum[k] as number)) / observed.count,
        ((whole[c] as number) - (stays.has(c) ? (sum[c] as number) : 0)) / observed.count,
      ),
    );
    for (let o = 0; o < outer; o++) {
      if (axis > 0 && !reads(Math.floor(o / perFilter))) continue;
      for (let t = 0; t < inner; t++) {
        const at = (channel: number): number => (o * length + channel - first) * inner + t;
        for (const [i, k] of known.entries()) {
          let change = 0;
          for (const [j, c] of all.entries()) change += (mix[i * all.length + j] as number) * (before[at(c)] as number);
          weights[at(k)] = (before[at(k)] as number) + change;
        }
        for (const c of all) if (!stays.has(c)) weights[at(c)] = 0;
        if (!bias) continue;
        const filter = bias.isColumn ? t : o;
        for (const [j, c] of all.entries()) {
          bias.values[filter] = (bias.values[filter] as number) + (means[j] as number) * (before[at(c)] as number);
        }
      }
    }
  }
  for (const { axis: other, channels: outputs } of computed) {
    const kept = new Set(cut.kept(outputs));
    zeroAlong(weights, tensor.dims, other, kept);
    if (bias) zeroAlong(bias.values, [bias.values.length], 0, kept);
  }
  replaceConstant(node, place.input, storeWeights(tensor.dtype, tensor.dims, weights));
  if (bias) {
    replaceConstant(node, 2, storeWeights(tensor.dtype, [bias.values.length], bias.values), `${node.name}_bias`);
  }
}

/** The products of deviations from the means, of rows of `left` with rows of `right`. */
function centred(products: Float64Array, left: Float64Array, right: Float64Array, count: number): Float64Array {
  const n = right.length;
  return products.map((p, at) => p - ((left[Math.floor(at / n)] as number) * (right[at % n] as number)) / count);
}

/** A bias that a constant can be added to, where the layer sees a constant everywhere: no padding, no factors. */
async function biasOf(
  node: Node,
  dims: readonly number[],
): Promise<{ readonly values: Weights; readonly isColumn: boolean } | undefined> {
  const isGemm = node.is('Gemm') && node.float('alpha', 1) === 1 && node.float('beta', 1) === 1;
  const isConv =
    node.is('Conv') && !node.ints('pads')?.some((p) => p !== 0) && node.string('auto_pad', 'NOTSET') === 'NOTSET';
  if (!isGemm && !isConv) return undefined;
  const isColumn = isGemm && !node.int('transB', 0);
  const count = (isColumn ? dims[1] : dims[0]) as number;
  const present = node.inputs[2];
  if (!present) return { values: new Float64Array(count), isColumn };
  if (present.constant?.size !== count || present.constant.dims.length !== 1) return undefined;
  return { values: Float64Array.from(await readWeights(present.constant)), isColumn };
}
