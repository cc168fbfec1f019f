import { batches, type Dataset, datasetOf, type Feeds, type Model } from '@pare/core';
import { inputPorts } from '../evaluate.js';
import { train } from '../train.js';
import type { TrainOptions, TrainResult } from '../train-options.js';
import { exportQuantized } from './export.js';
import { type FakeQuantizeOptions, fakeQuantize } from './fake-quantize.js';
import { type QuantizationPlan, trainingOf } from './plan.js';

/** Options of `quantizeAware`: those of `train`, of `fakeQuantize`, and how many samples the first ranges are of. */
export interface QuantizeAwareOptions
  extends Omit<TrainOptions, 'parameters' | 'treat'>,
    Omit<FakeQuantizeOptions, 'samples' | 'engine' | 'signal'> {
  /** Samples of `data` that the ranges of activations start from. Default 256. */
  readonly calibrationSamples?: number | undefined;
}

/** What `quantizeAware` did. */
export interface QuantizeAwareResult {
  readonly plan: QuantizationPlan;
  /** `start` is the score of post-training quantization to the same bits, `best` 0 where training did not better it. */
  readonly training: TrainResult;
}

/**
 * Quantization-aware training: calibrates, puts fake quantization into `model`, trains weights and step sizes with it, and writes
 * the integer model, in place. With validation samples, the best weights are kept, those before training among them: the result is
 * not worse there than post-training quantization. Simplify the model before, but leave BatchNormalization in (it trains with the
 * statistics of batches, and is folded on export): `simplify({ skip: ['fuse-affine-after-weights'] })`.
 *
 * Ranges are observed before training only: the step sizes learn from the first step, and an observer beside them would be
 * overruled at once.
 * @throws PareError those of `fakeQuantize`, `train` and `exportQuantized`; `model` is then to be thrown away.
 */
export async function quantizeAware(model: Model, options: QuantizeAwareOptions): Promise<QuantizeAwareResult> {
  const { data, calibrationSamples = 256 } = options;
  const plan = await fakeQuantize(model, { ...options, samples: spreadFeeds(model, data, calibrationSamples) });
  const training = await train(model, { ...options, ...trainingOf(plan) });
  await exportQuantized(model, plan);
  return { plan, training };
}

/** `count` samples of `data`, one a run: from all over it where that is cheap, since files are often sorted by class. */
async function* spreadFeeds(model: Model, data: Dataset, count: number): AsyncGenerator<Feeds> {
  const { size = 0, at } = data;
  const stride = Math.max(1, Math.floor(size / count));
  const spread = at
    ? datasetOf(async function* () {
        for (let i = 0; i < Math.min(count, size); i++) yield at.call(data, i * stride);
      })
    : data;
  let left = count;
  for await (const { feeds } of batches(spread, inputPorts(model), { size: 1 })) {
    yield feeds;
    if (--left <= 0) return;
  }
}
