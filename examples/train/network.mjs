// A small residual network with BatchNormalization (He et al., 2016), untrained: the start of the demo.
import { float, GraphBuilder, seededRandom, Tensor } from '@pare/core';

/**
 * One residual block a stage; a picture of 28 by 28 becomes 14, 7, 4. The input is `image` [batch, 1, 28, 28], the output `logits`
 * [batch, classes]. Weights are seeded, with the variance that keeps the scale of activations behind a ReLU (He et al., 2015).
 */
export function smallResnet({ widths = [24, 48, 96], classes = 10, seed = 1 } = {}) {
  const b = new GraphBuilder({ name: 'small_resnet' });
  const random = seededRandom(seed);

  const normal = (name, dims, deviation) => {
    const size = dims.reduce((a, n) => a * n, 1);
    const values = Float32Array.from({ length: size }, () => deviation * random.normal());
    return b.constant(Tensor.of('float32', dims, values), name);
  };
  const filled = (name, size, value) =>
    b.constant(Tensor.of('float32', [size], new Float32Array(size).fill(value)), name);

  const convolution = (name, x, inputs, outputs, kernel, stride, gamma = 1) => {
    const weight = normal(`${name}.weight`, [outputs, inputs, kernel, kernel], Math.sqrt(2 / (inputs * kernel ** 2)));
    const pads = new Array(4).fill((kernel - 1) / 2);
    const y = b.op('Conv', [x, weight], { kernel_shape: [kernel, kernel], pads, strides: [stride, stride] });
    const [scale, bias] = [filled(`${name}.gamma`, outputs, gamma), filled(`${name}.beta`, outputs, 0)];
    const [mean, variance] = [filled(`${name}.mean`, outputs, 0), filled(`${name}.variance`, outputs, 1)];
    const attributes = { epsilon: float(1e-5), momentum: float(0.9) };
    return b.op('BatchNormalization', [y, scale, bias, mean, variance], attributes);
  };
  const relu = (x) => b.op('Relu', [x]);

  let channels = widths[0];
  let x = relu(convolution('stem', b.input('image', 'float32', ['batch', 1, 28, 28]), 1, channels, 3, 2));
  for (const [stage, width] of widths.entries()) {
    const stride = stage > 0 ? 2 : 1;
    const inner = relu(convolution(`stage${stage}.first`, x, channels, width, 3, stride));
    // A scale of 0 starts the block as its shortcut.
    const branch = convolution(`stage${stage}.second`, inner, width, width, 3, 1, 0);
    const shortcut = stride === 1 ? x : convolution(`stage${stage}.shortcut`, x, channels, width, 1, stride);
    x = relu(b.op('Add', [branch, shortcut]));
    channels = width;
  }
  const features = b.op('Flatten', [b.op('GlobalAveragePool', [x])]);
  const operands = [
    features,
    normal('head.weight', [classes, channels], Math.sqrt(1 / channels)),
    filled('head.bias', classes, 0),
  ];
  return b
    .output('logits', b.op('Gemm', operands, { transB: 1 }), 'float32', ['batch', classes])
    .model({ opset: 21, irVersion: 10 });
}
