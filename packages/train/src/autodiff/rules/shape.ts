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
      () => {
        const dims = op.shape();
        const given = op.numbers(1);
        const even = Math.ceil((dims[axis] as number) / op.node.outputs.length);
        let left = dims[axis] as number;
        const parts = op.node.outputs.map((y, i) => {
          const length = given?.[i] ?? Math.min(even, left);
          left -= length;
          return y ? op.g(i) : op.emit.fill(dims.with(axis, length), 0, op.x());
        });
        return op.emit.concat(parts, axis);
      },
      null,
    ];
  },
};
