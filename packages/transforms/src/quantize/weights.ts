import { PareError } from '@pare/core';
import type { AffineSpec, ChannelExtremes, FloatInput, Kernels, TrialErrors } from '../kernels/index.js';
import { affineParameters, type QuantizationTarget } from './params.js';

/** A tensor seen as [outer, channels, inner]: one scale a channel. */
export interface ChannelLayout {
  readonly outer: number;
  readonly channels: number;
  readonly inner: number;
}

/** The layout of a tensor of shape `dims` with one scale for each index of `axis` (negative from the end), or null: one for all. */
export function channelLayout(dims: readonly number[], axis: number | null): ChannelLayout {
  const product = (part: readonly number[]) => part.reduce((a, b) => a * b, 1);
  if (axis === null) return { outer: 1, channels: 1, inner: product(dims) };
  const at = axis < 0 ? axis + dims.length : axis;
  const channels = dims[at];
  if (channels === undefined)
    throw new PareError('bad-option', `A tensor of shape [${dims.join(', ')}] has no axis ${axis}.`);
  return { outer: product(dims.slice(0, at)), channels, inner: product(dims.slice(at + 1)) };
}

/** Smallest and largest finite value of each channel, and how many values were not finite. */
export function channelExtremes(
  kernels: Kernels,
  x: FloatInput,
  { outer, channels, inner }: ChannelLayout,
): ChannelExtremes {
  if (inner === 1) return kernels.rangeColumns(x, outer, channels);
  const rows = kernels.rangeRows(x, outer * channels, inner);
  if (outer === 1) return rows;
  const fold = (v: Float32Array, pick: (a: number, b: number) => number) => {
    const folded = v.slice(0, channels);
    for (let r = channels; r < v.length; r++)
      folded[r % channels] = pick(folded[r % channels] as number, v[r] as number);
    return folded;
  };
  return { ...rows, min: fold(rows.min, Math.min), max: fold(rows.max, Math.max) };
}

/**
 * Scales and zero points of a weight, one a channel.
 *
 * Without `search` they span each channel (RTN). With it, they make the squared error of each channel least: the range
 * shrinks step by step while that helps, with the integer zero point fixed, and the scale of the best step is refitted by
 * least squares to the integers it gave. Clipping pays where a few weights are much larger than the rest.
 *
 * `extremes` are those of `channelExtremes`, when they are known.
 * @throws PareError `bad-model` when a weight is NaN or infinite.
 */
export function weightParameters(
  kernels: Kernels,
  x: FloatInput,
  layout: ChannelLayout,
  target: QuantizationTarget,
  options: { readonly search?: boolean; readonly extremes?: ChannelExtremes } = {},
): AffineSpec {
  const { min, max, nan, inf } = options.extremes ?? channelExtremes(kernels, x, layout);
  if (nan + inf > 0) throw new PareError('bad-model', `The weight holds ${nan + inf} NaN or infinite values.`);
  const scale = new Float32Array(layout.channels);
  const zeroPoint = new Int32Array(layout.channels);
  for (let c = 0; c < layout.channels; c++) {
    const p = affineParameters({ lo: Math.min(0, min[c] as number), hi: Math.max(0, max[c] as number) }, target);
    scale[c] = p.scale;
    zeroPoint[c] = p.zeroPoint;
  }
  const spec = { scale, zeroPoint, qmin: target.qmin, qmax: target.qmax };
  return options.search ? { ...spec, scale: searchScales(kernels, x, layout, spec) } : spec;
}

/** The integers of a weight: uint8 bytes, or the two's complement of int8, in the order of `x`. */
export function quantizeWeight(kernels: Kernels, x: FloatInput, layout: ChannelLayout, spec: AffineSpec): Uint8Array {
  const { outer, channels, inner } = layout;
  if (inner === 1) return kernels.quantizeColumns(x, outer, channels, spec);
  return kernels.quantizeRows(x, outer * channels, inner, {
    ...spec,
    scale: Float32Array.from({ length: outer * channels }, (_, r) => spec.scale[r % channels] as number),
    zeroPoint: Int32Array.from({ length: outer * channels }, (_, r) => spec.zeroPoint[r % channels] as number),
  });
}

/** Ratios to the full range: coarse ones while they help, then steps to both sides of the best. */
const COARSE = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.42, 0.35, 0.29, 0.24, 0.2, 0.16, 0.13, 0.1];
const FINE = [1.06, 0.94, 1.03, 0.97, 1.015, 0.985];

function searchScales(kernels: Kernels, x: FloatInput, layout: ChannelLayout, full: AffineSpec): Float32Array {
  const { channels } = layout;
  const ratio = new Float32Array(channels).fill(1);
  const error = new Float64Array(channels).fill(Number.POSITIVE_INFINITY);
  const best = full.scale.slice();
  /** Tries one ratio a channel; says in how many channels it was better. */
  const visit = (ratioOf: (c: number) => number): number => {
    const scale = full.scale.map((s, c) => s * ratioOf(c));
    const { dd, ad, aa } = trialErrors(kernels, x, layout, { ...full, scale });
    let improved = 0;
    for (let c = 0; c < channels; c++) {
      const s = scale[c] as number;
      const gain = aa[c] === 0 ? 0 : (ad[c] as number) / (aa[c] as number);
      const e = s * s * ((dd[c] as number) - (ad[c] as number) * gain);
      // The first ratio always counts, even when the squared scale of a channel of tiny weights is 0.
      if (!(e < (error[c] as number))) continue;
      error[c] = e;
      ratio[c] = ratioOf(c);
      best[c] = s * (1 + gain);
      improved++;
    }
    return improved;
  };
  // The error has one valley, give or take its ripples: three steps that help no channel end the descent.
  let idle = 0;
  for (const r of COARSE) {
    idle = visit(() => r) === 0 ? idle + 1 : 0;
    if (idle === 3) break;
  }
  for (const step of FINE) {
    const centre = ratio.slice();
    visit((c) => (centre[c] as number) * step);
  }
  return best;
}

/** The sums of Kernels.errorRows for each channel of a weight. */
function trialErrors(
  kernels: Kernels,
  x: FloatInput,
  { outer, channels, inner }: ChannelLayout,
  spec: AffineSpec,
): TrialErrors {
  const rows = inner === 1 ? channels : outer * channels;
  const of = (value: (c: number) => number) => Float32Array.from({ length: rows }, (_, r) => value(r % channels));
  const trial = {
    inverse: of((c) => 1 / (spec.scale[c] as number)),
    lo: of((c) => spec.qmin - (spec.zeroPoint[c] as number)),
    hi: of((c) => spec.qmax - (spec.zeroPoint[c] as number)),
  };
  if (inner === 1) return kernels.errorColumns(x, outer, channels, trial);
  const errors = kernels.errorRows(x, rows, inner, trial);
  for (const sums of [errors.dd, errors.ad, errors.aa]) {
    for (let r = channels; r < rows; r++) sums[r % channels]! += sums[r] as number;
  }
  return errors;
}

/** Signal-to-quantization-noise ratio of a weight under `spec`, in decibels; Infinity when nothing is lost. */
export function weightSqnr(kernels: Kernels, x: FloatInput, layout: ChannelLayout, spec: AffineSpec): number {
  const { dd, ad, aa } = trialErrors(kernels, x, layout, spec);
  let noise = 0;
  let signal = 0;
  spec.scale.forEach((s, c) => {
    // x / s = a + d, so the sum of its squares is dd + 2 ad + aa.
    noise += s * s * (dd[c] as number);
    signal += s * s * ((dd[c] as number) + 2 * (ad[c] as number) + (aa[c] as number));
  });
  return 10 * Math.log10(signal / noise);
}
