import type { TrainingEvidence } from '../evidence.js';
import { formatNumber, formatValue, plural } from './format.js';

interface TrainingWords {
  /** What was done to the model. */
  readonly done: string;
  readonly thing: string;
}

const WORDS: Readonly<Record<TrainingEvidence['what'], TrainingWords>> = {
  finetune: { done: 'Fine-tuned', thing: 'Fine-tuning' },
  prune: { done: 'Pruned', thing: 'Training of what pruning left' },
  distill: { done: 'Distilled', thing: 'Distillation' },
  qat: { done: 'Quantized', thing: 'Quantization-aware training' },
};

/** What a kind of training is called: as something done, and as a thing. A kind that is not known is just training. */
export const trainingWords = (what: TrainingEvidence['what'] | undefined): TrainingWords =>
  what !== undefined && Object.hasOwn(WORDS, what) ? WORDS[what] : { done: 'Trained', thing: 'Training' };

/** A run of training in a sentence or two. */
export function describeTraining({ what, epochs, samples, steps, seconds, seed }: TrainingEvidence): string {
  const perSecond = seconds > 0 ? `, ${formatNumber((samples * epochs.length) / seconds)} samples a second` : '';
  return (
    `${trainingWords(what).thing}: ${plural(epochs.length, 'epoch')} of ${plural(samples, 'sample')}, ${plural(steps, 'step')} in ` +
    `${formatSeconds(seconds)}${perSecond}. Seed ${seed}.`
  );
}

/** Which weights were kept, and how good they are, in a sentence or two. */
export function describeKept({ epochs, best, score }: TrainingEvidence): string {
  const [first, kept] = [epochs[0], epochs[best - 1]];
  if (!score) {
    const before = first && first !== kept ? `, ${formatNumber(first.loss)} in the first one` : '';
    const loss = kept ? ` Its mean loss was ${formatNumber(kept.loss)}${before}.` : '';
    return `The weights of the last epoch are kept: there were no validation samples to choose by.${loss}`;
  }
  const write = (value: number | null | undefined): string => formatValue(value ?? null, score.format);
  if (!kept)
    return `No epoch was better than what it started from, which is kept: ${score.name} ${write(score.before)} on the validation samples.`;
  const before = score.before === null ? '' : `, ${write(score.before)} before training`;
  return `Epoch ${best} of ${epochs.length} is kept: ${score.name} ${write(kept.score)} on the validation samples${before}.`;
}

/** `12.3 s`, `3 min 20 s`, `2 h 5 min`. */
export function formatSeconds(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(seconds < 9.95 ? 2 : 1)} s`;
  const whole = Math.round(seconds);
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
