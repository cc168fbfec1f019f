import type { Feeds, Model, Transform, TransformContext } from '@pare/core';
import { type QuantizeDynamicOptions, quantizeDynamic } from '@pare/transforms';
import type { RecipeStep as AppliedStep } from '@pare/verify';

/** One transform of a recipe, as data: it can be stored, hashed and repeated. */
export interface RecipeStep {
  readonly transform: keyof typeof TRANSFORMS;
  readonly options: Readonly<Record<string, unknown>>;
}

/** How one variant is made from the simplified model. */
export interface Recipe {
  /** Name of the variant, for example `int8-dynamic`. */
  readonly name: string;
  /** Precision of the weights in the words of the bundle: `fp32`, `fp16`, `int8`, `q4`, ... */
  readonly dtype: string;
  /** Why it makes sense on the target, one sentence. */
  readonly why: string;
  readonly steps: readonly RecipeStep[];
  /** Runtime config that the variant needs. */
  readonly sessionConfig?: Readonly<Record<string, string>>;
}

/** What steps may need beside the model. */
export interface RecipeContext extends TransformContext {
  /** A fresh pass over the calibration samples; undefined when there are none. */
  readonly calibration?: (() => AsyncIterable<Feeds>) | undefined;
}

type Maker = (options: Readonly<Record<string, unknown>>, context: RecipeContext) => Transform;

const TRANSFORMS = {
  'quantize-dynamic': (options) => quantizeDynamic(options as QuantizeDynamicOptions),
} satisfies Record<string, Maker>;

/** Applies `recipe` to `model` in place; returns what each step did, for the evidence. */
export async function applyRecipe(model: Model, recipe: Recipe, context: RecipeContext): Promise<AppliedStep[]> {
  const applied: AppliedStep[] = [];
  for (const { transform, options } of recipe.steps) {
    const make: Maker = TRANSFORMS[transform];
    const [result] = await model.transform(make(options, context), context);
    applied.push({ transform, options, notes: result?.notes ?? [] });
  }
  return applied;
}
