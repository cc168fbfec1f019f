import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../../src/builder.js';
import { Tensor } from '../../src/ir/tensor.js';
import type { Value } from '../../src/ir/value.js';
import { inferTypes } from '../../src/shape/infer.js';
import { compare, type Feeds, run, toOrt } from './runtime.js';

/** Runs `b` at several lengths, and holds what is inferred of its outputs against what comes out. */
async function check(
  b: GraphBuilder,
  feedsAt: (names: Record<string, number>) => Feeds,
  lengths: readonly Record<string, number>[],
): Promise<void> {
  const model = b.model();
  const inference = inferTypes(model);
  for (const names of lengths) {
    const outputs = await run(model, feedsAt(names));
    expect(outputs, JSON.stringify(names)).toBeDefined();
    for (const output of model.graph.outputs) {
      const found = outputs?.[output.name];
      if (found) compare(inference, output, found, names, JSON.stringify(names));
    }
  }
}

const ones = (...dims: number[]): ReturnType<typeof toOrt> =>
  toOrt(Tensor.of('float32', dims, new Float32Array(dims.reduce((a, c) => a * c, 1)).fill(1)));

function loopBody(
  outer: GraphBuilder,
  fill: (body: GraphBuilder, inputs: readonly Value[]) => readonly Value[],
  carried: number,
): GraphBuilder {
  const body = new GraphBuilder({ name: 'body', outer });
  const iteration = body.input('i', 'int64', []);
  const condition = body.input('c', 'bool', []);
  const inputs = Array.from({ length: carried }, (_, k) => body.input(`v${k}`, 'float32'));
  body.output('c_out', body.op('Identity', [condition]));
  for (const [k, value] of fill(body, [iteration, ...inputs]).entries()) body.output(`o${k}`, value);
  return body;
}

describe('control flow, as ONNX Runtime runs it', () => {
  // Without a single round the runtime returns an empty tensor of some other rank for what is collected: nothing is said of
  // empty tensors.
  it('loops that grow, keep and collect', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 'M']);
    const trips = b.input('trips', 'int64', []);
    const body = loopBody(
      b,
      (inner, [, grown, kept]) => [
        inner.op('Concat', [grown as Value, x], { axis: 0 }),
        inner.op('Tanh', [kept as Value]),
        inner.op('ReduceSum', [kept as Value, [1]], { keepdims: 0 }),
        inner.op('NonZero', [kept as Value]),
      ],
      2,
    );
    const loop = b.node('Loop', [trips, null, x, x], { body: body.graph }, { outputs: 4 });
    const wider = loopBody(
      b,
      (inner, [, grown, kept]) => [
        inner.op('Concat', [grown as Value, x], { axis: 1 }),
        inner.op('Tanh', [kept as Value]),
        inner.op('Flatten', [kept as Value], { axis: 0 }),
      ],
      2,
    );
    const three = Tensor.of('int64', [], [3]);
    const fixed = b.node('Loop', [three, null, x, x], { body: wider.graph }, { outputs: 3 });
    for (const [i, v] of [...loop.outputs, ...fixed.outputs].entries()) b.output(`y${i}`, v as Value);
    const feeds = ({ N, M, trips: t }: Record<string, number>): Feeds => ({
      x: ones(N as number, M as number),
      trips: toOrt(Tensor.of('int64', [], [t as number])),
    });
    await check(b, feeds, [
      { N: 2, M: 3, trips: 4 },
      { N: 1, M: 5, trips: 1 },
      { N: 3, M: 1, trips: 2 },
    ]);
  });

  it('scans along any axis, with states', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['batch', 'T', 4]);
    const h = b.input('h', 'float32', ['batch', 4]);
    const body = new GraphBuilder({ name: 'body', outer: b });
    const state = body.input('s', 'float32');
    const step = body.input('e', 'float32');
    body.output('s_out', body.op('Add', [state, step]));
    body.output('y_out', body.op('Concat', [state, step], { axis: 1 }));
    body.output('z_out', body.op('ReduceMax', [step], { keepdims: 0 }));
    const scan = b.node(
      'Scan',
      [h, x],
      { body: body.graph, num_scan_inputs: 1, scan_input_axes: [1], scan_output_axes: [-1, 0] },
      { outputs: 3 },
    );
    for (const [i, v] of [...scan.outputs].entries()) b.output(`y${i}`, v as Value);
    const feeds = ({ batch, T }: Record<string, number>): Feeds => ({
      x: ones(batch as number, T as number, 4),
      h: ones(batch as number, 4),
    });
    await check(b, feeds, [
      { batch: 2, T: 3 },
      { batch: 1, T: 1 },
      { batch: 5, T: 7 },
    ]);
  });

  it('branches that differ in rank, in length, or not at all', async () => {
    const b = new GraphBuilder();
    const x = b.input('x', 'float32', ['N', 'M']);
    const flag = b.input('flag', 'bool', []);
    const branch = (name: string, fill: (inner: GraphBuilder) => readonly Value[]): GraphBuilder => {
      const inner = new GraphBuilder({ name, outer: b });
      for (const [i, v] of fill(inner).entries()) inner.output(`${name}${i}`, v);
      return inner;
    };
    const then = branch('then', (g) => [
      g.op('Relu', [x]),
      g.op('Flatten', [x]),
      g.op('Transpose', [x]),
      g.op('Shape', [x]),
    ]);
    const other = branch('else', (g) => [
      g.op('Neg', [x]),
      g.op('Reshape', [x, [-1]]),
      g.op('Concat', [x, x], { axis: 0 }),
      g.op('Shape', [g.op('Relu', [x])]),
    ]);
    const node = b.node('If', [flag], { then_branch: then.graph, else_branch: other.graph }, { outputs: 4 });
    for (const [i, v] of [...node.outputs].entries()) b.output(`y${i}`, v as Value);
    for (const value of [0, 1]) {
      const feeds = ({ N, M }: Record<string, number>): Feeds => ({
        x: ones(N as number, M as number),
        flag: toOrt(Tensor.of('bool', [], [value])),
      });
      await check(b, feeds, [
        { N: 2, M: 3 },
        { N: 4, M: 1 },
      ]);
    }
  });
});
