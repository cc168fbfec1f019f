import {
  inferTypes,
  isTensorType,
  type Model,
  type Node,
  type Transform,
  type TransformContext,
  type TransformResult,
  type Value,
} from '@pare/core';
import { derive, isWeight, readWeights, storeWeights } from '../fuse/weights.js';
import { findLayers, type Layer, operands, replaceWeight } from './layers.js';
import {
  engineOf,
  type Observed,
  type ObservedAxis,
  observeChannels,
  refuseOneShot,
  type Samples,
} from './structured/observe.js';
import { replaceConstant } from './structured/replace-constant.js';

/** Options of `restoreMoments`. */
export interface RestoreMomentsOptions {
  /** The model before its weights were changed. */
  readonly reference: Model;
  /** Samples of what the model will see: an array or a data set, which is read several times. Some dozens are enough. */
  readonly samples: Samples;
}

/** Factors beyond this, or below its inverse, would blow up what little is left. */
const MOST = 4;

/**
 * Gives each output channel of each layer the mean and variance over the samples that it has in `reference`, after weights were
 * changed: by a factor on its weights and a new bias. Weights that are 0 stay 0, and nothing is added to the graph. Layers are done
 * in the order of the network, those side by side together: as many passes over the samples as there are in a row (Jordan et al.,
 * "REPAIR: renormalizing permuted activations", 2022, here folded into the layer).
 *
 * Conv, ConvTranspose, Gemm, and MatMul with a constant Add behind it are done; a tied weight stays, as do layers in subgraphs.
 * @throws PareError `bad-option` without an engine or with samples that can be read only once; `bad-data` without samples;
 *   `engine`; `aborted`.
 */
export function restoreMoments(options: RestoreMomentsOptions): Transform {
  return {
    name: 'restoreMoments',
    apply: (model, context) => {
      refuseOneShot(options.samples);
      return restore(model, options, context);
    },
  };
}

async function restore(
  model: Model,
  { reference, samples }: RestoreMomentsOptions,
  context: TransformContext,
): Promise<TransformResult> {
  const { signal, onProgress } = context;
  const run = { engine: engineOf(context), samples, signal };
  const levels = levelsOf(model, channelLayers(model, reference));
  const all = levels.flat();
  if (all.length === 0) return { changed: 0, notes: [] };
  const wanted = new Map<ChannelLayer, Observed>();
  for (const [i, observed] of (await observeChannels(reference, all, ['sum', 'square'], run)).entries()) {
    wanted.set(all[i] as ChannelLayer, observed);
  }
  for (const [done, layers] of levels.entries()) {
    const observed = await observeChannels(model, layers, ['sum', 'square'], run);
    for (const [i, layer] of layers.entries()) {
      await adjust(layer, moments(observed[i] as Observed), moments(wanted.get(layer) as Observed));
    }
    onProgress?.('restoreMoments', done + 1, levels.length);
  }
  const note = `Means and variances of ${all.length} layers are those of the dense model again, in ${levels.length} passes.`;
  return { changed: all.length, notes: [note] };
}

/** A layer, the activation that its channels are in, and where their bias is. */
interface ChannelLayer extends ObservedAxis {
  readonly layer: Layer;
  /** What adds the bias, at which input, and times what. */
  readonly bias: { readonly node: Node; readonly index: number; readonly factor: number };
}

/** The layers that can be adjusted, and whose output the reference has too. */
function channelLayers(model: Model, reference: Model): ChannelLayer[] {
  const types = inferTypes(model);
  return findLayers(model, {}).layers.flatMap((layer): ChannelLayer[] => {
    const [node] = layer.nodes;
    const { view } = layer;
    const length = view.outputs * (view.ownInputs ? view.groups : 1);
    const bias = biasOf(node);
    const held = bias?.node.inputs[bias.index];
    // One number a channel, along the last axis.
    const { size, dims = [] } = held?.constant ?? {};
    const isFree = !held || (isWeight(held.constant) && size === length && dims.at(-1) === length);
    if (!bias || !isFree || layer.nodes.length > 1 || node.graph !== model.graph) return [];
    const value = bias.node.output;
    const type = types.typeOf(value);
    const rank = isTensorType(type) ? type.shape?.length : undefined;
    if (rank === undefined || !reference.graph.value(value.name)) return [];
    const isConvolution = node.is('Conv') || node.is('ConvTranspose');
    return [{ name: value.name, axis: isConvolution ? 1 : rank - 1, rank, length, layer, bias }];
  });
}

function biasOf(node: Node): ChannelLayer['bias'] | undefined {
  if (!node.is('MatMul')) {
    const factor = node.is('Gemm') ? node.float('beta', 1) : 1;
    return factor === 0 ? undefined : { node, index: 2, factor };
  }
  const [add, ...others] = node.output.consumers;
  if (!add?.is('Add') || others.length > 0 || node.output.isGraphOutput) return undefined;
  const index = add.inputs.findIndex((value) => value?.constant);
  return index < 0 ? undefined : { node: add, index, factor: 1 };
}

/** The layers by how many others come before them. */
function levelsOf(model: Model, layers: readonly ChannelLayer[]): ChannelLayer[][] {
  const byNode = new Map(layers.map((layer) => [layer.layer.nodes[0], layer]));
  const depth = new Map<Value, number>();
  const levels: ChannelLayer[][] = [];
  for (const node of model.graph.nodes()) {
    const before = Math.max(0, ...operands(node).map((value) => depth.get(value) ?? 0));
    const layer = byNode.get(node);
    if (layer) levels[before] = [...(levels[before] ?? []), layer];
    for (const output of node.outputs) if (output) depth.set(output, before + (layer ? 1 : 0));
  }
  return levels.filter((level) => level);
}

interface Moments {
  readonly mean: Float64Array;
  readonly deviation: Float64Array;
}

function moments({ count, sums }: Observed): Moments {
  const mean = (sums.get('sum') as Float64Array).map((sum) => sum / count);
  const deviation = (sums.get('square') as Float64Array).map((square, c) =>
    Math.sqrt(Math.max(0, square / count - (mean[c] as number) ** 2)),
  );
  return { mean, deviation };
}

/** y becomes factor * (y - bias) + new bias, with the mean and deviation that are wanted. */
async function adjust({ layer, bias: place, length }: ChannelLayer, is: Moments, wanted: Moments): Promise<void> {
  const { tensor, view } = layer;
  const factors = is.deviation.map((deviation, c) => {
    const factor = (wanted.deviation[c] as number) / deviation;
    return Number.isFinite(factor) ? Math.min(MOST, Math.max(1 / MOST, factor)) : 1;
  });
  const { outputs, strides, ownInputs } = view;
  const [group, output] = strides;
  const scaled = derive(tensor.dtype, tensor.dims, [tensor], (out, weight) => {
    for (let i = 0; i < out.length; i++) {
      const channel = (Math.floor(i / output) % outputs) + (ownInputs ? Math.floor(i / group) * outputs : 0);
      out[i] = (weight?.[i] as number) * (factors[channel] as number);
    }
  });
  const { node, index, factor } = place;
  const held = node.inputs[index]?.constant;
  const before = held ? await readWeights(held) : new Float64Array(length);
  const after = factors.map((f, c) => {
    const shifted = (is.mean[c] as number) - factor * (before[c] as number);
    return ((wanted.mean[c] as number) - f * shifted) / factor;
  });
  replaceWeight(layer, scaled);
  replaceConstant(node, index, storeWeights(tensor.dtype, held?.dims ?? [length], after), `${layer.name}_bias`);
}
