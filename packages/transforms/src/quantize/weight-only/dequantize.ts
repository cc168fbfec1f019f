import { type Node, Tensor, type Value } from '@pare/core';
import { removeDeadConstant } from '../constant-source.js';
import { Emitter } from '../emit.js';
import {
  type FloatWeight,
  type Rule,
  removeNode,
  type Scope,
  type StoredWeight,
  stackSize,
  storeBlocks,
  storeChannels,
  weightOf,
} from './scope.js';

// Weights as integers that standard operators make real again: the operators themselves compute in float as before.

/** Where an operator keeps its weights: input index and axis of the output channels, in the operand as the operator sees it. */
const WEIGHTS: Readonly<Record<string, (node: Node) => readonly (readonly [input: number, axis: number])[]>> = {
  MatMul: () => [[1, -1]],
  Gemm: (node) => [[1, node.int('transB', 0) === 0 ? 1 : 0]],
  Conv: () => [[1, 0]],
  ConvTranspose: () => [[1, 1]],
  // [directions, gates * hidden, inputs]
  LSTM: () => [
    [1, 1],
    [2, 1],
  ],
  GRU: () => [
    [1, 1],
    [2, 1],
  ],
  RNN: () => [
    [1, 1],
    [2, 1],
  ],
};

/** 8 bits with one scale for each output channel. */
const channels: Rule = (node, scope) => {
  const refusals: string[] = [];
  let done = 0;
  for (const [index, axis] of WEIGHTS[node.opType]?.(node) ?? []) {
    const weight = weightOf(node.inputs[index]);
    if (typeof weight === 'string') {
      refusals.push(weight);
      continue;
    }
    const rank = weight.tensor.dims.length;
    if (rank < 2) {
      refusals.push('its weight is a vector');
      continue;
    }
    const seen = axis < 0 ? axis + rank : axis;
    replaceWeight(
      node,
      index,
      scope.once(weight, `real ${seen} ${weight.transposed}`, () => channelsReal(weight, seen, scope)),
    );
    done++;
  }
  return done > 0 ? undefined : (refusals[0] ?? 'it has no weight');
};

/** The float weight again, made of 8-bit integers at the start of the graph that holds them. */
function channelsReal(weight: FloatWeight, axis: number, scope: Scope): Value {
  const { root, tensor, dtype, transposed } = weight;
  const rank = tensor.dims.length;
  const storedAxis = transposed && axis >= rank - 2 ? 2 * rank - 3 - axis : axis;
  const stored = channelValues(weight, storedAxis, scope);
  const emit = emitterAtStart(root);
  const values = transposed ? swapLastTwo(emit, stored.values, rank) : stored.values;
  const opset = scope.model.opset;
  if (!scope.format.folded && opset >= (dtype === 'float32' ? 13 : 19)) {
    return emit.op('DequantizeLinear', [values, stored.scales, stored.zeroPoints], { attributes: { axis } });
  }
  // Before opset 13 (19 for float16 scales) DequantizeLinear has one scale for all, and this is the only way.
  const shape = tensor.dims.map((_, i) => (i === axis ? -1 : 1));
  const spread = (value: Value): Value =>
    emit.op('Reshape', [value, emit.constant('shape', Tensor.of('int64', [rank], shape))]);
  const real = (value: Value): Value => emit.op('Cast', [value], { attributes: { to: dtype === 'float16' ? 10 : 1 } });
  const centred = stored.zeroPoints ? emit.op('Sub', [real(values), spread(real(stored.zeroPoints))]) : real(values);
  return emit.op('Mul', [centred, spread(stored.scales)]);
}

const channelValues = (weight: FloatWeight, axis: number, scope: Scope): StoredWeight =>
  scope.once(weight, `channels ${axis}`, () => storeChannels(weight, scope.format, axis));

/** Lookup of entries in a constant table: the integers are looked up with their scales, and made real afterwards. */
const gather: Rule = (node, scope) => {
  const [data, indices] = node.inputs;
  const table = weightOf(data);
  if (typeof table === 'string') return table;
  const { dims } = table.tensor;
  if (table.transposed) return 'its table is transposed';
  if (dims.length < 2 || (node.int('axis', 0) + dims.length) % dims.length !== 0)
    return 'it does not pick entries of a table';
  if (!scope.format.symmetric) return 'its table would need zero points';
  const stored = channelValues(table, 0, scope);
  const emit = new Emitter(node);
  const shape = [dims[0] as number, ...dims.slice(1).map(() => 1)];
  const scales = emit.op('Reshape', [stored.scales, emit.constant('shape', Tensor.of('int64', [dims.length], shape))]);
  const take = (from: Value): Value => emit.op('Gather', [from, indices as Value], { attributes: { axis: 0 } });
  const codes = take(stored.values);
  const scale = take(scales);
  const output = emit.releaseOutput();
  const real = emit.op('Cast', [codes], { attributes: { to: table.dtype === 'float16' ? 10 : 1 } });
  emit.op('Mul', [real, scale], { into: output });
  removeNode(node);
  return undefined;
};

export const CHANNEL_RULES: Readonly<Record<string, Rule>> = {
  ...Object.fromEntries(Object.keys(WEIGHTS).map((op) => [op, channels])),
  Gather: gather,
};

/** 4 bits in blocks along the summed axis of a matrix: DequantizeLinear with block_size (opset 21). */
const blocks: Rule = (node, scope) => {
  const weight = weightOf(node.inputs[1]);
  if (typeof weight === 'string') return weight;
  const { dims } = weight.tensor;
  if (dims.length !== 2)
    return stackSize(dims) === 1 && dims.length > 2 ? 'its weight has leading axes' : 'its weight is no matrix';
  const sums = node.is('Gemm') && node.int('transB', 0) !== 0 ? 1 : 0;
  const stored = (weight.transposed ? 1 - sums : sums) as 0 | 1;
  const [rows, cols] = dims as [number, number];
  if (stored === 1 && cols % 2 !== 0) return `rows of ${cols} elements of 4 bits do not fill whole bytes`;
  replaceWeight(
    node,
    1,
    scope.once(weight, `real ${stored} ${weight.transposed}`, () => blocksReal(weight, stored, rows, cols, scope)),
  );
  return undefined;
};

function blocksReal(weight: FloatWeight, axis: 0 | 1, rows: number, cols: number, scope: Scope): Value {
  const format = { ...scope.format, blockSize: scope.format.blockSize ?? 32 };
  const { blockSize } = format;
  const parameters = axis === 0 ? [Math.ceil(rows / blockSize), cols] : [rows, Math.ceil(cols / blockSize)];
  const stored = scope.once(weight, `blocks ${axis}`, () =>
    storeBlocks(weight, format, axis, 'tensor', {
      dtype: format.symmetric ? 'int4' : 'uint4',
      values: [rows, cols],
      scales: parameters,
      zeroPoints: parameters,
    }),
  );
  const emit = emitterAtStart(weight.root);
  const real = emit.op('DequantizeLinear', [stored.values, stored.scales, stored.zeroPoints], {
    attributes: { axis, block_size: blockSize },
  });
  return weight.transposed ? swapLastTwo(emit, real, 2) : real;
}

export const BLOCK_RULES: Readonly<Record<string, Rule>> = { MatMul: blocks, Gemm: blocks };

/** Makes input `index` of `node` read `real`, and removes the constant that nothing reads any more. */
function replaceWeight(node: Node, index: number, real: Value): void {
  const before = node.inputs[index];
  node.setInput(index, real);
  removeDeadConstant(before);
}

/** Writes nodes at the start of the graph that holds `root`, where everyone who could read `root` can read them. */
function emitterAtStart(root: Value): Emitter {
  // A reader of the weight exists, in this graph or below one of its nodes.
  return new Emitter(root.graph.first as Node, root.name);
}

function swapLastTwo(emit: Emitter, value: Value, rank: number): Value {
  const perm = Array.from({ length: rank }, (_, i) => (i < rank - 2 ? i : 2 * rank - 3 - i));
  return emit.op('Transpose', [value], { attributes: { perm } });
}
