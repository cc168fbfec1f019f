import { PareError, type Value } from '@pare/core';
import type { Emitter } from '../emitter.js';
import { type Adjoint, once } from '../rule.js';

/**
 * One direction of an RNN, GRU or LSTM node, with the states that the forward pass went through. Tensors over time are matrices
 * of T * N rows in order of time, so that products with weights are single ones; what has to walk in time takes them apart.
 */
export class Direction {
  readonly emit: Emitter;
  readonly steps: number;
  readonly batch: number;
  readonly inputSize: number;
  readonly hidden: number;
  readonly #reverse: boolean;

  constructor(
    private readonly op: Adjoint,
    private readonly index: number,
    /** Number of gates: 1, 3 or 4. */
    readonly gates: number,
  ) {
    this.emit = op.emit;
    const [steps, batch, inputSize] = op.shape(0) as [number, number, number];
    this.steps = steps;
    this.batch = batch;
    this.inputSize = inputSize;
    this.hidden = op.shape(2)[2] as number;
    this.#reverse = index === 1 || op.node.string('direction', 'forward') === 'reverse';
  }

  /** Points in time in the order of the computation. */
  get order(): number[] {
    const times = [...Array(this.steps).keys()];
    return this.#reverse ? times.reverse() : times;
  }

  // ---- what goes in ----

  /** [T * N, inputSize] */
  readonly x = once(() => this.emit.reshape(this.op.x(0), [this.steps * this.batch, this.inputSize]));
  /** [gates * H, inputSize] */
  readonly w = once(() => this.#own(this.op.x(1)));
  /** [gates * H, H] */
  readonly r = once(() => this.#own(this.op.x(2)));
  /** The biases of the inputs and of the recurrence, [gates * H] each; null when there are none. */
  readonly biases = once((): readonly [Value, Value] | null => {
    if (!this.op.has(3)) return null;
    const size = this.gates * this.hidden;
    const both = this.#own(this.op.x(3));
    return [this.emit.slice(both, [0], [0], [size]), this.emit.slice(both, [0], [size], [2 * size])];
  });

  /** Input `index`, [directions, ...], of this direction; null when it is left out. */
  optional(index: number): Value | null {
    return this.op.has(index) ? this.#own(this.op.x(index)) : null;
  }

  /** The hidden states that the forward pass has computed, [T * N, H]; 0 after the end of a sequence. */
  readonly states = once(() => this.#alongTime(this.op.extraOutput(0)));

  /** The hidden state before each step, [T * N, H]. */
  readonly previous = once(() => {
    const { emit, batch } = this;
    const rows = this.steps * batch;
    const first = this.optional(5) ?? emit.fill([batch, this.hidden], 0, this.op.x(0));
    if (!this.#reverse) return emit.concat(this.steps > 1 ? [first, this.rows(0, rows - batch)] : [first], 0);
    if (this.steps === 1) return first;
    let later = this.rows(batch, rows);
    // Behind the end of a sequence is the state that it begins with.
    const ended = this.ended();
    if (ended && this.op.has(5)) {
      const repeated = emit.concat(Array<Value>(this.steps - 1).fill(first), 0);
      later = emit.where(emit.slice(ended, [0], [batch], [rows]), repeated, later);
    }
    return emit.concat([later, first], 0);
  });

  private rows(from: number, to: number): Value {
    return this.emit.slice(this.states(), [0], [from], [to]);
  }

  /** Whether the sequence of a row has ended, [T * N, 1]; null when none ends before the last step. */
  readonly ended = once((): Value | null => {
    const { emit, op, steps } = this;
    if (!op.has(4)) return null;
    const lengths = op.x(4);
    if (emit.numbers(lengths)?.every((length) => length === steps)) return null;
    const times = emit.constant('int32', [steps, 1], [...Array(steps).keys()]);
    return emit.reshape(emit.compare('GreaterOrEqual', times, lengths), [steps * this.batch, 1]);
  });

  /** `ended` at each step. */
  readonly endedAt = once((): readonly Value[] | null => {
    const ended = this.ended();
    return ended && this.apart(ended);
  });

  /** `v`, [T * N, ...], but `instead` where the sequence has ended. */
  running(v: Value, instead = 0): Value {
    const ended = this.ended();
    return ended ? this.emit.where(ended, instead, v) : v;
  }

  /** dL/d(state before step `t`) that goes around the step, where the sequence has ended, and `c`. */
  around(t: number, dh: Value, c: Value | null): Value | null {
    const ended = this.endedAt()?.[t];
    return ended ? this.plus(this.emit.where(ended, dh, 0), c) : c;
  }

  // ---- gradients of the outputs ----

  /** Of the hidden state after each step, in order of time, [N, H] each; null where nothing flows. */
  readonly stateGradients = once((): readonly (Value | null)[] => {
    if (!this.op.flows(0)) return Array<null>(this.steps).fill(null);
    return this.apart(this.running(this.#alongTime(this.op.g(0))));
  });

  /** Of the last state: output 1 is the hidden one, output 2 the cell's; [N, H]. */
  lastGradient(output: 1 | 2): Value | null {
    return this.op.flows(output) ? this.#own(this.op.g(output)) : null;
  }

  // ---- time ----

  /**
   * Walks back in time. `step(t, dh)` is given dL/dh of the hidden state after step `t` and returns what adds dL/d(state before
   * it) to `c`, [N, H]. Returns what emits dL/d(initial state).
   */
  walk(step: (t: number, dh: Value) => (c: Value | null) => Value): () => Value {
    const backwards = this.order.reverse();
    const gradients = this.stateGradients();
    const at = (i: number): Value | null => gradients[backwards[i] as number] ?? null;
    let dh = this.plus(at(0), this.lastGradient(1)) ?? this.emit.fill([this.batch, this.hidden], 0, this.op.x(0));
    for (const [i, t] of backwards.entries()) {
      const before = step(t, dh);
      if (i === this.steps - 1) return () => before(null);
      dh = before(at(i + 1));
    }
    throw new PareError('unsupported', `${this.op.node.label} has a sequence of no steps, which has no gradient.`);
  }

  /** The matrices [N, ...] of the steps of [T * N, ...]. */
  apart(v: Value): readonly Value[] {
    if (this.steps === 1) return [v];
    const sizes = this.emit.ints(Array<number>(this.steps).fill(this.batch));
    return this.emit.node('Split', [v, sizes], { axis: 0 }, this.steps).outputs as Value[];
  }

  /** The matrix [T * N, ...] of its steps. */
  together(parts: readonly Value[]): Value {
    return this.emit.concat(parts, 0);
  }

  // ---- algebra ----

  /** The blocks of `H` columns of a matrix. */
  blocks(v: Value, count: number): readonly Value[] {
    if (count === 1) return [v];
    const sizes = this.emit.ints(Array<number>(count).fill(this.hidden));
    return this.emit.node('Split', [v, sizes], { axis: 1 }, count).outputs as Value[];
  }

  /** a bᵀ + c */
  timesTransposed(a: Value, b: Value, c: Value | null): Value {
    return this.emit.op('Gemm', [a, b, c], { transB: 1 });
  }

  /** a b + c */
  times(a: Value, b: Value, c: Value | null): Value {
    return this.emit.op('Gemm', [a, b, c]);
  }

  /** aᵀ b */
  outer(a: Value, b: Value): Value {
    return this.emit.op('Gemm', [a, b], { transA: 1 });
  }

  plus(a: Value | null, b: Value | null): Value | null {
    return a && b ? this.emit.add(a, b) : (a ?? b);
  }

  // ---- activation functions ----

  /** Function `i` of this direction, by name. @throws PareError `unsupported` for one without a rule. */
  activation(i: number, defaults: readonly string[]): Activation {
    const names = this.op.node.attribute('activations', 'strings') ?? [];
    const name = String(names[this.index * defaults.length + i] ?? defaults[i]);
    const found = Object.keys(ACTIVATIONS).find((known) => known.toLowerCase() === name.toLowerCase());
    if (!found) {
      throw new PareError(
        'unsupported',
        `${this.op.node.label} has no gradient with activation "${name}", only with ${Object.keys(ACTIVATIONS).join(', ')}.`,
      );
    }
    const slope = ACTIVATIONS[found] as (y: Value, emit: Emitter) => Value;
    return { of: (v) => this.emit.op(found, [v]), slope: (y) => slope(y, this.emit) };
  }

  /** [directions, ...] without its first axis. */
  #own(v: Value): Value {
    const { emit } = this;
    const [directions, ...rest] = emit.shape(v) as [number, ...number[]];
    const own = directions === 1 ? v : emit.slice(v, [0], [this.index], [this.index + 1]);
    return emit.reshape(own, rest);
  }

  /** [T, directions, N, H] as [T * N, H]. */
  #alongTime(v: Value): Value {
    const { emit } = this;
    const own = emit.shape(v)[1] === 1 ? v : emit.slice(v, [1], [this.index], [this.index + 1]);
    return emit.reshape(own, [this.steps * this.batch, this.hidden]);
  }
}

/** An activation function and its derivative in terms of its result. */
export interface Activation {
  of(x: Value): Value;
  slope(y: Value): Value;
}

const ACTIVATIONS: Readonly<Record<string, (y: Value, emit: Emitter) => Value>> = {
  Sigmoid: (y, e) => e.mul(y, e.sub(1, y)),
  Tanh: (y, e) => e.sub(1, e.mul(y, y)),
  Relu: (y, e) => e.op('Sign', [y]),
};

/** What a walk back in time through one direction gives. */
export interface Walk {
  /** dL/d(x Wᵀ + b of the input), [T * N, gates * H] */
  readonly inputs: () => Value;
  /** dL/d(h Rᵀ + b of the recurrence), [T * N, gates * H] */
  readonly recurrent: () => Value;
  /** dL/dR, when it is not that of a product with `previous`. */
  readonly r?: () => Value;
  /** dL/d(initial hidden state), [N, H] */
  readonly h: () => Value;
  /** dL/d(initial cell), [N, H] */
  readonly c?: () => Value;
  /** dL/d(peepholes), [3 * H] */
  readonly p?: () => Value;
}
