import { type AttributeLike, GraphBuilder, type HostTensor, type Model, Tensor, type Value } from '@pare/core';
import { nodeEngine } from '@pare/core/node';
import { afterAll, describe, expect, it } from 'vitest';
import { checkGradient, expression } from '../../../test/check-gradient.js';
import { compareGradients } from '../../../test/compare-gradients.js';

const engine = nodeEngine();
afterAll(() => engine.close());

type Kind = 'RNN' | 'GRU' | 'LSTM';

interface Case {
  readonly kind: Kind;
  readonly direction?: 'forward' | 'reverse' | 'bidirectional';
  readonly steps?: number;
  readonly batch?: number;
  /** Inputs after X, W and R. */
  readonly with?: readonly ('B' | 'h' | 'c' | 'P')[];
  /** Lengths of the sequences, as a constant or fed. */
  readonly lengths?: readonly number[];
  readonly fed?: boolean;
  readonly linear?: boolean;
  readonly activations?: readonly string[];
  /** Outputs that the loss reads; default all. */
  readonly outputs?: readonly number[];
}

const [INPUTS, HIDDEN] = [3, 4];
const GATES: Readonly<Record<Kind, number>> = { RNN: 1, GRU: 3, LSTM: 4 };

function shapes(test: Case): Record<string, readonly number[]> {
  const { kind, steps = 3, batch = 2 } = test;
  const directions = test.direction === 'bidirectional' ? 2 : 1;
  const gates = GATES[kind] * HIDDEN;
  const all: Record<string, readonly number[]> = {
    X: [steps, batch, INPUTS],
    W: [directions, gates, INPUTS],
    R: [directions, gates, HIDDEN],
    B: [directions, 2 * gates],
    h: [directions, batch, HIDDEN],
    c: [directions, batch, HIDDEN],
    P: [directions, 3 * HIDDEN],
  };
  const present = ['X', 'W', 'R', ...(test.with ?? ['B', 'h', ...(kind === 'LSTM' ? ['c'] : [])])];
  return Object.fromEntries(Object.entries(all).filter(([name]) => present.includes(name)));
}

/** The operator itself, in float32: ONNX Runtime has no other. */
function operator(test: Case): Model {
  const b = new GraphBuilder();
  const { kind } = test;
  const count = kind === 'LSTM' ? 3 : 2;
  const attributes: Record<string, AttributeLike> = { hidden_size: HIDDEN };
  if (test.direction) attributes.direction = test.direction;
  if (test.linear) attributes.linear_before_reset = 1;
  if (test.activations) attributes.activations = [...test.activations];
  return expression(
    b,
    shapes(test),
    ({ X, W, R, B, h, c, P }) => {
      const { lengths } = test;
      const constant = lengths ? b.constant(Tensor.of('int32', [lengths.length], lengths)) : null;
      const given = test.fed ? b.input('lengths', 'int32', [lengths!.length]) : constant;
      const wanted = test.outputs ?? [...Array(count).keys()];
      const inputs = [X!, W!, R!, B ?? null, given, h ?? null, c ?? null, P ?? null];
      const node = b.node(kind, inputs, attributes, { outputs: count });
      for (const i of node.outputs.keys()) if (!wanted.includes(i)) node.setOutput(i, null);
      return wanted.map((i) => node.outputs[i]!);
    },
    { dtype: 'float32' },
  );
}

/** The same step by step in elementary operators, as the specification writes it, in float64. */
function reference(test: Case): Model {
  const b = new GraphBuilder();
  const { kind, steps = 3, batch = 2, lengths } = test;
  const ofShapes = shapes(test);
  return expression(b, ofShapes, ({ X, W, R, B, h, c, P }) => {
    const op =
      (type: string) =>
      (...inputs: (Value | Tensor)[]): Value =>
        b.op(type, inputs);
    const [add, sub, mul, matmul] = [op('Add'), op('Sub'), op('Mul'), op('MatMul')];
    const at = (v: Value, i: number): Value => b.op('Gather', [v, Tensor.of('int64', [], [i])], { axis: 0 });
    const columns = (v: Value, i: number, n = HIDDEN): Value => b.op('Slice', [v, [i * n], [(i + 1) * n], [-1]]);
    const transposed = (v: Value): Value => b.op('Transpose', [v]);
    const one = Tensor.of('float64', [], [1]);
    const zeros = b.constant(Tensor.of('float64', [batch, HIDDEN], new Float64Array(batch * HIDDEN)));
    if (test.fed) b.input('lengths', 'int32', [batch]);

    const each = Array.from({ length: test.direction === 'bidirectional' ? 2 : 1 }, (_, direction) => {
      const defaults = { RNN: ['Tanh'], GRU: ['Sigmoid', 'Tanh'], LSTM: ['Sigmoid', 'Tanh', 'Tanh'] }[kind];
      const names = test.activations?.slice(direction * defaults.length) ?? defaults;
      const [f, g, k] = [0, 1, 2].map((i) => op(names[i] ?? 'Tanh')) as ((v: Value) => Value)[];
      const [w, r] = [transposed(at(W!, direction)), transposed(at(R!, direction))];
      const half = GATES[kind] * HIDDEN;
      const bias = (i: number): Value =>
        B ? columns(at(B, direction), i, half) : b.constant(Tensor.of('float64', [half], new Float64Array(half)));
      let hidden = h ? at(h, direction) : zeros;
      let cell = c ? at(c, direction) : zeros;
      const peep = (i: number): Value => (P ? columns(at(P, direction), i) : zeros);
      const states: Value[] = [];
      const times = [...Array(steps).keys()];
      const reverse = direction === 1 || test.direction === 'reverse';
      for (const t of reverse ? times.reverse() : times) {
        const fromX = add(matmul(at(X!, t), w!), bias(0));
        const fromH = add(matmul(hidden, r!), bias(1));
        const a = add(fromX, fromH);
        let next = cell;
        let out: Value;
        if (kind === 'RNN') out = f!(a);
        else if (kind === 'GRU') {
          const [z, reset] = [f!(columns(a, 0)), f!(columns(a, 1))];
          const q = test.linear
            ? mul(reset, columns(fromH, 2))
            : add(matmul(mul(reset, hidden), columns(r!, 2)), columns(bias(1), 2));
          const n = g!(add(columns(fromX, 2), q));
          out = add(mul(sub(one, z), n), mul(z, hidden));
        } else {
          const i = f!(add(columns(a, 0), mul(peep(0), cell)));
          const forget = f!(add(columns(a, 2), mul(peep(2), cell)));
          next = add(mul(forget, cell), mul(i, g!(columns(a, 3))));
          const o = f!(add(columns(a, 1), mul(peep(1), next)));
          out = mul(o, k!(next));
        }
        const runs = Array.from({ length: batch }, (_, n) => (t < (lengths?.[n] ?? steps) ? 1 : 0));
        const running = b.constant(Tensor.of('bool', [batch, 1], runs));
        states[t] = b.op('Where', [running, out, zeros]);
        hidden = b.op('Where', [running, out, hidden]);
        cell = b.op('Where', [running, next, cell]);
      }
      const unsqueeze = (v: Value): Value => b.op('Unsqueeze', [v, [0]]);
      return [b.op('Concat', states.map(unsqueeze), { axis: 0 }), hidden, cell] as const;
    });
    const joined = (i: number, axis: number): Value =>
      b.op(
        'Concat',
        each.map((parts) => b.op('Unsqueeze', [parts[i]!, [axis]])),
        { axis },
      );
    const all = [joined(0, 1), joined(1, 0), ...(kind === 'LSTM' ? [joined(2, 0)] : [])];
    return (test.outputs ?? [...all.keys()]).map((i) => all[i]!);
  });
}

async function check(test: Case): Promise<void> {
  const feeds: Record<string, HostTensor> = {};
  const { lengths } = test;
  if (test.fed) feeds.lengths = { dtype: 'int32', dims: [lengths!.length], data: Int32Array.from(lengths!) };
  const wrt = Object.keys(shapes(test));
  expect(await compareGradients(engine, operator(test), reference(test), { feeds, wrt })).toBeLessThan(2e-5);
}

const DIRECTIONS = ['forward', 'reverse', 'bidirectional'] as const;

describe.each(['RNN', 'GRU', 'LSTM'] as const)('%s', (kind) => {
  it.each(DIRECTIONS)('%s', (direction) => check({ kind, direction }));
  it('without bias and initial states', () => check({ kind, with: [] }));
  it('of one step, of one row', async () => {
    await check({ kind, steps: 1, direction: 'bidirectional' });
    await check({ kind, batch: 1 });
  });
  it.each(DIRECTIONS)('with sequences that end early, %s', async (direction) => {
    await check({ kind, direction, lengths: [3, 1, 2], batch: 3 });
    await check({ kind, direction, lengths: [2, 1], fed: true, with: ['B'] });
  });
  it('with lengths that are all the whole', () => check({ kind, lengths: [3, 3] }));
  it('when only one output is read', async () => {
    await check({ kind, outputs: [0] });
    await check({ kind, outputs: [1], direction: 'bidirectional' });
  });
});

describe('LSTM', () => {
  it.each(DIRECTIONS)('with peepholes, %s', (direction) =>
    check({ kind: 'LSTM', direction, with: ['B', 'h', 'c', 'P'] }),
  );
  it('with peepholes and sequences that end early', () =>
    check({ kind: 'LSTM', direction: 'bidirectional', lengths: [1, 3], with: ['B', 'P'] }));
  it('when only the cell is read', () => check({ kind: 'LSTM', outputs: [2] }));
  it('with other activations', () => check({ kind: 'LSTM', activations: ['Sigmoid', 'Relu', 'Tanh'] }));
});

describe('GRU', () => {
  it.each(DIRECTIONS)('with linear_before_reset, %s', async (direction) => {
    await check({ kind: 'GRU', direction, linear: true });
    await check({ kind: 'GRU', direction, linear: true, lengths: [1, 3], with: [] });
  });
});

describe('RNN', () => {
  it('with other activations', () =>
    check({ kind: 'RNN', activations: ['Relu', 'Sigmoid'], direction: 'bidirectional' }));
});

describe('the reference', () => {
  it('has the gradients of difference quotients', async () => {
    await checkGradient(
      engine,
      reference({ kind: 'LSTM', direction: 'bidirectional', with: ['B', 'h', 'c', 'P'], lengths: [1, 3] }),
      { samples: 6 },
    );
  });
});

describe('what is not covered', () => {
  const lstm = (attributes: Readonly<Record<string, AttributeLike>>): Model => {
    const b = new GraphBuilder();
    return expression(
      b,
      { x: [2, 1, 3], w: [1, 16, 3], r: [1, 16, 4] },
      ({ x, w, r }) => b.op('LSTM', [x!, w!, r!], { hidden_size: 4, ...attributes }),
      { dtype: 'float32' },
    );
  };
  it.each([
    [{ input_forget: 1 }, /coupled input and forget/],
    [{ clip: { type: 'float', value: 3 } }, /no gradient with clip/],
    [{ activations: ['HardSigmoid', 'Tanh', 'Tanh'] }, /activation "HardSigmoid"/],
  ] as [Record<string, AttributeLike>, RegExp][])('%j', async (attributes, message) => {
    await expect(checkGradient(engine, lstm(attributes))).rejects.toThrow(message);
  });
});
