// A student of an eighth of the parameters learns with and without its teacher: the same data, epochs, order and start.
import { crossEntropy, distill, memoryRows } from '@pare/train';
import { resnetCifar } from '../networks.mjs';

/** 9.6 thousand parameters; its teacher, the control of the other experiments, has 78 thousand. */
const STUDENT = { widths: [5, 11, 22], blocks: 1, stem: 2, input: [1, 28, 28] };
const EPOCHS = 4;
const TEACHER = 1;
/** How much of the loss is the teacher's, at which temperature (`logits`: their squared difference). */
const TRIED = [
  { temperature: 4, labels: 0.1 },
  { temperature: 2, labels: 0.1 },
  { temperature: 4, labels: 0.5 },
  { temperature: 8, labels: 0.1 },
  { temperature: 'logits', labels: 0.1 },
];
/** The best of them on validation pictures. */
const CHOSEN = TRIED[0];

// Pictures are not varied here: the teacher then answers to each of them once.
const plain = { augment: undefined };

async function alone(study, seed) {
  return study.fromNothing(resnetCifar({ ...STUDENT, seed }), seed, EPOCHS, plain);
}

async function taught(study, seed, { temperature, labels }) {
  const student = resnetCifar({ ...STUDENT, seed });
  study.answers ??= memoryRows();
  const { loss: _, ...options } = study.options({ epochs: EPOCHS, seed, schedule: study.oneCycle });
  await distill(student, {
    ...options,
    ...plain,
    teacher: await study.control(TEACHER),
    cache: study.answers,
    terms: [{ kind: 'response', temperature, weight: 1 - labels }],
    labels: { loss: crossEntropy(), weight: labels },
  });
  return student;
}

export const distillation = {
  seeds: [1, 2, 3, 4, 5],
  arms: [
    { name: 'alone', run: async (study, seed) => study.score(await alone(study, seed)) },
    { name: 'with a teacher', run: async (study, seed) => study.score(await taught(study, seed, CHOSEN)) },
  ],
};

/** What was tried: judged on validation pictures only, on a seed of its own. */
export const tuning = {
  seeds: [101],
  arms: [
    { name: 'alone', run: async (study, seed) => study.validate(await alone(study, seed)) },
    ...TRIED.map((tried) => ({
      name: `temperature ${tried.temperature}, labels ${tried.labels}`,
      run: async (study, seed) => study.validate(await taught(study, seed, tried)),
    })),
  ],
};
