import {
  type AttributeLike,
  type DType,
  dtypeInfo,
  float,
  type Graph,
  type Inference,
  type Node,
  PareError,
  staticShape,
  Tensor,
  type Value,
} from '@pare/core';
import type { ConvChoices } from './conv/choose.js';

/** A value, or a number that stands for a scalar constant of the type of the value beside it. */
export type Term = Value | number;

/**
 * Appends nodes to a graph whose shapes are known, and knows the shape of what it appended. Rules and losses are written with
 * it: `e.mul(g, e.sub(1, e.mul(y, y)))` is the gradient of Tanh.
 */
export class Emitter {
  readonly #constants = new Map<string, Value>();

  /** `choices`: how the gradients of convolutions are computed, where that was measured (`autotune`). */
  constructor(
    readonly graph: Graph,
    readonly inference: Inference,
    readonly choices: ConvChoices = {},
  ) {}

  // ---- what is known ----

  /** @throws PareError `unsupported` when a length is not known before the run. */
  shape(value: Value): readonly number[] {
    const type = this.inference.typeOf(value);
    const dims = type?.kind === 'tensor' ? staticShape(type.shape) : undefined;
    if (dims) return dims;
    const known = type?.kind === 'tensor' && type.shape ? `[${type.shape.map((d) => d ?? '?').join(', ')}]` : 'unknown';
    throw new PareError(
      'unsupported',
      `The shape of "${value.name}" is ${known} before the run, and gradients need every length: give each named dimension ` +
        'a number, and fold shapes that depend on the data.',
    );
  }

  rank(value: Value): number {
    return this.shape(value).length;
  }

  /** Number of elements. */
  size(value: Value): number {
    return this.shape(value).reduce((a, b) => a * b, 1);
  }

  /** @throws PareError `bad-model` when nothing tells the element type. */
  dtype(value: Value): DType {
    const type = this.inference.typeOf(value);
    const dtype = type?.kind === 'tensor' ? type.dtype : undefined;
    if (!dtype) throw new PareError('bad-model', `The element type of "${value.name}" is not known.`);
    return dtype;
  }

  /** The elements of a constant or of a shape computation, when they are known before the run. */
  numbers(value: Value | null | undefined): readonly number[] | undefined {
    if (!value) return undefined;
    const known = this.inference.valuesOf(value);
    return known?.every((v) => typeof v === 'number') ? (known as number[]) : value.constant?.numbers();
  }

  // ---- nodes ----

  /** Appends a node with one output. */
  op(type: string, inputs: readonly (Value | null)[], attributes?: Readonly<Record<string, AttributeLike>>): Value {
    return this.node(type, inputs, attributes).output;
  }

  /** Appends a node with `outputs` outputs. */
  node(
    type: string,
    inputs: readonly (Value | null)[],
    attributes: Readonly<Record<string, AttributeLike>> = {},
    outputs = 1,
  ): Node {
    const hint = (i: number): string => (outputs === 1 ? `${type}_out` : `${type}_out_${i}`);
    const names = Array.from({ length: outputs }, (_, i) => this.graph.freshName(hint(i)));
    const node = this.graph.addNode(type, inputs, { attributes, outputs: names });
    this.inference.extend(node);
    return node;
  }

  // ---- constants: equal ones are made once ----

  constant(dtype: DType, dims: readonly number[], values: readonly (number | bigint)[]): Value {
    const key = `${dtype}[${dims}]${values}`;
    let value = this.#constants.get(key);
    if (!value) {
      value = this.graph.addInitializer('constant', Tensor.of(dtype, dims, values));
      this.#constants.set(key, value);
    }
    return value;
  }

  /** A list of int64, as shapes, axes and paddings are. */
  ints(values: readonly (number | bigint)[]): Value {
    return this.constant('int64', [values.length], values);
  }

  /** A scalar of the element type of `like`. */
  scalar(value: number, like: Value): Value {
    return this.constant(this.dtype(like), [], [value]);
  }

  /** A tensor of `dims` filled with `value`, of the element type of `like`; computed in the run, so it takes no room in the file. */
  fill(dims: readonly number[], value: number, like: Value): Value {
    if (dims.length === 0) return this.scalar(value, like);
    return this.op('ConstantOfShape', [this.ints(dims)], { value: Tensor.of(this.dtype(like), [1], [value]) });
  }

  // ---- arithmetic, with broadcasting ----

  add(a: Term, b: Term): Value {
    return this.#binary('Add', a, b);
  }

  sub(a: Term, b: Term): Value {
    return this.#binary('Sub', a, b);
  }

  mul(a: Term, b: Term): Value {
    return this.#binary('Mul', a, b);
  }

  div(a: Term, b: Term): Value {
    return this.#binary('Div', a, b);
  }

  neg(a: Value): Value {
    return this.op('Neg', [a]);
  }

  exp(a: Value): Value {
    return this.op('Exp', [a]);
  }

  /** `Greater`, `Less`, `GreaterOrEqual`, `LessOrEqual` or `Equal`: a bool tensor. */
  compare(operator: 'Greater' | 'Less' | 'GreaterOrEqual' | 'LessOrEqual' | 'Equal', a: Term, b: Term): Value {
    return this.#binary(operator, a, b);
  }

  /**
   * 1 where `a` > 0, else 0, in the element type of `a`. A steep HardSigmoid, which gives exactly 0 or 1 for every normal
   * number, takes a third of the time of Sign, and less than half that of a comparison and Where (ONNX Runtime 1.30 on
   * x64); it has only a float32 kernel.
   */
  step(a: Value): Value {
    if (this.dtype(a) !== 'float32') return this.cast(this.compare('Greater', a, 0), this.dtype(a));
    return this.op('HardSigmoid', [a], { alpha: float(3.4e38), beta: float(0) });
  }

  where(condition: Value, a: Term, b: Term): Value {
    const like = this.#like(a, b);
    return this.op('Where', [condition, this.#value(a, like), this.#value(b, like)]);
  }

  // ---- shape ----

  reshape(a: Value, dims: readonly number[]): Value {
    const shape = this.shape(a);
    if (shape.length === dims.length && shape.every((d, i) => d === dims[i])) return a;
    // A zero among the lengths must not mean "copy this one".
    return this.op('Reshape', [a, this.ints(dims)], dims.includes(0) ? { allowzero: 1 } : {});
  }

  /** Axis `i` of the result is axis `perm[i]` of `a`. */
  transpose(a: Value, perm: readonly number[]): Value {
    return perm.every((axis, i) => axis === i) ? a : this.op('Transpose', [a], { perm: [...perm] });
  }

  /** Swaps the last two axes. */
  swap(a: Value): Value {
    const rank = this.rank(a);
    return this.transpose(a, [...Array(rank - 2).keys(), rank - 1, rank - 2]);
  }

  expand(a: Value, dims: readonly number[]): Value {
    const shape = this.shape(a);
    if (shape.length === dims.length && shape.every((d, i) => d === dims[i])) return a;
    // ONNX Runtime 1.30 keeps a 1 that should become 0.
    if (dims.includes(0)) return this.fill(dims, 0, a);
    return this.op('Expand', [a, this.ints(dims)]);
  }

  /** Sum over `axes` (negative ones count from the end); no axes, no sum. */
  sum(a: Value, axes: readonly number[], keepdims = true): Value {
    return this.#reduce('ReduceSum', a, axes, keepdims);
  }

  mean(a: Value, axes: readonly number[], keepdims = true): Value {
    return this.#reduce('ReduceMean', a, axes, keepdims);
  }

  /** Elements `starts` to `ends` (exclusive) of `axes`, by `steps` (default 1). */
  slice(
    a: Value,
    axes: readonly number[],
    starts: readonly number[],
    ends: readonly number[],
    steps?: readonly number[],
  ): Value {
    const inputs = [a, this.ints(starts), this.ints(ends), this.ints(axes)];
    return this.op('Slice', steps?.some((s) => s !== 1) ? [...inputs, this.ints(steps)] : inputs);
  }

  /** Zeros around: `before[i]` and `after[i]` of them on axis `i`. */
  pad(a: Value, before: readonly number[], after: readonly number[]): Value {
    return [...before, ...after].every((n) => n === 0) ? a : this.op('Pad', [a, this.ints([...before, ...after])]);
  }

  concat(parts: readonly Value[], axis: number): Value {
    return parts.length === 1 ? (parts[0] as Value) : this.op('Concat', parts, { axis });
  }

  cast(a: Value, to: DType): Value {
    return this.dtype(a) === to ? a : this.op('Cast', [a], { to: dtypeInfo(to).code });
  }

  /** `a` summed to `dims`, from which it was broadcast. */
  sumTo(a: Value, dims: readonly number[]): Value {
    const from = this.shape(a);
    const extra = from.length - dims.length;
    const axes = from.flatMap((d, i) => (i < extra || (dims[i - extra] === 1 && d !== 1) ? [i] : []));
    return this.reshape(this.sum(a, axes), dims);
  }

  #reduce(type: string, a: Value, axes: readonly number[], keepdims: boolean): Value {
    if (axes.length === 0) return a;
    return this.op(type, [a, this.ints(axes)], { keepdims: keepdims ? 1 : 0 });
  }

  #binary(type: string, a: Term, b: Term): Value {
    const like = this.#like(a, b);
    return this.op(type, [this.#value(a, like), this.#value(b, like)]);
  }

  #like(a: Term, b: Term): Value {
    const like = typeof a === 'number' ? b : a;
    if (typeof like === 'number')
      throw new PareError('bad-option', 'An operation needs one value at least, not two numbers.');
    return like;
  }

  #value(term: Term, like: Value): Value {
    return typeof term === 'number' ? this.scalar(term, like) : term;
  }
}
