// The steps of the demo, each a function of a model and data: train, prune channels, train with rounding, write integers.
import {
  augment,
  cosineSchedule,
  crossEntropy,
  exportQuantized,
  fakeQuantize,
  oneCycleSchedule,
  quantizeAware,
  sgd,
  train,
} from '@pare/train';
import { pruneChannels } from '@pare/transforms';

/**
 * What every step trains with.
 * @typedef {object} Lesson
 * @property {import('@pare/core').Engine} engine
 * @property {import('@pare/core').Dataset} data training pictures, input `image`
 * @property {import('@pare/core').Dataset} validation pictures that choose the best weights
 * @property {import('@pare/core').Feeds[]} samples a few hundred of the training pictures, in batches
 * @property {number} [shards] parts of a batch that are computed at the same time
 * @property {(progress: import('@pare/train').TrainProgress) => void} [onProgress]
 */

/** Trains an untrained model. @param {import('@pare/core').Model} model @param {Lesson} lesson @param {number} epochs */
export function learn(model, lesson, epochs) {
  return train(
    model,
    settings(lesson, epochs, (steps) => oneCycleSchedule({ learningRate: 0.1, steps })),
  );
}

/**
 * Removes `share` of the channels, those of the smallest weights; the layers behind get the weights that make up best for what
 * went, BatchNormalization its statistics anew. Then the rest is trained on.
 * @param {import('@pare/core').Model} model @param {Lesson} lesson @param {number} share @param {number} epochs
 */
export async function slim(model, lesson, share, epochs) {
  const { engine, samples } = lesson;
  const [{ notes }] = await model.transform(pruneChannels({ goal: { channels: share }, roundTo: 4, samples }), {
    engine,
  });
  return { notes, result: await train(model, settings(lesson, epochs, gentle)) };
}

/**
 * Trains with the rounding of `precision` in the graph, then writes weights and activations as integers.
 * @param {import('@pare/core').Model} model @param {Lesson} lesson @param {string} precision @param {number} epochs
 */
export async function quantize(model, lesson, precision, epochs) {
  const { plan, training } = await quantizeAware(model, { ...settings(lesson, epochs, gentle), precision });
  return { notes: plan.notes, result: training };
}

/**
 * The same without training: what rounding costs a model that never met it.
 * @param {import('@pare/core').Model} model @param {Lesson} lesson @param {string} precision
 */
export async function round(model, { engine, samples }, precision) {
  await exportQuantized(model, await fakeQuantize(model, { precision, engine, samples }));
}

const gentle = (steps) => cosineSchedule({ learningRate: 0.02, steps });

function settings({ engine, data, validation, shards = 1, onProgress }, epochs, schedule) {
  return {
    engine,
    data,
    validation,
    epochs,
    shards,
    onProgress,
    schedule,
    loss: crossEntropy(),
    batchSize: 64,
    seed: 1,
    optimizer: sgd({ momentum: 0.9, nesterov: true, weightDecay: 5e-4 }),
    augment: augment({ flip: 'horizontal' }),
  };
}
