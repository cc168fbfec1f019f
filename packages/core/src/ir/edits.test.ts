import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expectChainsToHold } from '../../test/chains.js';
import { GraphBuilder } from '../builder.js';
import { parseModel } from '../read.js';
import { serializeModel } from '../write.js';
import { check } from './check.js';
import { cloneModel, inlineGraph } from './clone.js';
import { Graph } from './graph.js';
import type { Model, ModelFunction } from './model.js';
import { Node } from './node.js';
import { topologicalSort } from './sort.js';
import { Tensor } from './tensor.js';
import { tensorType } from './type.js';
import type { Value } from './value.js';

// Edits against an oracle that knows nothing of chains: the graph is computed, on small integers, before and after.

const CONSTANTS = [0, 1, 2, 5];
const INPUTS = [7, -3];
const scalar = tensorType('int64', []);

/** What the outputs of `graph` are. Values of the graphs around are in `known`. */
function compute(model: Model, graph: Graph, known: Map<Value, number>): number[] {
  for (const value of graph.initializers) known.set(value, Number(value.initializer?.numbers()?.[0]));
  const numberOf = (value: Value | null | undefined): number => {
    const number = value ? known.get(value) : undefined;
    if (number === undefined) throw new Error(`"${value?.name}" is not known`);
    return number;
  };
  for (const node of graph.nodes()) {
    const inputs = node.inputs.map(numberOf);
    const [a = 0, b = 0] = inputs;
    let result: number[];
    if (node.domain === 'my') {
      const f = model.functions[0] as ModelFunction;
      result = compute(model, f.body, new Map(f.body.inputs.map((input, i) => [input, inputs[i] as number])));
    } else if (node.opType === 'If') {
      result = compute(model, node.attribute(a ? 'then_branch' : 'else_branch', 'graph') as Graph, new Map(known));
    } else if (node.opType === 'Add') result = [(a + b) % 1000];
    else if (node.opType === 'Sub') result = [(a - b) % 1000];
    else if (node.opType === 'Neg') result = [-a];
    else result = [a];
    for (const [i, output] of node.outputs.entries()) if (output) known.set(output, result[i] as number);
  }
  return graph.outputs.map(numberOf);
}

const results = (model: Model): number[] =>
  compute(model, model.graph, new Map(model.graph.inputs.map((input, i) => [input, INPUTS[i] as number])));

/** One step of a program or one edit: which, where, and with what. */
interface Step {
  readonly kind: number;
  readonly p: number;
  readonly q: number;
}

const step = fc.record({ kind: fc.nat({ max: 99 }), p: fc.nat(), q: fc.nat() });
const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;

/** Two inputs, constants, sums, calls of a function, and branches inside branches that read what is around them. */
function program(steps: readonly Step[]): Model {
  const b = new GraphBuilder();
  const visible = [b.input('x', 'int64', []), b.input('y', 'int64', [])];
  for (const c of CONSTANTS) visible.push(b.constant(Tensor.of('int64', [], [c]), `c${c}`));
  const conditions = [0, 1].map((c) => b.constant(Tensor.of('bool', [], [c]), `is${c}`));
  let left = [...steps];
  const fill = (builder: GraphBuilder, seen: Value[], depth: number, count: number): Value => {
    for (; count > 0 && left.length > 0; count--) {
      const [{ kind, p, q }, ...rest] = left as [Step, ...Step[]];
      left = rest;
      const [u, v] = [pick(seen, p), pick(seen, q)];
      if (kind < 20 && depth < 3) {
        const branches = ['then', 'else'].map((side) => {
          const inner = new GraphBuilder({ name: side, outer: b });
          const last = fill(inner, [...seen], depth + 1, 1 + (p % 4));
          // A name that the branch beside has too.
          inner.output('out', inner.op('Neg', [last]), 'int64', []);
          return inner.graph;
        });
        const attributes = { then_branch: branches[0] as Graph, else_branch: branches[1] as Graph };
        seen.push(builder.op('If', [pick(conditions, q)], attributes));
      } else if (kind < 30) seen.push(builder.op('f', [u, v], {}, 'my'));
      else if (kind < 40) seen.push(builder.op('Identity', [u]));
      else if (kind < 50) seen.push(builder.op('Neg', [u]));
      else seen.push(builder.op(kind % 2 ? 'Add' : 'Sub', [u, v]));
    }
    return seen.at(-1) as Value;
  };
  fill(b, visible, 0, Number.POSITIVE_INFINITY);
  b.output('first', b.op('Neg', [pick(visible, 5)]), 'int64', []).output(
    'last',
    b.op('Neg', [visible.at(-1) as Value]),
    'int64',
    [],
  );
  const model = b.model({ opset: 17 });
  model.opsets.set('my', 1);
  model.functions.push(difference());
  return model;
}

/** my::f(x, y) = x - (x + y), with names that the model has too. */
function difference(): ModelFunction {
  const body = new Graph('f');
  const [x, y] = [body.addInput('x'), body.addInput('y')];
  const sum = body.addNode('Add', [x, y], { outputs: ['Add_out'] }).output;
  body.addOutput(body.addNode('Sub', [x, sum], { outputs: ['out'] }).output);
  const none = { attributes: [], defaults: new Map(), docString: '', metadata: new Map() };
  return { domain: 'my', name: 'f', overload: '', body, opsets: new Map([['', 17]]), ...none };
}

/** Changes `model` and what its outputs are expected to be. Returns false when there is nothing to do. */
type Edit = (model: Model, expected: number[], at: Step) => boolean;

const EDITS: Readonly<Record<string, Edit>> = {
  /** Any value of any graph, to a name that nothing has. */
  rename: ({ graph }, _, { kind, p, q }) => {
    const home = pick([...graph.graphs()], p);
    const value = pick([...home.values], q);
    const [before, name] = [value.name, home.freshName(`renamed${kind % 3}`)];
    home.rename(value, name);
    expect([home.value(name), value.name]).toEqual([value, name]);
    expect(home.value(before)).not.toBe(value);
    const other = [...home.values].find((candidate) => candidate !== value);
    if (other) expect(() => home.rename(value, other.name)).toThrow(/two values named/);
    return true;
  },
  /** To where what it reads is there already and what reads it is not. */
  moveBefore: ({ graph }, _, { p, q }) => {
    const home = pick([...graph.graphs()], p);
    const nodes = [...home.nodes()];
    const node = nodes[q % nodes.length] as Node;
    const reads = (reader: Node, writer: Node): boolean =>
      [reader, ...reader.subgraphs().flatMap((sub) => [...sub.allNodes()])].some((n) =>
        n.inputs.some((input) => input?.producer === writer),
      ) ||
      reader.subgraphs().some((sub) => [...sub.graphs()].some((g) => g.outputs.some((o) => o.producer === writer)));
    const at = nodes.indexOf(node);
    const first = nodes.slice(0, at).findLastIndex((other) => reads(node, other)) + 1;
    const firstReader = nodes.findIndex((other) => reads(other, node));
    const last = firstReader < 0 ? nodes.length - 1 : firstReader;
    const anchor = nodes[first + (p % (last - first + 1))] as Node;
    home.moveBefore(anchor, node);
    return anchor !== node;
  },
  /** Anywhere, and back in order. */
  'moveBefore and topologicalSort': ({ graph }, _, { p, q }) => {
    const home = pick([...graph.graphs()], p);
    const nodes = [...home.nodes()];
    home.moveBefore(pick(nodes, p), pick(nodes, q));
    topologicalSort(graph);
    return true;
  },
  /** Another node, which does the same, takes the outputs over. */
  'Node.setOutput': ({ graph }, _, { p }) => {
    const node = pick([...graph.allNodes()], p);
    const copy = new Node(node.opType, node.domain);
    copy.setInputs(node.inputs);
    for (const [name, attribute] of node.attributes) copy.setAttribute(name, attribute);
    const outputs = [...node.outputs];
    expect(() => copy.setOutput(0, outputs[0] as Value)).toThrow(/already computes/);
    for (const i of outputs.keys()) node.setOutput(i, null);
    for (const [i, output] of outputs.entries()) copy.setOutput(i, output);
    node.graph?.insertBefore(node, copy);
    for (const name of [...node.attributes.keys()]) node.deleteAttribute(name);
    node.graph?.remove(node);
    return true;
  },
  'Graph.setOutput': (model, expected, { p, q }) => {
    const { graph } = model;
    const values = [...graph.values].filter((value) => value.producer && !value.isGraphOutput);
    if (values.length === 0) return false;
    const [index, value] = [p % graph.outputs.length, pick(values, q)];
    value.type = scalar;
    graph.setOutput(index, value);
    const all = new Map(graph.inputs.map((input, i) => [input, INPUTS[i] as number]));
    compute(model, graph, all);
    expected[index] = all.get(value) as number;
    expect(() => graph.setOutput(graph.outputs.length, value)).toThrow(/no output/);
    return true;
  },
  'addOutput and removeOutput': ({ graph }, expected, { p }) => {
    const index = p % graph.outputs.length;
    graph.addOutput(graph.outputs[index] as Value);
    graph.removeOutput(index);
    expected.push(...expected.splice(index, 1));
    return true;
  },
  'inlineGraph of a branch': ({ graph }, _, { p }) => {
    const nodes = [...graph.allNodes()].filter((node) => node.is('If'));
    if (nodes.length === 0) return false;
    const node = pick(nodes, p);
    const taken = node.inputs[0]?.initializer?.numbers()?.[0] ? 'then_branch' : 'else_branch';
    const home = node.graph as Graph;
    const [result] = inlineGraph(node.attribute(taken, 'graph') as Graph, node, new Map());
    home.replaceAllUses(node.output, result as Value);
    home.remove(node);
    return true;
  },
  'inlineGraph of a function': ({ graph, functions }, _, { p }) => {
    const nodes = [...graph.allNodes()].filter((node) => node.is('f', 'my'));
    if (nodes.length === 0) return false;
    const node = pick(nodes, p);
    const { body } = functions[0] as ModelFunction;
    const actuals = new Map(body.inputs.map((input, i) => [input, node.inputs[i] ?? null]));
    const [result] = inlineGraph(body, node, actuals, () => undefined);
    node.graph?.replaceAllUses(node.output, result as Value);
    node.graph?.remove(node);
    return true;
  },
};

describe('edits', () => {
  it.each(Object.entries(EDITS))('%s: outputs, chains and names stay what they must be', async (_, edit) => {
    let done = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 5, maxLength: 30 }),
        fc.array(step, { minLength: 1, maxLength: 8 }),
        async (steps, edits) => {
          const model = program(steps);
          expect(check(model)).toEqual([]);
          const original = results(model);
          const untouched = cloneModel(model);
          const expected = [...original];
          for (const at of edits) if (edit(model, expected, at)) done++;
          expectChainsToHold(model.graph);
          expect(check(model).map((problem) => problem.message)).toEqual([]);
          expect(results(model)).toEqual(expected);
          const again = await parseModel(await serializeModel(model).file.bytes());
          expect(results(again)).toEqual(expected);
          // A clone knows nothing of what happens to what it was made from.
          expectChainsToHold(untouched.graph);
          expect(results(untouched)).toEqual(original);
        },
      ),
      { seed: 21, numRuns: 60 },
    );
    expect(done).toBeGreaterThan(60);
  });

  it('refuse values and nodes of other graphs, before anything is changed', () => {
    const [one, two] = [program([]), program([])].map((model) => model.graph) as [Graph, Graph];
    const [mine, theirs] = [one.first, two.first] as [Node, Node];
    expect(() => one.rename(two.value('x') as Value, 'z')).toThrow(/"x" is not of graph "graph"/);
    expect(() => one.removeValue(two.addValue('lonely'))).toThrow(/"lonely" is not of graph/);
    expect(() => one.moveBefore(theirs, mine)).toThrow(/is not in graph/);
    expect(() => one.moveBefore(mine, theirs)).toThrow(/is not in graph/);
    expect(() => one.insertBefore(theirs, new Node('Relu'))).toThrow(/is not in graph/);
    expect(() => one.insertAfter(new Node('Relu'), new Node('Relu'))).toThrow(/is not in graph/);
    for (const graph of [one, two]) expectChainsToHold(graph);
  });
});

describe('fresh names', () => {
  it('are fresh everywhere, also where a name was given up in one of two branches that share it', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1]);
    const branches = ['then', 'else'].map((name) => {
      const inner = new GraphBuilder({ name, outer: b });
      inner.graph.addNode('Relu', [x], { outputs: ['t'] });
      inner.output('out', inner.op('Neg', [x]), 'float32', [1]);
      return inner.graph;
    }) as [Graph, Graph];
    branches[0].remove(branches[0].first as Node);
    expect(b.graph.freshName('t')).toBe('t_1');
    branches[1].rename(branches[1].value('t') as Value, 'u');
    expect(b.graph.freshName('t')).toBe('t');
    expect(b.graph.freshName('u')).toBe('u_1');
  });

  it('are found at once in a graph of many nodes', () => {
    const graph = new Graph();
    for (let i = 0; i < 200_000; i++) graph.addValue(graph.freshName('v'));
    expect(new Set([...graph.values].map((value) => value.name)).size).toBe(200_000);
  });
});
