import { type DType, float, GraphBuilder, type HostTensor, type Model, Tensor, type Value } from '@pare/core';

/** A network of golden/networks.py: its graph with the loss, and what to feed it. Parameters are inputs. */
export interface GoldenNetwork {
  readonly model: Model;
  readonly feeds: Readonly<Record<string, HostTensor>>;
  readonly parameters: readonly string[];
}

/** Draws the same numbers in the same order as golden/networks.py, and writes the same networks as graphs. */
class Stream {
  readonly b = new GraphBuilder();
  readonly feeds: Record<string, HostTensor> = {};
  readonly parameters: string[] = [];
  #state = 1;

  constructor(readonly dtype: 'float32' | 'float64') {}

  values(dims: readonly number[], scale: number): number[] {
    return Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
      return ((this.#state >>> 8) / 2 ** 23 - 1) * scale;
    });
  }

  input(name: string, dims: readonly number[], values: readonly number[]): Value {
    const data = this.dtype === 'float64' ? Float64Array.from(values) : Float32Array.from(values);
    this.feeds[name] = { dtype: this.dtype, dims, data };
    return this.b.input(name, this.dtype, dims);
  }

  weight(name: string, dims: readonly number[], scale: number): Value {
    this.parameters.push(name);
    return this.input(name, dims, this.values(dims, scale));
  }

  constant(dims: readonly number[], values: readonly number[]): Tensor {
    return Tensor.of(this.dtype as DType, dims, values);
  }

  scalar(value: number): Tensor {
    return this.constant([], [value]);
  }

  op(type: string, inputs: readonly (Value | Tensor | number[])[], attributes = {}): Value {
    return this.b.op(type, inputs, attributes);
  }

  conv(
    name: string,
    x: Value,
    inputs: number,
    outputs: number,
    kernel: number,
    { stride = 1, groups = 1, pad = (kernel - 1) / 2, bias = false } = {},
  ): Value {
    const operands = [x, this.weight(`${name}.weight`, [outputs, inputs / groups, kernel, kernel], 0.25)];
    if (bias) operands.push(this.weight(`${name}.bias`, [outputs], 0.125));
    return this.op('Conv', operands, { group: groups, strides: [stride, stride], pads: [pad, pad, pad, pad] });
  }

  scale(name: string, width: number): Value {
    return this.op('Add', [this.weight(`${name}.scale`, [width], 0.25), this.scalar(1)]);
  }

  norm(name: string, x: Value, channels: number): Value {
    const [scale, bias] = [this.scale(name, channels), this.weight(`${name}.bias`, [channels], 0.25)];
    const [mean, variance] = [0, 1].map((v) => this.constant([channels], new Array<number>(channels).fill(v)));
    const attributes = { training_mode: 1, momentum: float(0), epsilon: float(1e-5) };
    const inputs = [x, scale, bias, mean as Tensor, variance as Tensor];
    return this.b.node('BatchNormalization', inputs, attributes, { outputs: 3 }).output;
  }

  linear(name: string, x: Value, inputs: number, outputs: number): Value {
    const product = this.op('MatMul', [x, this.weight(`${name}.weight`, [inputs, outputs], 0.25)]);
    return this.op('Add', [product, this.weight(`${name}.bias`, [outputs], 0.125)]);
  }

  layerNorm(name: string, x: Value, width: number): Value {
    const inputs = [x, this.scale(name, width), this.weight(`${name}.bias`, [width], 0.25)];
    return this.op('LayerNormalization', inputs, { axis: -1, epsilon: float(1e-5) });
  }

  pooled(x: Value): Value {
    return this.op('ReduceMean', [x, [2, 3]], { keepdims: 0 });
  }

  /** The network with the mean cross-entropy to the labels 0, 1, 2, ... of its five classes. */
  finish(logits: Value, batch: number): GoldenNetwork {
    const target = Array.from({ length: 5 * batch }, (_, i) => (i % 5 === Math.floor(i / 5) % 5 ? -1 / batch : 0));
    const terms = this.op('Mul', [this.op('LogSoftmax', [logits], { axis: -1 }), this.constant([batch, 5], target)]);
    this.b.output('loss', this.op('ReduceSum', [terms], { keepdims: 0 }));
    return { model: this.b.model(), feeds: this.feeds, parameters: this.parameters };
  }
}

function lenet(s: Stream): GoldenNetwork {
  const pool = (x: Value): Value => s.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
  let x = s.input('x', [4, 1, 16, 16], s.values([4, 1, 16, 16], 1));
  x = pool(s.op('Tanh', [s.conv('conv1', x, 1, 4, 5, { bias: true })]));
  x = pool(s.op('Tanh', [s.conv('conv2', x, 4, 8, 5, { pad: 0, bias: true })]));
  x = s.op('Tanh', [s.linear('fc1', s.op('Flatten', [x]), 32, 24)]);
  return s.finish(s.linear('fc2', x, 24, 5), 4);
}

function resnet(s: Stream, widths: readonly number[], blocks: number): GoldenNetwork {
  const relu = (x: Value): Value => s.op('Relu', [x]);
  let channels = widths[0] as number;
  let x = s.input('x', [4, 3, 12, 12], s.values([4, 3, 12, 12], 1));
  x = relu(s.norm('bn', s.conv('conv', x, 3, channels, 3), channels));
  for (const [i, width] of widths.entries()) {
    for (let j = 0; j < blocks; j++) {
      const name = `${i}.${j}`;
      const stride = i > 0 && j === 0 ? 2 : 1;
      let y = relu(s.norm(`${name}.bn1`, s.conv(`${name}.conv1`, x, channels, width, 3, { stride }), width));
      y = s.norm(`${name}.bn2`, s.conv(`${name}.conv2`, y, width, width, 3), width);
      if (stride !== 1 || channels !== width) {
        x = s.norm(`${name}.bn3`, s.conv(`${name}.conv3`, x, channels, width, 1, { stride }), width);
      }
      x = relu(s.op('Add', [x, y]));
      channels = width;
    }
  }
  return s.finish(s.linear('fc', s.pooled(x), channels, 5), 4);
}

function mobilenet(s: Stream): GoldenNetwork {
  const silu = (x: Value): Value => s.op('Mul', [x, s.op('Sigmoid', [x])]);
  let x = s.input('x', [4, 3, 12, 12], s.values([4, 3, 12, 12], 1));
  x = silu(s.norm('bn', s.conv('conv', x, 3, 8, 3), 8));
  let channels = 8;
  for (const [i, [width, stride]] of (
    [
      [8, 1],
      [12, 2],
      [12, 1],
    ] as const
  ).entries()) {
    const hidden = 3 * channels;
    let y = silu(s.norm(`${i}.bn1`, s.conv(`${i}.conv1`, x, channels, hidden, 1), hidden));
    y = silu(s.norm(`${i}.bn2`, s.conv(`${i}.conv2`, y, hidden, hidden, 3, { stride, groups: hidden }), hidden));
    y = s.norm(`${i}.bn3`, s.conv(`${i}.conv3`, y, hidden, width, 1), width);
    x = stride === 1 && channels === width ? s.op('Add', [x, y]) : y;
    channels = width;
  }
  return s.finish(s.linear('fc', s.pooled(x), channels, 5), 4);
}

function transformer(s: Stream): GoldenNetwork {
  const [batch, length, width, heads] = [3, 7, 16, 2];
  const drawn = s.values([batch, length], 1).map((v) => Math.floor(v * 8 + 8));
  const ids = s.b.constant(Tensor.of('int64', [batch, length], drawn));
  let x = s.op('Gather', [s.weight('tokens', [16, width], 1), ids]);
  x = s.op('Add', [x, s.weight('positions', [length, width], 0.25)]);
  const split = (v: Value, perm: readonly number[]): Value =>
    s.op('Transpose', [s.op('Reshape', [v, [batch, length, heads, width / heads]])], { perm });
  for (let i = 0; i < 2; i++) {
    const n = s.layerNorm(`${i}.norm1`, x, width);
    const q = split(s.linear(`${i}.query`, n, width, width), [0, 2, 1, 3]);
    const k = split(s.linear(`${i}.key`, n, width, width), [0, 2, 3, 1]);
    const v = split(s.linear(`${i}.value`, n, width, width), [0, 2, 1, 3]);
    const scores = s.op('Div', [s.op('MatMul', [q, k]), s.scalar(Math.sqrt(width / heads))]);
    const mixed = s.op('MatMul', [s.op('Softmax', [scores], { axis: -1 }), v]);
    const joined = s.op('Reshape', [s.op('Transpose', [mixed], { perm: [0, 2, 1, 3] }), [batch, length, width]]);
    x = s.op('Add', [x, s.linear(`${i}.output`, joined, width, width)]);
    const inner = gelu(s, s.linear(`${i}.up`, s.layerNorm(`${i}.norm2`, x, width), width, 32));
    x = s.op('Add', [x, s.linear(`${i}.down`, inner, 32, width)]);
  }
  const mean = s.op('ReduceMean', [s.layerNorm('norm', x, width), [1]], { keepdims: 0 });
  return s.finish(s.linear('fc', mean, width, 5), batch);
}

/** The tanh form, in operators that the runtime has in float64. */
function gelu(s: Stream, x: Value): Value {
  const cube = s.op('Mul', [s.op('Mul', [x, x]), x]);
  const inner = s.op('Add', [x, s.op('Mul', [cube, s.scalar(0.044715)])]);
  const tanh = s.op('Tanh', [s.op('Mul', [inner, s.scalar(Math.sqrt(2 / Math.PI))])]);
  return s.op('Mul', [s.op('Mul', [x, s.scalar(0.5)]), s.op('Add', [tanh, s.scalar(1)])]);
}

function lstm(s: Stream): GoldenNetwork {
  const [batch, length, inputs, hidden] = [3, 6, 5, 8];
  const x = s.input('x', [length, batch, inputs], s.values([length, batch, inputs], 1));
  const w = s.weight('w', [1, 4 * hidden, inputs], 0.5);
  const r = s.weight('r', [1, 4 * hidden, hidden], 0.25);
  const b = s.weight('b', [1, 8 * hidden], 0.25);
  // The runtime has no LSTM in float64: there it is written out.
  const last =
    s.dtype === 'float64' ? unrolled(s, [x, w, r, b], [batch, length, hidden]) : recurrent(s, [x, w, r, b], hidden);
  return s.finish(s.linear('fc', s.op('Reshape', [last, [batch, hidden]]), hidden, 5), batch);
}

function recurrent(s: Stream, inputs: readonly Value[], hidden: number): Value {
  return s.b.node('LSTM', inputs, { hidden_size: hidden }, { outputs: 2 }).outputs[1] as Value;
}

function unrolled(s: Stream, inputs: readonly Value[], dims: readonly [number, number, number]): Value {
  const [x, w, r, b] = inputs as [Value, Value, Value, Value];
  const [batch, length, hidden] = dims;
  const transposed = (v: Value): Value => s.op('Transpose', [s.op('Squeeze', [v, [0]])], { perm: [1, 0] });
  const [wt, rt] = [transposed(w), transposed(r)];
  const halves = s.op('Reshape', [b, [2, 4 * hidden]]);
  const bias = s.op('ReduceSum', [halves, [0]], { keepdims: 0 });
  const zeros = s.b.constant(s.constant([batch, hidden], new Array<number>(batch * hidden).fill(0)));
  let [h, c] = [zeros, zeros];
  for (let t = 0; t < length; t++) {
    const step = s.op('Gather', [x, Tensor.of('int64', [], [t])]);
    const sum = s.op('Add', [s.op('MatMul', [step, wt]), s.op('MatMul', [h, rt])]);
    const gates = s.b.node('Split', [s.op('Add', [sum, bias])], { axis: 1, num_outputs: 4 }, { outputs: 4 });
    const [i, o, f, g] = gates.outputs as [Value, Value, Value, Value];
    const kept = s.op('Mul', [s.op('Sigmoid', [f]), c]);
    c = s.op('Add', [kept, s.op('Mul', [s.op('Sigmoid', [i]), s.op('Tanh', [g])])]);
    h = s.op('Mul', [s.op('Sigmoid', [o]), s.op('Tanh', [c])]);
  }
  return h;
}

/** The networks by their names in golden/networks.json. */
export const GOLDEN_NETWORKS: Readonly<Record<string, (dtype: 'float32' | 'float64') => GoldenNetwork>> = {
  lenet: (dtype) => lenet(new Stream(dtype)),
  resnet8: (dtype) => resnet(new Stream(dtype), [4, 8, 16], 1),
  resnet20: (dtype) => resnet(new Stream(dtype), [2, 4, 6], 3),
  mobilenet: (dtype) => mobilenet(new Stream(dtype)),
  transformer: (dtype) => transformer(new Stream(dtype)),
  lstm: (dtype) => lstm(new Stream(dtype)),
};
