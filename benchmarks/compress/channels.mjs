// Removing channels: half of the multiply-accumulates, then training; against as many epochs without, and against the same small
// network from nothing.
import { seededRandom, Tensor } from '@pare/core';
import { crossEntropy, lossGradients, train } from '@pare/train';
import { pruneChannels } from '@pare/transforms';
import { resnetCifar } from '../networks.mjs';
import { BASE_EPOCHS, EPOCHS, NET } from './study.mjs';

const MACS = 0.5;

async function prune(study, model, options) {
  const { engine } = study;
  const score = options.score ?? 'magnitude';
  const data = study.dataset('train');
  const gradients = score === 'taylor' ? await lossGradients(model, { engine, data, loss: crossEntropy() }) : undefined;
  const [{ notes }] = await model.transform(
    pruneChannels({ goal: { macs: MACS }, samples: study.samples(), gradients, ...options }),
    { engine },
  );
  return { model, notes };
}

/** The shapes of `model` with new weights: those that resnetCifar starts from. */
function untrained(model, seed) {
  const random = seededRandom(1000 + seed);
  const fresh = resnetCifar({ ...NET, seed });
  for (const value of model.graph.initializers) {
    const { dims, size } = value.initializer;
    const start = fresh.graph.value(value.name)?.initializer?.numbers();
    if (!start) throw new Error(`The network has no "${value.name}".`);
    const fan = dims.slice(1).reduce((a, b) => a * b, 1);
    const scale = Math.sqrt((dims.length === 4 ? 2 : 1) / fan);
    const values = Float32Array.from({ length: size }, () => (dims.length > 1 ? scale * random.normal() : start[0]));
    model.graph.setInitializer(value, Tensor.of('float32', dims, values));
  }
  return model;
}

const pruned = (name, options) => ({
  name,
  async run(study, seed) {
    const { model, notes } = await prune(study, await study.base(seed), options);
    const before = await study.score(model);
    await train(model, study.options({ epochs: EPOCHS, seed }));
    return { ...(await study.score(model)), untrained: before, note: notes.findLast((n) => n.includes('parameters')) };
  },
});

export const channels = {
  seeds: [1, 2, 3],
  arms: [
    { name: 'whole', run: async (study, seed) => study.score(await study.control(seed)) },
    pruned('pruned', {}),
    {
      name: 'small from nothing',
      async run(study, seed) {
        const { model } = await prune(study, await study.base(seed), { reconstruct: false, reestimate: false });
        await study.fromNothing(untrained(model, seed), seed, BASE_EPOCHS + EPOCHS);
        return study.score(model);
      },
    },
  ],
};
