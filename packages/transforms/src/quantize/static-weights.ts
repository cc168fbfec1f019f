import { type Node, PareError } from '@pare/core';
import { kernels } from '../kernels/index.js';
import { type ConstantSource, constantSource } from './constant-source.js';
import type { Packing } from './packed-weight.js';
import { guardedScales, type InputStatistics, moveBreakingPairs } from './pair-guard.js';
import { guardBiasScales, integerRange } from './params.js';
import type { PlacedNode } from './placement.js';
import { convMatrix, perFactor, productMatrix, type WeightMatrix } from './weight-matrix.js';
import type { WeightReader } from './weight-reader.js';
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
  /** How the file holds them, when they are fewer than 8 bits. */
  readonly packing?: Packing | undefined;
  /** The integers, as bytes in the layout of the stored tensor. Reads the weight again: nothing is kept. */
  quantize(): Promise<Uint8Array>;
}

/** What multiplies with a weight. */
export interface WeightUser {
  readonly node: Node;
  /** Scale of the activation. */
  readonly inputScale: number;
  /** One a channel: it asks for scales that are not too small, and takes the mean error of the weight. */
  readonly bias: Float32Array | undefined;
  /** Mean of each channel of the activation; undefined: the bias stays as it is. */
  readonly means: ArrayLike<number> | undefined;
}

/**
 * Chooses the scales of a weight that `users` share, and corrects their biases in place by the mean error that rounding it
 * leaves in each output channel (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
 * 2019; here with measured means, exact up to the zeros that padding adds at the borders).
 */
export function prepareWeight(
  source: ConstantSource,
  matrix: WeightMatrix,
  scheme: WeightScheme,
  users: readonly WeightUser[],
  statistics: InputStatistics,
  reader: WeightReader,
): Promise<QuantizedWeight> {
  return reader.with(source.tensor, (values) => {
    const reduced = scheme.guard === 'reduced';
    const target = { ...integerRange(scheme.dtype, { symmetric: true, reduced }), symmetric: true };
    const layout = channelLayout(source.tensor.dims, scheme.perChannel ? matrix.axis : null);
    const spec = finiteParameters(source, () =>
      weightParameters(kernels(), values, layout, target, { search: scheme.search }),
    );
    const integersOf = (x: Float32Array, scale: Float32Array): Int8Array<ArrayBuffer> =>
      new Int8Array(quantizeWeight(kernels(), x, layout, { ...spec, scale }).buffer as ArrayBuffer);
    const isGuarded = scheme.guard === 'pairs';
    let scales: Float32Array = isGuarded
      ? guardedScales(values, matrix, spec.scale, integersOf(values, spec.scale), statistics)
      : spec.scale;
    const raised = new Set<number>();
    for (const { bias, inputScale } of users) {
      if (!bias) continue;
      const guarded = guardBiasScales(bias, inputScale, scales);
      scales = guarded.scales;
      for (const c of guarded.raised) raised.add(c);
    }
    const quantize = (x: Float32Array): Int8Array<ArrayBuffer> => {
      const integers = integersOf(x, scales);
      if (isGuarded) moveBreakingPairs(x, matrix, scales, integers, statistics);
      return integers;
    };
    if (users.some(({ bias, means }) => bias && means)) {
      const integers = quantize(values);
      const around = scheme.dtype === 'int8' ? integers : integers.map((q) => q ^ -128);
      for (const { bias, means } of users) if (bias && means) correct(bias, values, around, matrix, scales, means);
    }
    return {
      source,
      matrix,
      scheme,
      scales,
      raised: raised.size,
      quantize: () => reader.with(source.tensor, (x) => new Uint8Array(quantize(x).buffer)),
    };
  });
}

/** Takes the mean error of each channel out of `bias`. */
function correct(
  bias: Float32Array,
  values: Float32Array,
  integers: ArrayLike<number>,
  matrix: WeightMatrix,
  scales: Float32Array,
  means: ArrayLike<number>,
): void {
  const { channels, depth, stride, offsets, groups } = matrix;
  const factors = perFactor(matrix, means, 0);
  for (let c = 0; c < channels; c++) {
    const scale = (scales.length === 1 ? scales[0] : scales[c]) as number;
    const of = factors[Math.floor((c * groups) / channels)] as Float64Array;
    let error = 0;
    for (let k = 0, base = c * stride; k < depth; k++) {
      const i = base + (offsets[k] as number);
      error += (scale * (integers[i] as number) - (values[i] as number)) * (of[k] as number);
    }
    bias[c]! -= error;
  }
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

/** How the kernels see the weight of `placed`, or undefined when there is none or it is a stack of matrices. */
export function matrixOf({ node, weight }: Pick<PlacedNode, 'node' | 'weight'>): WeightMatrix | undefined {
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
