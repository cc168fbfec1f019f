import { inferTypes, type Model, PareError, serializeModel, staticShape } from '@pare/core';
import { inputPorts } from '../evaluate.js';
import { combine, crossEntropy, type Loss } from '../loss/index.js';
import { sampleShapes } from '../sample-shapes.js';
import { train } from '../train.js';
import type { TrainOptions, TrainResult } from '../train-options.js';
import { answerCache, type RowStore } from './answer-cache.js';
import { logitsOf, Teacher } from './teacher.js';
import { type DistillTerm, termLoss } from './terms.js';

/** Options of `distill`. */
export interface DistillOptions extends Omit<TrainOptions, 'loss' | 'targets'> {
  /** Any model whose inputs the samples fit. It is not changed. */
  readonly teacher: Model;
  /** What to learn from it. Default the response at temperature 4. */
  readonly terms?: readonly DistillTerm[] | undefined;
  /**
   * The loss on labels beside it; null for none (labels are then not needed). Default cross-entropy with weight 0.1.
   */
  readonly labels?: { readonly loss: Loss; readonly weight: number } | null | undefined;
  /** Where answers are kept between epochs. Not together with `augment`: varied pictures are new ones. */
  readonly cache?: RowStore | undefined;
}

/**
 * Trains `student` in place to follow `teacher`: its answers (Hinton et al., 2015), its inner values, its relations between
 * samples, in any weighted mix. What the loss trains beside the student (adapters) is no part of it.
 * @throws PareError `bad-option` when teacher and student don't fit each other, and what `train` throws.
 */
export async function distill(student: Model, options: DistillOptions): Promise<TrainResult> {
  const { teacher: model, terms = [{ kind: 'response' }], engine, cache, augment, seed = 1, shards = 1 } = options;
  const { labels = { loss: crossEntropy(), weight: 0.1 } } = options;
  if (cache && augment) {
    throw new PareError(
      'bad-option',
      'Varied pictures are new in every epoch: answers to them cannot be kept. Drop one of both.',
    );
  }
  if (terms.length === 0) throw new PareError('bad-option', 'A distillation needs one term at least: response.');
  const own = logitsOf(student).name;
  const inputShapes = Object.fromEntries(
    Object.entries(await sampleShapes(options.data, inputPorts(student))).map(([name, dims]) => [name, [2, ...dims]]),
  );
  const values = terms.flatMap((term) =>
    term.kind === 'response' || term.teacher === undefined ? [] : [term.teacher],
  );
  const teacher = await Teacher.open(model, {
    engine,
    values,
    inputShapes,
    threads: shards,
    cache: cache && answerCache(cache, await hashOf(model)),
    signal: options.signal,
  });
  try {
    if (terms.some(({ kind }) => kind === 'response')) refuseOtherAnswers(student, teacher, inputShapes);
    const parts = terms.map((term): readonly [number, Loss] => [
      term.weight ?? 1,
      termLoss(term, (value) => teacher.dims(value), { student: own, teacher: teacher.logits }, seed),
    ]);
    const loss = combine(labels ? [[labels.weight, labels.loss], ...parts] : parts);
    return await train(student, { ...options, loss, targets: (batch) => teacher.answer(batch) });
  } finally {
    await teacher.close();
  }
}

/** Answers are compared number by number. */
function refuseOtherAnswers(
  student: Model,
  teacher: Teacher,
  inputShapes: Readonly<Record<string, readonly number[]>>,
): void {
  const type = inferTypes(student, { inputShapes }).typeOf(logitsOf(student));
  const own = type?.kind === 'tensor' ? staticShape(type.shape)?.slice(1) : undefined;
  const theirs = teacher.dims(teacher.logits);
  if (!own || own.join() === theirs.join()) return;
  throw new PareError(
    'bad-option',
    `The teacher answers with [${theirs.join(', ')}] numbers a sample, the student with [${own.join(', ')}]: there is no response to ` +
      'follow. Give a teacher of the same classes, or leave response out for feature, attention or relation.',
  );
}

/** SHA-256 of the model as a file, hex. */
async function hashOf(model: Model): Promise<string> {
  const bytes = await serializeModel(model, { externalData: false }).file.bytes();
  const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes as Uint8Array<ArrayBuffer>));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
