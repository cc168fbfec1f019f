import type { Rule } from '../rule.js';

/** What PyTorch calls fold. */
export const COL2IM: Readonly<Record<string, Rule>> = {
  // Each column is added to the image at its block: dx reads each block of g as a column. [N, C * block, L]
  Col2Im: (op) => {
    const { emit, node } = op;
    return [
      () => {
        const image = op.numbers(1) ?? [];
        const block = op.numbers(2) ?? [];
        const pads = node.ints('pads') ?? [...image, ...image].fill(0);
        const [before, after] = [pads.slice(0, image.length), pads.slice(image.length)];
        const padded = emit.pad(op.g(), [0, 0, ...before], [0, 0, ...after]);
        const [n, c, ...dims] = emit.shape(padded) as [number, number, ...number[]];
        // Offsets of the elements of a block, and of the blocks, in the padded image flattened.
        let [inside, origins] = [[0], [0]];
        for (const [axis, length] of dims.entries()) {
          const dilation = node.ints('dilations')?.[axis] ?? 1;
          const stride = node.ints('strides')?.[axis] ?? 1;
          const size = block[axis] as number;
          const count = Math.floor((length - (size - 1) * dilation - 1) / stride) + 1;
          const along = (base: readonly number[], steps: number, step: number): number[] =>
            base.flatMap((at) => Array.from({ length: steps }, (_, i) => at * length + i * step));
          inside = along(inside, size, dilation);
          origins = along(origins, count, stride);
        }
        const at = inside.flatMap((offset) => origins.map((origin) => origin + offset));
        const flat = emit.reshape(padded, [n, c, dims.reduce((a, b) => a * b, 1)]);
        return emit.reshape(emit.op('Gather', [flat, emit.ints(at)], { axis: 2 }), op.shape());
      },
      null,
      null,
    ];
  },
};
