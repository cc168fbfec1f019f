import {
  type Model,
  PareError,
  Tensor,
  type Transform,
  type TransformContext,
  type TransformResult,
  throwIfAborted,
  type Value,
} from '@pare/core';
import { kernels } from '../kernels/index.js';
import { removeDeadConstant } from '../quantize/constant-source.js';
import { upgrade } from '../upgrade-opset.js';
import { type CodebookStart, codebookOf, nearest } from './codebook.js';
import { findLayers, type Layer, type LayerSelection } from './layers.js';
import { type Channels, perWord, type SharedWeight, unpacker } from './packed-indices.js';
import { readWeight } from './score.js';

/** Options of `shareWeights`. */
export interface ShareWeightsOptions extends LayerSelection {
  /** Bits of an index, 2 to 8: so many weights fit into 32 bits as whole indices do. Default 6. */
  readonly bits?: 2 | 3 | 4 | 5 | 6 | 7 | 8 | undefined;
  /** Output channels that share a codebook. Default: all, one codebook a weight. */
  readonly channels?: number | undefined;
  /** Where k-means begins. Default `optimal`. */
  readonly start?: CodebookStart | undefined;
  /** Default 1. */
  readonly seed?: number | undefined;
}

/**
 * Weight sharing (Han, Mao and Dally, "Deep compression", 2016): each weight becomes an index into a small codebook, found by k-means.
 * The file holds packed indices and codebooks; standard operators (BitShift, Gather) make the weights real, which runtimes do once,
 * when they load the model: the speed and memory of float, a smaller file. The same weights are taken as by `pruneWeights`; zeros
 * of pruned weights stay. A layer stays as it is where indices, codebook and nodes would take as much.
 *
 * The result holds the indices of the whole model in memory. A model of an opset before 11 is brought to 11, the first with
 * BitShift.
 * @throws PareError `bad-option`; `unsupported` for a quantized model, or when the opset cannot be raised; `bad-model` for weights that
 *   are not finite; `aborted`.
 */
export function shareWeights(options: ShareWeightsOptions = {}): Transform {
  return { name: 'shareWeights', apply: (model, context) => apply(model, options, context) };
}

async function apply(
  model: Model,
  options: ShareWeightsOptions,
  { signal, onProgress }: TransformContext,
): Promise<TransformResult> {
  const { bits = 6, channels } = options;
  if (!(Number.isInteger(bits) && bits >= 2 && bits <= 8)) {
    throw new PareError('bad-option', `Indices have 2 to 8 bits, not ${bits}.`);
  }
  if (channels !== undefined && !(Number.isInteger(channels) && channels > 0)) {
    throw new PareError('bad-option', `A codebook is for a whole number of channels, not ${channels}.`);
  }
  const { layers, notes: left } = findLayers(model, options);
  const sized = layers.map((layer) => ({
    layer,
    before: layer.tensor.byteLength,
    after: storedBytes(layer, bits, channels),
  }));
  const worth = sized.filter(({ before, after }) => after < before);
  const notes = worth.length > 0 ? [...upgrade(model, 11).notes] : [];
  const unpack = unpacker(bits);
  for (const [i, { layer, before, after }] of worth.entries()) {
    throwIfAborted(signal);
    const { values, error } = await share(layer, options);
    replace(layer, unpack(layer.root, values, layer.tensor.dims));
    const loss = `relative error ${(100 * error).toFixed(1)} %`;
    notes.push(`${layer.nodes[0].label}: ${bits} bits a weight, ${loss}, ${before} to ${after} bytes.`);
    onProgress?.('share', i + 1, worth.length);
  }
  for (const { layer, before, after } of sized.filter((one) => !worth.includes(one))) {
    notes.push(
      `${layer.nodes[0].label} stays as it is: its ${before} bytes would be ${after} with indices and codebook.`,
    );
  }
  notes.push(
    worth.length > 0
      ? `The weights take ${sum(sized, (one) => Math.min(one.before, one.after))} bytes instead of ${sum(sized, (one) => one.before)}.`
      : 'Sharing brings nothing: no weight of Conv, ConvTranspose, Gemm or MatMul gets smaller.',
  );
  return { changed: worth.length, notes: [...notes, ...left] };
}

const sum = <T>(items: readonly T[], of: (item: T) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

/** What the nodes and the names of one shared weight take in the file, nearly. */
const NODE_BYTES = 700;

function storedBytes(layer: Layer, bits: number, channels: number | undefined): number {
  const { tensor } = layer;
  const words = Math.ceil(tensor.size / perWord(bits));
  const { count, codebooks } = channelsOf(layer, channels);
  const width = tensor.byteLength / tensor.size;
  return 4 * words + codebooks * 2 ** bits * width + (codebooks > 1 ? 4 * count : 0) + NODE_BYTES;
}

function channelsOf({ view }: Layer, channels: number | undefined): Channels {
  const { groups, outputs, strides } = view;
  const [group, inner] = strides;
  const count = group === outputs * inner ? groups * outputs : outputs;
  const each = Math.min(channels ?? count, count);
  return { count, inner, each, codebooks: Math.ceil(count / each) };
}

async function share(layer: Layer, options: ShareWeightsOptions): Promise<{ values: SharedWeight; error: number }> {
  const { bits = 6, start = 'optimal', seed = 1 } = options;
  const { tensor } = layer;
  const weight = await readWeight(layer);
  const size = 2 ** bits;
  const channels = channelsOf(layer, options.channels);
  const { count, inner, each, codebooks } = channels;
  const indices = new Uint8Array(weight.length);
  const entries = new Float32Array(codebooks * size);
  let [signal, noise] = [0, 0];
  for (let book = 0; book < codebooks; book++) {
    const [from, to] = [book * each * inner, Math.min(count, (book + 1) * each) * inner];
    const at = elementsOf(weight.length, count * inner, from, to);
    const own = new Float32Array(at.length);
    for (let k = 0; k < at.length; k++) own[k] = weight[at[k] as number] as number;
    const codebook = stored(codebookOf(own, { size, start, seed }), tensor.dtype);
    // Entries that nobody needs repeat the last one.
    entries.fill(codebook.at(-1) ?? 0, book * size, (book + 1) * size).set(codebook, book * size);
    const codes = nearest(own, codebook);
    for (let k = 0; k < at.length; k++) {
      const value = own[k] as number;
      const code = codes[k] as number;
      indices[at[k] as number] = code;
      signal += value ** 2;
      noise += (value - (codebook[code] as number)) ** 2;
    }
  }
  const data = tensor.dtype === 'float16' ? kernels().toFloat16(entries) : entries;
  const values = { indices, codebook: Tensor.of(tensor.dtype, [entries.length], data), channels };
  return { values, error: signal > 0 ? Math.sqrt(noise / signal) : 0 };
}

/** The elements `from` to `to` (exclusive) of each `stride` of `size`. */
function elementsOf(size: number, stride: number, from: number, to: number): Int32Array {
  const elements = new Int32Array((size / stride) * (to - from));
  let k = 0;
  for (let base = 0; base < size; base += stride) for (let i = from; i < to; i++) elements[k++] = base + i;
  return elements;
}

/** The numbers as a tensor of `dtype` holds them. */
function stored(codebook: Float64Array, dtype: Tensor['dtype']): Float32Array {
  const single = Float32Array.from(codebook);
  return dtype === 'float16' ? kernels().fromFloat16(kernels().toFloat16(single, true)) : single;
}

function replace({ root }: Layer, shared: Value): void {
  root.graph.replaceAllUses(root, shared);
  removeDeadConstant(root);
}
