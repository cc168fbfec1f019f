import type { Model } from '@pare/core';
import type { SaturationEvidence } from '../evidence.js';

/** A larger loss than this between exact and fast integer arithmetic is not rounding. */
const LOSS_DB = 3;

/** How the exact twin of a quantized model runs: what the saturation check compares with. */
export interface ExactReference {
  readonly optimization: 'disabled' | 'all';
  readonly config: Readonly<Record<string, string>>;
}

/** Operators that compute with integers whatever the optimisation. */
const INTEGER_OPERATORS =
  /^(MatMulInteger|ConvInteger|QLinear(Conv|MatMul)|QGemm|MatMulIntegerToFloat|DynamicQuantizeMatMul|DynamicQuantizeLSTM|QAttention)$/;

/**
 * How to run `model` exactly, or undefined when it has no integer arithmetic to check. Without graph optimisation QDQ models
 * compute in float; operators that are integer by themselves are made exact on x64 by `session.x64quantprecision`, which turns
 * their s8 weights into u8.
 */
export function exactReference(model: Model): ExactReference | undefined {
  let quantized = false;
  for (const node of model.allNodes()) {
    if (INTEGER_OPERATORS.test(node.opType)) {
      return { optimization: 'all', config: { 'session.x64quantprecision': '1' } };
    }
    // Weight-only models have no QuantizeLinear: they compute in float.
    if (node.opType === 'QuantizeLinear') quantized = true;
  }
  return quantized ? { optimization: 'disabled', config: {} } : undefined;
}

/** Judges SQNR values against the original (dB; Infinity: no error) of the fast and the exact run. */
export function judgeSaturation(optimized: number, exact: number, samples: number): SaturationEvidence {
  const loss = exact - optimized;
  const saturates = loss > LOSS_DB;
  const db = (v: number): string => `${v.toFixed(1)} dB`;
  return {
    optimizedDb: finite(optimized),
    unoptimizedDb: finite(exact),
    lossDb: finite(loss),
    samples,
    verdict: saturates ? 'saturates' : 'none',
    reason: saturates
      ? `The integer kernels of this host lose ${db(loss)}: ${db(optimized)} where exact arithmetic gives ${db(exact)}. ` +
        'Use reduced range or u8 weights, or leave the worst layers in float.'
      : 'The integer kernels give what exact arithmetic gives, within rounding.',
  };
}

export const NO_SATURATION: SaturationEvidence = {
  optimizedDb: null,
  unoptimizedDb: null,
  lossDb: null,
  samples: 0,
  verdict: 'not applicable',
  reason: 'The model has no integer arithmetic.',
};

const finite = (v: number): number | null => (Number.isFinite(v) ? v : null);
