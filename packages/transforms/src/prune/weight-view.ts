import { elementCount, type Node } from '@pare/core';

/**
 * A weight as its operator uses it: in each of `groups`, each of `outputs` is a sum over `inputs` at each of `positions` (of the
 * kernel; 1 for matrices). Element (g, o, i, p) of the tensor is at the sum of the indices times `strides`.
 */
export interface WeightView {
  readonly groups: number;
  readonly outputs: number;
  readonly inputs: number;
  readonly positions: number;
  readonly strides: readonly [group: number, output: number, input: number, position: number];
  /** Each group has inputs of its own (grouped convolutions); a stack of matrices shares them. */
  readonly ownInputs: boolean;
}

type ViewOf = (node: Node, dims: readonly number[], transposed: boolean) => WeightView | string;

/** Weight of Conv [outputs, inputs, ...kernel] and of ConvTranspose [inputs, outputs, ...kernel]; groups lie on the first axis. */
const convolution =
  (inputsFirst: boolean): ViewOf =>
  (node, dims, transposed) => {
    if (transposed || dims.length < 3) return 'its weight is no kernel as it is stored';
    const groups = node.int('group', 1);
    const [first = 1, second = 1, ...kernel] = dims;
    const positions = elementCount(kernel);
    const perGroup = first / groups;
    const strides = [perGroup * second * positions, second * positions, positions, 1] as const;
    const [group, outer, inner, position] = strides;
    return inputsFirst
      ? {
          groups,
          outputs: second,
          inputs: perGroup,
          positions,
          strides: [group, inner, outer, position],
          ownInputs: true,
        }
      : { groups, outputs: perGroup, inputs: second, positions, strides, ownInputs: true };
  };

/** Weight of a product: [inputs, outputs], or a stack of such matrices. */
const product: ViewOf = (node, dims, transposed) => {
  if (dims.length < 2) return 'its weight is a vector';
  const [rows = 1, columns = 1] = dims.slice(-2);
  const turned = transposed !== (node.is('Gemm') && node.int('transB', 0) !== 0);
  const [inputs, outputs] = turned ? [columns, rows] : [rows, columns];
  const [inputStride, outputStride] = turned ? [1, columns] : [columns, 1];
  const groups = elementCount(dims.slice(0, -2));
  const strides = [rows * columns, outputStride, inputStride, 1] as const;
  return { groups, outputs, inputs, positions: 1, strides, ownInputs: false };
};

/** The operators whose second operand is a weight, and how they see it. */
export const WEIGHT_VIEWS: Readonly<Record<string, ViewOf>> = {
  Conv: convolution(false),
  ConvTranspose: convolution(true),
  Gemm: product,
  MatMul: product,
};

/** The weights of each output, one row an output: weight k of row r is element `bases[r] + offsets[k]`. */
export interface WeightRows {
  readonly bases: Int32Array;
  readonly offsets: Int32Array;
}

/** Row by row. The inputs of one kernel position lie together in k, in order, as sparse kernels group them. */
export function rowsOf({ groups, outputs, inputs, positions, strides }: WeightView): WeightRows {
  const [group, output, input, position] = strides;
  return {
    bases: Int32Array.from(
      { length: groups * outputs },
      (_, r) => Math.floor(r / outputs) * group + (r % outputs) * output,
    ),
    offsets: Int32Array.from(
      { length: inputs * positions },
      (_, k) => (k % inputs) * input + Math.floor(k / inputs) * position,
    ),
  };
}
