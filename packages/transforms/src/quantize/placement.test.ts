import { float, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { describe, expect, it } from 'vitest';
import { activeRange } from './active-range.js';
import { type PlacementOptions, place } from './placement.js';

const conv = (b: GraphBuilder, x: Value, inputs: number, outputs: number, kernel = 3): Value =>
  b.op('Conv', [x, b.random([outputs, inputs, kernel, kernel]), b.random([outputs])], {
    pads: new Array(4).fill((kernel - 1) / 2),
  });
const image = (b: GraphBuilder): Value => b.input('x', 'float32', ['n', 3, 8, 8]);

/** What a placement decides, in words: integer nodes, activations as `value` or `value=owner`, those kept as integers only. */
function summary(model: Model, options?: PlacementOptions) {
  const { nodes, activations, integerOnly, refusals } = place(model, options);
  return {
    nodes: nodes.map(({ node, tail }) => node.opType + (tail ? `+${tail.opType}` : '')),
    activations: [...activations].map(([v, owner]) => (v === owner ? v.name : `${v.name}=${owner.name}`)).sort(),
    integerOnly: [...integerOnly].map((v) => v.name).sort(),
    refusals,
  };
}

describe('placement', () => {
  it('keeps a residual block in integers, with Relu folded and the logits in float', () => {
    const b = new GraphBuilder();
    const a = b.op('Relu', [conv(b, image(b), 3, 4)]);
    const sum = b.op('Relu', [b.op('Add', [conv(b, a, 4, 4), a])]);
    const pooled = b.op('Flatten', [b.op('GlobalAveragePool', [sum])]);
    const model = b.output('y', b.op('Gemm', [pooled, b.random([4, 5]), b.random([5])])).model();
    expect(summary(model)).toMatchObject({
      nodes: ['Conv+Relu', 'Conv', 'Add+Relu', 'GlobalAveragePool', 'Flatten', 'Gemm'],
      activations: [
        'Conv_out_1',
        'Flatten_out=GlobalAveragePool_out',
        'GlobalAveragePool_out',
        'Relu_out',
        'Relu_out_1',
        'x',
      ],
      refusals: [],
    });
  });

  it('sees through normalizations that will be folded, and only those', () => {
    const b = new GraphBuilder();
    const norm = (x: Value): Value =>
      b.op('BatchNormalization', [x, ...Array.from({ length: 4 }, () => b.random([4]))]);
    const a = b.op('Relu', [norm(conv(b, image(b), 3, 4))]);
    const sum = b.op('Add', [norm(conv(b, a, 4, 4)), a]);
    const y = conv(b, b.op('Relu', [norm(sum)]), 4, 4);
    const model = b.output('y', y).model();
    expect(summary(model, { foldsBatchNorm: true })).toMatchObject({
      nodes: ['Conv+Relu', 'Conv', 'Conv'],
      activations: ['BatchNormalization_out_1', 'Relu_out', 'Relu_out_1', 'x', 'y'],
    });
    const block = model.clone();
    const last = block.graph.value('y')?.producer;
    const direct = block.graph.value('Add_out') ?? expect.fail();
    last?.setInput(0, direct);
    expect(summary(block, { foldsBatchNorm: true })).toMatchObject({
      nodes: ['Conv+Relu', 'Conv', 'Add', 'Conv'],
      integerOnly: ['Add_out', 'BatchNormalization_out_1', 'Relu_out', 'y'],
    });
    expect(summary(block).nodes).toEqual(['Conv', 'Conv', 'Conv']);
  });

  it('leaves float what floats surround: sums of products are not rounded again', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['n', 4, 8]);
    const h = b.op('Add', [b.op('MatMul', [x, b.random([8, 8])]), x]);
    const y = b.op('MatMul', [b.op('Softmax', [h]), b.random([8, 2])]);
    const model = b.output('y', y).model();
    expect(summary(model)).toEqual({
      nodes: ['MatMul', 'MatMul'],
      activations: ['Softmax_out', 'x'],
      integerOnly: [],
      refusals: [],
    });
  });

  it('lets the scale go through what moves elements, and shares it across Concat', () => {
    const b = new GraphBuilder();
    const a = conv(b, image(b), 3, 4);
    const c = b.op('MaxPool', [conv(b, a, 4, 4)], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
    const d = conv(b, a, 4, 2);
    const model = b.output('y', conv(b, b.op('Concat', [c, d], { axis: 1 }), 6, 2)).model();
    expect(summary(model)).toMatchObject({
      nodes: ['Conv', 'Conv', 'MaxPool', 'Conv', 'Concat', 'Conv'],
      activations: [
        'Concat_out',
        'Conv_out',
        'Conv_out_1',
        'Conv_out_2=Concat_out',
        'MaxPool_out=Conv_out_1',
        'x',
        'y',
      ],
    });
  });

  it('has the gate of a squeeze-and-excite block multiplied in integers, although its HardSigmoid is float', () => {
    const b = new GraphBuilder();
    const a = conv(b, image(b), 3, 4);
    const gate = b.op('HardSigmoid', [conv(b, b.op('GlobalAveragePool', [a]), 4, 4, 1)]);
    const model = b.output('y', conv(b, b.op('Mul', [a, gate]), 4, 2)).model();
    expect(summary(model).nodes).toEqual(['Conv', 'GlobalAveragePool', 'Conv', 'Mul', 'Conv']);
  });

  it('obeys names, types and patterns, and says why a node stays in float', () => {
    const b = new GraphBuilder();
    const a = conv(b, image(b), 3, 4);
    const weight = b.input('w', 'float32', [4, 4, 1, 1]);
    const dynamic = b.node('Conv', [a, weight], {}, { name: 'dynamic' }).output;
    const half = b.constant(new Tensor('float16', [4, 4, 1, 1], { kind: 'bytes', bytes: new Uint8Array(32) }));
    const scores = b.node('MatMul', [dynamic, dynamic], {}, { name: 'scores' }).output;
    const model = b.output('y', b.node('Conv', [scores, half], {}, { name: 'half' }).output).model();
    expect(summary(model).refusals).toEqual([
      'Conv "dynamic" stays in float: its weight is not constant.',
      'MatMul "scores" stays in float: both operands are activations.',
      'Conv "half" stays in float: its weight is float16, not float32.',
    ]);
    expect(summary(model, { activationMatMul: true }).nodes).toEqual(['Conv', 'MatMul']);
    expect(summary(model, { include: [/scores/], activationMatMul: true }).nodes).toEqual(['MatMul']);
    expect(summary(model, { exclude: ['Conv'] }).nodes).toEqual([]);
  });

  it('does not reach into subgraphs, and says so', () => {
    const b = new GraphBuilder();
    const a = conv(b, image(b), 3, 4);
    const branch = (name: string): GraphBuilder => {
      const inner = new GraphBuilder({ name, outer: b });
      return inner.output(`${name}_out`, conv(inner, a, 4, 2));
    };
    const [yes, no] = [branch('yes'), branch('no')];
    const y = b.op('If', [b.input('c', 'bool', [])], { then_branch: yes.graph, else_branch: no.graph });
    const model = b.output('y', y).model();
    const { nodes, refusals, integerOnly } = summary(model);
    expect(nodes).toEqual(['Conv']);
    expect(integerOnly).toEqual(['Conv_out']);
    expect(refusals).toHaveLength(2);
    expect(refusals[0]).toMatch(/inside a subgraph/);
  });
});

describe('activeRange', () => {
  const read = (...uses: ((b: GraphBuilder, x: Value) => Value)[]) => {
    const b = new GraphBuilder();
    const x = conv(b, image(b), 3, 4);
    for (const [i, use] of uses.entries()) b.output(`y${i}`, use(b, x));
    return activeRange(x);
  };

  it('ends where all readers are flat', () => {
    const everything = { lo: Number.NEGATIVE_INFINITY, hi: Number.POSITIVE_INFINITY };
    expect(read((b, x) => b.op('HardSwish', [x]))).toEqual({ lo: -3, hi: Number.POSITIVE_INFINITY });
    const { lo, hi } = read((b, x) => b.op('HardSigmoid', [x], { alpha: float(1 / 6) }));
    expect([lo, hi]).toEqual([expect.closeTo(-3, 5), expect.closeTo(3, 5)]);
    expect(read((b, x) => b.op('Mul', [x, b.op('HardSigmoid', [x])]))).toEqual({
      lo: -2.5,
      hi: Number.POSITIVE_INFINITY,
    });
    expect(
      read(
        (b, x) => b.op('Relu', [x]),
        (b, x) => b.op('Abs', [x]),
      ),
    ).toEqual(everything);
    expect(read((b, x) => b.op('Mul', [x, b.op('Sigmoid', [b.op('Neg', [x])])]))).toEqual(everything);
  });
});
