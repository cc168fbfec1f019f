import type { Evaluation, Subject } from './evaluate.js';
import type { AccuracyEvidence, MetricValue } from './evidence.js';
import { classTable } from './metrics/classification.js';
import type { Metric } from './metrics/metric.js';
import { compareScores, scoreAll } from './metrics/score.js';

/** Larger confusion matrices cannot be drawn and swell the evidence. */
const MAX_CONFUSION = 100;

export interface AccuracyOptions {
  readonly seed: number;
  readonly maxDrop: number | undefined;
  readonly classes: readonly string[] | undefined;
}

/** The accuracy evidence of `subject` from its scores; null when there is no metric. */
export function accuracyOf(
  subject: Subject,
  original: Subject,
  evaluation: Evaluation,
  options: AccuracyOptions,
): AccuracyEvidence | null {
  const [main, ...others] = evaluation.metrics;
  if (!main) return null;
  const scores = subject.scores[0] as unknown[];
  const seed = { seed: options.seed };
  const scored = scoreAll(main, scores, seed);
  const secondary = others.map((metric, i): MetricValue => {
    const { value, interval, format } = scoreAll(metric, subject.scores[i + 1] as unknown[], seed);
    return { metric: metric.name, higherIsBetter: metric.higherIsBetter, format, value, interval };
  });
  const table = subject.classes.length > 0 ? classTable(subject.classes, options.classes) : undefined;
  return {
    metric: main.name,
    higherIsBetter: main.higherIsBetter,
    format: scored.format,
    reference: referenceOf(main),
    value: scored.value,
    interval: scored.interval,
    samples: scores.length,
    secondary,
    classes: table?.classes ?? null,
    confusion: table && table.confusion.labels.length <= MAX_CONFUSION ? table.confusion : null,
    drop:
      subject === original
        ? null
        : compareScores(main, original.scores[0] as unknown[], scores, { ...seed, limit: options.maxDrop }),
  };
}

const referenceOf = (metric: Metric): 'labels' | 'original' => metric.reference ?? 'labels';
