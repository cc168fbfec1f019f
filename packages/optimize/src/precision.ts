import { PareError } from '@pare/core';
import type { Recipe, RecipeStep } from './recipe.js';

/** What a model can be made into by one quantization. */
export type Precision = 'fp16' | 'bf16' | 'int8' | 'int8-dynamic' | 'int8-weights' | 'int4-weights';

/** The transform behind each, with what it needs by default. `dtype`: the word of the bundle. */
const PRECISIONS: Readonly<Record<Precision, { dtype: string; step: RecipeStep }>> = {
  fp16: { dtype: 'fp16', step: { transform: 'float16', options: { type: 'float16' } } },
  bf16: { dtype: 'bf16', step: { transform: 'float16', options: { type: 'bfloat16' } } },
  int8: { dtype: 'int8', step: { transform: 'quantize-static', options: {} } },
  'int8-dynamic': { dtype: 'q8', step: { transform: 'quantize-dynamic', options: {} } },
  'int8-weights': {
    dtype: 'int8',
    step: { transform: 'quantize-weights', options: { bits: 8, format: 'dequantize' } },
  },
  'int4-weights': { dtype: 'q4', step: { transform: 'quantize-weights', options: { bits: 4, format: 'matmulnbits' } } },
};

export const PRECISION_NAMES = Object.keys(PRECISIONS) as readonly Precision[];

/**
 * The recipe of one precision; `settings` are options of its transform and win over its defaults.
 * @throws PareError `bad-option` for a name that is none.
 */
export function recipeFor(precision: string, settings: RecipeStep['options'] = {}, why = ''): Recipe {
  const name = PRECISION_NAMES.find((p) => p === precision);
  if (!name) {
    throw new PareError(
      'bad-option',
      `There is no precision "${precision}"; choose one of ${PRECISION_NAMES.join(', ')}.`,
    );
  }
  const { dtype, step } = PRECISIONS[name];
  return { name, dtype, why, steps: [{ ...step, options: { ...step.options, ...settings } }] };
}
