import { type Dataset, type Engine, type Model, throwIfAborted } from '@pare/core';
import { TrainingData, trainingBatches } from '../data/index.js';
import { inputPorts } from '../evaluate.js';
import type { Loss } from '../loss/index.js';
import { sampleShapes } from '../sample-shapes.js';
import { labelSpec, TrainingSession } from '../session.js';

/** Options of `lossGradients`. */
export interface LossGradientsOptions {
  readonly engine: Engine;
  readonly data: Dataset;
  readonly loss: Loss;
  /** Samples that are looked at; default 1024, at most what there is. */
  readonly samples?: number | undefined;
  /** Samples a step. Default 64. */
  readonly batchSize?: number | undefined;
  /** Of the choice of samples. Default 1. */
  readonly seed?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The gradients of the mean loss by name of the weight, with the model as it is for inference (running statistics): what the score
 * `taylor` of pruning wants. Nothing is changed.
 * @throws PareError as `train`.
 */
export async function lossGradients(model: Model, options: LossGradientsOptions): Promise<Map<string, Float32Array>> {
  const { engine, data: dataset, loss, samples = 1024, batchSize: wanted = 64, seed = 1, signal } = options;
  const ports = inputPorts(model);
  const shapes = await sampleShapes(dataset, ports);
  const batchSize = Math.min(wanted, dataset.size ?? wanted);
  const inputShapes = Object.fromEntries(Object.entries(shapes).map(([name, dims]) => [name, [batchSize, ...dims]]));
  const session = await TrainingSession.open(model, { engine, loss, inputShapes, batchNorm: 'frozen', signal });
  try {
    const data = await TrainingData.read(dataset, { inputs: ports, label: labelSpec(session), signal });
    const stream = trainingBatches(data, { batchSize, seed });
    const steps = Math.min(stream.steps, Math.max(1, Math.floor(samples / batchSize)));
    let done = 0;
    for await (const batch of stream.epoch(0)) {
      throwIfAborted(signal);
      await session.gradients(batch);
      if (++done === steps) break;
    }
    const { parameters } = session.parameters;
    return new Map(parameters.map(({ name, gradient }) => [name, gradient.map((g) => g / steps)]));
  } finally {
    await session.close();
  }
}
