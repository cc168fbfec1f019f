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
  LOSSES,
  type Loss,
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

const x = [0.5, -1.25, 2, 0.25, 1, -0.75];
const label = classes([2], [2, 0]);
const feeds: Feeds = { x: floats('float64', [2, 3], x), label };

describe('cross-entropy', () => {
  it.each(['Softmax', 'LogSoftmax'])('sees through a %s at the end', async (end) => {
    const plain = await evaluate(crossEntropy(), parameter([2, 3]), feeds);
    const model = parameter([2, 3], 'float64', (b, v) => b.op('Identity', [b.op(end, [v], { axis: 1 })]));
    const seen = await evaluate(crossEntropy(), model, feeds);
    expectClose([seen.value], [plain.value], 1e-12);
    expectClose(seen.gradient, plain.gradient, 1e-12);
  });

  it('is 0, and so is its gradient, where no position counts', async () => {
    const none = { ...feeds, label: classes([2], [-1, -1]) };
    const { value, gradient } = await evaluate(crossEntropy({ ignoreIndex: -1 }), parameter([2, 3]), none);
    expect(value).toBe(0);
    expect(gradient.map(Math.abs)).toEqual(Array(6).fill(0));
  });

  it.each<[string, () => Loss, Model, string]>([
    [
      'a Sigmoid',
      crossEntropy,
      parameter([2, 3], 'float64', (b, v) => b.op('Sigmoid', [v])),
      'Loss "cross-entropy" needs logits, and output "output" ends in Sigmoid: train it with binary cross-entropy.',
    ],
    [
      'a Softmax over another axis',
      crossEntropy,
      parameter([2, 3, 4], 'float64', (b, v) => b.op('Softmax', [v], { axis: -1 })),
      'ends in Softmax over axis -1, but its classes are on axis 1.',
    ],
    [
      'a single column',
      crossEntropy,
      parameter([2, 1]),
      'Loss "cross-entropy" needs two classes at least, and output "output" is [2, 1]: train a single logit with',
    ],
    ['no axis for classes', crossEntropy, parameter([6]), 'needs classes on axis 1, and output "output" is [6].'],
    [
      'weights for other classes',
      () => crossEntropy({ classWeights: [1, 2] }),
      parameter([2, 3]),
      'There are 2 class weights for 3 classes.',
    ],
    [
      'a Softmax under binary cross-entropy',
      binaryCrossEntropy,
      parameter([2, 3], 'float64', (b, v) => b.op('Softmax', [v], { axis: 1 })),
      'ends in Softmax: train it with cross-entropy.',
    ],
    ['embeddings of three axes', triplet, parameter([4, 2, 2]), 'needs embeddings [N, D] with a batch of 3 at least'],
    ['CTC over two axes', ctc, parameter([4, 2]), 'Loss "ctc" needs an output of three axes'],
    ['a blank that is no class', () => ctc({ blank: 5 }), parameter([1, 4, 5]), 'The blank is class 5'],
  ])('refuses %s', async (_, loss, model, message) => {
    await expect(trainingGraph(model, { loss: loss(), inputShapes: {}, parameters: ['x'] })).rejects.toThrow(message);
  });
});

describe('binary cross-entropy', () => {
  it('sees through a Sigmoid at the end', async () => {
    const fed = { x: floats('float64', [2, 3], x), label: floats('float64', [2, 3], [1, 0, 1, 0, 0, 1]) };
    const plain = await evaluate(binaryCrossEntropy(), parameter([2, 3]), fed);
    const model = parameter([2, 3], 'float64', (b, v) => b.op('Sigmoid', [v]));
    expect(await evaluate(binaryCrossEntropy(), model, fed)).toEqual(plain);
  });
});

it.each<[() => unknown, string]>([
  [() => crossEntropy({ labelSmoothing: 1 }), 'Label smoothing is 1'],
  [() => crossEntropy({ classWeights: [1, -1] }), 'Class weights'],
  [() => crossEntropy({ ignoreIndex: 0.5 }), 'The class number to ignore is 0.5'],
  [() => binaryCrossEntropy({ positiveWeight: 0 }), 'The weight of positive answers is 0'],
  [() => huber({ delta: -1 }), "Huber's delta is -1"],
  [() => klDivergence({ temperature: Number.NaN }), 'The temperature is NaN'],
  [() => triplet({ margin: -1 }), 'The margin is -1'],
  [() => combine([]), 'one loss at least'],
  [() => combine([[Number.NaN, mse()]]), 'The weight of loss "mse" is NaN'],
  [() => defineLoss('', () => expect.fail()), 'needs a name'],
  [() => namedLoss('l2'), 'There is no loss "l2"; there are cross-entropy, bce, mse, huber, cosine, triplet, ctc.'],
  [() => namedLoss('toString'), 'There is no loss "toString"'],
])('options: %#', (make, message) => {
  expect(make).toThrow(message);
});

it('gives every named loss', () => {
  for (const name of Object.keys(LOSSES)) expect(namedLoss(name).build).toBeTypeOf('function');
});

describe('combinations', () => {
  it('are the weighted sum, of one label and one teacher', async () => {
    const teacher = floats('float64', [2, 3], [1, 2, -1, 0, 0.5, 0]);
    const parts = [crossEntropy(), klDivergence({ temperature: 3 }), mse({ target: 'teacher' })] as const;
    const model = parameter([2, 3]);
    const [ce, kl, l2] = await Promise.all([
      evaluate(parts[0], model, feeds),
      evaluate(parts[1], model, { x: feeds.x as HostTensor, teacher }),
      evaluate(parts[2], model, { x: feeds.x as HostTensor, teacher }),
    ]);
    const loss = combine([
      [1, parts[0]],
      [0.5, parts[1]],
      [-2, parts[2]],
    ]);
    expect(loss.name).toBe('cross-entropy + 0.5 kl-divergence + -2 mse');
    const sum = await evaluate(loss, model, { ...feeds, teacher });
    const weighted = (a: number, b: number, c: number): number => a + 0.5 * b - 2 * c;
    expectClose([sum.value], [weighted(ce.value, kl.value, l2.value)], 1e-12);
    const gradients = ce.gradient.map((g, i) => weighted(g, kl.gradient[i] as number, l2.gradient[i] as number));
    expectClose(sum.gradient, gradients, 1e-12);
  });
});

describe('a loss of one’s own', () => {
  it('is a few lines', async () => {
    const l1 = defineLoss('l1', ({ emit, output, label }) =>
      emit.mean(emit.op('Abs', [emit.sub(output(), label('tensor'))]), [0, 1], false),
    );
    const truth = floats('float64', [2, 3], [0, 0, 0, 1, 1, 1]);
    const { value, gradient } = await evaluate(l1, parameter([2, 3]), { x: feeds.x as HostTensor, label: truth });
    expectClose([value], [(0.5 + 1.25 + 2 + 0.75 + 0 + 1.75) / 6], 1e-12);
    expectClose(
      gradient,
      [1, -1, 1, -1, 0, -1].map((s) => s / 6),
      1e-12,
    );
  });
  it('must be one number', async () => {
    const wide = defineLoss('wide', ({ output }) => output());
    await expect(trainingGraph(parameter([2, 3]), { loss: wide, inputShapes: {}, parameters: ['x'] })).rejects.toThrow(
      'Loss "wide" is [2, 3] and must be one number (shape []): take the mean over all axes.',
    );
  });
});

describe('a graph as a loss', () => {
  /** mean((output - teacher)^2) - 0.1 * sum(hidden), in an old opset. */
  const graph = (dims: (number | string)[] = ['N', 'D'], name = 'teacher'): Model => {
    const b = new GraphBuilder({ name: 'my loss' });
    const output = b.input('output', 'float64', ['N', 'D']);
    const teacher = b.input(name, 'float64', dims);
    const hidden = b.input('hidden', 'float64');
    const d = b.op('Sub', [output, teacher]);
    const error = b.op('ReduceMean', [b.op('Mul', [d, d])], { axes: [0, 1], keepdims: 1 });
    const tenth = b.constant(Tensor.of('float64', [], [0.1]), 'x');
    const bonus = b.op('Mul', [b.op('ReduceSum', [hidden]), tenth]);
    return b.output('loss', b.op('Sub', [error, bonus])).model({ opset: 13 });
  };
  const model = (): Model =>
    parameter([2, 3], 'float64', (b, v) => {
      const doubled = b.op('Add', [v, v]);
      b.graph.rename(doubled, 'hidden');
      return b.op('Identity', [doubled]);
    });

  it('reads outputs, inner values and what is fed, by name', async () => {
    const loss = await graphLoss(graph());
    expect(loss.name).toBe('my loss');
    const t = [1, 2, -1, 0, 0.5, 0];
    const fed = { x: feeds.x as HostTensor, teacher: floats('float64', [2, 3], t) };
    const { value, gradient } = await evaluate(loss, model(), fed);
    const d = x.map((v, i) => 2 * v - (t[i] as number));
    expectClose([value], [d.reduce((s, v) => s + v * v, 0) / 6 - 0.2 * x.reduce((s, v) => s + v, 0)], 1e-12);
    expectClose(
      gradient,
      d.map((v) => (2 * 2 * v) / 6 - 0.2),
      1e-12,
    );
  });

  it('takes the label, and can be a part of a combination', async () => {
    const loss = combine([
      [0.5, await graphLoss(graph(['N', 'D'], 'label'))],
      [1, mse()],
    ]);
    const fed = { x: feeds.x as HostTensor, label: floats('float64', [2, 3], [0, 0, 0, 0, 0, 0]) };
    const squares = x.reduce((s, v) => s + 4 * v * v, 0) / 6;
    const { value } = await evaluate(loss, model(), fed);
    expectClose([value], [1.5 * squares - 0.1 * x.reduce((s, v) => s + v, 0)], 1e-12);
  });

  it('refuses what does not fit', async () => {
    const build = async (m: Model): Promise<unknown> =>
      trainingGraph(model(), { loss: await graphLoss(m), inputShapes: {}, parameters: ['x'] });
    await expect(build(graph(['N', 'K']))).rejects.toThrow('The model has no value "teacher" for loss "my loss"');
    await expect(build(graph(['D', 'N'], 'label'))).rejects.toThrow(
      'Input "label" of loss "my loss" is float64[D, N], but the model has float64[2, 3] under that name.',
    );
    const two = graph();
    two.graph.addOutput(two.graph.outputs[0] as never);
    await expect(graphLoss(two)).rejects.toThrow('Loss "my loss" has 2 outputs; a loss has one.');
  });
});
