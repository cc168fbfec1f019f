import { float, floats, type Graph, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { constantOf, modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { constantsToInitializers } from './constants.js';
import { eliminateDeadCode } from './dead-code.js';
import { dropDefaultInputs } from './default-inputs.js';
import { initializersOutOfInputs } from './initializer-inputs.js';
import { eliminateNoOps } from './no-ops.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);
const i64 = (values: number[]): Tensor => Tensor.of('int64', [values.length], values);
const scalar = (v: number): Tensor => f32([], [v]);

describe('constantsToInitializers', () => {
  it('takes every form of the operator', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 3]);
    const constant = (value: Parameters<GraphBuilder['op']>[2]): Value => b.op('Constant', [], value);
    const shape = constant({ value_ints: [3, 2] });
    let y = b.op('Reshape', [x, shape]);
    y = b.op('Add', [y, constant({ value: f32([2], [1, 2]) })]);
    y = b.op('Mul', [y, constant({ value_float: float(0.5) })]);
    y = b.op('Add', [y, constant({ value_floats: floats([1, -1]) })]);
    const sparse = {
      type: 'sparseTensor',
      value: { values: f32([1], [7]), indices: i64([1]), dims: [2] },
    } as const;
    y = b.op('Add', [y, constant({ sparse_value: sparse })]);
    const axis = constant({ value_int: 1 });
    y = b.op('CumSum', [y, axis]);
    const model = b.output('y', y, 'float32').model();
    const result = await rewritten(engine, model, [constantsToInitializers()]);
    expect(result.ops).toEqual(['Reshape', 'Add', 'Mul', 'Add', 'Add', 'CumSum']);
    expect(result.changed).toBe(6);
    expect(constantOf(result.model, 'CumSum', 1)).toMatchObject({ dtype: 'int64', dims: [] });
  });

  it('takes strings, and constants that are outputs, also of a branch', async () => {
    const b = new GraphBuilder();
    const c = b.input('c', 'bool', []);
    const branch = (value: number): Graph => {
      const inner = new GraphBuilder({ name: 'branch', outer: b });
      return inner.output(`k${value}`, inner.op('Constant', [], { value_float: float(value) }), 'float32', []).graph;
    };
    b.output('y', b.op('If', [c], { then_branch: branch(1), else_branch: branch(2) }), 'float32', []);
    b.output('k', b.op('Constant', [], { value_string: 'word' }), 'string', []);
    const result = await rewritten(engine, b.model(), [constantsToInitializers()]);
    expect(result.ops).toEqual(['If']);
    expect([...result.model.allNodes()]).toHaveLength(1);
  });
});

describe('initializersOutOfInputs', () => {
  const model = (irVersion: number): Model => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 2, 4, 4]);
    const w = b.random([3, 2, 1, 1], { name: 'w' });
    b.graph.addInput('w');
    return b.output('y', b.op('Conv', [x, w]), 'float32').model({ opset: 8, irVersion });
  };

  it('makes constants of the initializers of old models', async () => {
    const result = await rewritten(engine, model(3), [initializersOutOfInputs()]);
    expect(result.model.irVersion).toBe(4);
    expect(result.model.graph.inputs.map((v) => v.name)).toEqual(['x']);
  });

  it('keeps defaults that a caller may override, and says so', async () => {
    const result = await rewritten(engine, model(8), [initializersOutOfInputs()]);
    expect(result.model.graph.inputs).toHaveLength(2);
    expect(result.changed).toBe(0);
    expect(result.notes.join()).toMatch(/"w" is an input too/);
  });
});

describe('eliminateNoOps', () => {
  const shape = [2, 3, 4];
  const removed: Record<string, (b: GraphBuilder, x: Value) => Value> = {
    Identity: (b, x) => b.op('Identity', [x]),
    Dropout: (b, x) => b.node('Dropout', [x], {}, { outputs: 2 }).output,
    'Dropout that does not train': (b, x) => b.op('Dropout', [x, scalar(0.3), Tensor.of('bool', [], [0])]),
    Cast: (b, x) => b.op('Cast', [x], { to: 1 }),
    CastLike: (b, x) => b.op('CastLike', [x, scalar(1)]),
    Reshape: (b, x) => b.op('Reshape', [x, [0, -1, 4]]),
    Flatten: (b, x) => b.op('Reshape', [b.op('Flatten', [b.op('Reshape', [x, [6, 4]])]), [2, 3, 4]]),
    Transpose: (b, x) => b.op('Transpose', [x], { perm: [0, 1, 2] }),
    Slice: (b, x) => b.op('Slice', [x, [0], [1000], [1]]),
    Pad: (b, x) => b.op('Pad', [x, [0, 0, 0, 0, 0, 0]]),
    Expand: (b, x) => b.op('Expand', [x, [2, 1, 4]]),
    Tile: (b, x) => b.op('Tile', [x, [1, 1, 1]]),
    Concat: (b, x) => b.op('Concat', [x], { axis: 1 }),
    Sum: (b, x) => b.op('Sum', [x]),
    Split: (b, x) => b.op('Split', [x], { axis: 1, num_outputs: 1 }),
    'Add 0': (b, x) => b.op('Add', [f32([3, 1], [0, 0, 0]), x]),
    'Sub 0': (b, x) => b.op('Sub', [x, scalar(0)]),
    'Mul 1': (b, x) => b.op('Mul', [x, f32([1, 1], [1])]),
    'Div 1': (b, x) => b.op('Div', [x, scalar(1)]),
    'Pow 1': (b, x) => b.op('Pow', [x, scalar(1)]),
    Clip: (b, x) => b.op('Clip', [x]),
    Where: (b, x) => b.op('Where', [Tensor.of('bool', [1], [1]), x, scalar(3)]),
    Gather: (b, x) => b.op('Gather', [x, [0, 1, 2]], { axis: 1 }),
    'MaxPool of one': (b, x) => b.op('MaxPool', [x], { kernel_shape: [1] }),
    'Resize by 1': (b, x) => b.op('Resize', [x, null, f32([3], [1, 1, 1])], { mode: 'linear' }),
    ReduceSum: (b, x) => b.op('ReduceSum', [x, null], { noop_with_empty_axes: 1 }),
  };

  it.each(Object.keys(removed))('removes %s', async (name) => {
    const model = modelOf(shape, (b, x) => b.op('Neg', [(removed[name] as (typeof removed)[string])(b, x)]));
    const { ops } = await rewritten(engine, model, [eliminateNoOps()]);
    expect(ops.filter((op) => name.startsWith(op))).toEqual([]);
    expect(ops).toContain('Neg');
  });

  const kept: Record<string, (b: GraphBuilder, x: Value) => Value> = {
    'Add that broadcasts': (b, x) => b.op('Add', [x, f32([5, 1, 1, 1], [0, 0, 0, 0, 0])]),
    'Add of other numbers': (b, x) => b.op('Add', [x, f32([4], [0, 0, 0, 1])]),
    '1 - x': (b, x) => b.op('Sub', [scalar(0), x]),
    '1 / x': (b, x) => b.op('Div', [scalar(1), x]),
    Cast: (b, x) => b.op('Cast', [b.op('Cast', [x], { to: 6 })], { to: 1 }),
    'Slice backwards': (b, x) => b.op('Slice', [x, [-1], [-1000], [1], [-1]]),
    Reshape: (b, x) => b.op('Reshape', [x, [0, -1, 2]]),
    'Clip with bounds': (b, x) => b.op('Clip', [x, scalar(0)]),
    'Resize by 2 and cut': (b, x) => b.op('Resize', [x, null, f32([3], [1, 1, 1.2])], { mode: 'linear' }),
    'Gather in another order': (b, x) => b.op('Gather', [x, [0, 2, 1]], { axis: 1 }),
    'Where that chooses': (b, x) => b.op('Where', [Tensor.of('bool', [4], [1, 0, 1, 1]), x, scalar(3)]),
  };

  it.each(Object.keys(kept))('keeps %s', async (name) => {
    const model = modelOf(shape, (b, x) => b.op('Neg', [(kept[name] as (typeof kept)[string])(b, x)]));
    const { ops } = await rewritten(engine, model, [eliminateNoOps()]);
    expect(ops).toEqual(opsOf(model));
  });

  it('sees a no-op over named dimensions', async () => {
    const model = modelOf(['batch', 3, 'h'], (b, x) => b.op('Neg', [b.op('Reshape', [x, [0, 0, -1]])]));
    expect((await rewritten(engine, model, [eliminateNoOps()])).ops).toEqual(['Neg']);
  });

  it('resolves Identity over shared biases, for all readers and in subgraphs', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 2, 4, 4]);
    const bias = b.constant(f32([2], [1, -1]), 'bias');
    const alias = b.op('Identity', [b.op('Identity', [bias])]);
    const y = b.op('Conv', [x, b.random([2, 2, 1, 1]), alias]);
    const inner = new GraphBuilder({ outer: b });
    inner.output('t', inner.op('Conv', [y, b.random([2, 2, 1, 1]), alias]), 'float32');
    const other = new GraphBuilder({ outer: b });
    other.output('e', other.op('Identity', [y]), 'float32');
    const c = b.input('c', 'bool', []);
    b.output('y', b.op('If', [c], { then_branch: inner.graph, else_branch: other.graph }), 'float32');
    const { model } = await rewritten(engine, b.model(), [eliminateNoOps()]);
    expect(bias.name).toBe('bias');
    expect([...model.allNodes()].map((n) => n.opType)).toEqual(['Conv', 'If', 'Conv', 'Identity']);
    expect([...model.allNodes()].filter((n) => n.opType === 'Conv').map((n) => n.inputs[2]?.name)).toEqual([
      'bias',
      'bias',
    ]);
  });

  it('keeps an Identity that an output of the graph needs for its name', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2]);
    const w = b.constant(f32([2], [1, 2]), 'w');
    const alias = b.op('Identity', [w]);
    b.output('alias', alias, 'float32', [2]);
    b.output('same', b.op('Identity', [x]), 'float32', [2]);
    b.output('y', b.op('Add', [x, alias]), 'float32', [2]);
    const { model, ops } = await rewritten(engine, b.model(), [eliminateNoOps()]);
    expect(ops).toEqual(['Identity', 'Identity', 'Add']);
    expect([...model.graph.nodes()].at(-1)?.inputs[1]?.name).toBe('w');
  });

  it('gives an output of the graph to the node above', async () => {
    const model = modelOf([2], (b, x) => b.op('Identity', [b.op('Relu', [x])]));
    expect((await rewritten(engine, model, [eliminateNoOps()])).ops).toEqual(['Relu']);
  });

  it('finds zeros in weights that lie in a file', async () => {
    const tensor = (first: number): Tensor => {
      const bytes = new Uint8Array(new Float32Array(512).fill(0).map((_, i) => (i === 511 ? first : 0)).buffer);
      const source = { name: 'test', size: bytes.length, read: async (o: number, n: number) => bytes.slice(o, o + n) };
      return new Tensor('float32', [512], { kind: 'reference', source, offset: 0, length: bytes.length });
    };
    const zero = modelOf([2, 512], (b, x) => b.op('Neg', [b.op('Add', [x, tensor(0)])]));
    expect((await rewritten(engine, zero, [eliminateNoOps()])).ops).toEqual(['Neg']);
    const other = modelOf([2, 512], (b, x) => b.op('Neg', [b.op('Add', [x, tensor(1)])]));
    expect((await rewritten(engine, other, [eliminateNoOps()])).ops).toEqual(['Add', 'Neg']);
  });
});

describe('dropDefaultInputs', () => {
  const lstm = (fill: number) =>
    modelOf([5, 'n', 3], (b, x) => {
      const shape = b.op('Concat', [[2], b.op('Slice', [b.op('Shape', [x]), [1], [2]]), [4]], { axis: 0 });
      const state = b.op('ConstantOfShape', [shape], { value: f32([1], [fill]) });
      const first = b.op('Slice', [state, [0], [1], [0]]);
      const inputs = [x, b.random([1, 16, 3]), b.random([1, 16, 4]), null, null, first, first];
      return b.node('LSTM', inputs, { hidden_size: 4 }).output;
    });

  it('leaves out initial states of zeros', async () => {
    expect((await rewritten(engine, lstm(0), [dropDefaultInputs()])).ops).toEqual(['LSTM']);
  });

  it('keeps other initial states', async () => {
    expect((await rewritten(engine, lstm(0.5), [dropDefaultInputs()])).ops).toEqual(opsOf(lstm(0.5)));
  });
});

describe('eliminateDeadCode', () => {
  it('removes nodes, initializers, functions and imports that no output needs, and keeps inputs', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 4]);
    b.input('unused', 'float32', [1]);
    b.op('Add', [b.op('Relu', [x]), b.random([4])]);
    b.op('Gelu', [x], {}, 'com.microsoft');
    const model = b.output('y', b.op('Neg', [x]), 'float32').model();
    const body = new GraphBuilder();
    body.output('o', body.op('Relu', [body.input('i', 'float32')]));
    model.functions.push({
      domain: 'own',
      name: 'F',
      overload: '',
      body: body.graph,
      attributes: [],
      defaults: new Map(),
      opsets: new Map([['', 21]]),
      docString: '',
      metadata: new Map(),
    });
    model.opsets.set('own', 1);
    const result = await rewritten(engine, model, [eliminateDeadCode()], { inputs: {} });
    expect(result.ops).toEqual(['Neg']);
    expect(result.model.graph.initializers.size).toBe(0);
    expect([...result.model.opsets.keys()]).toEqual(['']);
    expect(result.model.functions).toEqual([]);
    expect(result.model.graph.inputs.map((v) => v.name)).toEqual(['x', 'unused']);
  });

  it('drops outputs that may be left out, and branch outputs that nobody reads', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 2, 4, 4]);
    const c = b.input('c', 'bool', []);
    const pooled = b.node('MaxPool', [x], { kernel_shape: [2, 2] }, { outputs: 2 }).output;
    const branch = (op: string): Graph => {
      const inner = new GraphBuilder({ name: op, outer: b });
      inner.output(`${op}_dead`, inner.op('Exp', [pooled]), 'float32');
      return inner.output(`${op}_live`, inner.op(op, [pooled]), 'float32').graph;
    };
    const node = b.node('If', [c], { then_branch: branch('Relu'), else_branch: branch('Neg') }, { outputs: 2 });
    const model = b.output('y', node.outputs[1] as Value, 'float32').model();
    const result = await rewritten(engine, model, [eliminateDeadCode()]);
    expect([...result.model.allNodes()].map((n) => n.opType)).toEqual(['MaxPool', 'If', 'Relu', 'Neg']);
    expect([...result.model.graph.nodes()].map((n) => n.outputs.length)).toEqual([1, 1]);
  });

  it('keeps the statistics of a BatchNormalization that trains', async () => {
    const model = modelOf([4, 3], (b, x) => {
      const c = (from: number): Value => b.constant(f32([3], [from, from, from]));
      const inputs = [x, c(1), c(0), c(0), c(1)];
      return b.node('BatchNormalization', inputs, { training_mode: 1 }, { outputs: 3 }).output;
    });
    const result = await rewritten(engine, model, [eliminateDeadCode()]);
    expect([...result.model.graph.nodes()][0]?.outputs).toHaveLength(3);
  });

  it('keeps outputs that an operator must have', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [4]);
    const node = b.node('TopK', [x, [2]], {}, { outputs: 2 });
    const model = b.output('y', node.outputs[1] as Value, 'int64').model();
    const result = await rewritten(engine, model, [eliminateDeadCode()]);
    expect(result.changed).toBe(0);
  });
});
