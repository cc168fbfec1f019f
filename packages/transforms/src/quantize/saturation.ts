import { PareError } from '@pare/core';

/** How far a weight could overflow the 16-bit sums of AVX2 integer kernels. */
export interface SaturationRisk {
  /** Pairs of neighbours along the reduced axis, over all output channels. */
  readonly pairs: number;
  /** Pairs whose two products can sum up to more than an int16 holds. */
  readonly overflowing: number;
  /** The largest possible |sum| of two products, divided by the largest int16: above 1 it saturates. */
  readonly worst: number;
}

const INT16_MAX = 32767;

/**
 * Tells from the weights alone where u8s8 kernels can saturate. `vpmaddubsw` (x64 without VNNI) multiplies unsigned
 * activations with signed weights and adds neighbouring products in 16 bits: up to 2 * 255 * 127 = 64770, while an int16
 * ends at 32767. A pair is safe when `maxActivation` times the sum of its positive weights, and likewise of its negative
 * ones, stays within: any pair of |w| <= 64 is. Layers without an overflowing pair need no reduced range.
 *
 * @param weights int8 values of shape [outputs, reduced], outputs outermost (see `byOutput`), in the order in which the
 *   kernel walks the reduced axis
 * @param maxActivation largest integer of the activations: 255, or 127 with reduced range
 */
export function saturationRisk(weights: Int8Array, outputs: number, maxActivation = 255): SaturationRisk {
  const reduced = weights.length / outputs;
  if (!Number.isInteger(reduced)) {
    throw new PareError('bad-option', `${weights.length} weights are not divisible among ${outputs} outputs.`);
  }
  let overflowing = 0;
  let worst = 0;
  for (let row = 0; row < weights.length; row += reduced) {
    for (let k = row; k < row + reduced; k += 2) {
      const a = weights[k] as number;
      const b = k + 1 < row + reduced ? (weights[k + 1] as number) : 0;
      const up = maxActivation * (Math.max(a, 0) + Math.max(b, 0));
      const down = -maxActivation * (Math.min(a, 0) + Math.min(b, 0));
      if (up > INT16_MAX || down > INT16_MAX + 1) overflowing++;
      worst = Math.max(worst, up / INT16_MAX, down / (INT16_MAX + 1));
    }
  }
  return { pairs: outputs * Math.ceil(reduced / 2), overflowing, worst };
}

/** Where the axes of a weight are. */
export type WeightKind = 'matmul' | 'gemm-transposed' | 'conv';

/**
 * The weights as [outputs, reduced] in the order in which ONNX Runtime's integer kernels walk the reduced axis: MatMul [K, N]
 * by column; Gemm with transB [N, K] as it is; Conv [M, C, ...kernel] with the channels innermost, because its kernel works on
 * channels-last data.
 */
export function byOutput(
  weights: Int8Array,
  dims: readonly number[],
  kind: WeightKind,
): { weights: Int8Array; outputs: number } {
  const [first = 1, second = 1, ...rest] = dims;
  if (kind === 'gemm-transposed') return { weights, outputs: first };
  const out = new Int8Array(weights.length);
  if (kind === 'matmul') {
    for (let k = 0; k < first; k++)
      for (let n = 0; n < second; n++) out[n * first + k] = weights[k * second + n] as number;
    return { weights: out, outputs: second };
  }
  const area = rest.reduce((a, b) => a * b, 1);
  for (let m = 0; m < first; m++) {
    const base = m * second * area;
    for (let c = 0; c < second; c++) {
      for (let p = 0; p < area; p++) out[base + p * second + c] = weights[base + c * area + p] as number;
    }
  }
  return { weights: out, outputs: first };
}
