import { describe, expect, it } from 'vitest';
import { GraphBuilder, type Operand } from '../../src/builder.js';
import type { AttributeLike } from '../../src/ir/attribute.js';
import { Tensor } from '../../src/ir/tensor.js';
import type { Dim } from '../../src/ir/type.js';
import type { Value } from '../../src/ir/value.js';
import { inferTypes } from '../../src/shape/infer.js';
import { Random } from './random.js';
import { compare, type Feeds, run, toOrt } from './runtime.js';

/**
 * A random program as exporters write them: shapes are read, cut, computed with and put together, and tensors are made,
 * reshaped and expanded by what comes out. Written twice with the same choices, for numbers and for names.
 */
function program(r: Random, symbolic: boolean): { b: GraphBuilder; names: Record<string, number>; feeds: Feeds } {
  const b = new GraphBuilder();
  const names: Record<string, number> = {};
  const feeds: Feeds = {};
  const tensors: Value[] = [];
  /** Vectors of int64 beside their length. */
  const vectors: [Value, number][] = [];
  const rank = r.int(2, 4);
  for (let i = 0; i < 2; i++) {
    const dims = r.dims(rank, 2, 7);
    const shape = dims.map((length, axis): Dim => {
      if (r.chance(0.3)) return length;
      names[`d${i}${axis}`] = length;
      return symbolic ? `d${i}${axis}` : length;
    });
    feeds[`x${i}`] = toOrt(Tensor.of('float32', dims, new Float32Array(dims.reduce((a, c) => a * c, 1))));
    const x = b.input(`x${i}`, 'float32', shape);
    tensors.push(x);
    vectors.push([b.op('Shape', [x]), rank]);
  }
  const op = (name: string, inputs: readonly Operand[], attributes?: Record<string, AttributeLike>): Value =>
    b.op(name, inputs, attributes);
  const push = (value: Value, length: number): void => void vectors.push([value, length]);
  const number = (v: number): Tensor => Tensor.of('int64', [], [v]);
  const single = (v: number): Tensor => Tensor.of('float32', [], [v]);

  const steps: (() => void)[] = [
    () => {
      const [v, n] = r.pick(vectors);
      push(op('Gather', [v, [r.int(-n, n - 1), r.int(0, n - 1)]]), 2);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op('Unsqueeze', [op('Gather', [v, number(r.int(0, n - 1))]), [0]]), 1);
    },
    () => {
      const [v, n] = r.pick(vectors);
      const from = r.int(0, n - 1);
      push(op('Slice', [v, [from], [r.chance(0.5) ? 2 ** 31 - 1 : n]]), n - from);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op('Slice', [v, [-1], [-(2 ** 31)], [0], [-1]]), n);
    },
    () => {
      const [[v, n], [w, m]] = [r.pick(vectors), r.pick(vectors)];
      if (n + m <= 6) push(op('Concat', [v, [r.int(1, 4)], w], { axis: 0 }), n + m + 1);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op(r.pick(['Add', 'Mul', 'Max', 'Min']), [v, [r.int(1, 4)]]), n);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op(r.pick(['Div', 'Mod']), [v, [r.int(2, 4)]]), n);
    },
    () => {
      const [[v, n], [w, m]] = [r.pick(vectors), r.pick(vectors)];
      if (n === m) push(op(r.pick(['Add', 'Mul', 'Max', 'Min', 'Sub']), [v, w]), n);
    },
    () => {
      const [v, n] = r.pick(vectors);
      const float = op('Cast', [v], { to: 1 });
      const scaled = op(r.pick(['Mul', 'Div']), [float, single(r.pick([0.5, 2, 1.5, 0.25, 0.3]))]);
      push(op('Cast', [op(r.pick(['Floor', 'Ceil', 'Identity']), [scaled])], { to: 7 }), n);
    },
    () => {
      const [v, n] = r.pick(vectors);
      const small = op(r.pick(['Equal', 'Less', 'Greater']), [v, [r.int(1, 6)]]);
      push(op('Where', [small, v, [r.int(1, 3)]]), n);
    },
    () => {
      const [v] = r.pick(vectors);
      push(op(r.pick(['ReduceProd', 'ReduceSum', 'ReduceMax', 'ReduceMin']), [v]), 1);
    },
    () => {
      const [v, n] = r.pick(vectors);
      if (n < 2) return;
      const [first, second] = b.node('Split', [v, [1, n - 1]], { axis: 0 }, { outputs: 2 }).outputs;
      push(first as Value, 1);
      push(second as Value, n - 1);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op('Reshape', [op('Transpose', [op('Reshape', [v, [1, n]])]), [-1]]), n);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op('ScatterElements', [v, [r.int(0, n - 1)], [r.int(1, 5)]], { axis: 0 }), n);
    },
    () => {
      const [v, n] = r.pick(vectors);
      push(op('Tile', [v, [2]]), 2 * n);
    },
    // What shapes are for: tensors that are made and changed by them.
    () => {
      const x = r.pick(tensors);
      const flat = op('Concat', [op('Slice', [op('Shape', [x]), [0], [1]]), [-1]], { axis: 0 });
      tensors.push(op('Reshape', [x, flat]));
    },
    () => {
      const x = r.pick(tensors);
      tensors.push(op('Reshape', [x, op('Concat', [[1], op('Shape', [x])], { axis: 0 })]));
    },
    () => {
      const x = r.pick(tensors);
      tensors.push(op('Reshape', [x, op('ReduceProd', [op('Shape', [x])])]));
    },
    () => {
      const [v, n] = r.pick(vectors);
      if (n <= 4) tensors.push(op('ConstantOfShape', [op('Min', [op('Abs', [v]), [9]])]));
    },
    () => {
      const x = r.pick(tensors);
      tensors.push(op('Expand', [x, op('Concat', [[2], op('Shape', [x])], { axis: 0 })]));
    },
    () => {
      const x = r.pick(tensors);
      const shape = op('Shape', [x]);
      tensors.push(op('Slice', [x, [r.int(0, 2)], op('Sub', [op('Slice', [shape, [0], [1]]), [r.int(0, 2)]]), [0]]));
    },
    () => {
      const [v] = r.pick(vectors);
      const limit = op('Squeeze', [op('Min', [op('ReduceMax', [v]), [20]]), [0]]);
      tensors.push(op('Range', [number(r.int(-2, 2)), limit, number(r.int(1, 3))]));
    },
    () => {
      const x = r.pick(tensors);
      tensors.push(op('Tile', [op('Reshape', [x, [-1]]), [r.int(1, 2)]]));
    },
    () => {
      const x = r.pick(tensors);
      push(op('Reshape', [op('Size', [x]), [1]]), 1);
    },
  ];
  for (let i = 0; i < 24; i++) r.pick(steps)();
  let count = 0;
  for (const node of b.graph.nodes()) {
    for (const value of [...node.outputs]) if (value) b.output(`y${count++}`, value);
  }
  return { b, names, feeds };
}

const PROGRAMS = Number(process.env.CASES ?? 120);

describe('programs that compute shapes', () => {
  it('are inferred as ONNX Runtime runs them', async () => {
    const counts = { ran: 0, values: 0, complete: 0 };
    for (let i = 0; i < PROGRAMS; i++) {
      const { b, feeds } = program(new Random(i), false);
      const truth = await run(b.model(), feeds);
      // In the target of a Reshape a length that happens to be 0 means another one: what is inferred holds of tensors that
      // are not empty.
      if (!truth || Object.values(truth).some((t) => t.size === 0)) continue;
      counts.ran++;
      for (const symbolic of [false, true]) {
        const twin = program(new Random(i), symbolic);
        const inference = inferTypes(twin.b.model());
        for (const output of twin.b.graph.outputs) {
          const found = truth[output.name];
          if (!found) continue;
          counts.values++;
          const what = `program ${i}, ${output.producer?.label}, values ${inference.valuesOf(output)}`;
          if (compare(inference, output, found, twin.names, what)) counts.complete++;
        }
      }
    }
    if (process.env.SHOW) process.stdout.write(`${JSON.stringify(counts)}\n`);
    expect(counts.ran).toBeGreaterThan(0.6 * PROGRAMS);
    expect(counts.complete).toBeGreaterThan(0.9 * counts.values);
  });
});
