// Quantization-aware training against quantization after training, both exported as integer models and judged in the runtime.
import { exportQuantized, fakeQuantize, train, trainingOf } from '@pare/train';
import { EPOCHS } from './study.mjs';

const quantize = (study, model, precision) =>
  fakeQuantize(model, { precision, engine: study.engine, samples: study.samples() });

/** What the control loses when it is quantized without training: ranges and steps of least squared error. */
const after = (precision) => ({
  name: `${precision} after training`,
  async run(study, seed) {
    const model = await study.control(seed);
    await exportQuantized(model, await quantize(study, model, precision));
    return study.score(model);
  },
});

const aware = (precision) => ({
  name: `${precision} trained`,
  run: async (study, seed) => study.score(await trained(study, seed, precision)),
});

async function trained(study, seed, precision, learningRate) {
  const model = await study.base(seed);
  const plan = await quantize(study, model, precision);
  await train(model, { ...study.options({ epochs: EPOCHS, seed, learningRate }), ...trainingOf(plan) });
  await exportQuantized(model, plan);
  return model;
}

const PRECISIONS = ['w4a4', 'w2a4'];

/** Learning rates that were tried: judged on validation pictures only. */
export const rates = {
  seeds: [1],
  arms: [0.02, 0.05].flatMap((learningRate) => [
    {
      name: `float, rate ${learningRate}`,
      async run(study, seed) {
        const model = await study.base(seed);
        await train(model, study.options({ epochs: EPOCHS, seed, learningRate }));
        return study.validate(model);
      },
    },
    {
      name: `w2a4, rate ${learningRate}`,
      run: async (study, seed) => study.validate(await trained(study, seed, 'w2a4', learningRate)),
    },
  ]),
};

export const quantization = {
  seeds: [1, 2, 3],
  arms: [
    { name: 'float', run: async (study, seed) => study.score(await study.control(seed)) },
    ...['w4a8', ...PRECISIONS].map(after),
    ...PRECISIONS.map(aware),
  ],
};
