import { PareError } from '@pare/core';

/** Real values that a quantization covers, lo <= 0 <= hi. */
export interface RealRange {
  readonly lo: number;
  readonly hi: number;
}

/** The integers of a quantized type. */
export interface IntegerRange {
  readonly qmin: number;
  readonly qmax: number;
}

/** What a range is quantized to. */
export interface QuantizationTarget extends IntegerRange {
  /** Zero point in the middle of the integer range (0 for signed types) instead of where the real range asks for it. */
  readonly symmetric: boolean;
}

/** x ~ scale * (q - zeroPoint), with q in the integer range. `scale` is a float32 value. */
export interface AffineParameters {
  readonly scale: number;
  readonly zeroPoint: number;
}

export type QuantizedType = 'int8' | 'uint8' | 'int16' | 'uint16' | 'int4' | 'uint4';

/** full, full when symmetric, reduced (one bit less, so that sums of products in 16 bits cannot saturate) */
const RANGES: Readonly<Record<QuantizedType, readonly [full: Pair, symmetric: Pair, reduced: Pair]>> = {
  int8: [
    [-128, 127],
    [-127, 127],
    [-64, 64],
  ],
  uint8: [
    [0, 255],
    [0, 255],
    [0, 127],
  ],
  int16: [
    [-32768, 32767],
    [-32767, 32767],
    [-16384, 16384],
  ],
  uint16: [
    [0, 65535],
    [0, 65535],
    [0, 32767],
  ],
  int4: [
    [-8, 7],
    [-7, 7],
    [-4, 3],
  ],
  uint4: [
    [0, 15],
    [0, 15],
    [0, 7],
  ],
};
type Pair = readonly [number, number];

/** The integers to use of a type. Symmetric signed types leave out the smallest, so that the range is its own mirror. */
export function integerRange(dtype: QuantizedType, options: { symmetric: boolean; reduced?: boolean }): IntegerRange {
  const [full, symmetric, reduced] = RANGES[dtype];
  const [qmin, qmax] = options.reduced ? reduced : options.symmetric ? symmetric : full;
  return { qmin, qmax };
}

/** The smallest normal float32: a range whose scale falls below it holds nothing but zeros. */
const TINY = 2 ** -126;

/** The nearest integer, ties to the even one: the rounding of QuantizeLinear (`Math.round` takes ties up). Below 2^51. */
export function roundHalfEven(x: number): number {
  return x + ROUND - ROUND;
}
const ROUND = 1.5 * 2 ** 52;

/**
 * Scale and zero point of a real range (ONNX QuantizeLinear: q = saturate(round(x / scale) + zeroPoint)). Zero is always
 * covered and always exact, because padding and ReLU produce it. A range of zeros alone gets the scale 1.
 * @throws PareError `bad-data` when the range is not finite.
 */
export function affineParameters({ lo, hi }: RealRange, target: QuantizationTarget): AffineParameters {
  const { qmin, qmax, symmetric } = target;
  if (!Number.isFinite(lo) || !Number.isFinite(hi)) {
    throw new PareError('bad-data', `The range [${lo}, ${hi}] cannot be quantized: it is not finite.`);
  }
  const low = Math.min(0, lo);
  const high = Math.max(0, hi);
  if (symmetric) {
    const zeroPoint = roundHalfEven((qmin + qmax) / 2);
    const scale = Math.fround(Math.max(-low, high) / Math.min(qmax - zeroPoint, zeroPoint - qmin));
    return { scale: scale < TINY ? 1 : scale, zeroPoint };
  }
  const scale = Math.fround((high - low) / (qmax - qmin));
  if (scale < TINY) return { scale: 1, zeroPoint: Math.max(qmin, 0) };
  return { scale, zeroPoint: Math.min(qmax, Math.max(qmin, roundHalfEven(qmin - low / scale))) };
}

/** The real values that the integers of `target` stand for under `parameters`. */
export function coveredRange({ scale, zeroPoint }: AffineParameters, { qmin, qmax }: IntegerRange): RealRange {
  return { lo: (qmin - zeroPoint) * scale, hi: (qmax - zeroPoint) * scale };
}

/** The integer that stands for `x`. */
export function quantizeValue(x: number, { scale, zeroPoint }: AffineParameters, { qmin, qmax }: IntegerRange): number {
  return Math.min(qmax, Math.max(qmin, roundHalfEven(Math.fround(Math.fround(x) / scale)) + zeroPoint));
}

/** The real value that the integer `q` stands for, in float32 as DequantizeLinear computes it. */
export function dequantizeValue(q: number, { scale, zeroPoint }: AffineParameters): number {
  return Math.fround((q - zeroPoint) * scale);
}

/** Largest magnitude of a quantized bias: int32 with some room, since scales are rounded to float32. */
const BIAS_LIMIT = 2 ** 31 - 2 ** 9;

/**
 * Weight scales (one a channel, or one for all) with which the bias fits int32. A bias is quantized with
 * inputScale * weightScale, so a channel of tiny weights can overflow it; its scale is raised just enough. The weights of
 * the channels named in `raised` must be quantized with the new scale.
 */
export function guardBiasScales(
  bias: Float32Array,
  inputScale: number,
  weightScales: Float32Array,
): { scales: Float32Array; raised: number[] } {
  const scales = weightScales.slice();
  const raised = new Set<number>();
  bias.forEach((b, channel) => {
    const i = scales.length === 1 ? 0 : channel;
    if (Math.abs(b) <= Math.fround(inputScale * (scales[i] as number)) * BIAS_LIMIT) return;
    scales[i] = Math.max(Math.abs(b) / BIAS_LIMIT, TINY) / inputScale;
    raised.add(i);
  });
  return { scales, raised: [...raised] };
}

/**
 * A bias as int32 with zero point 0 and the scales that integer kernels expect, inputScale * weightScale in float32: one a
 * channel, or one for all when the weight has one scale. Guard the weight scales first.
 */
export function quantizeBias(
  bias: Float32Array,
  inputScale: number,
  weightScales: Float32Array,
): { values: Int32Array; scales: Float32Array } {
  const scales = weightScales.map((s) => inputScale * s);
  const values = Int32Array.from(bias, (b, channel) => {
    const q = roundHalfEven(b / (scales[scales.length === 1 ? 0 : channel] as number));
    return Math.min(2 ** 31 - 1, Math.max(-(2 ** 31), Number.isNaN(q) ? 0 : q));
  });
  return { values, scales };
}
