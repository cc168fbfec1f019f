import { elementCount, type Model, type Node } from '@pare/core';
import { isWeight, readWeights, storeWeights, type Weights } from '../../fuse/weights.js';
import type { NodeSelection } from '../../quantize/select.js';
import { type Consumer, consumersOf } from './consumers.js';
import { Cut } from './cut.js';
import { analyze, type Removal, unitsOf } from './groups.js';
import { regress } from './least-squares.js';
import { type Observed, type ObserveOptions, observeChannels } from './observe.js';
import { replaceConstant } from './replace-constant.js';

/** Options of `reconstructChannels`. */
export interface ReconstructOptions extends ObserveOptions, NodeSelection {
  /** Ridge, as a share of the mean square of the channels that stay. Default 0.001. */
  readonly damping?: number | undefined;
}

/** A matrix of products of more channels than this is not collected. */
const MAX_CHANNELS = 2048;

/**
 * Prepares `model` for the removal of units: what they carry is predicted from the channels that stay, by least squares on samples,
 * and the layers behind get weights that read it from those. With X the channels that stay, W the old weights and Y = W [X; X_r] what
 * the layer computed, that is `W' = Y X' (X X' + lambda I)^-1` (He et al., "Channel Pruning for Accelerating Very Deep Neural Networks",
 * 2017), with the ridge on the change only: channels of zeros change nothing. Kernels are treated as if each position were alone.
 * Layers without padding also get the mean of what goes in their bias.
 *
 * One pass over the samples; memory is the square of the channel counts. Call it before `removeChannels`.
 * @returns one sentence for each layer that was left as it is.
 * @throws PareError `bad-data` without samples or with activations that are not finite; `engine`; `aborted`.
 */
export async function reconstructChannels(
  model: Model,
  removal: Removal,
  options: ReconstructOptions,
): Promise<string[]> {
  const analysis = analyze(model, options);
  const cut = new Cut(analysis.space, unitsOf(analysis, removal));
  const losing = consumersOf(analysis).filter(({ channels }) => cut.kept(channels).length < channels.length);
  const refusals = new Map(losing.map((consumer) => [consumer, refusal(consumer)]));
  const consumers = losing.filter((consumer) => !refusals.get(consumer));
  const keys = [...new Set(consumers.map(keyOf))];
  if (keys.length > 0) {
    const axes = keys.map((key) => {
      const { data, axis, rank, channels } = consumers.find((c) => keyOf(c) === key) as Consumer;
      return { name: data.name, axis, rank, length: channels.length };
    });
    const observed = await observeChannels(model, axes, ['gram', 'sum'], options);
    for (const consumer of consumers) {
      await adjust(consumer, cut, observed[keys.indexOf(keyOf(consumer))] as Observed, options.damping ?? 1e-3);
    }
  }
  return [...refusals.values()].filter((sentence) => sentence !== undefined);
}

const keyOf = ({ data, axis }: Consumer): string => `${axis}:${data.name}`;

function refusal({ node, place, channels }: Consumer): string | undefined {
  const { value, tensor } = place;
  const refuse = (why: string): string => `${node.label} is not reconstructed: it ${why}.`;
  if (channels.length > MAX_CHANNELS) return refuse(`reads ${channels.length} channels, more than ${MAX_CHANNELS}`);
  if (value.uses.size > 1) return refuse('shares its weight with others');
  return isWeight(tensor) ? undefined : refuse('has weights that are not floats');
}

/** Channels of one group of a convolution, or all: places along the activation. */
interface Block {
  readonly known: readonly number[];
  readonly lost: readonly number[];
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
      known: all.filter((i) => staying.has(i)),
      lost: all.filter((i) => !staying.has(i)),
      first: isShort ? g * length : 0,
      reads: (filter) => !isShort || Math.floor(filter / filters) === g,
    };
  }).filter(({ known, lost }) => known.length > 0 && lost.length > 0);
}

async function adjust(consumer: Consumer, cut: Cut, observed: Observed, damping: number): Promise<void> {
  const { node, place, channels } = consumer;
  const { tensor, axis } = place;
  const n = channels.length;
  const sum = observed.sums.get('sum') as Float64Array;
  const bias = await biasOf(node, tensor.dims);
  const products = observed.sums.get('gram') as Float64Array;
  const gram = bias ? centred(products, sum, observed.count) : products;
  const weights = (await readWeights(tensor)).slice() as Weights;
  const inner = elementCount(tensor.dims.slice(axis + 1));
  const length = tensor.dims[axis] as number;
  const outer = elementCount(tensor.dims.slice(0, axis));
  const perFilter = outer / (axis > 0 ? (tensor.dims[0] as number) : 1);
  for (const { known, lost, first, reads } of blocksOf(consumer, cut)) {
    const mix = regress(gram, n, known, lost, damping);
    const means = lost.map((r, j) =>
      known.reduce(
        (mean, k, i) => mean - ((mix[i * lost.length + j] as number) * (sum[k] as number)) / observed.count,
        (sum[r] as number) / observed.count,
      ),
    );
    for (let o = 0; o < outer; o++) {
      if (axis > 0 && !reads(Math.floor(o / perFilter))) continue;
      for (let t = 0; t < inner; t++) {
        const at = (channel: number): number => (o * length + channel - first) * inner + t;
        for (const [i, k] of known.entries()) {
          let change = 0;
          for (const [j, r] of lost.entries())
            change += (mix[i * lost.length + j] as number) * (weights[at(r)] as number);
          weights[at(k)] = (weights[at(k)] as number) + change;
        }
        if (!bias) continue;
        const filter = bias.isColumn ? t : o;
        for (const [j, r] of lost.entries()) {
          bias.values[filter] = (bias.values[filter] as number) + (means[j] as number) * (weights[at(r)] as number);
        }
      }
    }
  }
  replaceConstant(node, place.input, storeWeights(tensor.dtype, tensor.dims, weights));
  if (bias)
    replaceConstant(node, 2, storeWeights(tensor.dtype, [bias.values.length], bias.values), `${node.name}_bias`);
}

/** The products of deviations from the means. */
function centred(gram: Float64Array, sum: Float64Array, count: number): Float64Array {
  const n = sum.length;
  return gram.map((product, at) => product - ((sum[Math.floor(at / n)] as number) * (sum[at % n] as number)) / count);
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
