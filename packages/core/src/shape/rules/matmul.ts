import type { DType } from '../../dtype.js';
import type { Dim, Shape } from '../../ir/type.js';
import { broadcastShapes } from '../broadcast.js';
import { broadcastDim } from '../dim.js';
import { type Op, type Rule, type RuleTable, tensor } from '../op.js';

/** Shape of numpy.matmul; undefined when a rank is unknown or an operand is a scalar. */
export function matmulShape(a: Shape | undefined, b: Shape | undefined): Shape | undefined {
  if (!a || !b || a.length === 0 || b.length === 0) return undefined;
  // A vector is a row on the left, a column on the right; the added axis is dropped again.
  const left = a.length === 1 ? [1, ...a] : a;
  const right = b.length === 1 ? [...b, 1] : b;
  const batch = broadcastShapes(left.slice(0, -2), right.slice(0, -2)) as Shape;
  return [...batch, ...(a.length === 1 ? [] : [left.at(-2) as Dim]), ...(b.length === 1 ? [] : [right.at(-1) as Dim])];
}

/** Matrix product of inputs `a` and `b`, elements of `dtype` (default: of the operands). */
export const matmul =
  (a = 0, b = 1, dtype?: (op: Op) => DType | undefined): Rule =>
  (op) => [tensor(dtype ? dtype(op) : (op.dtype(a) ?? op.dtype(b)), matmulShape(op.shape(a), op.shape(b)))];

/** [M, N] of op(A) * op(B), where an attribute says which operand is transposed. */
export function gemmShape(op: Op, a: number, b: number): Shape {
  const rows = op.dim(a, op.int('transA', 0) ? 1 : 0);
  const columns = op.dim(b, op.int('transB', 0) ? 0 : 1);
  return [rows, columns];
}

const gemm: Rule = (op) => [tensor(op.dtype(0) ?? op.dtype(1), gemmShape(op, 0, 1))];

/** Subscripts of one operand, with '.' for each axis that an ellipsis stands for. */
const expandEllipsis = (subscripts: string, rank: number): string[] => {
  const letters = subscripts.replace('...', '');
  const dots = new Array<string>(Math.max(0, rank - letters.length));
  const at = subscripts.indexOf('...');
  if (at < 0) return [...letters];
  // The axes of an ellipsis are aligned at their end.
  for (let i = 0; i < dots.length; i++) dots[i] = `.${dots.length - i}`;
  return [...letters.slice(0, at), ...dots, ...letters.slice(at)];
};

const einsum: Rule = (op) => {
  const dtype = op.dtype(0);
  const shapes = Array.from({ length: op.inputCount }, (_, i) => op.shape(i));
  const equation = op.string('equation', '').replaceAll(/\s/g, '');
  const [left = '', right] = equation.split('->');
  const terms = left.split(',');
  if (terms.length !== shapes.length || shapes.some((s) => !s)) return [tensor(dtype)];
  const lengths = new Map<string, Dim>();
  const counts = new Map<string, number>();
  for (const [i, term] of terms.entries()) {
    const shape = shapes[i] as Shape;
    const labels = expandEllipsis(term, shape.length);
    if (labels.length !== shape.length) return [tensor(dtype)];
    for (const [axis, label] of labels.entries()) {
      const length = shape[axis] as Dim;
      const before = lengths.get(label);
      lengths.set(label, before === undefined ? length : broadcastDim(before, length));
      counts.set(label, (counts.get(label) ?? 0) + 1);
    }
  }
  const dots = [...lengths.keys()]
    .filter((label) => label.startsWith('.'))
    .sort((a, b) => Number(b.slice(1)) - Number(a.slice(1)));
  const output =
    right === undefined
      ? [...dots, ...[...lengths.keys()].filter((label) => !label.startsWith('.') && counts.get(label) === 1).sort()]
      : [...right.replace('...', '.')].flatMap((label) => (label === '.' ? dots : [label]));
  return [
    tensor(
      dtype,
      output.map((label) => lengths.get(label) ?? null),
    ),
  ];
};

export const product: RuleTable = {
  MatMul: matmul(),
  MatMulInteger: matmul(0, 1, () => 'int32'),
  QLinearMatMul: matmul(0, 3, (op) => op.dtype(7)),
  Gemm: gemm,
  Einsum: einsum,
};
