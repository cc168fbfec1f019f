import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../builder.js';
import type { ModelFunction } from '../ir/model.js';
import { Tensor } from '../ir/tensor.js';
import { tensorType, typeText } from '../ir/type.js';
import { inferTypes } from './infer.js';

describe('inferTypes', () => {
  it('follows names and their arithmetic through a small network', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 'H', 'W']);
    const conv = b.op('Conv', [x, b.random([8, 3, 3, 3])], { strides: [2, 2], pads: [1, 1, 1, 1] });
    const pooled = b.op('MaxPool', [b.op('Relu', [conv])], { kernel_shape: [2, 2], strides: [2, 2] });
    const flat = b.op('Flatten', [b.op('GlobalAveragePool', [pooled])]);
    const y = b.op('Gemm', [flat, b.random([10, 8])], { transB: 1 });
    const types = inferTypes(b.output('y', y).model());
    expect(typeText(types.typeOf(conv))).toBe('float32[batch, 8, floor((H + 1)/2), floor((W + 1)/2)]');
    expect(typeText(types.typeOf(pooled))).toBe('float32[batch, 8, floor((H + 1)/4), floor((W + 1)/4)]');
    expect(typeText(types.typeOf(y))).toBe('float32[batch, 10]');
    expect(types.problems).toEqual([]);
  });

  it('follows shapes as data', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 'seq', 768]);
    const shape = b.op('Shape', [x]);
    const batch = b.op('Unsqueeze', [b.op('Gather', [shape, b.constant([0])]), b.constant([0])]);
    const target = b.op('Concat', [b.op('Squeeze', [batch, [1]]), b.op('Slice', [shape, [1], [2]]), [12, -1]], {
      axis: 0,
    });
    const heads = b.op('Transpose', [b.op('Reshape', [x, target])], { perm: [0, 2, 1, 3] });
    const types = inferTypes(b.output('y', heads).model());
    expect(types.valuesOf(target)).toEqual(['batch', 'seq', 12, -1]);
    expect(typeText(types.typeOf(heads))).toBe('float32[batch, 12, seq, 64]');
  });

  it('grows a cache by what is appended, and reshapes by the sum', () => {
    const b = new GraphBuilder();
    const past = b.input('past', 'float32', ['batch', 'past', 8, 64]);
    const now = b.input('now', 'float32', ['batch', 'seq', 8, 64]);
    const cache = b.op('Concat', [past, now], { axis: 1 });
    const total = b.op('Slice', [b.op('Shape', [cache]), [1], [2]]);
    const flat = b.op('Reshape', [
      cache,
      b.op('Concat', [b.op('Slice', [b.op('Shape', [now]), [0], [1]]), total, [-1]], { axis: 0 }),
    ]);
    const types = inferTypes(b.output('y', flat).model());
    expect(typeText(types.typeOf(flat))).toBe('float32[batch, past + seq, 512]');
  });

  it('takes an older declaration where the operator is unknown, and only there', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 4]);
    const odd = b.op('Odd', [x], {}, 'my.domain');
    const sum = b.op('Add', [odd, x]);
    odd.type = tensorType('float32', ['N', 4]);
    sum.type = tensorType('float32', ['N', 5]);
    const types = inferTypes(b.output('y', sum).model());
    expect(typeText(types.typeOf(odd))).toBe('float32[N, 4]');
    expect(typeText(types.typeOf(sum))).toBe('float32[N, 4]');
    expect(types.problems).toEqual(['Value "y" has shape [N, 4] but is declared as [N, 5].']);
  });

  it('gives lengths that depend on the data names of their own', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N']);
    const [first, second] = [b.op('NonZero', [x]), b.op('NonZero', [b.op('Neg', [x])])];
    const copy = b.op('Identity', [first]);
    first.type = tensorType('int64', [1, 7]);
    const types = inferTypes(b.output('y', copy).output('z', second).model());
    expect(typeText(types.typeOf(first))).toBe('int64[1, _d0]');
    expect(typeText(types.typeOf(copy))).toBe('int64[1, _d0]');
    expect(typeText(types.typeOf(second))).toBe('int64[1, _d1]');
  });

  it('does not mistake a fresh name for one of the model', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['_d0', null]);
    const y = b.op('NonZero', [x]);
    const types = inferTypes(b.output('y', y).model());
    expect(typeText(types.typeOf(x))).toBe('float32[_d0, _d1]');
    expect(typeText(types.typeOf(y))).toBe('int64[2, _d2]');
  });

  it('fixes shapes and names of inputs', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 3, 'H', 'W']);
    const mask = b.input('mask', 'bool', ['batch', '2*H']);
    const y = b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
    const model = b
      .output('y', y)
      .output('m', b.op('Identity', [mask]))
      .model();
    const named = inferTypes(model, { dims: { batch: 2, H: 10 } });
    expect(typeText(named.typeOf(y))).toBe('float32[2, 3, 5, floor(W/2)]');
    expect(typeText(named.typeOf(mask))).toBe('bool[2, 20]');
    expect(() => inferTypes(model, { inputShapes: { y: [1] } })).toThrow(
      'The model has no input "y"; its inputs are x, mask.',
    );
    expect(() => inferTypes(model, { dims: { H: -1 } })).toThrow('Dimension "H" cannot be -1');
    expect(typeText(inferTypes(model, { inputShapes: { x: [1, 3, 8, 'width'] } }).typeOf(y))).toBe(
      'float32[1, 3, 4, floor(width/2)]',
    );
  });

  it('folds the condition of a branch when the shapes decide it', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 1]);
    const one = b.op('Equal', [
      b.op('Gather', [b.op('Shape', [x]), Tensor.of('int64', [], [1])]),
      Tensor.of('int64', [], [1]),
    ]);
    const then = new GraphBuilder({ name: 'then', outer: b });
    then.output('squeezed', then.op('Squeeze', [x, then.constant([1])]));
    const other = new GraphBuilder({ name: 'else', outer: b });
    other.output('same', other.op('Identity', [x]));
    const y = b.op('If', [one], { then_branch: then.graph, else_branch: other.graph });
    const known = inferTypes(b.output('y', y).model());
    expect(typeText(known.typeOf(y))).toBe('float32[N]');
    x.type = tensorType('float32', ['N', 'M']);
    expect(typeText(inferTypes(b.model()).typeOf(y))).toBe('float32[...]');
    // A declared shape is that of one branch: it does not count.
    y.type = tensorType('float32', ['N']);
    expect(typeText(inferTypes(b.model()).typeOf(y))).toBe('float32[...]');
  });

  it('finds what stays the same in a loop', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 4]);
    const body = new GraphBuilder({ name: 'body', outer: b });
    body.input('i', 'int64', []);
    const condition = body.input('c', 'bool', []);
    const grown = body.input('g', 'float32', [1, 4]);
    const kept = body.input('k', 'float32', [1, 4]);
    const more = body.op('Concat', [grown, x], { axis: 0 });
    body.output('c_out', body.op('Identity', [condition]));
    body.output('g_out', more);
    body.output('k_out', body.op('Relu', [kept]));
    body.output('scan', body.op('ReduceSum', [kept, body.constant([0])], { keepdims: 0 }));
    const loop = b.node('Loop', [b.input('M', 'int64', []), null, x, x], { body: body.graph }, { outputs: 3 });
    const trips = b.node(
      'Loop',
      [Tensor.of('int64', [], [5]), Tensor.of('bool', [], [1]), x, x],
      { body: body.graph },
      { outputs: 3 },
    );
    const [g, k, scan] = loop.outputs;
    const types = inferTypes(
      b.output('g', g!).output('k', k!).output('s', scan!).output('t', trips.outputs[2]!).model(),
    );
    expect(typeText(types.typeOf(g!))).toMatch(/^float32\[_d\d+, 4\]$/);
    expect(typeText(types.typeOf(k!))).toBe('float32[N, 4]');
    expect(typeText(types.typeOf(scan!))).toMatch(/^float32\[_d\d+, 4\]$/);
    expect(typeText(types.typeOf(trips.outputs[2]!))).toBe('float32[5, 4]');
    // Inside, the type that holds in every round.
    expect(typeText(types.typeOf(grown))).toMatch(/^float32\[_d\d+, 4\]$/);
    expect(typeText(types.typeOf(kept))).toBe('float32[N, 4]');
  });

  it('takes one step at a time in a scan', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['T', 'batch', 6]);
    const state = b.input('h', 'float32', ['batch', 6]);
    const body = new GraphBuilder({ name: 'body', outer: b });
    const h = body.input('h_in', 'float32');
    const step = body.input('x_in', 'float32');
    body.output('h_out', body.op('Tanh', [body.op('Mul', [h, step])]));
    body.output('y_out', body.op('Unsqueeze', [step, body.constant([0])]));
    const scan = b.node(
      'Scan',
      [state, x],
      { body: body.graph, num_scan_inputs: 1, scan_output_axes: [1] },
      { outputs: 2 },
    );
    const [last, all] = scan.outputs;
    const types = inferTypes(b.output('l', last!).output('a', all!).model());
    expect(typeText(types.typeOf(last!))).toBe('float32[batch, 6]');
    expect(typeText(types.typeOf(all!))).toBe('float32[1, T, batch, 6]');
    expect(typeText(types.typeOf(step))).toBe('float32[batch, 6]');
  });

  it('looks into functions, with the attributes of the call', () => {
    const body = new GraphBuilder();
    const inner = body.input('a', 'float32');
    const concat = body.node('Concat', [inner, inner]);
    concat.setAttribute('axis', { type: 'reference', value: { name: 'where', of: 'int' } });
    body.output('r', concat.output);
    const double: ModelFunction = {
      domain: 'local',
      name: 'Double',
      overload: '',
      body: body.graph,
      attributes: ['where'],
      defaults: new Map([['where', 0]]),
      opsets: new Map([['', 18]]),
      docString: '',
      metadata: new Map(),
    };
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 3]);
    const rows = b.op('Double', [x], {}, 'local');
    const columns = b.op('Double', [x], { where: 1 }, 'local');
    const model = b.output('r', rows).output('c', columns).model();
    model.functions.push(double);
    const types = inferTypes(model);
    expect(typeText(types.typeOf(rows))).toBe('float32[2*N, 3]');
    expect(typeText(types.typeOf(columns))).toBe('float32[N, 6]');
  });

  it('ends on functions that call each other, and on loops in loops in loops', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N']);
    const call = b.op('Again', [x], {}, 'local');
    const model = b.output('y', call).model();
    const body = new GraphBuilder();
    const a = body.input('a', 'float32');
    body.output('r', body.op('Add', [body.op('Again', [a], {}, 'local'), body.op('Again', [a], {}, 'local')]));
    model.functions.push({
      domain: 'local',
      name: 'Again',
      overload: '',
      body: body.graph,
      attributes: [],
      defaults: new Map(),
      opsets: new Map([
        ['', 18],
        ['local', 1],
      ]),
      docString: '',
      metadata: new Map(),
    });
    expect(inferTypes(model).typeOf(call)).toBe(undefined);

    const nested = (
      outer: GraphBuilder,
      depth: number,
      value: ReturnType<GraphBuilder['input']>,
    ): ReturnType<GraphBuilder['op']> => {
      const inner = new GraphBuilder({ outer });
      inner.input(`i${depth}`, 'int64', []);
      const condition = inner.input(`c${depth}`, 'bool', []);
      const v = inner.input(`v${depth}`, 'float32');
      const grown = inner.op('Concat', [v, v], { axis: 0 });
      inner.output(`co${depth}`, inner.op('Identity', [condition]));
      inner.output(`vo${depth}`, depth > 0 ? nested(inner, depth - 1, grown) : grown);
      return outer.op('Loop', [null, null, value], { body: inner.graph });
    };
    const deep = new GraphBuilder();
    const result = nested(deep, 20, deep.input('x', 'float32', ['N']));
    const started = performance.now();
    const types = inferTypes(deep.output('y', result).model());
    expect(performance.now() - started).toBeLessThan(25_000);
    // Out of rounds, the rank is given up; it is never said wrong.
    expect(['float32[...]', '?']).toContain(typeText(types.typeOf(result)).replace(/\[_d\d+\]/, '[...]'));
  });

  it('takes about the same time for each node, whatever their number', () => {
    const b = new GraphBuilder();
    let x = b.input('x', 'float32', ['batch', 'seq', 64]);
    const weight = b.random([64, 64]);
    for (let i = 0; i < 1000; i++) {
      const shape = b.op('Shape', [x]);
      const target = b.op('Concat', [b.op('Slice', [shape, [0], [2]]), [8, -1]], { axis: 0 });
      const heads = b.op('Transpose', [b.op('Reshape', [x, target])], { perm: [0, 2, 1, 3] });
      const back = b.op('Reshape', [b.op('Transpose', [heads], { perm: [0, 2, 1, 3] }), [0, 0, -1]]);
      x = b.op('Relu', [b.op('Add', [x, b.op('MatMul', [back, weight])])]);
    }
    const model = b.output('y', x).model();
    expect(b.graph.size).toBe(10_000);
    const started = performance.now();
    expect(typeText(inferTypes(model).typeOf(x))).toBe('float32[batch, seq, 64]');
    // It takes some 30 ms on a quiet core.
    expect(performance.now() - started).toBeLessThan(25_000);
  });
});

describe('annotate', () => {
  it('writes what is more precise than the declaration', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 'C']);
    const hidden = b.op('Gemm', [x, b.random([4, 6])]);
    const found = b.op('NonZero', [hidden]);
    const y = b.op('Softmax', [hidden]);
    const model = b.output('y', y, 'float32', ['rows', null]).output('f', found, 'int64', [null, 'count']).model();
    inferTypes(model).annotate();
    expect(typeText(hidden.type)).toBe('float32[N, 6]');
    // The names that a model gives its outputs are kept, and lengths that nobody knows stay unnamed.
    expect(typeText(y.type)).toBe('float32[rows, 6]');
    expect(typeText(found.type)).toBe('int64[2, count]');
    expect(typeText(x.type)).toBe('float32[N, C]');
  });

  it('leaves what is complete as the object that it is', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 4]);
    const y = b.op('Relu', [x]);
    const model = b.output('y', y, 'float32', ['N', 4]).model();
    const before = [x.type, y.type];
    inferTypes(model).annotate();
    expect([x.type, y.type]).toEqual(before);
    expect(x.type).toBe(before[0]);
    expect(y.type).toBe(before[1]);
  });

  it('writes fixed shapes into the inputs too', () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 4]);
    const model = b.output('y', b.op('Relu', [x]), 'float32', ['N', 4]).model();
    inferTypes(model, { dims: { N: 3 } }).annotate();
    expect(typeText(x.type)).toBe('float32[3, 4]');
    expect(typeText(model.graph.outputs[0]?.type)).toBe('float32[3, 4]');
  });
});
