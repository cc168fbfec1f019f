import { PareError } from '@pare/core';
import { klDivergence, type Loss, mse } from '../loss/index.js';
import { attentionLoss, type FeaturePair, featureLoss } from './feature.js';
import { angleLoss, distanceLoss, similarityLoss } from './relation.js';

/** Follow what the teacher answers. */
export interface ResponseTerm {
  readonly kind: 'response';
  /** Default 1. */
  readonly weight?: number | undefined;
  /** Of both softmaxes. Default 4. `logits`: the mean squared difference of the logits instead (Ba and Caruana, 2014). */
  readonly temperature?: number | 'logits' | undefined;
}

/** Follow what the teacher computes inside, or how it relates the samples of a batch to each other. */
export interface FeatureTerm {
  readonly kind: 'feature' | 'attention' | 'distance' | 'angle' | 'similarity';
  /** Default 1. */
  readonly weight?: number | undefined;
  /** Name of a value in the student. Relations: default the logits. */
  readonly student?: string | undefined;
  /** Name of a value in the teacher. Relations: default the logits. */
  readonly teacher?: string | undefined;
}

/** One thing that a student learns from its teacher. */
export type DistillTerm = ResponseTerm | FeatureTerm;

/** Names under which batches bring the teacher's answer and its inner values. */
export const ANSWER = 'teacher';
export const targetName = (value: string): string => `teacher/${value}`;

const FEATURES: Readonly<Record<FeatureTerm['kind'], (pair: FeaturePair) => Loss>> = {
  feature: featureLoss,
  attention: attentionLoss,
  distance: distanceLoss,
  angle: angleLoss,
  similarity: similarityLoss,
};

/** `targetDims` gives the shape of a teacher's value for one sample; `fallback` the names of both sides' logits. */
export function termLoss(
  term: DistillTerm,
  targetDims: (value: string) => readonly number[],
  fallback: { readonly student: string; readonly teacher: string },
  seed: number,
): Loss {
  if (term.kind === 'response') {
    const { temperature = 4 } = term;
    return temperature === 'logits' ? mse({ target: ANSWER }) : klDivergence({ target: ANSWER, temperature });
  }
  const { student = fallback.student, teacher = fallback.teacher } = term;
  return FEATURES[term.kind]({ student, target: targetName(teacher), targetDims: targetDims(teacher), seed });
}

/**
 * Terms as a command line writes them: `response`, `feature:relu3=relu7`, `attention:a=b*100`, `relation` (distance and angle of
 * the logits), `similarity:a=b`; `*` gives a weight.
 * @throws PareError `bad-option` with what is meant.
 */
export function parseTerms(text: string): DistillTerm[] {
  return text.split(',').flatMap((part): DistillTerm[] => {
    const match = /^(\w+)(?::([^=*]+)=([^*]+))?(?:\*([\d.eE+-]+))?$/.exec(part.trim());
    const weight = match?.[4] === undefined ? undefined : Number(match[4]);
    if (!match || (weight !== undefined && !(weight > 0))) {
      throw new PareError(
        'bad-option',
        `"${part}" is no term of a distillation loss: write response, feature:<student value>=<teacher value> or relation, each ` +
          'with *<weight> if wanted.',
      );
    }
    const [, kind = '', student, teacher] = match;
    if (kind === 'response') return [{ kind, weight }];
    if (kind === 'relation') {
      return (['distance', 'angle'] as const).map((k) => ({ kind: k, student, teacher, weight }));
    }
    if (!Object.hasOwn(FEATURES, kind)) {
      const known = ['response', 'relation', ...Object.keys(FEATURES)].join(', ');
      throw new PareError('bad-option', `There is no distillation loss "${kind}"; there are ${known}.`);
    }
    if (student === undefined && (kind === 'feature' || kind === 'attention')) {
      throw new PareError('bad-option', `"${part}" needs two values: ${kind}:<student value>=<teacher value>.`);
    }
    return [{ kind: kind as FeatureTerm['kind'], student, teacher, weight }];
  });
}
