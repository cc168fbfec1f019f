import { GraphBuilder, type Model, type Random, seededRandom, Tensor, type Value } from '@pare/core';

/** A picture [n, c, h, w], or words [n, t, c]. */
interface Stream {
  readonly value: Value;
  readonly channels: number;
  readonly size: number;
}

/**
 * A random trained-looking network: for pictures (`image`) or for words (`ids`), of blocks that real networks are made of. All
 * weights are constants, the last layer gives 5 numbers. The same seed gives the same network.
 */
export function randomNetwork(seed: number, kind: 'image' | 'words', blocks: number): Model {
  return kind === 'image' ? new Pictures(seed).build(blocks) : new Words(seed).build(blocks);
}

abstract class Network {
  protected readonly b: GraphBuilder;
  protected readonly random: Random;

  constructor(seed: number) {
    this.random = seededRandom(seed);
    this.b = new GraphBuilder({ seed: seed * 1000 + 7 });
  }

  protected pick<T>(items: readonly T[]): T {
    return items[this.random.integer(items.length)] as T;
  }

  protected vector(n: number, more: readonly number[] = []): Value {
    return this.b.random([n, ...more], { scale: 0.5 });
  }

  protected positive(n: number): Value {
    const data = Array.from({ length: n }, () => 0.5 + this.random.uniform());
    return this.b.constant(Tensor.of('float32', [n], data));
  }

  protected activation(x: Value): Value {
    return this.b.op(this.pick(['Relu', 'Sigmoid', 'Tanh', 'Elu', 'Softplus', 'HardSwish']), [x]);
  }
}

class Pictures extends Network {
  build(blocks: number): Model {
    const { b } = this;
    let x: Stream = { value: b.input('image', 'float32', ['n', 3, 8, 8]), channels: 3, size: 8 };
    x = this.norm(this.conv(x, 8));
    for (let i = 0; i < blocks; i++) x = this.block(x);
    const flat = this.pick([
      () => this.pooledHead(x),
      () => ({ value: b.op('Flatten', [x.value]), channels: x.channels * x.size ** 2, size: 1 }),
      () => ({ value: b.op('Reshape', [x.value, [0, -1]]), channels: x.channels * x.size ** 2, size: 1 }),
    ])();
    const hidden = this.activation(b.op('Gemm', [flat.value, b.random([flat.channels, 6]), this.vector(6)]));
    const y = b.op('Gemm', [hidden, b.random([5, 6]), this.vector(5)], { transB: 1 });
    return b.output('y', y, 'float32', ['n', 5]).model({ opset: 18 });
  }

  private pooledHead(x: Stream): Stream {
    const pooled = this.b.op('GlobalAveragePool', [x.value]);
    const value = this.pick([
      () => this.b.op('Flatten', [pooled]),
      () => this.b.op('Squeeze', [pooled, [2, 3]]),
      () => this.b.op('Reshape', [pooled, [-1, x.channels]]),
      () => this.b.op('ReduceMean', [x.value, [2, 3]], { keepdims: 0 }),
    ])();
    return { value, channels: x.channels, size: 1 };
  }

  private block(x: Stream): Stream {
    return this.pick([
      this.plain,
      this.residual,
      this.inverted,
      this.dense,
      this.shuffled,
      this.halves,
      this.grouped,
      this.transposed,
      this.resized,
      this.padded,
      this.reordered,
      this.lowered,
      this.arithmetic,
    ]).call(this, x);
  }

  private conv(x: Stream, to: number, more: { k?: number; group?: number } = {}): Stream {
    const { k = this.pick([1, 3]), group = 1 } = more;
    const inputs = [x.value, this.b.random([to, x.channels / group, k, k])];
    if (this.random.uniform() < 0.5) inputs.push(this.vector(to));
    const pads = new Array(4).fill((k - 1) / 2);
    return { ...x, value: this.b.op('Conv', inputs, { pads, group }), channels: to };
  }

  private norm(x: Stream): Stream {
    const { b } = this;
    const n = x.channels;
    const groups = n % 4 === 0 ? 4 : 1;
    const value = this.pick([
      () => b.op('BatchNormalization', [x.value, this.vector(n), this.vector(n), this.vector(n), this.positive(n)]),
      () => b.op('InstanceNormalization', [x.value, this.vector(n), this.vector(n)]),
      () => b.op('GroupNormalization', [x.value, this.vector(groups), this.vector(groups)], { num_groups: groups }),
      () => b.op('PRelu', [x.value, this.vector(n, [1, 1])]),
      () => x.value,
    ])();
    return { ...x, value: this.activation(value) };
  }

  private plain(x: Stream): Stream {
    return this.norm(this.conv(x, this.pick([4, 8, 12])));
  }

  private residual(x: Stream): Stream {
    const y = this.conv(this.norm(this.conv(x, this.pick([4, 8]))), x.channels);
    return this.norm({ ...x, value: this.b.op(this.pick(['Add', 'Sum']), [x.value, y.value]) });
  }

  /** MobileNetV2 with squeeze and excite. */
  private inverted(x: Stream): Stream {
    const { b } = this;
    const wide = this.norm(this.conv(x, 2 * x.channels, { k: 1 }));
    const deep = this.norm(this.conv(wide, wide.channels, { k: 3, group: wide.channels }));
    const pooled = { ...deep, value: b.op('GlobalAveragePool', [deep.value]) };
    const gate = b.op('HardSigmoid', [
      this.conv({ ...this.norm(this.conv(pooled, 4, { k: 1 })) }, deep.channels, { k: 1 }).value,
    ]);
    const narrow = this.conv({ ...deep, value: b.op('Mul', [deep.value, gate]) }, x.channels, { k: 1 });
    return { ...x, value: b.op('Add', [narrow.value, x.value]) };
  }

  private dense(x: Stream): Stream {
    const grown = this.norm(this.conv(x, 4));
    const value = this.b.op('Concat', [x.value, grown.value], { axis: 1 });
    return this.conv(this.norm({ ...x, value, channels: x.channels + 4 }), 8, { k: 1 });
  }

  private shuffled(x: Stream): Stream {
    const { b } = this;
    const wide = x.channels % 2 === 0 ? x : this.conv(x, 8);
    const { channels: c, size } = wide;
    const y = b.op('Reshape', [wide.value, [-1, 2, c / 2, size, size]]);
    const value = b.op('Reshape', [b.op('Transpose', [y], { perm: [0, 2, 1, 3, 4] }), [-1, c, size, size]]);
    return this.halves({ ...wide, value });
  }

  /** Half of the channels go on as they are. */
  private halves(x: Stream): Stream {
    const { b } = this;
    const half = Math.floor(x.channels / 2);
    const rest = x.channels - half;
    const parts = this.pick([
      () => b.node('Split', [x.value, [half, rest]], { axis: 1 }, { outputs: 2 }).outputs as Value[],
      () => [b.op('Slice', [x.value, [0], [half], [1]]), b.op('Slice', [x.value, [half], [2 ** 31 - 1], [-3]])],
    ])();
    const worked = this.norm(this.conv({ ...x, value: parts[1] as Value, channels: rest }, half));
    const value = b.op('Concat', [parts[0] as Value, worked.value], { axis: -3 });
    return { ...x, value, channels: 2 * half };
  }

  private grouped(x: Stream): Stream {
    const wide = this.norm(this.conv(x, 8));
    return this.norm(this.conv(wide, this.pick([8, 12]), { group: this.pick([2, 4]), k: 3 }));
  }

  private transposed(x: Stream): Stream {
    const group = x.channels % 2 === 0 ? this.pick([1, 2]) : 1;
    const w = this.b.random([x.channels, 8 / group, 1, 1]);
    return this.norm({ ...x, value: this.b.op('ConvTranspose', [x.value, w, this.vector(8)], { group }), channels: 8 });
  }

  private resized(x: Stream): Stream {
    const { b } = this;
    const { channels, size } = x;
    const half = { ...x, value: b.op('AveragePool', [x.value], { kernel_shape: [2, 2], strides: [2, 2] }) };
    if (size % 2 !== 0) return x;
    const small = this.norm(this.conv({ ...half, size: size / 2 }, channels));
    const scales = Tensor.of('float32', [4], [1, 1, 2, 2]);
    const shape = b.op('Shape', [x.value]);
    const large = this.pick([
      () => b.op('Resize', [small.value, null, scales]),
      () => b.op('Resize', [small.value, null, null, shape]),
      () =>
        b.op('DepthToSpace', [this.conv(small, 4 * channels, { k: 1 }).value], {
          blocksize: 2,
          mode: this.pick(['CRD', 'DCR']),
        }),
    ])();
    return { ...x, value: b.op('Add', [x.value, large]) };
  }

  /** Shortcuts of old residual networks add channels of zeros. */
  private padded(x: Stream): Stream {
    const { b } = this;
    const value = b.op('Pad', [x.value, [0, 1, 0, 0, 0, 3, 0, 0]]);
    const y = this.conv(this.norm(this.conv(x, 8)), x.channels + 4);
    return this.conv({ ...x, value: b.op('Add', [value, y.value]), channels: x.channels + 4 }, 8, { k: 1 });
  }

  private reordered(x: Stream): Stream {
    const order = Array.from({ length: x.channels }, (_, i) => (i * 3 + 1) % x.channels).filter(
      (v, i, all) => all.indexOf(v) === i,
    );
    return this.conv({ ...x, value: this.b.op('Gather', [x.value, order], { axis: 1 }), channels: order.length }, 8);
  }

  /** Blocks of the picture become channels, and channels last. */
  private lowered(x: Stream): Stream {
    const { b } = this;
    if (x.size % 2 !== 0 || x.size < 4) return x;
    const y = this.conv(
      { value: b.op('SpaceToDepth', [x.value], { blocksize: 2 }), channels: 4 * x.channels, size: x.size / 2 },
      8,
    );
    const last = b.op('Transpose', [y.value], { perm: [0, 2, 3, 1] });
    const mixed = b.op('Add', [b.op('MatMul', [last, b.random([8, 10])]), this.vector(10)]);
    return { ...y, value: b.op('Transpose', [this.activation(mixed)], { perm: [0, 3, 1, 2] }), channels: 10 };
  }

  private arithmetic(x: Stream): Stream {
    const { b } = this;
    const n = x.channels;
    const scaled = b.op('Add', [b.op('Mul', [x.value, this.vector(n, [1, 1])]), this.vector(1, [1, 1])]);
    const clipped = b.op('Clip', [scaled, Tensor.of('float32', [], [-2]), Tensor.of('float32', [], [2])]);
    return { ...x, value: b.op('Max', [clipped, b.op('Neg', [x.value])]) };
  }
}

class Words extends Network {
  readonly #time = 6;

  build(blocks: number): Model {
    const { b } = this;
    const ids = b.input('ids', 'int64', ['n', this.#time]);
    const width = 12;
    let x: Stream = {
      value: b.op('Gather', [b.random([20, width], { scale: 1 }), ids]),
      channels: width,
      size: this.#time,
    };
    x = { ...x, value: b.op('Add', [x.value, b.random([this.#time, width], { scale: 0.3 })]) };
    for (let i = 0; i < blocks; i++) x = this.block(x);
    const last = this.pick([
      () => b.op('ReduceMean', [x.value, [1]], { keepdims: 0 }),
      () => b.op('Gather', [x.value, Tensor.of('int64', [], [0])], { axis: 1 }),
    ])();
    const y = b.op('Add', [b.op('MatMul', [last, b.random([x.channels, 5], { scale: 0.3 })]), this.vector(5)]);
    return b.output('y', y, 'float32', ['n', 5]).model({ opset: 23 });
  }

  private block(x: Stream): Stream {
    return this.pick([
      this.attention,
      this.attention,
      this.contracted,
      this.skipped,
      this.fused,
      this.operator,
      this.feedForward,
      this.gated,
      this.recurrent,
    ]).call(this, x);
  }

  private linear(x: Value, from: number, to: number): Value {
    const y = this.b.op('MatMul', [x, this.b.random([from, to], { scale: 1 / Math.sqrt(from) })]);
    return this.random.uniform() < 0.5 ? this.b.op('Add', [y, this.vector(to)]) : y;
  }

  private norm(x: Stream): Value {
    return this.b.op('RMSNormalization', [x.value, this.vector(x.channels)], { axis: -1 });
  }

  private add(x: Stream, y: Value): Stream {
    return { ...x, value: this.b.op('Add', [x.value, y]) };
  }

  private heads(x: Value, heads: number, size: number, perm: number[]): Value {
    return this.b.op('Transpose', [this.b.op('Reshape', [x, [0, 0, heads, size]])], { perm });
  }

  private join(x: Value, width: number): Value {
    const y = this.b.op('Transpose', [x], { perm: [0, 2, 1, 3] });
    return this.b.op('Reshape', [
      y,
      this.pick([
        [0, 0, width],
        [0, 0, -1],
        [-1, this.#time, width],
      ]),
    ]);
  }

  private attend(q: Value, k: Value, v: Value, width: number): Value {
    const scores = this.b.op('Mul', [this.b.op('MatMul', [q, k]), Tensor.of('float32', [], [0.6])]);
    return this.join(this.b.op('MatMul', [this.b.op('Softmax', [scores]), v]), width);
  }

  private attention(x: Stream): Stream {
    const [heads, size] = this.pick([
      [3, 4],
      [2, 5],
      [1, 6],
    ] as const);
    const y = this.norm(x);
    const width = heads * size;
    const [q, k, v] = [0, 1, 2].map(() => this.linear(y, x.channels, width)) as [Value, Value, Value];
    const out = this.attend(
      this.heads(q, heads, size, [0, 2, 1, 3]),
      this.heads(k, heads, size, [0, 2, 3, 1]),
      this.heads(v, heads, size, [0, 2, 1, 3]),
      width,
    );
    return this.add(x, this.linear(out, width, x.channels));
  }

  /** Queries, keys and values of one product. */
  private fused(x: Stream): Stream {
    const { b } = this;
    const [heads, size] = [3, 4];
    const all = this.linear(this.norm(x), x.channels, 3 * heads * size);
    const parts = this.pick([
      () => {
        const split = b.op('Transpose', [b.op('Reshape', [all, [0, 0, 3, heads, size]])], { perm: [2, 0, 3, 1, 4] });
        return [0, 1, 2].map((i) => b.op('Gather', [split, Tensor.of('int64', [], [i])]));
      },
      () =>
        (b.node('Split', [all], { axis: -1, num_outputs: 3 }, { outputs: 3 }).outputs as Value[]).map((part) =>
          this.heads(part, heads, size, [0, 2, 1, 3]),
        ),
    ])() as [Value, Value, Value];
    const k = b.op('Transpose', [parts[1]], { perm: [0, 1, 3, 2] });
    return this.add(x, this.linear(this.attend(parts[0], k, parts[2], 12), 12, x.channels));
  }

  /** The operator, with fewer heads of keys than of queries. */
  private operator(x: Stream): Stream {
    const { b } = this;
    const [heads, shared, size] = this.pick([
      [4, 2, 3],
      [3, 3, 4],
      [4, 4, 2],
    ] as const);
    const y = this.norm(x);
    const [q, k, v] = [heads, shared, shared].map((n) => this.linear(y, x.channels, n * size)) as [Value, Value, Value];
    const names = { q_num_heads: heads, kv_num_heads: shared };
    return this.add(x, this.linear(b.op('Attention', [q, k, v], names), heads * size, x.channels));
  }

  /** Heads of three axes by Einsum. */
  private contracted(x: Stream): Stream {
    const { b } = this;
    const y = this.norm(x);
    const [q, k, v] = [0, 1, 2].map(() =>
      b.op('Einsum', [y, b.random([x.channels, 3, 4])], { equation: 'btc,chd->bthd' }),
    );
    const scores = b.op('Softmax', [b.op('Einsum', [q as Value, k as Value], { equation: 'bthd, bshd -> bhts' })]);
    const out = b.op('Einsum', [scores, v as Value], { equation: 'bhts,bshd->bthd' });
    return this.add(x, b.op('Einsum', [out, b.random([3, 4, x.channels])], { equation: 'bthd,hdc->btc' }));
  }

  private skipped(x: Stream): Stream {
    const { b } = this;
    const y = this.linear(this.norm(x), x.channels, x.channels);
    const weights = [this.vector(x.channels), this.vector(x.channels)];
    const inputs = [x.value, y, ...weights];
    const node = b.node('SkipSimplifiedLayerNormalization', inputs, {}, { outputs: 4, domain: 'com.microsoft' });
    const [normal, , , sum] = node.outputs;
    for (const unused of [1, 2]) node.setOutput(unused, null);
    return this.add({ ...x, value: sum as Value }, this.linear(normal as Value, x.channels, x.channels));
  }

  private feedForward(x: Stream): Stream {
    const hidden = this.activation(this.linear(this.norm(x), x.channels, 10));
    return this.add(x, this.linear(hidden, 10, x.channels));
  }

  private gated(x: Stream): Stream {
    const { b } = this;
    const [a, g] = b.node(
      'Split',
      [this.linear(this.norm(x), x.channels, 16), [8, 8]],
      { axis: 2 },
      { outputs: 2 },
    ).outputs;
    const gated = b.op('Mul', [a as Value, b.op('Sigmoid', [g as Value])]);
    return this.add(x, this.linear(gated, 8, x.channels));
  }

  private recurrent(x: Stream): Stream {
    const { b } = this;
    const units = 7;
    const [type, gates] = this.pick([
      ['LSTM', 4],
      ['GRU', 3],
      ['RNN', 1],
    ] as const);
    const directions = this.pick([1, 2]);
    const weights = [
      b.random([directions, gates * units, x.channels], { scale: 0.4 }),
      b.random([directions, gates * units, units], { scale: 0.4 }),
      b.random([directions, 2 * gates * units], { scale: 0.4 }),
    ];
    const direction = directions === 2 ? 'bidirectional' : 'forward';
    const time = b.op('Transpose', [this.norm(x)], { perm: [1, 0, 2] });
    const states = b.op(type, [time, ...weights], { hidden_size: units, direction });
    const back = b.op('Reshape', [b.op('Transpose', [states], { perm: [2, 0, 1, 3] }), [0, 0, -1]]);
    return this.add(x, this.linear(back, directions * units, x.channels));
  }
}
