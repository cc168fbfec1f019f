// The results of train-base.mjs and train-compress.mjs as rows of tables.
import { mean, pairedTest, standardError } from './statistics.mjs';

const points = (x) => (100 * x).toFixed(2);
const error = (values) => (values.length > 1 ? ` ± ${points(standardError(values))}` : '');
const spread = (values) => `${points(mean(values))}${error(values)} %`;
const signed = (values) => `${mean(values) > 0 ? '+' : ''}${points(mean(values))}${error(values)}`;

/** What each arm is compared with, arm by seed. */
const CONTROLS = {
  quantization: () => 'float',
  channels: () => 'whole',
  wide: () => 'whole',
  sparsity: (arm) => (arm.includes('at once') ? 'dense' : arm.replace(/ %.*/, ' % at once')),
  distillation: () => 'alone',
};

const TITLES = {
  quantization: 'fewer bits',
  channels: 'half of the multiply-accumulates',
  wide: 'the same, 246 thousand parameters',
  sparsity: 'sparse weights',
  distillation: 'an eighth of the parameters',
};

/** Experiment, arm, accuracy on test pictures, difference to its control in points, p of the paired test, seeds. */
export function compressRows(results) {
  return Object.entries(CONTROLS).flatMap(([experiment, controlOf]) => {
    const of = (arm) => results.filter((r) => r.experiment === experiment && r.arm === arm);
    const arms = [...new Set(results.filter((r) => r.experiment === experiment).map((r) => r.arm))];
    return arms.map((arm) => {
      const runs = of(arm);
      const control = controlOf(arm);
      const pairs = runs.flatMap(({ seed, test }) => {
        const other = of(control).find((r) => r.seed === seed);
        return other && arm !== control ? [test - other.test] : [];
      });
      const p = pairedTest(pairs);
      return [
        TITLES[experiment],
        arm,
        spread(runs.map((r) => r.test)),
        pairs.length > 0 ? `${signed(pairs)} (${control})` : '–',
        p === undefined ? '–' : p < 0.001 ? '< 0.001' : p.toFixed(3),
        runs.length,
      ];
    });
  });
}

/** Settings that were tried before, on validation pictures alone. */
export const triedRows = (results) =>
  results.flatMap(({ experiment, arm, seed, test, validation }) =>
    test === undefined ? [[experiment, arm, `${points(validation)} %`, seed]] : [],
  );

export const baseRows = (results) =>
  results.map(({ seed, parameters, epochs, validation, test, seconds }) => [
    seed,
    parameters.toLocaleString('en'),
    epochs,
    `${points(validation)} %`,
    `${points(test)} %`,
    `${Math.round(seconds / 60)} min`,
  ]);

export const overall = (results) => spread(results.map((r) => r.test));
