import type { HostTensor, Tensor } from '@pare/core';
import type { BatchStatistics } from './training-graph.js';

/** The running mean and variance of one BatchNormalization. */
interface Running {
  readonly mean: Float32Array;
  readonly variance: Float32Array;
}

/**
 * The running statistics of every BatchNormalization, updated beside the graph: running' = m * running + (1 - m) * batch, the
 * variance without bias (n / (n - 1)), as PyTorch keeps it.
 */
export class RunningStatistics {
  readonly #running = new Map<BatchStatistics, Running>();

  private constructor(readonly layers: readonly BatchStatistics[]) {}

  /** `initial` gives the tensor of a name: what the model starts from. */
  static async of(layers: readonly BatchStatistics[], initial: (name: string) => Tensor): Promise<RunningStatistics> {
    const statistics = new RunningStatistics(layers);
    for (const layer of layers) {
      const [mean, variance] = [await floats(initial(layer.mean)), await floats(initial(layer.variance))];
      statistics.#running.set(layer, { mean, variance });
    }
    return statistics;
  }

  /**
   * Takes in a step. Each of `shards` has the statistics of an equal part of the batch; those of the whole follow exactly:
   * the variance is the mean of the variances plus the variance of the means.
   */
  update(shards: readonly Readonly<Record<string, HostTensor>>[]): void {
    for (const [layer, { mean, variance }] of this.#running) {
      const means = shards.map((shard) => shard[layer.batchMean]?.data as Float32Array);
      const variances = shards.map((shard) => shard[layer.batchVariance]?.data as Float32Array);
      const count = layer.count * shards.length;
      const { momentum } = layer;
      for (let c = 0; c < mean.length; c++) {
        let m = 0;
        let v = 0;
        for (let s = 0; s < shards.length; s++) m += (means[s]?.[c] as number) / shards.length;
        for (let s = 0; s < shards.length; s++) {
          v += ((variances[s]?.[c] as number) + ((means[s]?.[c] as number) - m) ** 2) / shards.length;
        }
        mean[c] = momentum * (mean[c] as number) + (1 - momentum) * m;
        variance[c] = momentum * (variance[c] as number) + (1 - momentum) * v * (count / Math.max(count - 1, 1));
      }
    }
  }

  /** By the names of the initializers that hold them. The arrays are those that `update` changes. */
  tensors(): Map<string, Float32Array> {
    const tensors = new Map<string, Float32Array>();
    for (const [layer, { mean, variance }] of this.#running) {
      tensors.set(layer.mean, mean);
      tensors.set(layer.variance, variance);
    }
    return tensors;
  }
}

async function floats(tensor: Tensor): Promise<Float32Array> {
  return Float32Array.from((await tensor.toArray()) as Float32Array);
}
