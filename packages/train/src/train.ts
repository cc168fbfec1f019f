import type { Model } from '@pare/core';
import { Run } from './run.js';
import type { TrainOptions, TrainResult } from './train-options.js';

/**
 * Trains `model` in place: reads and checks the data, derives the gradient graph, runs it in the engine, updates the weights
 * outside, keeps the weights that score best on the validation samples. The same options and seed on the same machine give
 * the same bits, interrupted and resumed or not.
 * @throws PareError `bad-data` for data that does not fit, and when the loss is no longer finite; `unsupported` for a model that
 *   cannot be trained; `bad-option`; `engine`; `io`; `aborted`. The model is changed only when all went well.
 */
export async function train(model: Model, options: TrainOptions): Promise<TrainResult> {
  const run = await Run.open(model, options);
  try {
    return await run.finish();
  } finally {
    await run.close();
  }
}
