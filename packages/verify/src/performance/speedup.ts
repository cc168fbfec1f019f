import type { SpeedupEvidence } from '../evidence.js';
import { bootstrap } from '../statistics/bootstrap.js';
import { LEVEL } from '../statistics/proportion.js';
import { median, quantileSorted } from '../statistics/quantile.js';

/** Two sessions of one and the same model differ by up to this, by where their memory happens to lie. */
const MARGIN = 1.02;

/**
 * Speed-up from the medians of interleaved rounds: the ratio within each round (what slowed the machine then slowed both), the
 * median of the ratios, and its percentile bootstrap interval over rounds. With fewer than six rounds an interval of a median
 * cannot reach 95 %, so the smallest and the largest ratio are its ends. Less than 2 % is no difference, however certain.
 */
export function measureSpeedup(original: ArrayLike<number>, variant: ArrayLike<number>, seed = 1): SpeedupEvidence {
  const rounds = Math.min(original.length, variant.length);
  const ratios = Float64Array.from({ length: rounds }, (_, i) => (original[i] as number) / (variant[i] as number));
  const ratio = median(ratios);
  let low = Math.min(...ratios);
  let high = Math.max(...ratios);
  if (rounds >= 6) {
    const drawn = new Float64Array(rounds);
    const draws = bootstrap(
      rounds,
      (indices) => {
        for (let i = 0; i < rounds; i++) drawn[i] = ratios[indices[i] as number] as number;
        return quantileSorted(drawn.sort(), 0.5);
      },
      { seed },
    );
    low = quantileSorted(draws, (1 - LEVEL) / 2);
    high = quantileSorted(draws, (1 + LEVEL) / 2);
  }
  return {
    ratio,
    interval: { low, high, level: LEVEL, method: 'bootstrap-percentile' },
    verdict:
      low > 1 && ratio > MARGIN ? 'faster' : high < 1 && ratio < 1 / MARGIN ? 'slower' : 'no difference measured',
  };
}
