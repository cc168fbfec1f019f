import type { TrainResult } from '@pare/train';
import type { CurvePoint, TrainingEvidence } from '@pare/verify';

/** Points of a curve that is kept. */
const POINTS = 500;

/** What a run of training was, beside its result. */
export interface TrainedModel extends Pick<TrainingEvidence, 'name' | 'what' | 'seed'> {
  readonly result: TrainResult;
}

/** A run of training as evidence: its loss curve thinned out to what a picture can show, extremes included. */
export function trainingEvidence({ name, what, seed, result }: TrainedModel): TrainingEvidence {
  const { loss, epochs, samples, steps, best, score, start, notes } = result;
  return {
    name,
    what,
    loss,
    samples,
    steps,
    seed,
    seconds: rounded(epochs.reduce((sum, epoch) => sum + epoch.seconds, 0)),
    epochs: epochs.map((epoch) => ({
      epoch: epoch.epoch,
      loss: epoch.loss,
      accuracy: epoch.accuracy ?? null,
      score: epoch.score ?? null,
      learningRate: epoch.learningRate,
      seconds: rounded(epoch.seconds),
    })),
    curve: lossCurve(result),
    score:
      score === undefined
        ? null
        : { name: score, format: score === 'accuracy' ? 'percent' : 'number', before: start ?? null },
    best,
    notes,
  };
}

/** The loss by step, in at most 500 points that stand for equally many steps each (the last one for what is left). */
export function lossCurve({ curve, rates }: Pick<TrainResult, 'curve' | 'rates'>): CurvePoint[] {
  const size = Math.max(1, Math.ceil(curve.length / POINTS));
  return Array.from({ length: Math.ceil(curve.length / size) }, (_, i) => {
    const losses = curve.slice(i * size, (i + 1) * size);
    const step = i * size + losses.length;
    return {
      step,
      loss: rounded(losses.reduce((sum, loss) => sum + loss, 0) / losses.length),
      low: rounded(Math.min(...losses)),
      high: rounded(Math.max(...losses)),
      learningRate: rounded(rates[step - 1] ?? 0),
    };
  });
}

/** Six figures: as many as anybody reads off a curve. */
const rounded = (value: number): number => Number(value.toPrecision(6));
