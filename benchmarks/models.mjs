// Networks with seeded weights for benchmarks, written the way that torch exports them in training form: BatchNormalization
// apart, equal tensors shared through Identity, weights transposed by nodes, shape arithmetic for every view, eager attention,
// LayerNormalization and Gelu as arithmetic. Random weights say nothing about accuracy.
//   import { modelPath } from './models.mjs';  await modelPath('resnet50')  // benchmarks/.cache/resnet50.onnx, made when missing
import fs from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { float, GraphBuilder, Tensor } from '../packages/core/dist/index.js';
import { writeModel } from '../packages/core/dist/node/index.js';

export const cache = join(dirname(fileURLToPath(import.meta.url)), '.cache');

/** Path of the network `name`, which is generated on first use. */
export async function modelPath(name) {
  const path = join(cache, `${name}.onnx`);
  if (!fs.existsSync(path)) {
    fs.mkdirSync(cache, { recursive: true });
    await writeModel(path, NETWORKS[name]());
  }
  return path;
}

/** Normal values of variance `scale^2`, computed when the tensor is read: a large network costs no memory to generate. */
function seeded(dims, seed, scale, mean = 0) {
  const count = dims.reduce((a, b) => a * b, 1);
  const produce = () => {
    const values = new Float32Array(count);
    let state = Math.imul(seed + 1, 0x9e3779b9) >>> 0;
    const uniform = () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    // The sum of four uniform numbers is normal enough, and quick.
    const width = scale * Math.sqrt(3);
    for (let i = 0; i < count; i++) values[i] = mean + width * (uniform() + uniform() + uniform() + uniform() - 2);
    return new Uint8Array(values.buffer);
  };
  return new Tensor('float32', dims, { kind: 'producer', byteLength: 4 * count, produce });
}

/** What a torch exporter knows of a graph that it writes. */
class Exporter {
  b = new GraphBuilder({ name: 'main_graph' });
  #seed = 1;
  #shared = new Map();

  weight(name, dims, scale, mean) {
    return this.b.constant(seeded(dims, this.#seed++, scale, mean), name);
  }

  /** A tensor that the exporter found equal to an earlier one: written once, and passed on by Identity. */
  shared(name, dims, scale, mean) {
    const key = `${dims}:${scale}:${mean}`;
    const first = this.#shared.get(key);
    if (first) return this.b.op('Identity', [first]);
    const value = this.weight(name, dims, scale, mean);
    this.#shared.set(key, value);
    return value;
  }

  constant(tensor) {
    return this.b.op('Constant', [], { value: tensor });
  }

  scalar(v) {
    return this.constant(Tensor.of('float32', [], [v]));
  }

  index(v) {
    return this.constant(Tensor.of('int64', [], [v]));
  }

  list(...v) {
    return this.constant(Tensor.of('int64', [v.length], v));
  }

  /** x.size(i), as a vector of one. */
  size(x, i) {
    const length = this.b.op('Gather', [this.b.op('Shape', [x]), this.index(i)], { axis: 0 });
    return this.b.op('Unsqueeze', [length, this.list(0)]);
  }

  /** x.view(...): numbers, and sizes of other tensors. */
  view(x, ...lengths) {
    const parts = lengths.map((l) => (typeof l === 'number' ? this.list(l) : l));
    return this.b.op('Reshape', [x, this.b.op('Concat', parts, { axis: 0 })]);
  }

  conv(x, inputs, outputs, kernel, { stride = 1, group = 1 } = {}) {
    const pad = (kernel - 1) / 2;
    const fan = (inputs / group) * kernel * kernel;
    const w = this.weight('conv.weight', [outputs, inputs / group, kernel, kernel], Math.sqrt(2 / fan));
    return this.b.op('Conv', [x, w], {
      dilations: [1, 1],
      group,
      kernel_shape: [kernel, kernel],
      pads: [pad, pad, pad, pad],
      strides: [stride, stride],
    });
  }

  batchNorm(x, channels) {
    const parameters = [
      this.shared('bn.weight', [channels], 0.1, 1),
      this.shared('bn.bias', [channels], 0.05),
      this.shared('bn.running_mean', [channels], 0.1),
      // Far enough from zero to stay positive.
      this.shared('bn.running_var', [channels], 0.1, 1),
    ];
    return this.b.op('BatchNormalization', [x, ...parameters], { epsilon: float(1e-5), momentum: float(0.9) });
  }

  /** x W^T + b with the weight as torch keeps it. */
  linear(x, inputs, outputs) {
    const w = this.weight('linear.weight', [outputs, inputs], Math.sqrt(1 / inputs));
    const product = this.b.op('MatMul', [x, this.b.op('Transpose', [w], { perm: [1, 0] })]);
    return this.b.op('Add', [this.weight('linear.bias', [outputs], 0.02), product]);
  }

  layerNorm(x, channels) {
    const mean = (v) => this.b.op('ReduceMean', [v], { axes: [-1] });
    const centred = this.b.op('Sub', [x, mean(x)]);
    const variance = mean(this.b.op('Pow', [centred, this.scalar(2)]));
    const root = this.b.op('Sqrt', [this.b.op('Add', [variance, this.scalar(1e-12)])]);
    const scaled = this.b.op('Mul', [
      this.b.op('Div', [centred, root]),
      this.shared('norm.weight', [channels], 0.1, 1),
    ]);
    return this.b.op('Add', [scaled, this.shared('norm.bias', [channels], 0.05)]);
  }

  gelu(x) {
    const erf = this.b.op('Erf', [this.b.op('Div', [x, this.scalar(Math.SQRT2)])]);
    const gate = this.b.op('Add', [erf, this.scalar(1)]);
    return this.b.op('Mul', [this.b.op('Mul', [x, gate]), this.scalar(0.5)]);
  }
}

/** MobileNetV2 (Sandler et al., arXiv 1801.04381), width 1. */
function mobilenetV2() {
  const e = new Exporter();
  const relu6 = (x) => e.b.op('Clip', [x, e.scalar(0), e.scalar(6)]);
  let x = relu6(
    e.batchNorm(e.conv(e.b.input('input', 'float32', ['batch', 3, 224, 224]), 3, 32, 3, { stride: 2 }), 32),
  );
  let channels = 32;
  for (const [expand, outputs, count, first] of [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ]) {
    for (let i = 0; i < count; i++) {
      const stride = i === 0 ? first : 1;
      const hidden = channels * expand;
      let y = x;
      if (expand !== 1) y = relu6(e.batchNorm(e.conv(y, channels, hidden, 1), hidden));
      y = relu6(e.batchNorm(e.conv(y, hidden, hidden, 3, { stride, group: hidden }), hidden));
      y = e.batchNorm(e.conv(y, hidden, outputs, 1), outputs);
      x = stride === 1 && channels === outputs ? e.b.op('Add', [x, y]) : y;
      channels = outputs;
    }
  }
  x = e.b.op('GlobalAveragePool', [relu6(e.batchNorm(e.conv(x, 320, 1280, 1), 1280))]);
  const y = e.linear(e.b.op('Dropout', [e.view(x, e.size(x, 0), -1)]), 1280, 1000);
  return e.b.output('output', y, 'float32', ['batch', 1000]).model({ opset: 17, irVersion: 8 });
}

/** ResNet-50 (He et al., arXiv 1512.03385), stride in the 3x3 convolution. */
function resnet50() {
  const e = new Exporter();
  const relu = (x) => e.b.op('Relu', [x]);
  let x = relu(e.batchNorm(e.conv(e.b.input('input', 'float32', ['batch', 3, 224, 224]), 3, 64, 7, { stride: 2 }), 64));
  x = e.b.op('MaxPool', [x], { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [2, 2] });
  let channels = 64;
  for (const [width, count, first] of [
    [64, 3, 1],
    [128, 4, 2],
    [256, 6, 2],
    [512, 3, 2],
  ]) {
    for (let i = 0; i < count; i++) {
      const stride = i === 0 ? first : 1;
      let y = relu(e.batchNorm(e.conv(x, channels, width, 1), width));
      y = relu(e.batchNorm(e.conv(y, width, width, 3, { stride }), width));
      y = e.batchNorm(e.conv(y, width, width * 4, 1), width * 4);
      const shortcut = i === 0 ? e.batchNorm(e.conv(x, channels, width * 4, 1, { stride }), width * 4) : x;
      x = relu(e.b.op('Add', [y, shortcut]));
      channels = width * 4;
    }
  }
  x = e.b.op('GlobalAveragePool', [x]);
  const y = e.linear(e.view(x, e.size(x, 0), -1), 2048, 1000);
  return e.b.output('output', y, 'float32', ['batch', 1000]).model({ opset: 17, irVersion: 8 });
}

/** BERT-base without pooler (Devlin et al., arXiv 1810.04805), eager attention. */
function bertBase() {
  const [hidden, heads, layers] = [768, 12, 12];
  const e = new Exporter();
  const b = e.b;
  const ids = b.input('input_ids', 'int64', ['batch', 'sequence']);
  const mask = b.input('attention_mask', 'int64', ['batch', 'sequence']);
  const positions = b.op('Slice', [b.constant(range(512), 'position_ids'), e.list(0), e.size(ids, 1), e.list(1)]);
  const types = b.op('ConstantOfShape', [b.op('Concat', [e.size(ids, 0), e.size(ids, 1)], { axis: 0 })], {
    value: Tensor.of('int64', [1], [0]),
  });
  const embed = (name, count, indices) => b.op('Gather', [e.weight(name, [count, hidden], 0.02), indices]);
  const words = b.op('Add', [embed('word_embeddings', 30522, ids), embed('token_type_embeddings', 2, types)]);
  let x = e.layerNorm(b.op('Add', [words, embed('position_embeddings', 512, positions)]), hidden);

  const wide = b.op('Unsqueeze', [b.op('Unsqueeze', [mask, e.list(1)]), e.list(2)]);
  const real = b.op('Cast', [wide], { to: 1 });
  const bias = b.op('Mul', [b.op('Sub', [e.scalar(1), real]), e.scalar(-3.4028234663852886e38)]);

  const split = (v) =>
    b.op('Transpose', [e.view(v, e.size(v, 0), e.size(v, 1), heads, hidden / heads)], { perm: [0, 2, 1, 3] });
  for (let i = 0; i < layers; i++) {
    const [q, k, v] = [0, 1, 2].map(() => split(e.linear(x, hidden, hidden)));
    const scores = b.op('MatMul', [q, b.op('Transpose', [k], { perm: [0, 1, 3, 2] })]);
    const scaled = b.op('Div', [scores, b.op('Sqrt', [e.scalar(hidden / heads)])]);
    const weights = b.op('Dropout', [b.op('Softmax', [b.op('Add', [scaled, bias])], { axis: -1 })]);
    const mixed = b.op('Transpose', [b.op('MatMul', [weights, v])], { perm: [0, 2, 1, 3] });
    const joined = e.view(mixed, e.size(mixed, 0), e.size(mixed, 1), hidden);
    x = e.layerNorm(b.op('Add', [b.op('Dropout', [e.linear(joined, hidden, hidden)]), x]), hidden);
    const inner = e.gelu(e.linear(x, hidden, 4 * hidden));
    x = e.layerNorm(b.op('Add', [b.op('Dropout', [e.linear(inner, 4 * hidden, hidden)]), x]), hidden);
  }
  return b.output('last_hidden_state', x, 'float32', ['batch', 'sequence', hidden]).model({ opset: 17, irVersion: 8 });
}

const range = (n) =>
  Tensor.of(
    'int64',
    [1, n],
    Array.from({ length: n }, (_, i) => i),
  );

export const NETWORKS = { mobilenet_v2: mobilenetV2, resnet50, bert_base: bertBase };
