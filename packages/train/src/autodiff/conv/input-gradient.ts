import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, inputDims, isPointwise, isStrided, positions } from './geometry.js';

/** One way to compute dx of y = Conv(x, w) from g = dL/dy and w. */
export interface InputForm {
  /** Whether it is right for this geometry. */
  fits(c: ConvGeometry): boolean;
  emit(e: Emitter, c: ConvGeometry, g: Value, w: Value): Value;
}

export type InputFormName = 'flip' | 'transpose' | 'pointwise' | 'phase';

/**
 * The forms of the input gradient. All are exact; which one is quickest depends on the shape.
 *
 * Dumoulin and Visin, A guide to convolution arithmetic for deep learning (arXiv 1603.07285), chapter 4; `phase` is the
 * sub-pixel convolution of Shi et al. (arXiv 1609.05158).
 */
export const INPUT_FORMS: Readonly<Record<InputFormName, InputForm>> = {
  // dx = Conv(g, w mirrored, its channels swapped), padded to reach the borders.
  flip: {
    fits: (c) => !isStrided(c),
    emit: (e, c, g, w) => {
      const reach = c.kernel.map((k, i) => (k - 1) * (c.dilations[i] as number));
      const before = reach.map((r, i) => r - (c.begin[i] as number));
      const after = reach.map((r, i) => r - (c.end[i] as number));
      return convolve(e, c, g, turned(e, c, w), before, after, c.dilations);
    },
  },
  // The operator that is defined as this gradient.
  transpose: {
    fits: () => true,
    emit: (e, c, g, w) => {
      const skipped = c.end.map((n) => Math.max(0, -n));
      // Runtimes want the output padding below the stride: what is skipped beyond that is filled up afterwards.
      const short = skipped.map((n, i) => Math.max(0, n - (c.strides[i] as number) + 1));
      const cropped = c.begin.map((n) => Math.max(0, -n));
      const result = e.op('ConvTranspose', [g, w], {
        group: c.groups,
        kernel_shape: c.kernel,
        strides: c.strides,
        dilations: c.dilations,
        pads: [...c.begin.map((n) => Math.max(0, n)), ...c.end.map((n) => Math.max(0, n))],
        output_padding: skipped.map((n, i) => n - (short[i] as number)),
      });
      return e.pad(result, [0, 0, ...cropped], [0, 0, ...short]);
    },
  },
  // A kernel of one with a stride: multiply at the size of y, then put zeros between.
  pointwise: {
    fits: (c) => isPointwise(c) && isStrided(c),
    emit: (e, c, g, w) => {
      const none = c.kernel.map(() => 0);
      return interleave(e, c, convolve(e, c, g, turned(e, c, w), none, none, c.dilations));
    },
  },
  // One convolution for each of the strides' phases, whose results are the pixels of a block.
  phase: {
    fits: (c) => {
      const [s] = c.strides as [number];
      const square = c.kernel.length === 2 && s > 1 && c.strides.every((t) => t === s);
      return (
        square && c.dilations.every((d) => d === 1) && c.kernel.every((k) => k >= s) && c.begin.every((b) => b >= 0)
      );
    },
    emit: (e, c, g, w) => {
      const [s] = c.strides as [number];
      const blocks = c.inputs.map((n, i) =>
        Math.ceil((n + (c.begin[i] as number) + Math.max(0, c.end[i] as number)) / s),
      );
      const parts = positions([s, s]).map((phase) => {
        const kernel = c.kernel.map((k, i) => Math.ceil((k - (phase[i] as number)) / s));
        const part = e.slice(w, [2, 3], phase, c.kernel, [s, s]);
        const sub = { ...c, kernel };
        const before = kernel.map((k) => k - 1);
        const after = blocks.map((b, i) => b - (c.outputs[i] as number));
        return convolve(e, sub, g, turned(e, sub, part), before, after, c.dilations);
      });
      const all = e.op('DepthToSpace', [e.concat(parts, 1)], { blocksize: s, mode: 'DCR' });
      return e.slice(
        all,
        [2, 3],
        c.begin,
        c.inputs.map((n, i) => n + (c.begin[i] as number)),
      );
    },
  },
};

/** The weight as the convolution of g wants it: [groups * channels, filters, kernel mirrored]. */
function turned(e: Emitter, c: ConvGeometry, w: Value): Value {
  const { groups, channels, filters, kernel } = c;
  const space = kernel.map((_, i) => i);
  let result = w;
  if (channels !== 1 || filters !== 1) {
    const grouped = e.reshape(w, [groups, filters, channels, ...kernel]);
    const swapped =
      groups === 1
        ? e.transpose(w, [1, 0, ...space.map((i) => i + 2)])
        : e.transpose(grouped, [0, 2, 1, ...space.map((i) => i + 3)]);
    result = e.reshape(swapped, [groups * channels, filters, ...kernel]);
  }
  const axes = space.filter((i) => (kernel[i] as number) > 1);
  if (axes.length === 0) return result;
  const all = (value: number): number[] => axes.map(() => value);
  return e.slice(
    result,
    axes.map((i) => i + 2),
    all(-1),
    all(-(2 ** 31)),
    all(-1),
  );
}

/** Stride 1 convolution of g; where the padding is negative g is cropped, which Conv cannot. */
function convolve(
  e: Emitter,
  c: ConvGeometry,
  g: Value,
  w: Value,
  before: readonly number[],
  after: readonly number[],
  dilations: readonly number[],
): Value {
  const crop = (pads: readonly number[]): number[] => pads.map((n) => Math.min(0, n));
  const cropped = e.pad(g, [0, 0, ...crop(before)], [0, 0, ...crop(after)]);
  return e.op('Conv', [cropped, w], {
    group: c.groups,
    kernel_shape: c.kernel,
    dilations,
    pads: [...before.map((n) => Math.max(0, n)), ...after.map((n) => Math.max(0, n))],
  });
}

/** Puts stride - 1 zeros after each element of the spatial axes, and fills or crops to the inputs. */
function interleave(e: Emitter, c: ConvGeometry, dense: Value): Value {
  const lead = inputDims(c).slice(0, 2);
  const split = e.reshape(dense, [...lead, ...c.outputs.flatMap((n) => [n, 1])]);
  const none = new Array<number>(2 + 2 * c.outputs.length).fill(0);
  const zeros = none.map((n, i) => (i >= 2 && i % 2 === 1 ? (c.strides[(i - 3) / 2] as number) - 1 : n));
  const spread = c.outputs.map((n, i) => n * (c.strides[i] as number));
  const all = e.reshape(e.pad(split, none, zeros), [...lead, ...spread]);
  return e.pad(all, [0, 0, ...spread.map(() => 0)], [0, 0, ...spread.map((n, i) => (c.inputs[i] as number) - n)]);
}
