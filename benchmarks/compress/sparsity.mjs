// Single weights become zero: all at once and then trained, gradually, or in rounds; equal epochs.

import { trainSparse } from '@pare/train';
import { cubicSchedule, iterativeSchedule, oneShotSchedule } from '@pare/transforms';
import { EPOCHS } from './study.mjs';

const COURSES = {
  'at once': (share) => oneShotSchedule(share),
  // Complete after half of the steps; the other half mends.
  gradually: (share) => cubicSchedule(share, { end: 1 / 2 }),
  // The last round begins when the learning rate is nearly spent.
  'in 8 rounds': (share) => iterativeSchedule(share, 8),
};

const arm = (sparsity, course) => ({
  name: `${Math.round(100 * sparsity)} % ${course}`,
  async run(study, seed) {
    const model = await study.base(seed);
    await trainSparse(model, {
      ...study.options({ epochs: EPOCHS, seed }),
      sparsity: { sparsity },
      course: COURSES[course],
    });
    return study.score(model);
  },
});

export const sparsity = {
  seeds: [1, 2, 3],
  arms: [
    { name: 'dense', run: async (study, seed) => study.score(await study.control(seed)) },
    ...[0.9, 0.95].flatMap((share) => Object.keys(COURSES).map((course) => arm(share, course))),
  ],
};
