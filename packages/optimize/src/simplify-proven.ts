import { type Feeds, type Model, PareError, type TransformContext } from '@pare/core';
import { equivalent, type SimplifyOptions, simplify } from '@pare/transforms';

export interface SimplifiedModel {
  /** The simplified model; a plain copy when simplifying changed what it computes. */
  readonly model: Model;
  /** One sentence a change, and what the comparison said. */
  readonly notes: readonly string[];
  /** Why the model was left as it is; undefined when it was simplified. */
  readonly refusal?: string;
}

/**
 * Simplifies a copy of `model` and runs both, on `feeds` (a real sample) or random inputs: outputs that differ by more than
 * rounding mean that the model stays as it is. `context` must have an engine.
 * @throws PareError `bad-model` when the original itself does not run; `bad-option` for shapes that do not fit; `aborted`.
 */
export async function simplifyProven(
  model: Model,
  options: SimplifyOptions,
  context: TransformContext,
  feeds?: Feeds,
): Promise<SimplifiedModel> {
  const { engine, signal } = context;
  if (!engine) throw new PareError('bad-option', 'Proving that simplify changes nothing needs an engine.');
  const simplified = model.clone();
  const [result] = await simplified.transform(simplify(options), context);
  const notes = result?.notes ?? [];
  const { isEqual, runs, outputs } = await equivalent(engine, model, simplified, {
    inputs: feeds,
    runs: feeds ? 1 : 3,
    signal,
  });
  const worst = outputs.reduce((a, b) => (b.maxRel > a.maxRel ? b : a));
  if (isEqual) {
    const what = worst.maxRel === 0 ? 'bit for bit' : `to ${worst.maxRel.toExponential(1)} of the largest value`;
    return {
      model: simplified,
      notes: [...notes, `Ran both on ${runs} ${feeds ? 'sample' : 'random inputs'}: equal ${what}.`],
    };
  }
  const refusal =
    `Simplifying would change output "${worst.name}" by ${worst.maxRel.toExponential(1)} of its largest value, more than ` +
    'rounding; the model was left as it is. Leave out the pass at fault (--skip), and please report it.';
  return { model: model.clone(), notes: [refusal], refusal };
}
