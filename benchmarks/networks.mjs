// Untrained networks for the benchmarks and experiments of training: seeded weights with the usual initialisation (He for layers
// before a ReLU, Glorot in the transformer), BatchNormalization apart and at its identity, opset 21, dynamic batch. All of them
// answer with `logits` [batch, classes]; their trainable tensors are named *.weight and *.bias, in the order in which a forward
// pass meets them, so that peers/train_step.py can hold the same ones.
//   import { resnetCifar } from './networks.mjs';  const model = resnetCifar({ widths: [8, 16, 32], blocks: 1 });
import { float, GraphBuilder, seededRandom, Tensor } from '../packages/core/dist/index.js';

/** The layers that the networks below are made of. */
class Layers {
  b = new GraphBuilder({ name: 'main_graph' });
  #random;

  constructor(seed) {
    this.#random = seededRandom(seed);
  }

  normal(name, dims, scale) {
    const values = Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => scale * this.#random.normal());
    return this.b.constant(Tensor.of('float32', dims, values), name);
  }

  filled(name, dims, value) {
    const values = new Float32Array(dims.reduce((a, b) => a * b, 1)).fill(value);
    return this.b.constant(Tensor.of('float32', dims, values), name);
  }

  conv(name, x, inputs, outputs, kernel, { stride = 1, group = 1, pad = (kernel - 1) / 2, bias = false } = {}) {
    const fan = (inputs / group) * kernel * kernel;
    const weight = this.normal(`${name}.weight`, [outputs, inputs / group, kernel, kernel], Math.sqrt(2 / fan));
    const operands = bias ? [x, weight, this.filled(`${name}.bias`, [outputs], 0)] : [x, weight];
    return this.b.op('Conv', operands, {
      group,
      kernel_shape: [kernel, kernel],
      pads: [pad, pad, pad, pad],
      strides: [stride, stride],
    });
  }

  /** Batch normalisation. `gamma` 0 at the end of a residual branch starts the block as the identity (Goyal et al., 2017). */
  norm(name, x, channels, gamma = 1) {
    const weight = this.filled(`${name}.weight`, [channels], gamma);
    const bias = this.filled(`${name}.bias`, [channels], 0);
    const mean = this.filled(`${name}.running_mean`, [channels], 0);
    const variance = this.filled(`${name}.running_var`, [channels], 1);
    const attributes = { epsilon: float(1e-5), momentum: float(0.9) };
    return this.b.op('BatchNormalization', [x, weight, bias, mean, variance], attributes);
  }

  relu(x) {
    return this.b.op('Relu', [x]);
  }

  relu6(x) {
    const bound = (v) => Tensor.of('float32', [], [v]);
    return this.b.op('Clip', [x, bound(0), bound(6)]);
  }

  maxPool(x) {
    return this.b.op('MaxPool', [x], { kernel_shape: [2, 2], strides: [2, 2] });
  }

  /** x [batch, inputs] W^T + b, the weight [outputs, inputs]. `gain` is the variance of the outputs over that of the inputs. */
  linear(name, x, inputs, outputs, gain = 1) {
    const weight = this.normal(`${name}.weight`, [outputs, inputs], Math.sqrt(gain / inputs));
    return this.b.op('Gemm', [x, weight, this.filled(`${name}.bias`, [outputs], 0)], { transB: 1 });
  }

  /** x [..., inputs] W + b over the last axis, the weight [inputs, outputs]. */
  project(name, x, inputs, outputs) {
    const weight = this.normal(`${name}.weight`, [inputs, outputs], Math.sqrt(2 / (inputs + outputs)));
    return this.b.op('Add', [this.b.op('MatMul', [x, weight]), this.filled(`${name}.bias`, [outputs], 0)]);
  }

  layerNorm(name, x, width) {
    const parameters = [this.filled(`${name}.weight`, [width], 1), this.filled(`${name}.bias`, [width], 0)];
    return this.b.op('LayerNormalization', [x, ...parameters], { axis: -1, epsilon: float(1e-5) });
  }

  /** Mean over the spatial axes, then a linear classifier. */
  classify(x, channels, classes) {
    return this.logits(
      this.linear('fc', this.b.op('Flatten', [this.b.op('GlobalAveragePool', [x])]), channels, classes),
      classes,
    );
  }

  logits(x, classes) {
    return this.b.output('logits', x, 'float32', ['batch', classes]).model({ opset: 21, irVersion: 10 });
  }
}

/** LeNet-5 with ReLU and max pooling (LeCun et al., 1998): 62 thousand parameters for 28 x 28 pictures. */
export function lenet({ input = [1, 28, 28], classes = 10, seed = 1 } = {}) {
  const l = new Layers(seed);
  const [channels, height, width] = input;
  let x = l.b.input('input', 'float32', ['batch', ...input]);
  x = l.maxPool(l.relu(l.conv('conv1', x, channels, 6, 5, { bias: true })));
  x = l.maxPool(l.relu(l.conv('conv2', x, 6, 16, 5, { pad: 0, bias: true })));
  const half = (n) => Math.floor((Math.floor(n / 2) - 4) / 2);
  x = l.relu(l.linear('fc1', l.b.op('Flatten', [x]), 16 * half(height) * half(width), 120, 2));
  x = l.relu(l.linear('fc2', x, 120, 84, 2));
  return l.logits(l.linear('fc3', x, 84, classes), classes);
}

/**
 * A residual network for small pictures (He et al., arXiv 1512.03385, section 4.2), with a 1x1 projection where the width or
 * the size changes. `widths` has one entry a stage, each of `blocks` blocks; the default is ResNet-20 with 0.27 million
 * parameters. `stem`: the stride of the first convolution. `activation`: `Relu`, or a smooth one (`silu`) for tests of gradients.
 */
export function resnetCifar({
  widths = [16, 32, 64],
  blocks = 3,
  input = [3, 32, 32],
  classes = 10,
  stem = 1,
  activation = 'relu',
  seed = 1,
} = {}) {
  const l = new Layers(seed);
  const act = activation === 'relu' ? (x) => l.relu(x) : (x) => silu(l, x);
  let channels = widths[0];
  let x = l.b.input('input', 'float32', ['batch', ...input]);
  x = act(l.norm('bn', l.conv('conv', x, input[0], channels, 3, { stride: stem }), channels));
  for (const [s, width] of widths.entries()) {
    for (let i = 0; i < blocks; i++) {
      const name = `stage${s + 1}.${i}`;
      const stride = s > 0 && i === 0 ? 2 : 1;
      let y = act(l.norm(`${name}.bn1`, l.conv(`${name}.conv1`, x, channels, width, 3, { stride }), width));
      y = l.norm(`${name}.bn2`, l.conv(`${name}.conv2`, y, width, width, 3), width);
      const same = stride === 1 && channels === width;
      const shortcut = same
        ? x
        : l.norm(`${name}.bn3`, l.conv(`${name}.conv3`, x, channels, width, 1, { stride }), width);
      x = act(l.b.op('Add', [y, shortcut]));
      channels = width;
    }
  }
  return l.classify(x, channels, classes);
}

/** Expansion, width, number of blocks and stride of the first one: MobileNetV2 with the strides that suit 32 x 32 pictures. */
const MOBILENET = [
  [1, 16, 1, 1],
  [6, 24, 2, 1],
  [6, 32, 3, 2],
  [6, 64, 4, 2],
  [6, 96, 3, 1],
  [6, 160, 3, 2],
  [6, 320, 1, 1],
];

/**
 * MobileNetV2 (Sandler et al., arXiv 1801.04381) for 32 x 32 pictures: 2.3 million parameters. `stages` has the rows of the
 * paper's table 2, `stem` and `head` the widths around them. `activation`: `relu6` or `silu`.
 */
export function mobilenet({
  stages = MOBILENET,
  stem = 32,
  head = 1280,
  input = [3, 32, 32],
  classes = 10,
  activation = 'relu6',
  seed = 1,
} = {}) {
  const l = new Layers(seed);
  const act = activation === 'relu6' ? (x) => l.relu6(x) : (x) => silu(l, x);
  let channels = stem;
  let x = l.b.input('input', 'float32', ['batch', ...input]);
  x = act(l.norm('stem.bn', l.conv('stem.conv', x, input[0], stem, 3), stem));
  let block = 0;
  for (const [expand, width, count, first] of stages) {
    for (let i = 0; i < count; i++) {
      const name = `block${++block}`;
      const stride = i === 0 ? first : 1;
      const hidden = channels * expand;
      let y = x;
      if (expand !== 1) y = act(l.norm(`${name}.bn1`, l.conv(`${name}.conv1`, y, channels, hidden, 1), hidden));
      y = act(l.norm(`${name}.bn2`, l.conv(`${name}.conv2`, y, hidden, hidden, 3, { stride, group: hidden }), hidden));
      y = l.norm(`${name}.bn3`, l.conv(`${name}.conv3`, y, hidden, width, 1), width);
      x = stride === 1 && channels === width ? l.b.op('Add', [x, y]) : y;
      channels = width;
    }
  }
  x = act(l.norm('head.bn', l.conv('head.conv', x, channels, head, 1), head));
  return l.classify(x, head, classes);
}

/**
 * A transformer encoder with normalisation before each branch (Xiong et al., arXiv 2002.04745) that classifies sequences of
 * `length` tokens (`input` int64 [batch, length]) by the mean of its last states. Eager attention, Gelu.
 */
export function transformer({
  width = 128,
  layers = 2,
  heads = 4,
  length = 64,
  vocabulary = 256,
  classes = 10,
  seed = 1,
} = {}) {
  const l = new Layers(seed);
  const { b } = l;
  const ids = b.input('input', 'int64', ['batch', length]);
  let x = b.op('Gather', [l.normal('tokens.weight', [vocabulary, width], 1), ids]);
  x = b.op('Add', [x, l.normal('positions.weight', [length, width], 0.1)]);
  const split = (v, perm) => b.op('Transpose', [b.op('Reshape', [v, [0, length, heads, width / heads]])], { perm });
  for (let i = 0; i < layers; i++) {
    const name = `layer${i + 1}`;
    const n1 = l.layerNorm(`${name}.norm1`, x, width);
    const q = split(l.project(`${name}.query`, n1, width, width), [0, 2, 1, 3]);
    const k = split(l.project(`${name}.key`, n1, width, width), [0, 2, 3, 1]);
    const v = split(l.project(`${name}.value`, n1, width, width), [0, 2, 1, 3]);
    const scale = Tensor.of('float32', [], [Math.sqrt(heads / width)]);
    const weights = b.op('Softmax', [b.op('Mul', [b.op('MatMul', [q, k]), scale])], { axis: -1 });
    const mixed = b.op('Transpose', [b.op('MatMul', [weights, v])], { perm: [0, 2, 1, 3] });
    const joined = b.op('Reshape', [mixed, [0, length, width]]);
    x = b.op('Add', [x, l.project(`${name}.output`, joined, width, width)]);
    const n2 = l.layerNorm(`${name}.norm2`, x, width);
    const hidden = b.op('Gelu', [l.project(`${name}.up`, n2, width, 4 * width)]);
    x = b.op('Add', [x, l.project(`${name}.down`, hidden, 4 * width, width)]);
  }
  x = b.op('ReduceMean', [l.layerNorm('norm', x, width), [1]], { keepdims: 0 });
  return l.logits(l.linear('fc', x, width, classes), classes);
}

/** x sigmoid(x), which unlike ReLU has no kink. */
function silu(l, x) {
  return l.b.op('Mul', [x, l.b.op('Sigmoid', [x])]);
}
