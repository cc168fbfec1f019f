import { float, type Graph, GraphBuilder, type Model, Tensor, type Value } from '@pare/core';
import { seededUniform } from '../src/equivalent/random-feeds.js';

/** A value of the graph that is being made; the first dimension is the batch, named `n`. */
interface Made {
  readonly value: Value;
  /** Dimensions after the batch. */
  readonly dims: readonly number[];
}

/**
 * A random graph of float32 values, in the style of what exporters write: layers, arithmetic with constants, no-ops, layout
 * changes that go through shape arithmetic, branches, repeated nodes, values that many read, and inner values that are
 * outputs. The same seed gives the same graph.
 */
export function randomModel(seed: number, length: number, opset: number): Model {
  return new RandomGraph(seed, opset).build(length);
}

class RandomGraph {
  readonly #uniform: () => number;
  readonly #b: GraphBuilder;
  readonly #made: Made[] = [];

  constructor(
    seed: number,
    private readonly opset: number,
  ) {
    this.#uniform = seededUniform(seed);
    this.#b = new GraphBuilder({ seed: seed + 1 });
  }

  build(length: number): Model {
    const b = this.#b;
    this.#made.push({ value: b.input('image', 'float32', ['n', 4, 6, 6]), dims: [4, 6, 6] });
    this.#made.push({ value: b.input('row', 'float32', ['n', 8]), dims: [8] });
    for (let i = 0; i < length; i++) this.#step();
    const leaves = this.#made.filter(({ value }) => value.isUnused && !value.isGraphInput);
    const inner = this.#made.filter(({ value }) => !value.isGraphInput && this.#uniform() < 0.05);
    for (const [i, value] of [...new Set([...leaves, ...inner].map((m) => m.value))].entries()) {
      b.output(`out${i}`, value, 'float32');
    }
    return b.model({ opset: this.opset });
  }

  #below(n: number): number {
    return Math.floor(this.#uniform() * n);
  }

  #pick<T>(items: readonly T[]): T {
    return items[this.#below(items.length)] as T;
  }

  /** A value, rather a late one; of `rank` dimensions after the batch when given. */
  #any(rank?: number): Made | undefined {
    const fitting = this.#made.filter((m) => rank === undefined || m.dims.length === rank);
    return fitting[fitting.length - 1 - Math.floor(this.#below(fitting.length) * this.#uniform())];
  }

  #keep(value: Value, dims: readonly number[]): void {
    this.#made.push({ value, dims });
  }

  #numbers(dims: readonly number[], from = -1, to = 1): Tensor {
    const size = dims.reduce((p, d) => p * d, 1);
    return Tensor.of(
      'float32',
      dims,
      Array.from({ length: size }, () => from + (to - from) * this.#uniform()),
    );
  }

  /** Constants along one axis after the batch, or one for all, in some shape that broadcasts. */
  #along(dims: readonly number[], from: number, to: number): Tensor {
    const axis = this.#below(dims.length + 1);
    if (axis === dims.length) return this.#numbers(this.#pick([[], [1], [1, 1]].slice(0, dims.length + 1)), from, to);
    return this.#numbers(
      dims.slice(axis).map((d, i) => (i === 0 ? d : 1)),
      from,
      to,
    );
  }

  #step(): void {
    const steps = [
      this.#unary,
      this.#unary,
      this.#withConstant,
      this.#withConstant,
      this.#binary,
      this.#noOp,
      this.#conv,
      this.#conv,
      this.#norm,
      this.#pool,
      this.#product,
      this.#product,
      this.#layout,
      this.#layout,
      this.#viewByShape,
      this.#slices,
      this.#join,
      this.#activation,
      this.#layerNorm,
      this.#branch,
      this.#loop,
      this.#folded,
      this.#again,
    ];
    this.#pick(steps).call(this);
  }

  #unary(): void {
    const x = this.#any() as Made;
    const op = this.#pick(['Relu', 'Sigmoid', 'Tanh', 'Neg', 'Abs', 'Softplus', 'HardSigmoid', 'Identity', 'Floor']);
    this.#keep(this.#b.op(op, [x.value]), x.dims);
  }

  #withConstant(): void {
    const x = this.#any() as Made;
    const op = this.#pick(['Add', 'Mul', 'Sub', 'Div', 'Max', 'Min']);
    const constant = this.#along(x.dims, op === 'Div' ? 0.5 : -1, 1.5);
    const flipped = op !== 'Div' && this.#uniform() < 0.4;
    this.#keep(this.#b.op(op, flipped ? [constant, x.value] : [x.value, constant]), x.dims);
  }

  #binary(): void {
    const x = this.#any() as Made;
    const other = this.#pick(this.#made.filter((m) => `${m.dims}` === `${x.dims}`));
    this.#keep(this.#b.op(this.#pick(['Add', 'Sub', 'Mul', 'Max']), [x.value, other.value]), x.dims);
  }

  #noOp(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const rank = dims.length + 1;
    const made = this.#pick([
      () => b.op('Dropout', [x]),
      () => b.op('Cast', [b.op('Cast', [x], { to: 11 })], { to: 1 }),
      () => b.op('Mul', [x, Tensor.of('float32', [], [1])]),
      () => b.op('Expand', [x, new Array<number>(rank).fill(1)]),
      () => b.op('Slice', [x, [0], Tensor.of('int64', [1], [2n ** 63n - 1n]), [this.#below(rank)]]),
      () => b.op('Concat', [x], { axis: 0 }),
      () => b.op('Transpose', [x], { perm: Array.from({ length: rank }, (_, i) => i) }),
      () => b.op('Neg', [b.op('Neg', [x])]),
      () => b.op('Pad', [x, new Array<number>(rank * 2).fill(0)]),
    ]);
    this.#keep(made(), dims);
  }

  #conv(): void {
    const x = this.#any(3);
    if (!x) return;
    const [channels = 1, height = 1, width = 1] = x.dims;
    const kernel = Math.min(this.#pick([1, 1, 3]), height, width);
    const isTransposed = this.#uniform() < 0.2;
    const group = channels % 2 === 0 ? this.#pick([1, 2]) : 1;
    const outputs = this.#pick([2, 4]);
    const bias = this.#uniform() < 0.5 ? [this.#numbers([outputs])] : [];
    if (isTransposed) {
      const w = this.#numbers([channels, outputs / group, kernel, kernel]);
      const y = this.#b.op('ConvTranspose', [x.value, w, ...bias], { group });
      this.#keep(y, [outputs, height + kernel - 1, width + kernel - 1]);
      return;
    }
    const pad = this.#pick([0, kernel - 1]);
    const w = this.#numbers([outputs, channels / group, kernel, kernel]);
    const y = this.#b.op('Conv', [x.value, w, ...bias], { group, pads: [pad, 0, 0, pad] });
    this.#keep(y, [outputs, height - kernel + 1 + pad, width - kernel + 1 + pad]);
  }

  #norm(): void {
    const x = this.#any() as Made;
    const c = x.dims[0] as number;
    const parameters = [0.5, -1, -0.5, 0.5].map((from) => this.#numbers([c], from, from + 1));
    this.#keep(this.#b.op('BatchNormalization', [x.value, ...parameters]), x.dims);
  }

  #pool(): void {
    const x = this.#any(3);
    const [c = 0, h = 0, w = 0] = x?.dims ?? [];
    if (!x || h < 3 || w < 3) return;
    const border = this.#pick([[], [Tensor.of('float32', [], [Number.NEGATIVE_INFINITY])]]);
    const isMax = border.length > 0 && this.#uniform() < 0.7;
    const padded = this.#b.op('Pad', [x.value, [0, 0, 1, 0, 0, 0, 0, 1], ...(isMax ? border : [])]);
    const y = this.#b.op(isMax ? 'MaxPool' : 'AveragePool', [padded], { kernel_shape: [2, 2], strides: [2, 2] });
    this.#keep(y, [c, Math.floor((h - 1) / 2) + 1, Math.floor((w - 1) / 2) + 1]);
  }

  #product(): void {
    const x = this.#any() as Made;
    const inner = x.dims.at(-1) as number;
    const columns = this.#pick([3, 8]);
    let y: Value;
    if (x.dims.length === 1 && this.#uniform() < 0.5) {
      const transB = this.#below(2);
      const w = this.#numbers(transB ? [columns, inner] : [inner, columns]);
      y = this.#b.op('Gemm', [x.value, w, this.#numbers([columns])], { transB, alpha: float(this.#pick([1, 0.5])) });
    } else {
      y = this.#b.op('MatMul', [x.value, this.#numbers([inner, columns])]);
      if (this.#uniform() < 0.6) y = this.#b.op('Add', [this.#numbers([columns]), y]);
    }
    this.#keep(y, [...x.dims.slice(0, -1), columns]);
  }

  #layout(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const rank = dims.length;
    const size = dims.reduce((p, d) => p * d, 1);
    const made = this.#pick<() => [Value, readonly number[]] | undefined>([
      () => [b.op('Flatten', [x]), [size]],
      () => [b.op('Reshape', [x, [0, -1]]), [size]],
      () => [b.op('Unsqueeze', [x, [1]]), [1, ...dims]],
      () => [b.op('Unsqueeze', [x, [-1]]), [...dims, 1]],
      () => (dims.includes(1) && rank > 1 ? this.#squeeze(x, dims) : undefined),
      () => (size % 2 === 0 ? [b.op('Reshape', [x, [-1, 2, size / 2]]), [2, size / 2]] : undefined),
      () => {
        const order = dims.map((_, i) => i + 1).sort(() => this.#uniform() - 0.5);
        return [b.op('Transpose', [x], { perm: [0, ...order] }), order.map((axis) => dims[axis - 1] as number)];
      },
    ])();
    if (made && made[1].length <= 4) this.#keep(...made);
  }

  #squeeze(x: Value, dims: readonly number[]): [Value, readonly number[]] {
    const axis = dims.indexOf(1);
    return [this.#b.op('Squeeze', [x, [axis + 1]]), dims.filter((_, i) => i !== axis)];
  }

  /** Reshape to [batch, a, b] by Shape, Gather, arithmetic and Concat. */
  #viewByShape(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const at = (i: number): Value =>
      b.op('Unsqueeze', [b.op('Gather', [b.op('Shape', [x]), Tensor.of('int64', [], [i])]), [0]]);
    const lengths = dims.map((_, i) => at(i + 1));
    const last = lengths.reduce((p, q) => b.op('Mul', [p, q]));
    const shape = b.op('Concat', [at(0), this.#pick([last, b.constant([-1])])], { axis: 0 });
    this.#keep(b.op('Reshape', [x, shape]), [dims.reduce((p, d) => p * d, 1)]);
  }

  #slices(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const axis = this.#below(dims.length);
    const length = dims[axis] as number;
    if (length < 2) return;
    if (length % 2 === 0 && this.#uniform() < 0.4) {
      const half = length / 2;
      const parts = b.node('Split', [x, [half, half]], { axis: axis + 1 }, { outputs: 2 }).outputs as [Value, Value];
      const shape = dims.map((d, i) => (i === axis ? half : d));
      for (const part of parts) this.#keep(part, shape);
      if (this.#uniform() < 0.5) this.#keep(b.op('Concat', parts, { axis: axis + 1 }), dims);
      return;
    }
    const start = this.#below(length - 1);
    const step = this.#pick([1, 1, 2]);
    const y = b.op('Slice', [x, [this.#pick([start, start - length])], [length], [axis + 1], [step]]);
    this.#keep(
      y,
      dims.map((d, i) => (i === axis ? Math.ceil((d - start) / step) : d)),
    );
  }

  #join(): void {
    const x = this.#any() as Made;
    const others = this.#made.filter((m) => `${m.dims}` === `${x.dims}`);
    const [first = 0, ...rest] = x.dims;
    const parts = [x, this.#pick(others), this.#pick(others)].slice(0, 2 + this.#below(2));
    if (first * parts.length > 16) return;
    this.#keep(
      this.#b.op(
        'Concat',
        parts.map((p) => p.value),
        { axis: 1 },
      ),
      [first * parts.length, ...rest],
    );
  }

  #activation(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const num = (v: number): Tensor => Tensor.of('float32', [], [v]);
    const erf = (): Value => b.op('Add', [b.op('Erf', [b.op('Div', [x, num(Math.SQRT2)])]), num(1)]);
    const made = this.#pick([
      () => b.op('Mul', [b.op('Mul', [x, erf()]), num(0.5)]),
      () => b.op('Mul', [x, b.op('Div', [b.op('Clip', [b.op('Add', [x, num(3)]), num(0), num(6)]), num(6)])]),
      () => b.op('Mul', [x, b.op('Tanh', [b.op('Softplus', [x])])]),
      () => b.op('Mul', [x, b.op('Sigmoid', [x])]),
      () => b.op('Clip', [b.op('Relu', [x]), num(-1), num(0.5)]),
      () => b.op('Log', [b.op('Softmax', [b.op('Tanh', [x])])]),
    ]);
    this.#keep(made(), dims);
  }

  #layerNorm(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const mean = (v: Value): Value =>
      this.opset >= 18 ? b.op('ReduceMean', [v, [-1]]) : b.op('ReduceMean', [v], { axes: [-1] });
    const centred = b.op('Sub', [x, mean(x)]);
    const squares = mean(b.op('Pow', [centred, Tensor.of('float32', [], [2])]));
    const root = b.op('Sqrt', [b.op('Add', [squares, Tensor.of('float32', [], [1e-3])])]);
    const scale = this.#numbers([dims.at(-1) as number]);
    this.#keep(b.op('Add', [b.op('Mul', [b.op('Div', [centred, root]), scale]), scale]), dims);
  }

  /** An If whose branches read values from outside; the condition is a constant, a shape or the data. */
  #branch(): void {
    const b = this.#b;
    const x = this.#any() as Made;
    const other = this.#pick(this.#made.filter((m) => `${m.dims}` === `${x.dims}`));
    const arm = (index: number): Graph => {
      const inner = new GraphBuilder({ name: 'branch', outer: b, seed: this.#below(1000) });
      let y = inner.op(this.#pick(['Relu', 'Identity', 'Abs']), [index ? x.value : other.value]);
      if (this.#uniform() < 0.5) y = inner.op('Add', [y, inner.constant(this.#along(x.dims, -1, 1))]);
      return inner.output(b.graph.freshName('branch_out'), y, 'float32').graph;
    };
    const condition = this.#pick([
      () => b.constant(Tensor.of('bool', [], [this.#below(2)])),
      () => b.op('Equal', [b.op('Size', [b.op('Shape', [x.value])]), Tensor.of('int64', [], [3])]),
      () => b.op('Greater', [b.op('ReduceSum', [x.value, null], { keepdims: 0 }), Tensor.of('float32', [], [0])]),
    ]);
    const y = b.op('If', [condition()], { then_branch: arm(0), else_branch: arm(1) });
    this.#keep(y, x.dims);
  }

  /** A Loop that carries a value, reads one from outside, and gives every step of the carried one back, summed. */
  #loop(): void {
    const b = this.#b;
    const x = this.#any() as Made;
    const other = this.#pick(this.#made.filter((m) => `${m.dims}` === `${x.dims}`));
    const body = new GraphBuilder({ name: 'body', outer: b, seed: this.#below(1000) });
    const fresh = (hint: string): string => b.graph.freshName(hint);
    body.input(fresh('iteration'), 'int64', []);
    const goOn = body.input(fresh('condition'), 'bool', []);
    const carried = body.input(fresh('carried'), 'float32');
    const scaled = body.op('Mul', [carried, body.op('Constant', [], { value: this.#numbers([1], 0.5, 1) })]);
    const outside = this.#pick([other.value, body.op('Relu', [other.value])]);
    const sum = body.op('Add', [body.op('Identity', [scaled]), outside]);
    const shape = body.op('Shape', [sum]);
    const kept = body.op('Reshape', [sum, this.#pick([shape, body.op('Identity', [shape])])]);
    body.output(fresh('go_on'), body.op('Identity', [goOn]), 'bool');
    body.output(fresh('next'), kept, 'float32');
    body.output(fresh('step'), body.op('Neg', [body.op('Neg', [kept])]), 'float32');
    const steps = b.constant(Tensor.of('int64', [], [3]));
    const [last, all] = b.node('Loop', [steps, null, x.value], { body: body.graph }, { outputs: 2 }).outputs as [
      Value,
      Value,
    ];
    this.#keep(last, x.dims);
    const summed = this.opset >= 13 ? b.op('ReduceSum', [all, [0]], { keepdims: 0 }) : all;
    this.#keep(summed, x.dims);
  }

  /** Arithmetic on constants, added to a value. */
  #folded(): void {
    const b = this.#b;
    const { value: x, dims } = this.#any() as Made;
    const last = dims.at(-1) as number;
    const table = b.op('Transpose', [b.constant(this.#numbers([last, 3]))], { perm: [1, 0] });
    const chosen = b.op('Gather', [b.op('Exp', [table]), Tensor.of('int64', [], [this.#below(3)])]);
    this.#keep(b.op('Add', [x, b.op('Identity', [chosen])]), dims);
  }

  /** The same node once more. */
  #again(): void {
    const { value, dims } = this.#any() as Made;
    const { producer } = value;
    if (!producer || producer.outputs.length > 1 || producer.subgraphs().length > 0) return;
    const y = this.#b.op(producer.opType, producer.inputs, Object.fromEntries(producer.attributes));
    this.#keep(y, dims);
  }
}
