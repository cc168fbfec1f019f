import {
  type Engine,
  type HostTensor,
  isTensorType,
  type Model,
  PareError,
  type Port,
  type Session,
  throwIfAborted,
} from '@pare/core';
import { evaluationBatches, rightAnswers, type SampleBatch, type TrainingData } from './data/index.js';
import type { Loss } from './loss/loss.js';
import { lossGraph } from './training-graph.js';

/** How good answers are. */
export interface Score {
  /** For progress and reports: `accuracy`. */
  readonly name: string;
  /** Whether more is better; else less is. */
  readonly higherIsBetter: boolean;
  /**
   * The sum of the scores of the first `batch.count` samples; the score of a dataset is the sum over its batches divided by its
   * size. `outputs` are those of the model, by name, the batch on axis 0.
   */
  sum(outputs: Readonly<Record<string, HostTensor>>, batch: SampleBatch): number;
}

/** Share of samples whose largest output (default: of the only or first output) is at the class of the label. 0 to 1. */
export function accuracy(output?: string): Score {
  return {
    name: 'accuracy',
    higherIsBetter: true,
    sum(outputs, { targets, count }) {
      const answer = output === undefined ? Object.values(outputs)[0] : outputs[output];
      const label = targets.label;
      if (!answer || !label) throw new PareError('bad-data', 'Accuracy needs an output and labels that are classes.');
      return rightAnswers(answer, label, { count }).right;
    },
  };
}

/** The inputs of a model as an engine would describe them. */
export function inputPorts(model: Model): Port[] {
  return model.graph.inputs.flatMap(({ name, type, initializer }) => {
    if (initializer) return [];
    if (!isTensorType(type) || !type.dtype || !type.shape) {
      throw new PareError(
        'bad-model',
        `The input "${name}" has no declared type and shape: it cannot be matched with data.`,
      );
    }
    return [{ name, dtype: type.dtype, dims: type.shape }];
  });
}

/** Samples in one run of an evaluation, where the model leaves it open. */
const BATCH = 128;

/** The score of `model` on `data`. @throws PareError what the engine throws; `aborted`. */
export async function evaluate(
  engine: Engine,
  model: Model,
  data: TrainingData,
  score: Score,
  options: { readonly threads?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<number> {
  const { threads = 1, signal } = options;
  const session = await engine.open(model, { threads, ...(signal ? { signal } : {}) });
  try {
    const fixed = session.inputs.map((port) => port.dims[0]).find((d) => typeof d === 'number');
    let sum = 0;
    // A model with a fixed batch size is fed the last sample again to fill it up.
    for await (const batch of evaluationBatches(data, { batchSize: fixed ?? BATCH, pad: fixed !== undefined })) {
      throwIfAborted(signal);
      sum += score.sum(await session.run(batch.inputs), batch);
    }
    return sum / data.size;
  } finally {
    await session.close();
  }
}

/**
 * The mean of `loss` over the samples of `data`, of a model as it is for inference. The loss must need nothing but labels.
 * @throws PareError what building the loss and the engine throw; `aborted`.
 */
export async function evaluateLoss(
  engine: Engine,
  model: Model,
  data: TrainingData,
  loss: Loss,
  options: { readonly threads?: number; readonly signal?: AbortSignal | undefined } = {},
): Promise<number> {
  const { threads = 1, signal } = options;
  const size = Math.min(BATCH, data.size);
  let session: Session | undefined;
  let [sum, rows] = [0, 0];
  let name = '';
  try {
    for await (const batch of evaluationBatches(data, { batchSize: size })) {
      throwIfAborted(signal);
      // Its shapes are fixed: the last, smaller batch has a graph of its own.
      if (batch.count !== rows) {
        await session?.close();
        const graph = await lossGraph(model, { loss, inputShapes: data.batchShapes(batch.count) });
        session = await engine.open(graph.model, { threads, ...(signal ? { signal } : {}) });
        name = graph.loss;
        rows = batch.count;
      }
      const known = new Set(session?.inputs.map((port) => port.name));
      const feeds = Object.entries({ ...batch.inputs, ...batch.targets }).filter(([key]) => known.has(key));
      const result = await session?.run(Object.fromEntries(feeds), [name]);
      sum += Number(result?.[name]?.data[0]) * batch.count;
    }
    return sum / data.size;
  } finally {
    await session?.close();
  }
}
