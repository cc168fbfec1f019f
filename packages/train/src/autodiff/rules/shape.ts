import type { Rule } from '../rule.js';

/** Only the shape changes, not the order of the elements. */
const reshaped: Rule = (op) => [() => op.emit.reshape(op.g(), op.shape())];

/** Operators that move elements to other places: the gradient moves back. */
export const SHAPE: Readonly<Record<string, Rule>> = {
  Reshape: reshaped,
  Flatten: reshaped,
  Squeeze: reshaped,
  Unsqueeze: reshaped,
  Transpose: (op) => [
    () => {
      const perm = op.node.ints('perm') ?? op.shape().map((_, i) => op.shape().length - 1 - i);
      return op.emit.transpose(
        op.g(),
        perm.map((_, axis) => perm.indexOf(axis)),
      );
    },
  ],
  // The sweep sums what was repeated.
  Expand: (op) => [() => op.g()],
  Concat: (op) => {
    const axis = op.axis('axis', 0);
    let end = 0;
    return op.node.inputs.map((_, i) => {
      const start = end;
      end += op.shape(i)[axis] as number;
      const stop = end;
      return () => op.emit.slice(op.g(), [axis], [start], [stop]);
    });
  },
  Split: (op) => {
    const axis = op.axis('axis', 0);
    return [
      () =>
        op.emit.concat(
          op.node.outputs.map((_, i) => op.g(i)),
          axis,
        ),
      null,
    ];
  },
  // Copies are summed: each axis becomes (copies, length).
  Tile: (op) => [
    () => {
      const e = op.emit;
      const dims = op.shape();
      const repeats = op.numbers(1) ?? [];
      const apart = e.reshape(
        op.g(),
        dims.flatMap((d, i) => [repeats[i] as number, d]),
      );
      const copies = dims.flatMap((_, i) => (repeats[i] === 1 ? [] : [2 * i]));
      return e.reshape(e.sum(apart, copies), dims);
    },
    null,
  ],
  // What was set to 0 gets 0.
  Trilu: (op) => [
    () => op.emit.op('Trilu', op.has(1) ? [op.g(), op.x(1)] : [op.g()], { upper: op.node.int('upper', 1) }),
    null,
  ],
  // SpaceToDepth is the inverse of the mode DCR. In the mode CRD the channels [C, b, b] went to rows and columns.
  DepthToSpace: (op) => [
    () => {
      const e = op.emit;
      const blocksize = op.node.int('blocksize', 1);
      if (op.node.string('mode', 'DCR') === 'DCR') return e.op('SpaceToDepth', [op.g()], { blocksize });
      const [n, c, h, w] = op.shape() as [number, number, number, number];
      const blocks = e.reshape(op.g(), [n, c / blocksize ** 2, h, blocksize, w, blocksize]);
      return e.reshape(e.transpose(blocks, [0, 1, 3, 5, 2, 4]), op.shape());
    },
  ],
  SpaceToDepth: (op) => [
    () => op.emit.op('DepthToSpace', [op.g()], { blocksize: op.node.int('blocksize', 1), mode: 'DCR' }),
  ],
};
