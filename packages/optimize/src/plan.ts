import type { Model } from '@pare/core';
import type { RefusedVariant } from '@pare/verify';
import { recipeFor } from './precision.js';
import type { Recipe } from './recipe.js';
import type { TargetName } from './targets/profile.js';

export interface Plan {
  readonly recipes: readonly Recipe[];
  /** Variants that make no sense here, each with its reason. */
  readonly refused: readonly RefusedVariant[];
}

export interface PlanOptions {
  /** There are samples to calibrate with. */
  readonly calibrated: boolean;
}

/** The variants worth building of `model` (simplified) for `target`. */
export async function planRecipes(_model: Model, _target: TargetName, _options: PlanOptions): Promise<Plan> {
  const recipes: Recipe[] = [
    { name: 'fp32', dtype: 'fp32', why: 'Simplified, the same numbers.', steps: [] },
    ...(['fp16', 'int8', 'int8-dynamic', 'int8-weights', 'int4-weights'] as const).map((name) => recipeFor(name)),
  ];
  return { recipes, refused: [] };
}
