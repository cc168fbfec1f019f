import type { Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type ConvGeometry, isDepthwise, outputDims, positions, product } from './geometry.js';
import type { ForwardForm } from './quicken.js';

/** Positions of x times positions of y up to which a dense matrix a channel is quicker: pictures of about 8 x 8. */
const LIMIT = 64 * 64;

/**
 * A matrix product a channel, y[n] = x[n] T with T [inputs, outputs] built from the kernel: ONNX Runtime convolves each channel
 * of each image on its own, which costs more than these few multiplications by zero.
 */
export const depthwiseProducts: ForwardForm = {
  fits: (c) => isDepthwise(c) && product(c.kernel) > 1 && product(c.inputs) * product(c.outputs) <= LIMIT,
  emit: (e, c, x, w) => {
    const [inputs, outputs, taps] = [product(c.inputs), product(c.outputs), product(c.kernel)];
    const kernels = e.reshape(w, [c.groups, taps]);
    const matrices = e.op('MatMul', [kernels, selection(e, c, w)]);
    const images = e.transpose(e.reshape(x, [c.batch, c.groups, inputs]), [1, 0, 2]);
    const y = e.op('MatMul', [images, e.reshape(matrices, [c.groups, inputs, outputs])]);
    return e.reshape(e.transpose(y, [1, 0, 2]), outputDims(c));
  },
};

/** [kernel, inputs * outputs]: 1 where a kernel position leads from an input to an output. */
function selection(e: Emitter, c: ConvGeometry, like: Value): Value {
  const [inputs, outputs] = [product(c.inputs), product(c.outputs)];
  const flat = (at: readonly number[]): number => at.reduce((sum, v, i) => sum * (c.inputs[i] as number) + v, 0);
  const values = positions(c.kernel).flatMap((t) => {
    const row = new Array<number>(inputs * outputs).fill(0);
    for (const [o, p] of positions(c.outputs).entries()) {
      const from = p.map(
        (v, i) => v * (c.strides[i] as number) + (t[i] as number) * (c.dilations[i] as number) - (c.begin[i] as number),
      );
      if (from.every((v, i) => v >= 0 && v < (c.inputs[i] as number))) row[flat(from) * outputs + o] = 1;
    }
    return row;
  });
  return e.constant(e.dtype(like), [product(c.kernel), inputs * outputs], values);
}
