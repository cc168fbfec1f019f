import { elementCount, type Graph, PareError, Tensor, type Value } from '@pare/core';
import { type AffineSpec, type ChannelExtremes, type Kernels, kernels } from '../kernels/index.js';
import type { ConstantSource } from './constant-source.js';
import type { Emitter } from './emit.js';
import { affineParameters, integerRange } from './params.js';

/** How weights are written down. */
export interface WeightFormat {
  readonly dtype: 'int8' | 'uint8';
  /** 7 bits instead of 8, so that integer kernels with 16-bit sums cannot saturate: [-64, 64] or [0, 127]. */
  readonly reduceRange: boolean;
}

/** Which scales and zero points the reader of a weight can take. */
export interface WeightRequest {
  /** The stored tensor is seen as [outer, channels, inner]: one scale a channel. Channels 1 is one scale for all. */
  readonly channels: number;
  readonly inner: number;
  /** One zero point for all channels, in the middle of the range (0 for int8, 128 for uint8). */
  readonly symmetric: boolean;
}

/** A quantized weight in a graph: real value = scale * (values - zero point). */
export interface StoredWeight {
  /** Integers, in the shape in which the float tensor is stored. */
  readonly values: Value;
  /**
   * The same with the last two axes swapped: a tensor of its own, or a Transpose before the anchor of `emit` where a Gather
   * reads the table as it is, so that tied embeddings stay one tensor (ONNX Runtime folds the Transpose when it loads).
   */
  transposed(emit: Emitter): Value;
  /** The scales as an initializer of shape `dims`, which has as many elements as there are channels. */
  scale(dims: readonly number[]): Value;
  /** The zero points as an initializer of shape `dims`; `[]` (a scalar) where they are all the same. */
  zeroPoint(dims: readonly number[]): Value;
  /** All zero points are 0. */
  readonly isSymmetric: boolean;
}

/** Quantizes each weight once, whoever reads it: tied weights stay one tensor. */
export class WeightStore {
  readonly #stored = new Map<Graph, Map<Tensor, Map<string, Promise<StoredWeight>>>>();

  constructor(private readonly format: WeightFormat) {}

  /** The quantized form of `source` in the graph that holds it. Reads the weight once now and once when it is written. */
  get(source: ConstantSource, request: WeightRequest): Promise<StoredWeight> {
    const { graph } = source.root;
    const ofGraph = this.#stored.get(graph) ?? new Map<Tensor, Map<string, Promise<StoredWeight>>>();
    this.#stored.set(graph, ofGraph);
    const ofTensor = ofGraph.get(source.tensor) ?? new Map<string, Promise<StoredWeight>>();
    ofGraph.set(source.tensor, ofTensor);
    const symmetric = request.symmetric || this.format.dtype === 'int8';
    const key = `${request.channels}/${request.inner}`;
    const stored =
      // Who can take any zero point can take those in the middle.
      ofTensor.get(`${key}/true`) ??
      ofTensor.get(`${key}/${symmetric}`) ??
      store(source.root, source.tensor, this.format, { ...request, symmetric });
    ofTensor.set(`${key}/${symmetric}`, stored);
    return stored;
  }
}

async function store(root: Value, tensor: Tensor, format: WeightFormat, request: WeightRequest): Promise<StoredWeight> {
  const { graph, name } = root;
  const kernel = await kernels();
  const view = viewOf(tensor, request);
  const params = affineParams(view.ranges(kernel, await tensor.load()), format, request, root);
  const quantize = async (): Promise<Uint8Array> => view.quantize(kernel, await tensor.load(), params);
  const initializer = (word: string, dims: readonly number[], produce: () => Promise<Uint8Array>): Value =>
    graph.addInitializer(
      `${name}_${word}`,
      new Tensor(format.dtype, dims, { kind: 'producer', byteLength: elementCount(dims), produce }),
    );
  const shaped = new Map<string, Value>();
  const once = (key: string, make: () => Value): Value => {
    const value = shaped.get(key) ?? make();
    shaped.set(key, value);
    return value;
  };
  const dims = tensor.dims;
  const isGathered = root.consumers.some((node) => node.is('Gather'));
  const values = (): Value => once('values', () => initializer('quantized', dims, quantize));
  return {
    get values() {
      return values();
    },
    transposed(emit) {
      if (isGathered) {
        const perm = dims.map((_, i) => (i < dims.length - 2 ? i : 2 * dims.length - 3 - i));
        return emit.op('Transpose', [values()], { attributes: { perm } });
      }
      return once('transposed', () => {
        const rows = dims.at(-2) ?? 1;
        const columns = dims.at(-1) ?? 1;
        const swapped = [...dims.slice(0, -2), columns, rows];
        return initializer('quantized', swapped, async () => swapLastTwo(await quantize(), rows, columns));
      });
    },
    scale: (as) =>
      once(`scale ${as}`, () => graph.addInitializer(`${name}_scale`, Tensor.of('float32', as, params.scale))),
    zeroPoint: (as) =>
      once(`zero ${as}`, () => {
        const points = as.length === 0 ? params.zeroPoint.slice(0, 1) : params.zeroPoint;
        return graph.addInitializer(`${name}_zero_point`, Tensor.of(format.dtype, as, [...points]));
      }),
    isSymmetric: params.zeroPoint.every((z) => z === 0),
  };
}

/** How the kernels see a weight: as a matrix with one scale a row, or one a column. */
interface MatrixView {
  ranges(kernel: Kernels, bytes: Uint8Array): ChannelExtremes;
  quantize(kernel: Kernels, bytes: Uint8Array, params: AffineSpec): Uint8Array;
}

function viewOf(tensor: Tensor, { channels, inner }: WeightRequest): MatrixView {
  const outer = tensor.size / (channels * inner);
  if (inner === 1) {
    return {
      ranges: (kernel, bytes) => kernel.rangeColumns(bytes, outer, channels),
      quantize: (kernel, bytes, params) => kernel.quantizeColumns(bytes, outer, channels, params),
    };
  }
  // A stack of matrices has its channels in every one of them: rows repeat.
  const rows = outer * channels;
  return {
    ranges: (kernel, bytes) => {
      const ranges = kernel.rangeRows(bytes, rows, inner);
      for (let r = channels; r < rows; r++) {
        const c = r % channels;
        ranges.min[c] = Math.min(ranges.min[c] as number, ranges.min[r] as number);
        ranges.max[c] = Math.max(ranges.max[c] as number, ranges.max[r] as number);
      }
      return { ...ranges, min: ranges.min.slice(0, channels), max: ranges.max.slice(0, channels) };
    },
    quantize: (kernel, bytes, params) => {
      const scale = Float32Array.from({ length: rows }, (_, r) => params.scale[r % channels] as number);
      const zeroPoint = Int32Array.from({ length: rows }, (_, r) => params.zeroPoint[r % channels] as number);
      return kernel.quantizeRows(bytes, rows, inner, { ...params, scale, zeroPoint });
    },
  };
}

/** Scales and zero points for the whole range of each channel, in which 0 is always exact. */
function affineParams(
  { min, max, nan, inf }: ChannelExtremes,
  { dtype, reduceRange }: WeightFormat,
  { symmetric }: WeightRequest,
  root: Value,
): AffineSpec {
  if (nan + inf > 0) {
    throw new PareError('bad-model', `Weight "${root.name}" holds ${nan + inf} NaN or infinite values.`);
  }
  const range = integerRange(dtype, { symmetric, reduced: reduceRange });
  const scale = new Float32Array(min.length);
  const zeroPoint = new Int32Array(min.length);
  for (let c = 0; c < min.length; c++) {
    const real = { lo: Math.min(0, min[c] as number), hi: Math.max(0, max[c] as number) };
    const params = affineParameters(real, { ...range, symmetric });
    scale[c] = params.scale;
    zeroPoint[c] = params.zeroPoint;
  }
  return { scale, zeroPoint, ...range };
}

function swapLastTwo(values: Uint8Array, rows: number, columns: number): Uint8Array {
  const out = new Uint8Array(values.length);
  const matrix = rows * columns;
  for (let base = 0; base < values.length; base += matrix) {
    for (let r = 0; r < rows; r++) {
      for (let c = 0; c < columns; c++) out[base + c * rows + r] = values[base + r * columns + c] as number;
    }
  }
  return out;
}
