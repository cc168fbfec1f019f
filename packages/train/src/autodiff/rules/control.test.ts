import { GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';
import { gradient } from '../gradient.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Branch = (b: GraphBuilder) => Value | readonly Value[];

/** An If of `outer` on `condition`. */
function choose(outer: GraphBuilder, condition: Value, then: Branch, other: Branch): readonly Value[] {
  const build = (branch: Branch): GraphBuilder => {
    const b = new GraphBuilder({ outer });
    const results = branch(b);
    for (const value of Array.isArray(results) ? (results as Value[]) : [results as Value]) b.graph.addOutput(value);
    return b;
  };
  const [a, b] = [build(then).graph, build(other).graph];
  return outer.node('If', [condition], { then_branch: a, else_branch: b }, { outputs: a.outputs.length })
    .outputs as Value[];
}

/** Checks the gradient for both values of the input `condition`. */
async function checkBoth(
  inputs: Readonly<Record<string, readonly number[]>>,
  express: (b: GraphBuilder, condition: Value, values: Record<string, Value>) => Value | readonly Value[],
): Promise<Model> {
  const build = (): Model => {
    const b = new GraphBuilder();
    const condition = b.input('condition', 'bool', []);
    return expression(b, inputs, (values) => express(b, condition, values));
  };
  for (const data of [0, 1]) {
    const feeds = { condition: { dtype: 'bool', dims: [], data: Uint8Array.of(data) } } as const;
    await checkGradient(engine, build(), { feeds });
  }
  return build();
}

describe('If', () => {
  it('runs the backward pass of the branch that ran', async () => {
    await checkBoth({ x: [2, 3], w: [3, 3], v: [3] }, (b, condition, { x, w, v }) =>
      choose(
        b,
        condition,
        (t) => t.op('Tanh', [t.op('MatMul', [t.op('Exp', [x!]), w!])]),
        (e) => e.op('Add', [e.op('Mul', [x!, v!]), e.op('Sin', [x!])]),
      ),
    );
  });

  it('with several outputs, one of them not used', async () => {
    await checkBoth({ x: [4], w: [4] }, (b, condition, { x, w }) => {
      const [first, , third] = choose(
        b,
        condition,
        (t) => [t.op('Mul', [x!, w!]), t.op('Neg', [x!]), t.op('ReduceSum', [w!], { keepdims: 0 })],
        (e) => [e.op('Sub', [x!, w!]), e.op('Exp', [x!]), e.op('ReduceMax', [x!], { keepdims: 0 })],
      );
      return [b.op('Sin', [first!]), third!];
    });
  });

  it('within a graph: what it reads is computed, and its result is read again', async () => {
    await checkBoth({ x: [2, 3], w: [3] }, (b, condition, { x, w }) => {
      const h = b.op('Sin', [b.op('Mul', [x!, w!])]);
      const [y] = choose(
        b,
        condition,
        (t) => t.op('Reshape', [t.op('Mul', [h, w!]), [3, 2]]),
        (e) => e.op('Transpose', [e.op('Slice', [h, [2], [-4], [1], [-1]])]),
      );
      return b.op('Exp', [b.op('MatMul', [x!, y!])]);
    });
  });

  it('within an If', async () => {
    await checkBoth({ x: [3], w: [3] }, (b, condition, { x, w }) =>
      choose(
        b,
        condition,
        (t) => {
          const scaled = t.op('Mul', [x!, w!]);
          const positive = t.op('Greater', [
            t.op('ReduceSum', [scaled], { keepdims: 0 }),
            t.constant(Tensor.of('float64', [], [0])),
          ]);
          const inner = choose(
            t,
            positive,
            (u) => u.op('Exp', [u.op('Mul', [scaled, w!])]),
            (u) => u.op('Cos', [u.op('Sin', [scaled])]),
          );
          return t.op('Mul', [inner[0]!, x!]);
        },
        (e) => e.op('Identity', [x!]),
      ),
    );
  });

  it('builds no gradient for what is frozen, and keeps no dead forward node', async () => {
    const model = await checkBoth({ x: [2, 3], w: [3, 3] }, (b, condition, { x, w }) =>
      choose(
        b,
        condition,
        (t) => t.op('Sin', [t.op('MatMul', [t.op('Exp', [x!]), w!])]),
        (e) => e.op('Mul', [x!, e.op('ReduceMean', [w!, [0]], { keepdims: 1 })]),
      ),
    );
    const { graph } = model;
    const loss = graph.addNode('ReduceSum', [graph.outputs[0]!], { attributes: { keepdims: 0 }, outputs: ['L'] });
    graph.removeOutput(0);
    graph.addOutput(loss.output);
    const backward = [...(await gradient(model, { loss: 'L', wrt: ['w'] })).graph.nodes()].findLast((n) => n.is('If'));
    expect(backward?.outputs).toHaveLength(1);
    const [then] = backward!.subgraphs();
    expect([...then!.nodes()].filter((node) => node.is('Sin') || node.is('Reciprocal'))).toHaveLength(0);
  });
});

describe('Loop and Scan', () => {
  it('are refused, with what can be done', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float64', [3]);
    const body = new GraphBuilder({ outer: b });
    body.input('i', 'int64', []);
    const go = body.input('go', 'bool', []);
    const state = body.input('state', 'float64', [3]);
    body.output('again', body.op('Identity', [go])).output('next', body.op('Exp', [state]));
    const looped = b.op('Loop', [Tensor.of('int64', [], [2]), null, x], { body: body.graph });
    const model = b.output('L', b.op('ReduceSum', [looped], { keepdims: 0 })).model();
    await expect(gradient(model, { loss: 'L', wrt: ['x'] })).rejects.toThrow(/^Loop .*unrolled.*freeze/);

    const s = new GraphBuilder();
    const step = new GraphBuilder({ outer: s });
    const element = step.input('element', 'float64', []);
    step.output('out', step.op('Exp', [element]));
    const scanned = s.op('Scan', [s.input('x', 'float64', [3])], { body: step.graph, num_scan_inputs: 1 });
    const scan = s.output('L', s.op('ReduceSum', [scanned], { keepdims: 0 })).model();
    await expect(gradient(scan, { loss: 'L', wrt: ['x'] })).rejects.toThrow(/^Scan .*unrolled.*freeze/);
  });
});
