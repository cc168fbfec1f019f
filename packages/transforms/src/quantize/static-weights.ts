import { type Node, PareError } from '@pare/core';
import { kernels } from '../kernels/index.js';
import { type ConstantSource, constantSource } from './constant-source.js';
import { guardedScales, type InputStatistics, quantizeGuarded } from './pair-guard.js';
import { guardBiasScales, integerRange } from './params.js';
import type { PlacedNode } from './placement.js';
import { convMatrix, perFactor, productMatrix, type WeightMatrix } from './weight-matrix.js';
import { channelLayout, quantizeWeight, weightParameters } from './weights.js';

/**
 * How weights keep clear of the 16-bit sums of x64 processors without VNNI, which saturate when two products of an unsigned
 * activation and a signed weight exceed 32767.
 *
 * - `none`: all 8 bits; right where the processor sums in 32 bits (VNNI, AMX, ARM, WebAssembly).
 * - `pairs`: 8 bits, and each pair of weights that the processor adds is kept within the bound for the activations that
 *   calibration has seen. Costs a fraction of a decibel.
 * - `reduced`: 7 bits, [-64, 64]: no data can break the bound, at twice the rounding error.
 */
export type SaturationGuard = 'none' | 'pairs' | 'reduced';

/** How weights are written down. `uint8` is int8 moved by 128: the same precision, but other (exact) kernels on x64. */
export interface WeightScheme {
  readonly dtype: 'int8' | 'uint8';
  readonly perChannel: boolean;
  readonly guard: SaturationGuard;
  /** Search the clip of least squared error instead of spanning each channel. */
  readonly search: boolean;
}

/** A weight with its scales decided, ready to be written. */
export interface QuantizedWeight {
  readonly source: ConstantSource;
  readonly matrix: WeightMatrix;
  readonly scheme: WeightScheme;
  /** One a channel, or one. */
  readonly scales: Float32Array;
  /** How many of them were raised for an int32 bias. */
  readonly raised: number;
  /** The integers, as bytes in the layout of the stored tensor. Reads the weight again: nothing is kept. */
  quantize(): Promise<Uint8Array>;
}

/** What multiplies with a weight: its bias asks for scales that are not too small. */
export interface WeightUser {
  /** Scale of the activation. */
  readonly inputScale: number;
  /** One a channel. */
  readonly bias: Float32Array | undefined;
}

/** Chooses the scales of a weight that `users` share. */
export async function prepareWeight(
  source: ConstantSource,
  matrix: WeightMatrix,
  scheme: WeightScheme,
  users: readonly WeightUser[],
  statistics: InputStatistics,
): Promise<QuantizedWeight> {
  const { tensor } = source;
  const read = async (): Promise<Float32Array> => (await tensor.toArray()) as Float32Array;
  const target = {
    ...integerRange(scheme.dtype, { symmetric: true, reduced: scheme.guard === 'reduced' }),
    symmetric: true,
  };
  const layout = channelLayout(tensor.dims, scheme.perChannel ? matrix.axis : null);
  const values = await read();
  const spec = finiteParameters(source, () =>
    weightParameters(kernels(), values, layout, target, { search: scheme.search }),
  );
  const isGuarded = scheme.guard === 'pairs';
  let scales: Float32Array = isGuarded ? guardedScales(values, matrix, spec.scale, statistics) : spec.scale;
  const raised = new Set<number>();
  for (const { bias, inputScale } of users) {
    if (!bias) continue;
    const guarded = guardBiasScales(bias, inputScale, scales);
    scales = guarded.scales;
    for (const c of guarded.raised) raised.add(c);
  }
  const final = { ...spec, scale: scales };
  return {
    source,
    matrix,
    scheme,
    scales,
    raised: raised.size,
    quantize: async () =>
      isGuarded
        ? quantizeGuarded(await read(), matrix, scales, statistics)
        : quantizeWeight(kernels(), await read(), layout, final),
  };
}

/** What `compute` gives; its complaint names the weight. */
function finiteParameters<T>({ root }: ConstantSource, compute: () => T): T {
  try {
    return compute();
  } catch (error) {
    if (!(error instanceof PareError)) throw error;
    throw new PareError(error.code, `Weight "${root.name}": ${error.message}`, { cause: error });
  }
}

/**
 * Mean error of each output channel that comes from rounding `weight` alone, given the mean of each input channel: what bias
 * correction takes away (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019;
 * here with measured means). Exact up to the zeros that padding adds at the borders.
 */
export async function meanError(weight: QuantizedWeight, means: ArrayLike<number>): Promise<Float64Array> {
  const { matrix, scales, scheme } = weight;
  const { channels, depth, stride, offsets, groups } = matrix;
  const values = (await weight.source.tensor.toArray()) as Float32Array;
  const integers = await weight.quantize();
  const signed = new Int8Array(integers.buffer, integers.byteOffset, integers.length);
  const isSigned = scheme.dtype === 'int8';
  const factors = perFactor(matrix, means, 0);
  return Float64Array.from({ length: channels }, (_, c) => {
    const scale = (scales.length === 1 ? scales[0] : scales[c]) as number;
    const of = factors[Math.floor((c * groups) / channels)] as Float64Array;
    let error = 0;
    for (let k = 0, base = c * stride; k < depth; k++) {
      const i = base + (offsets[k] as number);
      const q = isSigned ? (signed[i] as number) : (integers[i] as number) - 128;
      error += (scale * q - (values[i] as number)) * (of[k] as number);
    }
    return error;
  });
}

/** How the kernels see the weight of `placed`, or undefined when there is none or it is a stack of matrices. */
export function matrixOf({ node, weight }: PlacedNode): WeightMatrix | undefined {
  if (!weight) return undefined;
  const { dims } = weight.tensor;
  if (node.is('Conv')) return convMatrix(dims, node.int('group', 1));
  if (dims.length !== 2) return undefined;
  return productMatrix(dims, (node.int('transB', 0) !== 0) !== weight.transposed);
}

/** The constant bias of `node` as one value a channel, a copy. */
export async function readBias(node: Node, channels: number): Promise<Float32Array | undefined> {
  const tensor = constantSource(node.inputs[2])?.tensor;
  if (!tensor) return undefined;
  const values = (await tensor.toArray()) as Float32Array;
  return values.length === channels ? values.slice() : new Float32Array(channels).fill(values[0] as number);
}
