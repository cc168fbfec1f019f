import { readFileSync } from 'node:fs';
import { type Engine, type Feeds, GraphBuilder, type HostTensor, type Model, Tensor } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { trainingGraph } from '../training-graph.js';
import {
  binaryCrossEntropy,
  combine,
  cosine,
  crossEntropy,
  ctc,
  defineLoss,
  graphLoss,
  huber,
  klDivergence,
  type Loss,
  LOSSES,
  mse,
  namedLoss,
  triplet,
} from './index.js';

const engine: Engine = nodeEngine();
afterAll(() => engine.close());

type Float = 'float32' | 'float64';

interface Case {
  readonly name: string;
  readonly loss: keyof typeof MAKERS;
  readonly options: object;
  readonly dims: readonly number[];
  readonly x: readonly number[];
  readonly value: number;
  readonly gradient: readonly number[];
  readonly label?: { readonly kind: string; readonly dims: readonly number[]; readonly values: readonly number[] };
  readonly target?: { readonly dims: readonly number[]; readonly values: readonly number[] };
}

const MAKERS = { crossEntropy, binaryCrossEntropy, mse, huber, cosine, klDivergence, triplet, ctc };
const golden = JSON.parse(readFileSync(new URL('../../test/golden/losses.json', import.meta.url), 'utf8')) as Case[];

/** A model whose output is its one parameter, `x`, or what `end` makes of it. */
function parameter(
  dims: readonly number[],
  dtype: Float = 'float64',
  end: (b: GraphBuilder, x: ReturnType<GraphBuilder['op']>) => ReturnType<GraphBuilder['op']> = (b, x) =>
    b.op('Identity', [x]),
): Model {
  const b = new GraphBuilder();
  const x = b.constant(Tensor.of(dtype, dims, Array(dims.reduce((a, d) => a * d, 1)).fill(0)), 'x');
  return b.output('output', end(b, x), dtype, dims).model();
}

const floats = (dtype: Float, dims: readonly number[], values: readonly number[]): HostTensor => ({
  dtype,
  dims,
  data: dtype === 'float32' ? Float32Array.from(values) : Float64Array.from(values),
});
const classes = (dims: readonly number[], values: readonly number[]): HostTensor => ({
  dtype: 'int64',
  dims,
  data: BigInt64Array.from(values, BigInt),
});

/** The loss and its gradient by `x`. */
async function evaluate(loss: Loss, model: Model, feeds: Feeds): Promise<{ value: number; gradient: number[] }> {
  const step = await trainingGraph(model, { loss, inputShapes: {}, parameters: ['x'] });
  const session = await engine.open(step.model);
  const outputs = await session.run(feeds);
  await session.close();
  const numbers = (name: string): number[] => Array.from(outputs[name]?.data as Float64Array, Number);
  expect(outputs[step.loss]?.dims).toEqual([]);
  return { value: numbers(step.loss)[0] as number, gradient: numbers('d/x') };
}

function feedsOf(c: Case, dtype: Float): Feeds {
  const { label, target } = c;
  return {
    x: floats(dtype, c.dims, c.x),
    ...(label && {
      label: label.kind === 'tensor' ? floats(dtype, label.dims, label.values) : classes(label.dims, label.values),
    }),
    ...(target && { teacher: floats(dtype, target.dims, target.values) }),
  };
}

function expectClose(actual: readonly number[], wanted: readonly number[], tolerance: number): void {
  expect(actual.length).toBe(wanted.length);
  const scale = Math.max(...wanted.map(Math.abs));
  const worst = Math.max(...wanted.map((w, i) => Math.abs((actual[i] as number) - w)));
  // NaN fails too.
  expect(worst <= tolerance * (scale + 1e-3), `off by ${worst} of ${scale}`).toBe(true);
}

describe.each(golden)('$loss, $name: as PyTorch has it', (c) => {
  it.each([
    ['float64', 1e-9],
    ['float32', 2e-5],
  ] as const)('%s', async (dtype, tolerance) => {
    const loss = (MAKERS[c.loss] as (options: object) => Loss)(c.options);
    const { value, gradient } = await evaluate(loss, parameter(c.dims, dtype), feedsOf(c, dtype));
    expectClose([value], [c.value], tolerance);
    expectClose(gradient, c.gradient, tolerance);
  });
});
