import { type DType, GraphBuilder, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, expect, it } from 'vitest';
import { targetProfile } from './profile.js';
import { unsupportedOn } from './unsupported.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const zeros = (dtype: DType, dims: readonly number[]): Tensor =>
  Tensor.of(dtype, dims, new Array(dims.reduce((a, b) => a * b, 1)).fill(0));
const one = Tensor.of('float32', [], [1]);

function qlinear(op: 'QLinearConv' | 'QLinearMatMul', activation: DType, weight: DType): Model {
  const b = new GraphBuilder();
  const dims = op === 'QLinearConv' ? [1, 2, 4, 4] : [4, 4];
  const w = zeros(weight, op === 'QLinearConv' ? [3, 2, 1, 1] : [4, 4]);
  const x = b.input('x', activation, dims);
  const zx = zeros(activation, []);
  b.output('y', b.op(op, [x, one, zx, w, one, zeros(weight, []), one, zx]), activation);
  return b.model();
}

function integer(op: 'ConvInteger' | 'MatMulInteger', activation: DType, weight: DType, points: number): Model {
  const b = new GraphBuilder();
  const x = b.input('x', activation, op === 'ConvInteger' ? [1, 2, 4, 4] : [4, 4]);
  const w = zeros(weight, op === 'ConvInteger' ? [4, 2, 1, 1] : [4, 4]);
  const zero = Tensor.of(weight, points === 1 ? [] : [points], new Array(points).fill(1));
  b.output('y', b.op(op, [x, w, zeros(activation, []), zero]), 'int32');
  return b.model();
}

const CASES: [string, Model][] = [];
for (const a of ['uint8', 'int8'] as const) {
  for (const w of ['uint8', 'int8'] as const) {
    for (const op of ['QLinearConv', 'QLinearMatMul'] as const) CASES.push([`${op} ${a} ${w}`, qlinear(op, a, w)]);
    for (const op of ['ConvInteger', 'MatMulInteger'] as const) {
      for (const points of [1, 4]) CASES.push([`${op} ${a} ${w}, ${points} zero points`, integer(op, a, w, points)]);
    }
  }
}

it.each(CASES)('the table says of %s what ONNX Runtime does', async (_, model) => {
  const says = unsupportedOn(model, await targetProfile('node-cpu')).length === 0;
  const input = model.graph.inputs[0];
  const dims = input?.shape as number[];
  const size = dims.reduce((a, b) => a * b, 1);
  const data = input?.dtype === 'int8' ? new Int8Array(size).fill(3) : new Uint8Array(size).fill(3);
  const runs = await (async () => {
    const session = await engine.open(model);
    await session.run({ x: { dtype: input?.dtype as DType, dims, data } });
    await session.close();
  })().then(
    () => true,
    () => false,
  );
  expect(says).toBe(runs);
});
