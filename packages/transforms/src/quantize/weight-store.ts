import { elementCount, type Graph, Tensor, type Value } from '@pare/core';
import type { ConstantSource } from './constant-source.js';

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
  /** The same with the last two axes swapped. */
  transposed(): Value;
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
    const key = `${request.channels}/${request.inner}/${request.symmetric}`;
    const stored = ofTensor.get(key) ?? store(source.root, source.tensor, this.format, request);
    ofTensor.set(key, stored);
    return stored;
  }
}

async function store(root: Value, tensor: Tensor, format: WeightFormat, request: WeightRequest): Promise<StoredWeight> {
  const { graph, name } = root;
  const params = channelParams((await tensor.toArray()) as Float32Array, format, request);
  const quantize = async (): Promise<Uint8Array> =>
    quantizeChannels((await tensor.toArray()) as Float32Array, params, format, request);
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
  return {
    get values() {
      return once('values', () => initializer('quantized', dims, quantize));
    },
    transposed: () =>
      once('transposed', () => {
        const rows = dims.at(-2) ?? 1;
        const columns = dims.at(-1) ?? 1;
        const swapped = [...dims.slice(0, -2), columns, rows];
        return initializer('quantized', swapped, async () => swapLastTwo(await quantize(), rows, columns));
      }),
    scale: (as) =>
      once(`scale ${as}`, () => graph.addInitializer(`${name}_scale`, Tensor.of('float32', as, params.scales))),
    zeroPoint: (as) =>
      once(`zero ${as}`, () => {
        const points = as.length === 0 ? params.zeroPoints.slice(0, 1) : params.zeroPoints;
        return graph.addInitializer(`${name}_zero_point`, Tensor.of(format.dtype, as, [...points]));
      }),
    isSymmetric: params.zeroPoints.every((z) => z === 0),
  };
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

interface ChannelParams {
  readonly scales: Float32Array;
  readonly zeroPoints: Int32Array;
  readonly low: number;
  readonly high: number;
}

function channelParams(
  values: Float32Array,
  { dtype, reduceRange }: WeightFormat,
  { channels, inner, symmetric }: WeightRequest,
): ChannelParams {
  const lows = new Float32Array(channels);
  const highs = new Float32Array(channels);
  for (let base = 0; base < values.length; base += channels * inner) {
    for (let c = 0; c < channels; c++) {
      for (let i = base + c * inner, end = i + inner; i < end; i++) {
        const v = values[i] as number;
        if (v < (lows[c] as number)) lows[c] = v;
        if (v > (highs[c] as number)) highs[c] = v;
      }
    }
  }
  const scales = new Float32Array(channels);
  const zeroPoints = new Int32Array(channels);
  const half = reduceRange ? 64 : 127;
  const middle = dtype === 'int8' ? 0 : reduceRange ? 64 : 128;
  const isSymmetric = symmetric || dtype === 'int8';
  const high = dtype === 'int8' ? half : reduceRange ? 127 : 255;
  const low = dtype === 'int8' ? -half : 0;
  for (let c = 0; c < channels; c++) {
    const lo = lows[c] as number;
    const hi = highs[c] as number;
    const steps = isSymmetric ? high - middle : high;
    const scale = Math.fround((isSymmetric ? Math.max(-lo, hi) : hi - lo) / steps) || 1;
    scales[c] = scale;
    zeroPoints[c] = isSymmetric ? middle : Math.min(high, Math.max(0, Math.round(-lo / scale)));
  }
  return { scales, zeroPoints, low, high };
}

function quantizeChannels(
  values: Float32Array,
  { scales, zeroPoints, low, high }: ChannelParams,
  { dtype }: WeightFormat,
  { channels, inner }: WeightRequest,
): Uint8Array {
  const out = dtype === 'int8' ? new Int8Array(values.length) : new Uint8Array(values.length);
  for (let base = 0; base < values.length; base += channels * inner) {
    for (let c = 0; c < channels; c++) {
      const scale = scales[c] as number;
      const zero = zeroPoints[c] as number;
      for (let i = base + c * inner, end = i + inner; i < end; i++) {
        // Half to even, as ONNX QuantizeLinear rounds: adding 1.5 * 2^23 leaves no fraction in a float32.
        const rounded = Math.fround(Math.fround((values[i] as number) / scale) + 12582912) - 12582912;
        out[i] = Math.min(high, Math.max(low, rounded + zero));
      }
    }
  }
  return new Uint8Array(out.buffer);
}
