import { type Graph, GraphBuilder, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { constantOf, modelOf, opsOf, rewritten } from '../../test/rewritten.js';
import { eliminateCommonSubexpressions } from './common-subexpressions.js';
import { eliminateDeadCode } from './dead-code.js';
import { foldConstants } from './fold-constants.js';
import { foldShapes, reshapeByConstant, shareShapes } from './fold-shapes.js';
import { transposed } from './rearrange.js';
import { shareInitializers } from './shared-initializers.js';

const engine = nodeEngine();
afterAll(() => engine.close());

const f32 = (dims: number[], values: number[]): Tensor => Tensor.of('float32', dims, values);

/** A float32 tensor that is read from a "file", as large weights are. */
function inFile(dims: number[], at: (i: number) => number, reads?: number[]): Tensor {
  const size = dims.reduce((a, b) => a * b, 1);
  const bytes = new Uint8Array(Float32Array.from({ length: size }, (_, i) => at(i)).buffer);
  const read = async (offset: number, length: number): Promise<Uint8Array> => {
    reads?.push(length);
    return bytes.slice(offset, offset + length);
  };
  const source = { name: 'test', size: bytes.length, read };
  return new Tensor('float32', dims, { kind: 'reference', source, offset: 0, length: bytes.length });
}

const ramp = (dims: number[], at: (i: number) => number): number[] =>
  Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => at(i));

/** What torch exports for `x.view(x.size(0), -1, 4)`. */
function viewByShape(b: GraphBuilder, x: Value): Value {
  const batch = b.op('Gather', [b.op('Shape', [x]), Tensor.of('int64', [], [0])], { axis: 0 });
  const rows = b.op('Gather', [b.op('Shape', [x]), Tensor.of('int64', [], [1])], { axis: 0 });
  const unsqueeze = (v: Value): Value => b.op('Unsqueeze', [v, [0]]);
  const half = b.op('Div', [rows, Tensor.of('int64', [], [2])]);
  return b.op('Reshape', [x, b.op('Concat', [unsqueeze(batch), unsqueeze(half), [-1], [4]], { axis: 0 })]);
}

describe('foldShapes and reshapeByConstant', () => {
  it('compute shape arithmetic without an engine when the shapes are known', async () => {
    const model = modelOf([2, 6, 4], viewByShape);
    const { ops, model: after } = await rewritten(engine, model, [foldShapes(), eliminateDeadCode()], { fold: false });
    expect(ops).toEqual(['Reshape']);
    expect(constantOf(after, 'Reshape', 1)?.numbers()).toEqual([2, 3, -1, 4]);
  });

  it('give a Reshape with one length that is not known a constant shape', async () => {
    const model = modelOf(['batch', 6, 4], viewByShape);
    const passes = [foldShapes(), reshapeByConstant(), eliminateDeadCode()];
    const { ops, model: after } = await rewritten(engine, model, passes, { fold: false });
    expect(ops).toEqual(['Reshape']);
    expect(constantOf(after, 'Reshape', 1)?.numbers()).toEqual([0, 3, 2, 4]);
  });

  it('leave a Reshape alone when two lengths are not known', async () => {
    const model = modelOf(['batch', 'rows', 4], viewByShape);
    const { ops } = await rewritten(engine, model, [foldShapes(), reshapeByConstant()], { dims: { rows: 6 } });
    expect(ops.filter((op) => op === 'Shape')).toHaveLength(2);
  });

  it('keep what depends on data', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'int64', [2]);
    const model = b.output('y', b.op('Add', [b.op('Mul', [x, [0, 1]]), [1, 1]]), 'int64').model();
    expect((await rewritten(engine, model, [foldShapes()])).ops).toEqual(['Mul', 'Add']);
  });
});

describe('shareShapes', () => {
  it('computes equal lengths once, even from different tensors', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['n', 'm', 3]);
    const y = b.op('Transpose', [b.op('Relu', [x])], { perm: [2, 1, 0] });
    const length = (v: Value, i: number): Value => b.op('Gather', [b.op('Shape', [v]), [i]], { axis: 0 });
    const first = b.op('Concat', [length(x, 0), length(x, 1)], { axis: 0 });
    const second = b.op('Concat', [length(y, 2), length(y, 1)], { axis: 0 });
    const model = b
      .output('a', b.op('ConstantOfShape', [first]), 'float32')
      .output('b', b.op('ConstantOfShape', [second]), 'float32')
      .output('y', y, 'float32')
      .model();
    const { ops } = await rewritten(engine, model, [shareShapes(), eliminateDeadCode()]);
    expect(ops.filter((op) => op === 'Concat')).toHaveLength(1);
    expect(ops.filter((op) => op === 'Shape')).toHaveLength(1);
  });

  it('does not take dimensions for equal that only might be', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [null, 3]);
    const z = b.input('z', 'float32', [null, 3]);
    const model = b
      .output('a', b.op('Gather', [b.op('Shape', [x]), [0]]), 'int64')
      .output('b', b.op('Gather', [b.op('Shape', [z]), [0]]), 'int64')
      .model();
    expect((await rewritten(engine, model, [shareShapes()])).ops).toEqual(opsOf(model));
  });
});

describe('foldConstants', () => {
  const chain = (b: GraphBuilder): Value => {
    const w = b.constant(f32([2, 3], [1, 2, 3, 4, 5, 6]));
    return b.op('Mul', [b.op('Exp', [w]), b.op('Softmax', [w])]);
  };

  it('computes what depends on constants, in one session', async () => {
    let sessions = 0;
    const counting = {
      ...engine,
      open: (...args: Parameters<typeof engine.open>) => {
        sessions++;
        return engine.open(...args);
      },
    };
    const model = modelOf([2, 3], (b, x) => b.op('Add', [b.op('Add', [x, chain(b)]), b.op('Neg', [b.random([3])])]));
    const copy = model.clone();
    await copy.transform(foldConstants(), { engine: counting });
    expect(sessions).toBe(1);
    expect(opsOf(copy)).toEqual(['Add', 'Add']);
    await rewritten(engine, model, [foldConstants()]);
  });

  it('computes nodes of several outputs', async () => {
    const model = modelOf([2, 3], (b, x) => {
      const w = b.constant(f32([2, 6], [6, 5, 4, 3, 2, 1, 1, 2, 3, 4, 5, 6]));
      const [p, q] = b.node('Split', [w, [3, 3]], { axis: 1 }, { outputs: 2 }).outputs as [Value, Value];
      const [top] = b.node('TopK', [q, [1]], {}, { outputs: 2 }).outputs as [Value];
      return b.op('Sum', [x, p, q, top]);
    });
    expect((await rewritten(engine, model, [foldConstants()])).ops).toEqual(['Sum']);
  });

  it('works inside branches, and makes an output a constant', async () => {
    const b = new GraphBuilder();
    const c = b.input('c', 'bool', []);
    const branch = (factor: number): Graph => {
      const inner = new GraphBuilder({ name: `branch${factor}`, outer: b });
      const product = inner.op('Mul', [f32([2], [1, 2]), f32([], [factor])]);
      return inner.output(`o${factor}`, product, 'float32', [2]).graph;
    };
    b.output('y', b.op('If', [c], { then_branch: branch(2), else_branch: branch(3) }), 'float32', [2]);
    b.output('k', b.op('Exp', [f32([2], [0, 1])]), 'float32', [2]);
    const { model } = await rewritten(engine, b.model(), [foldConstants()]);
    expect([...model.allNodes()].map((n) => n.opType)).toEqual(['If']);
  });

  it('says that it needs an engine, and does nothing without', async () => {
    const model = modelOf([2, 3], (b, x) => b.op('Add', [x, chain(b)]));
    const result = await rewritten(engine, model, [foldConstants()], { fold: false });
    expect(result.changed).toBe(0);
    expect(result.notes.join()).toMatch(/needs an engine/);
  });

  it('keeps formulas that are smaller than their result, unless allowed', async () => {
    const model = modelOf([1000, 1000], (b, x) => b.op('Add', [x, b.op('ConstantOfShape', [[1000, 1000]])]));
    const result = await rewritten(engine, model, [foldConstants()], { runs: 1 });
    expect(result.ops).toEqual(['ConstantOfShape', 'Add']);
    expect(result.notes.join()).toMatch(/ConstantOfShape .* 4000000 bytes larger/);
    expect((await rewritten(engine, model, [foldConstants({ maxFoldBytes: 4e6 })], { runs: 1 })).ops).toEqual(['Add']);
  });

  it('adds no more than its budget in all', async () => {
    const model = modelOf([300], (b, x) =>
      [1, 2, 3, 4].reduce((sum, k) => b.op('Add', [sum, b.op('Expand', [f32([1], [k]), [300]])]), x),
    );
    const { ops } = await rewritten(engine, model, [foldConstants({ maxFoldBytes: 2500 })]);
    expect(ops.filter((op) => op === 'Expand')).toHaveLength(2);
  });

  it('takes a weight apart and together again when nothing of it is left', async () => {
    const gates = (b: GraphBuilder, w: Value): Value => {
      const part = (from: number): Value => b.op('Slice', [w, [from], [from + 500], [0]]);
      return b.op('Concat', [part(500), part(0)], { axis: 0 });
    };
    const reordered = modelOf([2, 1000], (b, x) =>
      b.op('MatMul', [x, gates(b, b.constant(inFile([1000, 300], Math.cos)))]),
    );
    const alone = await rewritten(engine, reordered, [foldConstants()], { runs: 1 });
    expect(alone.ops).toEqual(['MatMul']);
    // Read as it is too, its copy would make the model larger.
    const both = modelOf([2, 1000], (b, x) => {
      const w = b.constant(inFile([1000, 300], Math.cos));
      return b.op('Add', [b.op('MatMul', [x, gates(b, w)]), b.op('MatMul', [x, w])]);
    });
    const kept = await rewritten(engine, both, [foldConstants()], { runs: 1 });
    expect(kept.ops).toEqual(opsOf(both));
    expect(kept.notes.join()).toMatch(/Concat .* 1200000 bytes larger/);
  });

  it('leaves random numbers, quantized weights and types that the engine cannot return', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2]);
    const q = b.constant(Tensor.of('int8', [2], [1, 2]));
    const weight = b.op('DequantizeLinear', [q, f32([], [0.5])]);
    const half = b.op('Cast', [b.op('Cast', [f32([2], [1, 2])], { to: 16 })], { to: 1 });
    const model = b.output('y', b.op('Sum', [x, weight, half]), 'float32').model();
    const { ops } = await rewritten(engine, model, [foldConstants()]);
    expect(ops).toEqual(['DequantizeLinear', 'Sum']);
    const random = modelOf([2], (g, v) => {
      g.op('RandomNormal', [], { shape: [2] });
      return g.op('Add', [v, g.op('RandomNormalLike', [f32([2], [0, 0])])]);
    });
    const copy = random.clone();
    await copy.transform(foldConstants(), { engine });
    expect(opsOf(copy)).toEqual(opsOf(random));
  });

  it('is not spoilt by one node that the engine refuses', async () => {
    const model = modelOf([2], (b, x) => {
      const bad = b.op('Reshape', [f32([2], [1, 2]), [5]]);
      return b.op('Where', [b.op('Not', [Tensor.of('bool', [1], [0])]), x, b.op('Slice', [bad, [0], [2]])]);
    });
    const copy = model.clone();
    const [result] = await copy.transform(foldConstants(), { engine });
    expect(opsOf(copy)).not.toContain('Not');
    expect(result?.changed).toBe(1);
  });
});

describe('foldConstants that only move elements', () => {
  it('permutes large constants when they are read', async () => {
    const reads: number[] = [];
    const w = inFile([3, 50, 4], (i) => i * 0.01, reads);
    const model = modelOf([4, 3], (b, x) =>
      b.op('MatMul', [x, b.op('Reshape', [b.op('Transpose', [w], { perm: [0, 2, 1] }), [3, 200]])]),
    );
    const copy = model.clone();
    await copy.transform(foldConstants());
    expect(opsOf(copy)).toEqual(['MatMul']);
    expect(reads).toEqual([]);
    await rewritten(engine, model, [foldConstants()], { fold: false });
  });

  const moves: Record<string, (b: GraphBuilder, w: Value) => Value> = {
    'Slice with steps and negative places': (b, w) => b.op('Slice', [w, [-1, 1], [-100, 5], [0, -1], [-2, 3]]),
    'Slice of an inner axis': (b, w) => b.op('Slice', [w, [1], [3], [1]]),
    'Slice of nothing': (b, w) => b.op('Slice', [w, [3], [1], [1]]),
    'Gather of rows, some from the back': (b, w) =>
      b.op('Gather', [w, Tensor.of('int64', [2, 2], [0, -1, 1, 0])], { axis: 1 }),
    'Gather of one': (b, w) => b.op('Gather', [w, Tensor.of('int64', [], [2])]),
    Split: (b, w) => b.node('Split', [w, [1, 3]], { axis: -2 }, { outputs: 2 }).outputs[1] as Value,
    'Concat of an inner axis': (b, w) => b.op('Concat', [w, b.op('Slice', [w, [0], [2], [2]]), w], { axis: 2 }),
    'Squeeze, Unsqueeze, Flatten and Reshape': (b, w) =>
      b.op('Reshape', [b.op('Flatten', [b.op('Squeeze', [b.op('Unsqueeze', [w, [0]]), [0]])]), [5, -1]]),
    Transpose: (b, w) => b.op('Transpose', [w], { perm: [2, 0, 1] }),
  };

  it.each(Object.keys(moves))('%s, without an engine', async (name) => {
    for (const make of [inFile, (dims: number[], at: (i: number) => number) => f32(dims, ramp(dims, at))]) {
      const b = new GraphBuilder();
      const w = b.constant(make([3, 4, 5], (i) => i));
      const x = b.input('x', 'float32', []);
      const moved = (moves[name] as (typeof moves)[string])(b, w);
      const model = b.output('y', b.op('Add', [x, moved]), 'float32').model();
      const { ops } = await rewritten(engine, model, [foldConstants()], { fold: false, tolerance: 0 });
      expect(ops).toEqual(['Add']);
    }
  });

  it('what an engine would have to compute stays for it', async () => {
    const model = modelOf([4], (b, x) => {
      const turned = b.op(
        'Transpose',
        [
          b.constant(
            f32(
              [2, 4],
              ramp([2, 4], (i) => i),
            ),
          ),
        ],
        { perm: [1, 0] },
      );
      return b.op('Add', [x, b.op('ReduceSum', [b.op('Exp', [turned]), [1]], { keepdims: 0 })]);
    });
    const result = await rewritten(engine, model, [foldConstants()], { fold: false });
    expect(result.ops).toEqual(['Exp', 'ReduceSum', 'Add']);
    expect((await rewritten(engine, model, [foldConstants()])).ops).toEqual(['Add']);
  });

  it('does not copy a large weight that is read as it is, too', async () => {
    const model = modelOf([4, 600], (b, x) => {
      const w = b.constant(inFile([600, 600], (i) => Math.sin(i)));
      return b.op('MatMul', [b.op('MatMul', [x, w]), b.op('Transpose', [w], { perm: [1, 0] })]);
    });
    expect((await rewritten(engine, model, [foldConstants()])).ops).toEqual(['MatMul', 'Transpose', 'MatMul']);
  });

  it.each([
    ['uint8', 1],
    ['int16', 2],
    ['int32', 4],
    ['int64', 8],
    ['complex128', 16],
  ] as const)('permutes elements of %s', async (dtype, size) => {
    const bytes = Uint8Array.from({ length: 24 * size }, (_, i) => i % 251);
    const tensor = new Tensor(dtype, [2, 3, 4], { kind: 'bytes', bytes });
    const out = (await transposed(tensor, [2, 0, 1]).load()) as Uint8Array;
    for (let i = 0; i < 2; i++) {
      for (let j = 0; j < 3; j++) {
        for (let k = 0; k < 4; k++) {
          const from = (i * 3 + j) * 4 + k;
          const to = (k * 2 + i) * 3 + j;
          expect(out.slice(to * size, (to + 1) * size)).toEqual(bytes.slice(from * size, (from + 1) * size));
        }
      }
    }
  });
});

describe('shareInitializers', () => {
  it('shares equal contents, across subgraphs and files, and not across types or shapes', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [1, 300]);
    const c = b.input('c', 'bool', []);
    const w = (): Value =>
      b.constant(
        inFile([300], (i) => i % 7),
        'w',
      );
    let y = b.op('Add', [x, w()]);
    y = b.op('Mul', [y, w()]);
    y = b.op('Sub', [y, inFile([300], (i) => (i === 299 ? 99 : i % 7))]);
    y = b.op('Add', [y, inFile([1, 300], (i) => i % 7)]);
    const inner = new GraphBuilder({ name: 'then', outer: b });
    inner.output(
      't',
      inner.op('Mul', [
        y,
        inner.constant(
          inFile([300], (i) => i % 7),
          'inner',
        ),
      ]),
      'float32',
    );
    const other = new GraphBuilder({ name: 'else', outer: b });
    other.output('e', other.op('Neg', [y]), 'float32');
    const model = b
      .output('y', b.op('If', [c], { then_branch: inner.graph, else_branch: other.graph }), 'float32')
      .model();
    const result = await rewritten(engine, model, [shareInitializers()]);
    expect(result.changed).toBe(2);
    expect(result.model.graph.initializers.size).toBe(3);
    expect([...result.model.graph.graphs()][1]?.initializers.size).toBe(0);
  });

  it('reads a few bytes of weights that differ', async () => {
    const reads: number[] = [];
    const model = modelOf([1000], (b, x) => {
      const y = b.op('Add', [x, inFile([1000], (i) => i, reads)]);
      return b.op('Add', [y, inFile([1000], (i) => i + 1, reads)]);
    });
    await model.transform(shareInitializers());
    expect(reads.reduce((a, b) => a + b, 0)).toBe(128);
  });
});

describe('eliminateCommonSubexpressions', () => {
  it('merges equal nodes, also into an outer graph, and keeps outputs', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', [2, 3]);
    const c = b.input('c', 'bool', []);
    const once = b.op('Softmax', [x], { axis: 1 });
    const twice = b.op('Softmax', [x], { axis: 1 });
    const otherAxis = b.op('Softmax', [x], { axis: 0 });
    const inner = new GraphBuilder({ name: 'then', outer: b });
    inner.output('t', inner.op('Neg', [inner.op('Softmax', [x], { axis: 1 })]), 'float32');
    const other = new GraphBuilder({ name: 'else', outer: b });
    other.output('e', other.op('Exp', [otherAxis]), 'float32');
    b.output('y', b.op('If', [c], { then_branch: inner.graph, else_branch: other.graph }), 'float32');
    b.output('once', once, 'float32').output('twice', twice, 'float32');
    const { model } = await rewritten(engine, b.model(), [eliminateCommonSubexpressions()]);
    // Both are outputs: each keeps its name, and its node.
    expect([...model.allNodes()].map((n) => n.opType)).toEqual(['Softmax', 'Softmax', 'Softmax', 'If', 'Neg', 'Exp']);
  });

  it('merges chains of several outputs', async () => {
    const model = modelOf([4, 6], (b, x) => {
      const sizes = b.constant([3, 3]);
      const half = (): Value[] => b.node('Split', [x, sizes], { axis: 1 }, { outputs: 2 }).outputs as Value[];
      const [p, q] = half() as [Value, Value];
      const [r, s] = half() as [Value, Value];
      return b.op('Add', [b.op('Mul', [p, q]), b.op('Mul', [r, s])]);
    });
    expect((await rewritten(engine, model, [eliminateCommonSubexpressions()])).ops).toEqual(['Split', 'Mul', 'Add']);
  });

  it('keeps random numbers apart', async () => {
    const model = modelOf([2], (b, x) => b.op('Sub', [b.op('RandomNormalLike', [x]), b.op('RandomNormalLike', [x])]));
    const copy = model.clone();
    await copy.transform(eliminateCommonSubexpressions());
    expect(opsOf(copy)).toHaveLength(3);
  });
});
