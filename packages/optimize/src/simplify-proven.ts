import { type Feeds, type Model, PareError, type TransformContext } from '@pare/core';
import { type Equivalence, equivalent, type SimplifyOptions, simplify } from '@pare/transforms';

export interface SimplifiedModel {
  /** The simplified model; a plain copy where simplifying was undone. */
  readonly model: Model;
  /** Whether both computed the same. `unknown`: no random inputs suit the model. `different`: simplifying was undone. */
  readonly proof: 'equal' | 'unknown' | 'different';
  /** Shapes of inputs, by name, that the model was seen to take; undefined when it was not run on random inputs. */
  readonly shapes?: Readonly<Record<string, readonly number[]>> | undefined;
  /** One sentence a change, and what the comparison said. */
  readonly notes: readonly string[];
  /** What a reader must know where the proof is not `equal`. */
  readonly warning?: string;
}

/**
 * Simplifies a copy of `model` and runs both, on `feeds` (a real sample) or random inputs: outputs that differ by more than
 * rounding mean that the model stays as it is. Where no random inputs suit the model, nothing is proven, and the warning says so.
 * `context` must have an engine.
 * @throws PareError `bad-model` or `engine` when the original itself does not run; `bad-option` for shapes that do not fit; `aborted`.
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
  let comparison: Equivalence;
  try {
    comparison = await equivalent(engine, model, simplified, { inputs: feeds, runs: feeds ? 1 : 3, signal });
  } catch (error) {
    if (!(error instanceof PareError) || !['bad-model', 'engine'].includes(error.code)) throw error;
    // What somebody chose must run; random inputs may just not suit the model.
    if (error.code === 'bad-model' && feeds) throw error;
    if (error.code === 'engine') {
      // Whose fault it is: an original that does not open throws here.
      await (await engine.open(model, { optimization: 'disabled', ...(signal ? { signal } : {}) })).close();
      return undo(model, `The simplified model does not run: ${error.message}`);
    }
    const warning = `Not compared with the original. ${error.message} Fix the shapes, or give samples to compare on.`;
    return { model: simplified, proof: 'unknown', notes: [...notes, warning], warning };
  }
  const { isEqual, runs, outputs } = comparison;
  const worst = outputs.reduce((a, b) => (b.maxRel > a.maxRel ? b : a));
  if (isEqual) {
    const what = worst.maxRel === 0 ? 'bit for bit' : `to ${worst.maxRel.toExponential(1)} of the largest value`;
    const proof = `Ran both on ${runs} ${feeds ? 'sample' : 'random inputs'}: equal ${what}.`;
    return {
      model: simplified,
      proof: 'equal',
      notes: [...notes, proof],
      shapes: feeds ? undefined : comparison.shapes.at(-1),
    };
  }
  const difference = worst.maxRel.toExponential(1);
  return undo(model, `Simplifying would change output "${worst.name}" by ${difference} of its largest value.`);
}

function undo(model: Model, why: string): SimplifiedModel {
  const warning = `${why} The model was left as it is; leave out the pass at fault (--skip), and please report it.`;
  return { model: model.clone(), proof: 'different', notes: [warning], warning };
}
