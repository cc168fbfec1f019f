// Removing channels: half of the multiply-accumulates, then training; against as many epochs without, and against the same small
// network from nothing.
import { seededRandom, Tensor } from '@pare/core';
import { crossEntropy, distill, lossGradients, oneCycleSchedule, train } from '@pare/train';
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

/** The pruned network learns again; with `teacher`, from the answers of the whole one as well. */
async function mend(study, seed, model, { teacher = false, schedule, learningRate }) {
  const { loss, ...options } = study.options({ epochs: EPOCHS, seed, schedule, learningRate });
  if (!teacher) return train(model, { ...options, loss });
  const terms = [{ kind: 'response', temperature: 4, weight: 0.5 }];
  return distill(model, { ...options, teacher: await study.base(seed), terms, labels: { loss, weight: 0.5 } });
}

const pruned = (name, { ranking, ...training }, judge = 'score') => ({
  name,
  async run(study, seed) {
    const { model, notes } = await prune(study, await study.base(seed), { ranking });
    const before = await study.validate(model);
    await mend(study, seed, model, training);
    const note = notes.findLast((n) => n.includes('parameters'));
    return { ...(await study[judge](model)), before: before.validation, note };
  },
});

/** What was tried: judged on validation pictures only. */
const oneCycle = (steps) => oneCycleSchedule({ learningRate: 0.1, steps });
const TRIED = {
  'rate 0.02': {},
  'rate 0.05': { learningRate: 0.05 },
  'one cycle up to 0.1': { schedule: oneCycle },
  'rate 0.05, uniform': { learningRate: 0.05, ranking: 'uniform' },
  'rate 0.05, uniform, teacher': { learningRate: 0.05, ranking: 'uniform', teacher: true },
};

export const cuts = {
  seeds: [1],
  arms: Object.entries(TRIED).map(([name, settings]) => pruned(name, settings, 'validate')),
};

/** The same on the network that train-base.mjs leaves, which is three times as large and has more to spare. */
export const wide = {
  seeds: [1],
  arms: [
    {
      name: 'whole',
      async run(study, seed) {
        const model = await study.wide(seed);
        await mend(study, seed, model, {});
        return study.score(model);
      },
    },
    {
      name: 'pruned',
      async run(study, seed) {
        const { model, notes } = await prune(study, await study.wide(seed), { ranking: 'uniform' });
        const before = await study.validate(model);
        await mend(study, seed, model, {});
        const note = notes.findLast((n) => n.includes('parameters'));
        return { ...(await study.score(model)), before: before.validation, note };
      },
    },
  ],
};

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
