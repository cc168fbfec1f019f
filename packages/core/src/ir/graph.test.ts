import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectChainsToHold } from '../../test/chains.js';
import { GraphBuilder } from '../builder.js';
import { check } from './check.js';
import { cloneModel } from './clone.js';
import { Graph } from './graph.js';
import { Model } from './model.js';
import { Node } from './node.js';
import { topologicalSort } from './sort.js';
import { Tensor } from './tensor.js';
import { tensorType } from './type.js';
import type { Value } from './value.js';

const chain = (): { builder: GraphBuilder; x: Value; a: Value; b: Value } => {
  const builder = new GraphBuilder();
  const x = builder.input('x', 'float32', [2, 3]);
  const a = builder.op('Relu', [x]);
  const b = builder.op('Neg', [a]);
  builder.output('y', b, 'float32', [2, 3]);
  return { builder, x, a, b };
};

describe('Graph', () => {
  it('keeps the name of an output when its value is replaced by another computed one', () => {
    const { builder, a, b } = chain();
    builder.graph.replaceAllUses(b, a);
    expect(builder.graph.outputs.map((v) => v.name)).toEqual(['y']);
    expect(builder.graph.outputs[0]).toBe(a);
    builder.graph.remove(b.producer as Node);
    expectChainsToHold(builder.graph);
    expect(check(builder.model())).toEqual([]);
  });

  it('carries an output through an Identity when the replacement is an input or an output already', () => {
    const { builder, x, b } = chain();
    builder.graph.replaceAllUses(b, x);
    expect(builder.graph.outputs.map((v) => v.name)).toEqual(['y']);
    expect(builder.graph.outputs[0]?.producer?.opType).toBe('Identity');
    expect(builder.graph.outputs[0]?.producer?.inputs[0]).toBe(x);
    expectChainsToHold(builder.graph);
    expect(check(builder.model())).toEqual([]);
  });

  it('refuses to remove a node that is still read, and to give a value two producers or a name twice', () => {
    const { builder, a } = chain();
    expect(() => builder.graph.remove(a.producer as Node)).toThrow(/Relu .*still read/);
    expect(() => new Node('Abs').setOutput(0, a)).toThrow(/one value has one producer/);
    expect(() => builder.graph.addValue('x')).toThrow(/two values named "x"/);
    expect(() => builder.graph.removeValue(a)).toThrow(/still in use/);
  });

  it('lets a value go once, however often it is told to', () => {
    const { builder } = chain();
    const spare = builder.graph.addInitializer('spare', Tensor.of('float32', [1], [1]));
    builder.graph.removeValue(spare);
    builder.graph.removeValue(spare);
    const successor = builder.graph.addInitializer('spare', Tensor.of('float32', [1], [2]));
    builder.graph.removeValue(spare);
    expect(builder.graph.value('spare')).toBe(successor);
    expectChainsToHold(builder.graph);
  });

  it('may be edited while it is iterated', () => {
    const builder = new GraphBuilder();
    let v = builder.input('x', 'float32', [1]);
    for (let i = 0; i < 10; i++) v = builder.op(i % 2 ? 'Neg' : 'Relu', [v]);
    builder.output('y', v);
    let visited = 0;
    for (const node of builder.graph.nodes()) {
      visited++;
      if (node.opType !== 'Neg') continue;
      builder.graph.replaceAllUses(node.output, node.inputs[0] as Value);
      builder.graph.remove(node);
    }
    expect(visited).toBe(10);
    expect([...builder.graph.nodes()].map((n) => n.opType)).toEqual(Array(5).fill('Relu'));
    expectChainsToHold(builder.graph);
  });

  it('counts what a subgraph captures, and lets go of it with the node', () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', [1]);
    const condition = builder.input('c', 'bool', []);
    const branch = (op: string): Graph => {
      const inner = new GraphBuilder({ name: op, outer: builder });
      inner.output(`${op}_y`, inner.op(op, [x]));
      return inner.graph;
    };
    const y = builder.op('If', [condition], { then_branch: branch('Relu'), else_branch: branch('Neg') });
    builder.output('y', builder.op('Abs', [y]));
    expect(x.consumers.map((n) => n.opType)).toEqual(['Relu', 'Neg']);
    expect(y.producer?.subgraphs()[0]?.value('x')).toBe(x);
    expect(check(builder.model())).toEqual([]);
    expectChainsToHold(builder.graph);
    builder.graph.replaceAllUses(y, x);
    builder.graph.remove([...builder.graph.nodes()].find((n) => n.opType === 'If') as Node);
    expect(x.consumers.map((n) => n.opType)).toEqual(['Abs']);
    expectChainsToHold(builder.graph);
  });

  it('stays true under random edits', () => {
    const edit = fc.record({
      kind: fc.constantFrom('add', 'rewire', 'replace', 'remove', 'sort'),
      p: fc.nat(),
      q: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 60 }), (edits) => {
        const builder = new GraphBuilder();
        const graph = builder.graph;
        builder.input('x', 'float32', [1]);
        builder.output('y', builder.op('Relu', [graph.inputs[0] as Value]));
        for (const { kind, p, q } of edits) {
          const nodes = [...graph.nodes()];
          const values = [...graph.values];
          const node = nodes[p % nodes.length] as Node;
          const value = values[q % values.length] as Value;
          // Only values defined before a node may become its inputs: cycles are not what is tested here.
          const before = [graph.inputs[0] as Value, ...nodes.slice(0, nodes.indexOf(node)).map((n) => n.output)];
          const earlier = before[q % before.length] as Value;
          if (kind === 'add') builder.op('Add', [value, value]);
          else if (kind === 'rewire') node.setInput(q % 2, earlier);
          else if (kind === 'replace') graph.replaceAllUses(node.output, earlier);
          else if (kind === 'remove' && node.output.isUnused) graph.remove(node);
          else if (kind === 'sort') topologicalSort(graph);
          if (graph.size === 0) builder.op('Relu', [graph.inputs[0] as Value]);
        }
        expectChainsToHold(graph);
        topologicalSort(graph);
        expect(check(builder.model())).toEqual([]);
        expect(graph.outputs.map((v) => v.name)).toEqual(['y']);
      }),
      { seed: 7, numRuns: 200 },
    );
  });
});

describe('topologicalSort', () => {
  it('orders a graph that was built backwards, deeper than the stack of JavaScript', () => {
    const graph = new Graph('deep');
    const x = graph.addInput('x', tensorType('float32', [1]));
    const nodes: Node[] = [];
    let last = x;
    for (let i = 0; i < 20_000; i++) {
      const node = new Node('Relu');
      node.setInput(0, last);
      last = graph.addValue(`v${i}`);
      node.setOutput(0, last);
      nodes.push(node);
    }
    for (const node of nodes.reverse()) graph.append(node);
    graph.addOutput(last);
    const model = new Model(graph, new Map([['', 17]]));
    expect(check(model).length).toBe(19_999);
    topologicalSort(graph);
    expect(check(model)).toEqual([]);
  });

  it('names a node of a cycle', () => {
    const { builder, a, b } = chain();
    a.producer?.setInput(0, b);
    expect(() => topologicalSort(builder.graph)).toThrow(/(Relu|Neg) .* is part of a cycle/);
  });

  it('puts a node after what its subgraph captures', () => {
    const builder = new GraphBuilder();
    const condition = builder.input('c', 'bool', []);
    const late = builder.op('Relu', [builder.input('x', 'float32', [1])]);
    const inner = new GraphBuilder({ outer: builder });
    inner.output('inner', inner.op('Neg', [late]));
    const y = builder.op('If', [condition], { then_branch: inner.graph });
    builder.output('y', y);
    builder.graph.moveBefore(late.producer as Node, y.producer as Node);
    expect(check(builder.model()).map((p) => p.message)).toContainEqual(
      expect.stringMatching(/Neg .* before it is computed/),
    );
    topologicalSort(builder.graph);
    expect([...builder.graph.nodes()].map((n) => n.opType)).toEqual(['Relu', 'If']);
  });
});

describe('clone', () => {
  it('gives a graph of its own that shares tensors, with captures inside kept inside', () => {
    const builder = new GraphBuilder();
    const x = builder.input('x', 'float32', [4, 4]);
    const inner = new GraphBuilder({ outer: builder });
    inner.output('inner', inner.op('MatMul', [x, builder.random([4, 4], { name: 'w' })]));
    builder.output('y', builder.op('If', [builder.input('c', 'bool', [])], { then_branch: inner.graph }));
    const model = builder.model();
    const copy = cloneModel(model);
    expectChainsToHold(copy.graph);
    expect(check(copy)).toEqual([]);
    const [w, w2] = [model.graph.value('w'), copy.graph.value('w')];
    expect(w2).not.toBe(w);
    expect(w2?.initializer).toBe(w?.initializer);
    const [If] = copy.graph.nodes();
    expect([...((If as Node).subgraphs()[0]?.nodes() ?? [])][0]?.inputs[0]).toBe(copy.graph.value('x'));
    copy.graph.replaceAllUses(copy.graph.value('x') as Value, copy.graph.addInput('x2'));
    expectChainsToHold(model.graph);
    expect(model.graph.value('x2')).toBeUndefined();
  });
});

describe('constant', () => {
  it('sees the tensor of a Constant node, and initializers that are inputs only before IR version 4', () => {
    const builder = new GraphBuilder();
    const tensor = Tensor.of('float32', [2], [1, 2]);
    expect(builder.op('Constant', [], { value: tensor }).constant).toBe(tensor);
    const listed = builder.input('w', 'float32', [2]);
    builder.graph.setInitializer(listed, tensor);
    expect(builder.model({ irVersion: 3 }).graph.value('w')?.constant).toBe(tensor);
    expect(builder.model({ irVersion: 4 }).graph.value('w')?.constant).toBeUndefined();
  });
});
