import { type AttributeLike, Tensor, type Value } from '@pare/core';
import { blocksPerRun } from '../../kernels/index.js';
import { Emitter } from '../emit.js';
import { type FloatWeight, type Rule, removeNode, type Scope, stackSize, storeBlocks, weightOf } from './scope.js';

// Blockwise weights for the operators of ONNX Runtime (domain com.microsoft): MatMulNBits and GatherBlockQuantized.

const DOMAIN = 'com.microsoft';

/** MatMul with a constant matrix. */
const matMul: Rule = (node, scope) => {
  const [a, b] = node.inputs;
  const weight = weightOf(b);
  if (typeof weight === 'string') return weight;
  const refusal = refuseMatrix(weight, a) ?? refuseSize(weight, weight.transposed, scope);
  if (refusal) return refusal;
  const emit = new Emitter(node);
  const output = emit.releaseOutput();
  product(emit, a as Value, weight, weight.transposed, scope, output);
  removeNode(node);
  return undefined;
};

/** Gemm with a constant matrix and factors of 1; its bias becomes an Add. */
const gemm: Rule = (node, scope) => {
  const [a, b, c] = node.inputs;
  const weight = weightOf(b);
  if (typeof weight === 'string') return weight;
  if (node.int('transA', 0) !== 0) return 'it transposes its activation';
  if (node.float('alpha', 1) !== 1 || (c && node.float('beta', 1) !== 1)) return 'its alpha or beta is not 1';
  const transposed = (node.int('transB', 0) !== 0) !== weight.transposed;
  const refusal = refuseMatrix(weight, a) ?? refuseSize(weight, transposed, scope);
  if (refusal) return refusal;
  const emit = new Emitter(node);
  const output = emit.releaseOutput();
  if (c) emit.op('Add', [product(emit, a as Value, weight, transposed, scope), c], { into: output });
  else product(emit, a as Value, weight, transposed, scope, output);
  removeNode(node);
  return undefined;
};

/** Gather of rows from a constant table, whose blocks lie along the rows. */
const gather: Rule = (node, scope) => {
  const [data, indices] = node.inputs;
  const table = weightOf(data);
  if (typeof table === 'string') return table;
  const { dims } = table.tensor;
  if (table.transposed) return 'its table is transposed';
  if (dims.length !== 2 || (node.int('axis', 0) + 2) % 2 !== 0) return 'it does not pick rows of a matrix';
  const [rows, cols] = dims as [number, number];
  const { bits, blockSize } = blockFormat(scope);
  const rowBytes = (cols * bits) / 8;
  if (!Number.isInteger(rowBytes)) return `rows of ${cols} elements of ${bits} bits do not fill whole bytes`;
  const refusal = refuseSize(table, true, scope);
  if (refusal) return refusal;
  const emit = new Emitter(node);
  const { values, scales, zeroPoints } = lookup(emit, table, rows, cols, scope);
  const output = emit.releaseOutput();
  emit.op('GatherBlockQuantized', [values, indices as Value, scales, zeroPoints], {
    domain: DOMAIN,
    into: output,
    attributes: { bits, block_size: blockSize, gather_axis: 0, quantize_axis: 1 },
  });
  scope.model.ensureOpset(DOMAIN, 1);
  removeNode(node);
  return undefined;
};

/** Operators with blockwise weights. Products come before lookups, which take over a tied weight in their form. */
export const NBITS_RULES: Readonly<Record<string, Rule>> = { MatMul: matMul, Gemm: gemm, Gather: gather };

/** A table in the form of GatherBlockQuantized: its own, or that of the product it is tied to, reshaped (folded on loading). */
function lookup(emit: Emitter, table: FloatWeight, rows: number, cols: number, scope: Scope) {
  const format = blockFormat(scope);
  const { bits, blockSize } = format;
  const perRow = Math.ceil(cols / blockSize);
  const shapes = {
    dtype: 'uint8',
    values: [rows, (cols * bits) / 8],
    scales: [rows, perRow],
    zeroPoints: [rows, Math.ceil((perRow * bits) / 8)],
  } as const;
  const key = productKey(1);
  if (!scope.has(table, key) || cols % blockSize !== 0) {
    return scope.once(table, 'table', () => storeBlocks(table, format, 1, 'tensor', shapes));
  }
  const tied = scope.once(table, key, () => storeBlocks(table, format, 1, 'blocks', shapes));
  const reshape = (value: Value, dims: readonly number[]): Value =>
    emit.op('Reshape', [value, emit.constant('shape', Tensor.of('int64', [dims.length], dims))]);
  return {
    values: reshape(tied.values, shapes.values),
    scales: reshape(tied.scales, shapes.scales),
    zeroPoints: tied.zeroPoints && reshape(tied.zeroPoints, shapes.zeroPoints),
  };
}

/** MatMulNBits of `a` with `weight`, which it sees as it is stored ([K, N]) or transposed ([N, K]). */
function product(emit: Emitter, a: Value, weight: FloatWeight, transposed: boolean, scope: Scope, into?: Value): Value {
  const format = blockFormat(scope);
  const { bits, blockSize, accuracyLevel } = format;
  const [rows, cols] = weight.tensor.dims.slice(-2) as [number, number];
  const [K, N] = transposed ? [cols, rows] : [rows, cols];
  const axis = transposed ? 1 : 0;
  const perRun = blocksPerRun({ rows, cols, axis, size: blockSize });
  const stored = scope.once(weight, productKey(axis), () =>
    storeBlocks(weight, format, axis, 'blocks', {
      dtype: 'uint8',
      values: [N, perRun, (blockSize * bits) / 8],
      scales: [N * perRun],
      zeroPoints: [N * Math.ceil((perRun * bits) / 8)],
    }),
  );
  const attributes: Record<string, AttributeLike> = { K, N, bits, block_size: blockSize };
  if (accuracyLevel) attributes.accuracy_level = accuracyLevel;
  scope.model.ensureOpset(DOMAIN, 1);
  return emit.op('MatMulNBits', [a, stored.values, stored.scales, stored.zeroPoints], {
    domain: DOMAIN,
    attributes,
    ...(into ? { into } : {}),
  });
}

const productKey = (axis: 0 | 1): string => `product ${axis}`;

function blockFormat({ format }: Scope) {
  return { ...format, blockSize: format.blockSize ?? 32 };
}

/** A stack of matrices has no MatMulNBits; leading axes of 1 are fine when the input has as many axes. */
function refuseMatrix({ tensor: { dims } }: FloatWeight, a: Value | null | undefined): string | undefined {
  if (dims.length < 2) return 'its weight is a vector';
  if (stackSize(dims) !== 1) return 'its weight is a stack of matrices';
  const rank = a?.shape?.length;
  if (rank === 1) return 'its input is a vector';
  if (dims.length > 2 && (rank === undefined || rank < dims.length)) return 'its weight may add axes to the output';
  return undefined;
}

/** Short runs are padded to whole blocks, which can take more room than they save. `alongRows`: blocks lie along the last axis. */
function refuseSize({ tensor, dtype }: FloatWeight, alongRows: boolean, scope: Scope): string | undefined {
  const { bits, blockSize } = blockFormat(scope);
  const [rows, cols] = tensor.dims.slice(-2) as [number, number];
  const [runs, length] = alongRows ? [rows, cols] : [cols, rows];
  const scaleBytes = dtype === 'float16' ? 2 : 4;
  const bytes = runs * Math.ceil(length / blockSize) * ((blockSize * bits) / 8 + scaleBytes);
  return bytes < tensor.byteLength ? undefined : `blocks of ${blockSize} would take more room than its weight`;
}
