import { GraphBuilder, type Model, PareError, seededRandom, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import {
  type ChannelGroup,
  channelGroups,
  pruneChannels,
  type Removal,
  removeChannels,
} from '../../src/prune/structured/index.js';
import { normal, runModel } from '../run-model.js';
import { lossOfZeros, randomRemoval, zeroUnits } from './masked.js';

// What is coupled in the well-known networks, and what is refused.

const engine = nodeEngine();
afterAll(() => engine.close());

const sizes = (groups: readonly ChannelGroup[]): number[] => groups.map(({ size }) => size).sort((a, b) => a - b);

/** The places of one unit: operator, input, axis and how many indices. */
const footprint = ({ members }: ChannelGroup): string[] =>
  members.map(({ node, input, axis, indices }) => `${node.opType} ${input}.${axis} x${indices[0]?.length}`).sort();

async function expectNoLoss(model: Model, feeds: Parameters<typeof runModel>[2], removal: Removal): Promise<void> {
  const { difference, before, after } = await lossOfZeros(engine, model, feeds, removal);
  expect(difference).toBeLessThan(1e-5);
  expect(after).toBeLessThan(before);
}

/** A network for pictures [n, 3, 8, 8] that ends in 5 numbers. */
function pictures(body: (b: GraphBuilder, x: Value) => readonly [Value, number]): Model {
  const b = new GraphBuilder();
  const [y, channels] = body(b, b.input('x', 'float32', ['n', 3, 8, 8]));
  const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [y])]);
  return b.output('y', b.op('Gemm', [pooled, b.random([channels, 5]), b.random([5])]), 'float32').model({ opset: 18 });
}

const image = { x: normal([2, 3, 8, 8]) };
const conv = (b: GraphBuilder, x: Value, from: number, to: number, k = 1, group = 1): Value =>
  b.op('Conv', [x, b.random([to, from / group, k, k]), b.random([to])], {
    pads: new Array(4).fill((k - 1) / 2),
    group,
  });

describe('networks for pictures', () => {
  it('MobileNetV2 with squeeze and excite: the wide layer, its depthwise filters and its gate are one', async () => {
    const model = pictures((b, x) => {
      const stem = conv(b, x, 3, 8, 3);
      const wide = b.op('HardSwish', [conv(b, b.op('HardSwish', [conv(b, stem, 8, 16)]), 16, 16, 3, 16)]);
      const squeezed = b.op('Relu', [conv(b, b.op('GlobalAveragePool', [wide]), 16, 4)]);
      const gate = b.op('HardSigmoid', [conv(b, squeezed, 4, 16)]);
      return [b.op('Add', [stem, conv(b, b.op('Mul', [wide, gate]), 16, 8)]), 8];
    });
    const { groups } = channelGroups(model);
    expect(sizes(groups)).toEqual([4, 8, 16]);
    const wide = groups.find(({ size }) => size === 16) as ChannelGroup;
    const own = ['Conv 1.0 x1', 'Conv 2.0 x1'];
    expect(footprint(wide)).toEqual([...own, ...own, ...own, 'Conv 1.1 x1', 'Conv 1.1 x1'].sort());
    await expectNoLoss(model, image, randomRemoval(model, 1));
    const pruned = model.clone();
    removeChannels(
      pruned,
      groups.map((g) => (g === wide ? [0, 5, 6] : [])),
    );
    expect([...pruned.graph.nodes()].map((node) => node.int('group', 0)).filter((g) => g > 1)).toEqual([13]);
  });

  it('DenseNet: every layer keeps its own channels in what all later ones read', async () => {
    const model = pictures((b, x) => {
      let all = conv(b, x, 3, 6, 3);
      for (const width of [6, 10, 14])
        all = b.op('Concat', [all, b.op('Relu', [conv(b, all, width, 4, 3)])], { axis: 1 });
      return [all, 18];
    });
    const { groups } = channelGroups(model);
    expect(groups.map(({ size, members }) => [size, members.length])).toEqual([
      // Weight and bias, three layers that read them, the classifier.
      [6, 6],
      [4, 5],
      [4, 4],
      [4, 3],
    ]);
    await expectNoLoss(model, image, randomRemoval(model, 2));
  });

  it('ShuffleNet: two shuffled halves keep in step, and stay halves', async () => {
    const model = pictures((b, x) => {
      let y = conv(b, x, 3, 16, 3);
      for (let i = 0; i < 3; i++) {
        const [left, right] = b.node('Split', [y], { axis: 1, num_outputs: 2 }, { outputs: 2 }).outputs as [
          Value,
          Value,
        ];
        y = b.op('Concat', [left, b.op('Relu', [conv(b, right, 8, 8)])], { axis: 1 });
        const split = b.op('Reshape', [y, [-1, 2, 8, 8, 8]]);
        y = b.op('Reshape', [b.op('Transpose', [split], { perm: [0, 2, 1, 3, 4] }), [-1, 16, 8, 8]]);
      }
      return [y, 16];
    });
    const { groups } = channelGroups(model);
    expect(groups.length).toBeGreaterThan(1);
    await expectNoLoss(model, image, randomRemoval(model, 3));
  });

  it('ResNeXt: whole groups go, and the same filters of every group', async () => {
    const model = pictures((b, x) => {
      const y = b.op('Relu', [conv(b, b.op('Relu', [conv(b, x, 3, 24)]), 24, 24, 3, 4)]);
      return [conv(b, y, 24, 8), 8];
    });
    const { groups } = channelGroups(model);
    // 4 groups, 6 columns in, 6 filters out, 8 in the end.
    expect(sizes(groups)).toEqual([4, 6, 6, 8]);
    const pruned = model.clone();
    const removal = groups.map(({ size }) => (size === 4 ? [2] : size === 6 ? [0, 3] : []));
    removeChannels(pruned, removal);
    const weights = [...pruned.graph.nodes()].filter((n) => n.is('Conv')).map((n) => n.inputs[1]?.constant?.dims);
    expect(weights).toEqual([
      [12, 3, 1, 1],
      [12, 4, 3, 3],
      [8, 12, 1, 1],
    ]);
    await expectNoLoss(model, image, removal);
  });

  it('GroupNorm: whole groups go without loss, columns of groups nearly so', async () => {
    const model = pictures((b, x) => {
      const y = b.op('GroupNormalization', [conv(b, x, 3, 12), b.random([4]), b.random([4])], { num_groups: 4 });
      return [b.op('Relu', [y]), 12];
    });
    const { groups } = channelGroups(model);
    expect(groups.map(({ size, isExact }) => [size, isExact])).toEqual([
      [4, true],
      [3, false],
    ]);
    await expectNoLoss(model, image, [[1, 2], []]);
  });
});

/** Words [n, 6] to 5 numbers: embedding, position, one transformer layer, mean. */
function transformer(norm: (b: GraphBuilder, x: Value) => Value): Model {
  const b = new GraphBuilder();
  const ids = b.input('ids', 'int64', ['n', 6]);
  let x = b.op('Add', [b.op('Gather', [b.random([20, 12], { scale: 1 }), ids]), b.random([6, 12], { scale: 0.5 })]);
  const linear = (v: Value, from: number, to: number): Value =>
    b.op('Add', [b.op('MatMul', [v, b.random([from, to])]), b.random([to])]);
  const heads = (v: Value, perm: number[]): Value =>
    b.op('Transpose', [b.op('Reshape', [linear(v, 12, 12), [0, 0, 3, 4]])], { perm });
  const y = norm(b, x);
  const weights = b.op('Softmax', [b.op('MatMul', [heads(y, [0, 2, 1, 3]), heads(y, [0, 2, 3, 1])])]);
  const attended = b.op('Transpose', [b.op('MatMul', [weights, heads(y, [0, 2, 1, 3])])], { perm: [0, 2, 1, 3] });
  x = b.op('Add', [x, linear(b.op('Reshape', [attended, [0, 0, -1]]), 12, 12)]);
  x = b.op('Add', [x, linear(b.op('Gelu', [linear(norm(b, x), 12, 16)]), 16, 12)]);
  const mean = b.op('ReduceMean', [norm(b, x), [1]], { keepdims: 0 });
  return b.output('y', linear(mean, 12, 5), 'float32').model({ opset: 23 });
}

const random = seededRandom(5);
const words = {
  ids: {
    dtype: 'int64' as const,
    dims: [2, 6],
    data: BigInt64Array.from({ length: 12 }, () => BigInt(random.integer(20))),
  },
};

describe('transformers', () => {
  const layerNorm = (b: GraphBuilder, x: Value): Value =>
    b.op('LayerNormalization', [x, b.random([12], { scale: 1 }), b.random([12])]);

  it('have a width, heads, columns of keys and of values, and hidden units', async () => {
    const model = transformer(layerNorm);
    const { groups } = channelGroups(model);
    expect(groups.map(({ size, isExact }) => [size, isExact])).toEqual([
      [12, false],
      [3, true],
      [4, true],
      [4, true],
      [16, true],
    ]);
    // A head is 4 columns of queries, keys and values with their biases, and 4 rows of what follows.
    expect(footprint(groups[1] as ChannelGroup)).toEqual(
      [...new Array(3).fill('MatMul 1.1 x4'), ...new Array(3).fill('Add 1.0 x4'), 'MatMul 1.0 x4'].sort(),
    );
    await expectNoLoss(
      model,
      words,
      randomRemoval(model, 4, (isExact) => isExact),
    );
  });

  it('keep round numbers of columns and hidden units, and any number of heads', async () => {
    const model = transformer(layerNorm);
    await model.transform(pruneChannels({ goal: { channels: 0.32 }, ranking: 'uniform', roundTo: 8, keepAtLeast: 1 }));
    const { groups } = channelGroups(model);
    // Width 12 is 8 or all of it; a head of 4 columns goes in pairs; 4 columns cannot be divided.
    expect(groups.map(({ size }) => size)).toEqual([8, 2, 4, 4, 8]);
    expect((await runModel(engine, model, words)).y?.dims).toEqual([2, 5]);
  });

  it('lose width without loss under RMSNormalization', async () => {
    const model = transformer((b, x) => b.op('RMSNormalization', [x, b.random([12], { scale: 1 })], { axis: -1 }));
    const { groups } = channelGroups(model);
    expect(groups[0]).toMatchObject({ size: 12, isExact: true });
    await expectNoLoss(model, words, [[0, 3, 7, 8, 9]]);
  });

  it('lose width without loss under LayerNormalization where the mean is zero', async () => {
    const b = new GraphBuilder();
    // Columns 2k and 2k + 1 cancel out.
    const half = b.random([7, 6]).initializer?.numbers() ?? [];
    const whole = Array.from({ length: 84 }, (_, i) => (i % 2 === 0 ? 1 : -1) * (half[i >> 1] as number));
    const x = b.op('MatMul', [b.input('x', 'float32', ['n', 7]), Tensor.of('float32', [7, 12], whole)]);
    const y = b.op('MatMul', [b.op('LayerNormalization', [x, b.random([12]), b.random([12])]), b.random([12, 4])]);
    const model = b.output('y', y, 'float32').model({ opset: 17 });
    await expectNoLoss(model, { x: normal([3, 7]) }, [[2, 3, 8, 9, 10, 11]]);
  });

  it('keep the scale of an attention whose heads become narrower', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['n', 5, 6]);
    const [q, k, v] = [0, 1, 2].map(() => b.op('MatMul', [x, b.random([6, 8])])) as [Value, Value, Value];
    const bias = b.random([24]);
    const y = b.op('MultiHeadAttention', [q, k, v, bias], { num_heads: 2 }, 'com.microsoft');
    const model = b.output('y', b.op('MatMul', [y, b.random([8, 3])]), 'float32').model({ opset: 17 });
    const { groups } = channelGroups(model);
    expect(sizes(groups)).toEqual([2, 4, 4]);
    await expectNoLoss(
      model,
      { x: normal([2, 5, 6]) },
      groups.map(({ size }) => (size === 4 ? [1, 2] : [0])),
    );
  });
});

describe('what stays, and why', () => {
  const b = (): GraphBuilder => new GraphBuilder();
  const features = (g: GraphBuilder): Value => g.op('Gemm', [g.input('x', 'float32', ['n', 4]), g.random([4, 6])]);
  const reasons = (g: GraphBuilder, y: Value): string[] => [
    ...channelGroups(g.output('y', g.op('MatMul', [y, g.random([6, 2])]), 'float32').model({ opset: 17 })).refusals,
  ];

  it.each<[string, (g: GraphBuilder, x: Value) => Value, string]>([
    ['a softmax over them', (g, x) => g.op('Softmax', [x]), 'Softmax "Softmax_out" shares one out over them'],
    [
      'an unknown operator',
      (g, x) => g.op('Det2', [x], {}, 'my.domain'),
      'my.domain.Det2 "Det2_out" has no rule for pruning',
    ],
    [
      'a picked one',
      (g, x) => g.op('Add', [x, g.op('Gather', [x, Tensor.of('int64', [1], [2])], { axis: 1 })]),
      'Add "Add_out" spreads it over others',
    ],
    [
      'an input of the model beside them',
      (g, x) => g.op('Add', [x, g.input('z', 'float32', ['n', 6])]),
      'Add "Add_out" joins it with what cannot be removed',
    ],
    [
      'every other one',
      (g, x) => g.op('Concat', [x, g.op('Slice', [x, [0], [6], [1], [2]])], { axis: 1 }),
      'Slice "Slice_out" takes some of them at places that are computed or apart',
    ],
    [
      'their number as a factor',
      (g, x) => g.op('Mul', [x, g.op('Cast', [g.op('Gather', [g.op('Shape', [x]), [1]])], { to: 1 })]),
      'Shape "Shape_out" reads how many there are',
    ],
    [
      'running sums',
      (g, x) => g.op('CumSum', [x, Tensor.of('int64', [], [1])]),
      'CumSum "CumSum_out" needs all of them in order',
    ],
  ])('%s', (_, through, reason) => {
    const g = b();
    const found = reasons(g, through(g, features(g)));
    expect(found.find((sentence) => sentence.includes('Gemm'))).toBe(
      `The channels of Gemm "Gemm_out" stay: ${reason}.`,
    );
  });

  it('a subgraph that reads them', () => {
    const g = b();
    const x = features(g);
    const branch = (negated: boolean): GraphBuilder['graph'] => {
      const inner = new GraphBuilder({ outer: g });
      return inner.output('r', inner.op(negated ? 'Neg' : 'Relu', [x])).graph;
    };
    const condition = g.constant(Tensor.of('bool', [], [1]));
    const y = g.op('If', [condition], { then_branch: branch(true), else_branch: branch(false) });
    expect(reasons(g, y).some((sentence) => /a subgraph of If ".*" reads them/.test(sentence))).toBe(true);
  });

  it('a model without any layer to prune is refused with that', async () => {
    const g = b();
    const model = g.output('y', g.op('Relu', [g.input('x', 'float32', ['n', 4])])).model();
    await expect(model.transform(pruneChannels({ goal: { channels: 0.5 } }))).rejects.toThrow(PareError);
  });
});

it('weights that two layers share on purpose stay shared; equal vectors part', async () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['n', 6]);
  const w = g.random([6, 6], { name: 'tied' });
  const bias = g.random([6], { name: 'bias' });
  const stem = g.op('Gemm', [x, g.random([6, 6]), bias]);
  const once = g.op('Add', [stem, g.op('Relu', [g.op('MatMul', [stem, w])])]);
  const twice = g.op('Add', [once, g.op('Relu', [g.op('MatMul', [once, w])])]);
  const other = g.op('Gemm', [g.op('Tanh', [twice]), g.random([6, 6]), bias]);
  const model = g
    .output('y', g.op('MatMul', [g.op('Relu', [other]), g.random([6, 2])]), 'float32')
    .model({ opset: 17 });
  expect(sizes(channelGroups(model).groups)).toEqual([6, 6]);
  const pruned = model.clone();
  removeChannels(pruned, [
    [1, 2],
    [0, 4, 5],
  ]);
  const names = [...pruned.graph.initializers].map(({ name, initializer }) => [name, `${initializer?.dims}`]);
  expect(names).toContainEqual(['tied', '4,4']);
  expect(names.filter(([name]) => name?.startsWith('bias')).map(([, dims]) => dims)).toEqual(['4', '3']);
  const masked = model.clone();
  await zeroUnits(masked, []);
  expect((await runModel(engine, pruned, { x: normal([3, 6]) })).y?.dims).toEqual([3, 2]);
});
