import {
  type AttributeLike,
  type DType,
  float,
  GraphBuilder,
  type Model,
  type Operand,
  Tensor,
  type Value,
} from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';
import { compareGradients } from '../../../test/compare-gradients.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Shapes = Readonly<Record<string, readonly number[]>>;
type Attributes = Readonly<Record<string, AttributeLike>>;

/** One node of the inputs in order. */
function single(op: string, shapes: Shapes, attributes: Attributes, dtype: DType = 'float64', opset = 21): Model {
  const b = new GraphBuilder();
  return expression(b, shapes, (inputs) => b.op(op, Object.values(inputs), attributes), { dtype, opset });
}

/** The same in elementary operators, in float64. */
function composed(shapes: Shapes, express: (e: Elementary, inputs: Record<string, Value>) => Value): Model {
  const b = new GraphBuilder();
  const op =
    (type: string) =>
    (...inputs: Operand[]): Value =>
      b.op(type, inputs);
  const elementary = {
    b,
    add: op('Add'),
    sub: op('Sub'),
    mul: op('Mul'),
    div: op('Div'),
    sqrt: op('Sqrt'),
    mean: (x: Value, axes: number[]) => b.op('ReduceMean', [x, axes], { keepdims: 1 }),
    number: (value: number) => Tensor.of('float64', [], [value]),
  };
  return expression(b, shapes, (inputs) => express(elementary, inputs));
}

interface Elementary {
  readonly b: GraphBuilder;
  add(a: Operand, b: Operand): Value;
  sub(a: Operand, b: Operand): Value;
  mul(a: Operand, b: Operand): Value;
  div(a: Operand, b: Operand): Value;
  sqrt(a: Operand): Value;
  mean(x: Value, axes: number[]): Value;
  number(value: number): Tensor;
}

describe('LayerNormalization', () => {
  const cases: [string, Shapes, Attributes][] = [
    ['the last axis', { x: [2, 3, 8], s: [8], b: [8] }, { axis: -1 }],
    ['without bias', { x: [2, 3, 8], s: [8] }, { axis: -1 }],
    ['two axes', { x: [2, 3, 4, 5], s: [4, 5], b: [4, 5] }, { axis: -2 }],
    ['axis from the start', { x: [3, 4, 5], s: [4, 5], b: [4, 5] }, { axis: 1, epsilon: float(1e-3) }],
    ['a scale that broadcasts', { x: [3, 4, 5], s: [5], b: [4, 1] }, { axis: 1 }],
    ['all axes', { x: [4, 3], s: [4, 3], b: [4, 3] }, { axis: 0 }],
    ['one row', { x: [1, 6], s: [6], b: [6] }, {}],
    ['no rows', { x: [0, 6], s: [6], b: [6] }, {}],
  ];
  it.each(cases)('%s', async (_, shapes, attributes) => {
    const double = single('LayerNormalization', shapes, attributes);
    await checkGradient(engine, double);
    await compareGradients(engine, single('LayerNormalization', shapes, attributes, 'float32'), double);
  });

  it('refuses a gradient through its statistics', async () => {
    const b = new GraphBuilder();
    const model = expression(
      b,
      { x: [2, 4], s: [4] },
      ({ x, s }) => b.node('LayerNormalization', [x!, s!, null], {}, { outputs: 2 }).outputs.map((y) => y!),
      { dtype: 'float32' },
    );
    await expect(checkGradient(engine, model)).rejects.toThrow(/mean or deviation/);
  });
});

describe('RMSNormalization', () => {
  it.each([
    ['the last axis', { x: [2, 3, 8], s: [8] }, { axis: -1 }],
    ['two axes', { x: [2, 3, 4], s: [3, 4] }, { axis: 1, epsilon: float(1e-2) }],
    ['a scalar scale', { x: [2, 6], s: [1] }, {}],
  ] as [string, Shapes, Attributes][])('%s', async (_, shapes, attributes) => {
    const double = single('RMSNormalization', shapes, attributes, 'float64', 23);
    await checkGradient(engine, double);
    await compareGradients(engine, single('RMSNormalization', shapes, attributes, 'float32', 23), double);
  });
});

describe('GroupNormalization', () => {
  it.each([
    ['images', [2, 6, 3, 4], 3],
    ['sequences', [2, 4, 5], 2],
    ['one group', [2, 4, 3], 1],
    ['a group a channel', [2, 3, 4], 3],
    ['features only', [3, 8], 2],
  ] as [string, number[], number][])('%s', async (_, dims, groups) => {
    // Before opset 21, scale and bias had an element a group.
    for (const opset of [18, 21]) {
      const [n, c, ...spatial] = dims as [number, number, ...number[]];
      const count = opset === 18 ? groups : c;
      const shapes = { x: dims, s: [count], b: [count] };
      const reference = composed(shapes, (e, { x, s, b }) => {
        const grouped = e.b.op('Reshape', [x!, [n, groups, c / groups, ...spatial]]);
        const axes = [2, ...spatial.map((_, i) => i + 3)];
        const centered = e.sub(grouped, e.mean(grouped, axes));
        const variance = e.add(e.mean(e.mul(centered, centered), axes), e.number(1e-5));
        const column = (v: Value): Value => e.b.op('Reshape', [v, [groups, count / groups, ...spatial.map(() => 1)]]);
        return e.b.op('Reshape', [e.add(e.mul(e.div(centered, e.sqrt(variance)), column(s!)), column(b!)), dims]);
      });
      const model = single('GroupNormalization', shapes, { num_groups: groups }, 'float32', opset);
      expect(await compareGradients(engine, model, reference)).toBeLessThan(1e-5);
    }
  });
});

describe('InstanceNormalization', () => {
  it.each([[[2, 3, 4, 5]], [[3, 2, 6]], [[1, 2, 2, 3, 2]]])('%j', async (dims) => {
    const shapes = { x: dims, s: [dims[1]!], b: [dims[1]!] };
    const axes = [...dims.keys()].slice(2);
    const reference = composed(shapes, (e, { x, s, b }) => {
      const centered = e.sub(x!, e.mean(x!, axes));
      const variance = e.add(e.mean(e.mul(centered, centered), axes), e.number(0.01));
      const column = (v: Value): Value => e.b.op('Reshape', [v, [dims[1]!, ...axes.map(() => 1)]]);
      return e.add(e.mul(e.div(centered, e.sqrt(variance)), column(s!)), column(b!));
    });
    const model = single('InstanceNormalization', shapes, { epsilon: float(0.01) }, 'float32');
    expect(await compareGradients(engine, model, reference)).toBeLessThan(1e-5);
  });
});

describe('MeanVarianceNormalization', () => {
  it.each([
    [[2, 3, 4, 5], undefined],
    [[3, 4, 6], [-1]],
    [
      [3, 4, 6],
      [0, 2],
    ],
  ])('%j over %j', async (dims, axes) => {
    const reference = composed({ x: dims }, (e, { x }) => {
      const centered = e.sub(x!, e.mean(x!, axes ?? [0, 2, 3]));
      return e.div(centered, e.sqrt(e.mean(e.mul(centered, centered), axes ?? [0, 2, 3])));
    });
    const model = single('MeanVarianceNormalization', { x: dims }, axes ? { axes } : {}, 'float32');
    expect(await compareGradients(engine, model, reference)).toBeLessThan(1e-5);
  });
});

describe('LpNormalization', () => {
  it.each([
    [2, -1],
    [2, 1],
    [1, 0],
    [1, -1],
  ])('p = %i along axis %i', async (p, axis) => {
    expect(await checkGradient(engine, single('LpNormalization', { x: [3, 4, 5] }, { p, axis }))).toBeLessThan(1e-6);
  });

  it('gives zeros to a row of zeros', async () => {
    const x = { dtype: 'float64', dims: [2, 3], data: Float64Array.of(1, 2, 3, 0, 0, 0) } as const;
    const model = single('LpNormalization', { x: [2, 3] }, {});
    await expect(checkGradient(engine, model, { feeds: { x } })).rejects.toThrow(/d\/x\[3\] is 0,/);
  });
});

describe('LRN', () => {
  it.each([1, 3, 5, 9])('of %i channels', async (size) => {
    const dims = [2, 6, 2, 3];
    const reference = composed({ x: dims }, (e, { x }) => {
      const squares = e.mul(x!, x!);
      const before = Math.floor((size - 1) / 2);
      const zeros = (n: number): Tensor => Tensor.of('float64', [2, n, 2, 3], new Float64Array(n * 12));
      const padded = e.b.op('Concat', [zeros(before), squares, zeros(size - 1 - before)], { axis: 1 });
      const shifted = Array.from({ length: size }, (_, i) => e.b.op('Slice', [padded, [i], [i + 6], [1]]));
      const d = e.add(e.mul(e.b.op('Sum', shifted), e.number(0.5 / size)), e.number(2));
      return e.div(x!, e.b.op('Pow', [d, e.number(0.75)]));
    });
    const model = single('LRN', { x: dims }, { size, alpha: float(0.5), beta: float(0.75), bias: float(2) }, 'float32');
    expect(await compareGradients(engine, model, reference)).toBeLessThan(1e-5);
  });
});
