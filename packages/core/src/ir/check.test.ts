import { InferenceSession } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import { serializeModel } from '../write.js';
import { float } from './attribute.js';
import { check } from './check.js';
import { Graph } from './graph.js';
import type { Model, ModelFunction } from './model.js';
import type { Node } from './node.js';
import { Tensor } from './tensor.js';
import { tensorType } from './type.js';
import type { Value } from './value.js';

/** x [2] and a condition c; `finish` makes y of what it is given. */
function start(): { b: GraphBuilder; x: Value; c: Value; finish: (value: Value) => Model } {
  const b = new GraphBuilder();
  const x = b.input('x', 'float32', [2]);
  const c = b.input('c', 'bool', []);
  return { b, x, c, finish: (value) => b.output('y', b.op('Neg', [value]), 'float32', [2]).model({ opset: 17 }) };
}

/** A branch that computes `name` from `x`. */
function branch(outer: GraphBuilder, x: Value, name: string, op = 'Relu'): Graph {
  const inner = new GraphBuilder({ name: `${op} branch`, outer });
  inner.output(name, inner.op(op, [x]), 'float32', [2]);
  return inner.graph;
}

const reference = (name: string) => ({ type: 'reference', value: { name, of: 'float' } }) as const;

/** The function `my::f`: LeakyRelu whose alpha is the attribute `k`. */
function leaky(
  options: { readonly attributes?: readonly string[]; readonly change?: (body: Graph) => void } = {},
): ModelFunction {
  const body = new Graph('f');
  const node = body.addNode('LeakyRelu', [body.addInput('a')], {
    attributes: { alpha: reference('k') },
    outputs: ['b'],
  });
  body.addOutput(node.output);
  options.change?.(body);
  return {
    domain: 'my',
    name: 'f',
    overload: '',
    body,
    attributes: options.attributes ?? ['k'],
    defaults: new Map(),
    opsets: new Map([['', 17]]),
    docString: '',
    metadata: new Map(),
  };
}

function calling(...functions: ModelFunction[]): Model {
  const { b, x, finish } = start();
  const model = finish(b.op('f', [x], { k: float(0.1) }, 'my'));
  model.functions.push(...functions);
  return model;
}

const SOUND: Readonly<Record<string, () => Model>> = {
  'a node': () => {
    const { b, x, finish } = start();
    return finish(b.op('Relu', [x]));
  },
  'branches side by side that use the same names, of values and of nodes': () => {
    const { b, x, c, finish } = start();
    const branches = { then_branch: branch(b, x, 't'), else_branch: branch(b, x, 't', 'Neg') };
    for (const graph of Object.values(branches)) for (const node of graph.nodes()) node.name = 'n';
    return finish(b.op('If', [c], branches));
  },
  'a branch with a name that the graph around it defines later': () => {
    const { b, x, c, finish } = start();
    const y = b.op('If', [c], { then_branch: branch(b, x, 't'), else_branch: branch(b, x, 'e') });
    const later = b.node('Relu', [x], {}, { outputs: ['t'] }).output;
    return finish(b.op('Add', [y, later]));
  },
  'an output that is an input': () => {
    const { b, x, finish } = start();
    b.graph.addOutput(x);
    return finish(x);
  },
  'an initializer that a caller may override': () => {
    const { b, x, finish } = start();
    const w = b.input('w', 'float32', [2]);
    b.graph.setInitializer(w, Tensor.of('float32', [2], [1, 2]));
    return finish(b.op('Add', [x, w]));
  },
  'a function with a reference to its attribute': () => calling(leaky()),
};

const BROKEN: Readonly<Record<string, readonly [build: () => Model, message: RegExp, runtime?: 'takes it']>> = {
  'two nodes of one name': [
    () => {
      const { b, x, finish } = start();
      const first = b.node('Relu', [x], {}, { name: 'n' });
      return finish(b.node('Neg', [first.output], {}, { name: 'n' }).output);
    },
    /Two nodes are named "n": Neg "n"/,
  ],
  'a branch that defines a name again': [
    () => {
      const { b, x, c, finish } = start();
      const t = b.node('Relu', [x], {}, { outputs: ['t'] }).output;
      const y = b.op('If', [c], { then_branch: branch(b, x, 't'), else_branch: branch(b, x, 'e') });
      return finish(b.op('Add', [t, y]));
    },
    /"t" of graph "Relu branch" hides one of the same name/,
  ],
  'a branch whose output is a value around it': [
    () => {
      const { b, x, c, finish } = start();
      const t = b.op('Relu', [x]);
      const inner = new Graph('inner', b.graph.root);
      inner.addOutput(t);
      return finish(b.op('If', [c], { then_branch: inner, else_branch: branch(b, x, 'e') }));
    },
    /Output "Relu_out" of graph "inner" belongs to the graph around it: an Identity/,
  ],
  'a node that reads a value of another branch': [
    () => {
      const { b, x, c, finish } = start();
      const [first, second] = [branch(b, x, 't'), branch(b, x, 'e', 'Neg')];
      second.last?.setInput(0, first.outputs[0] as Value);
      return finish(b.op('If', [c], { then_branch: first, else_branch: second }));
    },
    /Neg "e" reads "t" \(input 0\) of graph "Relu branch", which cannot be seen/,
  ],
  'an input without a type': [
    () => {
      const { b, x, finish } = start();
      return finish(b.op('Add', [x, b.graph.addInput('untyped')]));
    },
    /Input "untyped" has no type/,
  ],
  'an input given twice': [
    () => {
      const { b, x, finish } = start();
      b.graph.addInput('x');
      return finish(x);
    },
    /has the input "x" twice/,
  ],
  'a node that computes an initializer': [
    () => {
      const { b, x, finish } = start();
      const w = b.constant(Tensor.of('float32', [2], [1, 2]), 'w');
      b.node('Relu', [x], {}, { outputs: [] }).setOutput(0, w);
      return finish(b.op('Add', [x, w]));
    },
    /Relu "w" computes "w", which is an initializer already/,
  ],
  'a node that computes an input': [
    () => {
      const { b, x, finish } = start();
      const w = b.input('w', 'float32', [2]);
      b.node('Relu', [x], {}, { outputs: [] }).setOutput(0, w);
      return finish(b.op('Add', [x, w]));
    },
    /Relu "w" computes "w", which is an input already/,
  ],
  'a value that nothing computes': [
    () => {
      const { b, x, finish } = start();
      return finish(b.op('Add', [x, b.graph.addValue('ghost')]));
    },
    /Add "Add_out" reads "ghost" \(input 1\) but nothing computes it/,
  ],
  'an output that nothing computes': [
    () => {
      const { b, x, finish } = start();
      b.graph.addOutput(b.graph.addValue('ghost', tensorType('float32', [2])));
      return finish(x);
    },
    /Output "ghost" of graph "graph" is never computed/,
  ],
  'no outputs': [
    () => {
      const { b, x } = start();
      b.op('Relu', [x]);
      return b.model();
    },
    /Graph "graph" has no outputs/,
    // Every session of ONNX Runtime needs an output to run, but not to load.
    'takes it',
  ],
  'a value that is read before it is computed': [
    () => {
      const { b, x, finish } = start();
      const t = b.op('Relu', [x]);
      const model = finish(t);
      b.graph.moveBefore(t.producer as Node, b.graph.last as Node);
      return model;
    },
    /Neg "y" reads "Relu_out" \(input 0\) before it is computed/,
    // ONNX Runtime sorts; onnx.proto asks for topological order.
    'takes it',
  ],
  'an operator without a name': [
    () => {
      const { b, x, finish } = start();
      return finish(b.op('', [x]));
    },
    /has no operator/,
  ],
  'a domain that is not imported': [
    () => {
      const { b, x, finish } = start();
      const model = finish(b.op('Gelu', [x], {}, 'com.microsoft'));
      model.opsets.delete('com.microsoft');
      return model;
    },
    /com\.microsoft\.Gelu "Gelu_out" is of domain "com\.microsoft", which the model does not import/,
    // ONNX Runtime imports the domains that it knows by itself; the specification asks for it.
    'takes it',
  ],
  'an initializer of another shape than declared': [
    () => {
      const { b, x, finish } = start();
      const w = b.input('w', 'float32', [3]);
      b.graph.setInitializer(w, Tensor.of('float32', [2], [1, 2]));
      return finish(b.op('Add', [x, w]));
    },
    /Initializer "w" is float32\[2\] but declared as float32\[3\]/,
  ],
  'a function whose domain is not imported': [
    () => {
      const model = calling(leaky());
      model.opsets.delete('my');
      return model;
    },
    /my\.f "f_out" is of domain "my", which the model does not import/,
  ],
  'a function that imports no domain for its nodes': [
    () =>
      calling(
        leaky({ change: (body) => body.addNode('Gelu', [body.inputs[0] as Value], { domain: 'com.microsoft' }) }),
      ),
    /Gelu .* is of domain "com\.microsoft", which function "my::f" does not import/,
  ],
  'a function that calls itself': [
    () => {
      const f = leaky({ change: (body) => body.addNode('f', [body.inputs[0] as Value], { domain: 'my' }) });
      return calling({ ...f, opsets: new Map([...f.opsets, ['my', 1]]) });
    },
    /Function "my::f" calls itself/,
  ],
  'a function with a value that nothing computes': [
    () => calling(leaky({ change: (body) => body.last?.setInput(0, body.addValue('ghost')) })),
    /LeakyRelu "b" reads "ghost" \(input 0\) but nothing computes it/,
  ],
  'a function that is defined twice': [
    () => calling(leaky(), leaky()),
    /Function "my::f" is defined twice/,
    // The specification forbids it (IR.md, "Functions"); the last one wins there.
    'takes it',
  ],
  'a reference to an attribute outside a function': [
    () => {
      const { b, x, finish } = start();
      return finish(b.op('LeakyRelu', [x], { alpha: reference('k') }));
    },
    /LeakyRelu "LeakyRelu_out", attribute "alpha", refers to the attribute "k", but only nodes of functions/,
    // onnx.proto: "This should ONLY be used in function (sub-graph)".
    'takes it',
  ],
  'a reference to an attribute that the function does not declare': [
    () => calling(leaky({ attributes: [] })),
    /LeakyRelu "b", attribute "alpha", refers to the attribute "k", which function "my::f" does not declare/,
    'takes it',
  ],
};

/** What ONNX Runtime says against `model`, or undefined. */
async function refusal(model: Model): Promise<string | undefined> {
  try {
    const session = await InferenceSession.create(await serializeModel(model).file.bytes(), { logSeverityLevel: 4 });
    await session.release();
    return undefined;
  } catch (error) {
    return String(error);
  }
}

const messages = (model: Model): string[] => check(model).map((problem) => problem.message);

describe('check', () => {
  it.each(Object.entries(SOUND))('takes, as ONNX Runtime does: %s', async (_, build) => {
    expect(messages(build())).toEqual([]);
    expect(await refusal(build())).toBeUndefined();
  });

  it.each(Object.entries(BROKEN))('finds, and only that: %s', async (_, [build, message, runtime]) => {
    const found = messages(build());
    expect(found).toEqual([expect.stringMatching(message)]);
    if (runtime === 'takes it') expect(await refusal(build())).toBeUndefined();
    else expect(await refusal(build())).toBeTruthy();
  });

  it('finds what cannot be written, or not as it is meant', () => {
    const { b, x, c, finish } = start();
    const short = new Tensor('float32', [3], { kind: 'bytes', bytes: new Uint8Array(8) });
    b.graph.setInitializer(b.constant(Tensor.of('float32', [3], [1, 2, 3]), 'short'), short);
    const sparse = b.graph.addValue('sparse');
    const values = Tensor.of('float32', [2], [1, 2]);
    b.graph.setInitializer(sparse, { values, indices: Tensor.of('int64', [3], [0, 1, 2]), dims: [4, 4] });
    b.op('Constant', [], { value: short });
    const shared = branch(b, x, 't');
    b.op('If', [c], { then_branch: shared, else_branch: branch(b, x, 'e') });
    const y = b.op('If', [c], { then_branch: branch(b, x, 'u'), else_branch: shared });
    const model = finish(y);
    const f = leaky();
    f.body.addInitializer('w', values);
    model.functions.push(f);
    expect(messages(model).sort()).toEqual([
      'Constant "Constant_out", attribute "value", holds 8 bytes; float32[3] needs 12.',
      'Function "my::f" holds initializers, which ONNX cannot write. Use Constant nodes.',
      'If "If_out" holds graph "Relu branch", which another node holds too: clone it.',
      'Initializer "short" holds 8 bytes; float32[3] needs 12.',
      'Initializer "sparse" has 2 sparse values with indices of int64[3] in shape [4, 4].',
    ]);
  });
});
