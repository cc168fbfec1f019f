import { type Graph, GraphBuilder, type Model, type ModelFunction, Tensor, typeText, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { fixShapes } from './fix-shapes.js';
import { inlineConstantIf, inlineFunctions } from './inline.js';

const engine = nodeEngine();
afterAll(() => engine.close());

describe('inlineConstantIf', () => {
  /** Two outputs; the branches capture values, hold initializers, and one holds another If. */
  const model = (condition: (b: GraphBuilder) => Value): Model => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 3]);
    const flag = b.input('flag', 'bool', []);
    const scaled = b.op('Exp', [x]);
    const branch = (name: string, build: (g: GraphBuilder) => [Value, Value]): Graph => {
      const inner = new GraphBuilder({ name, outer: b });
      const [p, q] = build(inner);
      return inner.output(`${name}_p`, p, 'float32').output(`${name}_q`, q, 'float32').graph;
    };
    const nested = (g: GraphBuilder, op: string): Graph => {
      const inner = new GraphBuilder({ name: op, outer: g });
      return inner.output(`${op}_o`, inner.op(op, [scaled]), 'float32').graph;
    };
    const node = b.node(
      'If',
      [condition(b)],
      {
        then_branch: branch('then', (g) => [g.op('Add', [scaled, g.random([3])]), g.op('Neg', [x])]),
        else_branch: branch('else', (g) => [
          g.op('If', [flag], { then_branch: nested(g, 'Relu'), else_branch: nested(g, 'Sigmoid') }),
          g.op('Identity', [scaled]),
        ]),
      },
      { outputs: 2 },
    );
    const [p, q] = node.outputs as [Value, Value];
    return b
      .output('p', p, 'float32')
      .output('q', b.op('Abs', [q]), 'float32')
      .model();
  };
  const fixed =
    (value: number) =>
    (b: GraphBuilder): Value =>
      b.constant(Tensor.of('bool', [], [value]));

  it('puts the branch that is taken in its place', async () => {
    const taken = await rewritten(engine, model(fixed(1)), [inlineConstantIf()]);
    expect(taken.ops).toEqual(['Exp', 'Add', 'Neg', 'Abs']);
    const other = await rewritten(engine, model(fixed(0)), [inlineConstantIf()]);
    expect(other.ops).toEqual(['Exp', 'If', 'Identity', 'Abs']);
    expect(other.notes).toEqual([expect.stringMatching(/If ".*" always takes its else_branch/)]);
  });

  it('knows conditions that follow from shapes', async () => {
    const byRank = model((b) => {
      const rank = b.op('Size', [b.op('Shape', [b.graph.value('x') as Value])]);
      return b.op('Equal', [rank, Tensor.of('int64', [], [2])]);
    });
    expect((await rewritten(engine, byRank, [inlineConstantIf()])).ops).not.toContain('If');
  });

  it('leaves conditions that are only known at run time', async () => {
    const open = model((b) => b.graph.value('flag') as Value);
    expect((await rewritten(engine, open, [inlineConstantIf()])).ops).toEqual(opsOf(open));
  });
});

describe('inlineFunctions', () => {
  const define = (
    name: string,
    build: (b: GraphBuilder) => void,
    options: Partial<ModelFunction> = {},
  ): ModelFunction => {
    const b = new GraphBuilder({ name });
    build(b);
    return {
      domain: 'own',
      name,
      overload: '',
      body: b.graph,
      attributes: [],
      defaults: new Map(),
      opsets: new Map([['', 21]]),
      docString: '',
      metadata: new Map(),
      ...options,
    };
  };

  const leaky = define(
    'Leaky',
    (b) => {
      const x = b.input('x', 'float32');
      const shift = b.input('shift', 'float32');
      const y = b.op('LeakyRelu', [x], { alpha: { type: 'reference', value: { name: 'slope', of: 'float' } } });
      const shifted = b.op('Clip', [y, null, shift]);
      b.output('y', shifted);
    },
    { attributes: ['slope'], defaults: new Map([['slope', { type: 'float', value: 0.25 }]]) },
  );
  const twice = define(
    'Twice',
    (b) => {
      const inner = b.op('Leaky', [b.input('x', 'float32')], {}, 'own');
      const branch = (op: string): Graph => {
        const g = new GraphBuilder({ name: op, outer: b });
        return g.output('v', g.op(op, [inner]), 'float32').graph;
      };
      const positive = b.op('Greater', [
        b.op('ReduceSum', [inner], { keepdims: 0 }),
        b.op('Constant', [], { value: Tensor.of('float32', [], [0]) }),
      ]);
      b.output('y', b.op('If', [positive], { then_branch: branch('Neg'), else_branch: branch('Exp') }));
    },
    {
      opsets: new Map([
        ['', 21],
        ['own', 1],
      ]),
    },
  );

  const calling = (functions: ModelFunction[]): Model => {
    const model = modelOf(['n', 3], (b, x) => {
      // The names of the function's values are in use here too.
      const v = b.graph.addNode('Neg', [x], { outputs: ['v'] }).output;
      const direct = b.node(
        'Leaky',
        [v, Tensor.of('float32', [], [2])],
        { slope: { type: 'float', value: 0.5 } },
        { domain: 'own' },
      );
      return b.op('Twice', [b.op('Twice', [direct.output], {}, 'own')], {}, 'own');
    });
    model.functions.push(...functions);
    model.opsets.set('own', 1);
    return model;
  };

  it('expands calls to the innermost, with attributes, defaults and omitted inputs', async () => {
    const { ops, model } = await rewritten(engine, calling([leaky, twice]), [inlineFunctions()]);
    expect(ops.filter((op) => op === 'LeakyRelu')).toHaveLength(3);
    expect([...model.allNodes()].every((node) => node.domain === '')).toBe(true);
    const slopes = [...model.allNodes()].filter((n) => n.is('LeakyRelu')).map((n) => n.float('alpha'));
    expect(slopes).toEqual([0.5, 0.25, 0.25]);
    expect(leaky.body.size).toBe(2);
  });

  it('leaves functions of another opset, and says so', async () => {
    const old = { ...leaky, opsets: new Map([['', 18]]) };
    const model = calling([old, twice]);
    const copy = model.clone();
    const [result] = await copy.transform(inlineFunctions());
    expect([...copy.allNodes()].filter((n) => n.opType === 'Leaky')).toHaveLength(3);
    expect(result).toMatchObject({
      refusals: expect.arrayContaining([expect.stringMatching(/opset 18 .* the model in 21/)]),
    });
  });
});

describe('fixShapes', () => {
  const model = (): Model => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 'h', null]);
    const mask = b.input('mask', 'float32', ['batch', 1, 1, 1]);
    const y = b.op('Mul', [b.op('Relu', [x]), mask]);
    (y.producer?.inputs[0] as Value).type = { kind: 'tensor', dtype: 'float32', shape: ['batch', 3, 'h', 'w'] };
    return b.output('y', y, 'float32', ['batch', 3, 'h', null]).model();
  };
  const types = (m: Model): string[] => [...m.graph.inputs, ...m.graph.outputs].map((v) => typeText(v.type));

  it('fixes shapes by input, and what has the same name', async () => {
    const result = await rewritten(engine, model(), [fixShapes({ fixShapes: { x: [2, 3, 8, 4] } })]);
    expect(types(result.model)).toEqual(['float32[2, 3, 8, 4]', 'float32[2, 1, 1, 1]', 'float32[2, 3, 8, ?]']);
    expect(result.notes).toContain('Input "x" is now float32[2, 3, 8, 4], not float32[batch, 3, h, ?].');
  });

  it('fixes dimensions by name, and leaves the others', async () => {
    const result = await rewritten(engine, model(), [fixShapes({ fixDims: { h: 5 } })]);
    expect(types(result.model)).toEqual([
      'float32[batch, 3, 5, ?]',
      'float32[batch, 1, 1, 1]',
      'float32[batch, 3, 5, ?]',
    ]);
    const partly = await rewritten(engine, model(), [fixShapes({ fixShapes: { x: [null, 3, null, 6] } })]);
    expect(types(partly.model)[0]).toBe('float32[batch, 3, h, 6]');
  });

  it.each([
    [{ fixShapes: { z: [1] } }, 'The model has no input "z"; its inputs are "x", "mask".'],
    [{ fixDims: { width: 3 } }, 'No input has a dimension named "width"; the named ones are: "batch", "h".'],
    [{ fixShapes: { x: [1, 3, 8] } }, 'Input "x" is float32[batch, 3, h, ?]; a shape of 3 dimensions does not fit.'],
    [{ fixShapes: { x: [1, 4, 8, 8] } }, 'Dimension 1 of input "x" is 3 and cannot be 4.'],
    [{ fixShapes: { x: [1, 3, 8, 8], mask: [2, 1, 1, 1] } }, 'Dimension "batch" cannot be both 1 and 2.'],
    [{ fixDims: { batch: 0 } }, 'The length 0 for dimension "batch" is not a positive integer.'],
  ])('refuses %j', async (options, message) => {
    await expect(model().transform(fixShapes(options))).rejects.toMatchObject({ code: 'bad-option', message });
  });
});
