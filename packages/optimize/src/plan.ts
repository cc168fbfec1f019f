import type { Model } from '@pare/core';
import type { RefusedVariant } from '@pare/verify';
import { type Precision, recipeFor } from './precision.js';
import type { Recipe } from './recipe.js';
import { type ModelFacts, modelFacts } from './targets/facts.js';
import { type Target, type TargetName, targetProfile, type VariantRule } from './targets/profile.js';

export interface Plan {
  readonly target: Target;
  readonly recipes: readonly Recipe[];
  /** Variants that make no sense here, each with its reason. */
  readonly refused: readonly RefusedVariant[];
}

export interface PlanOptions {
  /** There are samples to calibrate with. */
  readonly calibrated: boolean;
}

/** The variants that are considered, in the order in which they are built. */
const CONSIDERED = ['fp16', 'int8', 'int8-dynamic', 'int8-weights', 'int4-weights'] as const satisfies Precision[];

/**
 * The variants worth building of `model` (simplified) for `target`: the simplified model itself, and whatever the target's
 * table and the model's own make-up speak for. What they speak against is refused in a sentence. Nothing is measured here.
 */
export async function planRecipes(model: Model, target: TargetName | Target, options: PlanOptions): Promise<Plan> {
  const profile = typeof target === 'string' ? await targetProfile(target) : target;
  const facts = modelFacts(model);
  const recipes: Recipe[] = [{ name: 'fp32', dtype: 'fp32', why: 'Simplified, with the same numbers.', steps: [] }];
  const refused: RefusedVariant[] = [];
  for (const name of CONSIDERED) {
    const rule = profile.variants[name];
    const settings = typeof rule.options === 'function' ? rule.options(facts) : rule.options;
    const recipe = { ...recipeFor(name, settings, sentence(rule.why)), ...(rule.needs ? { needs: rule.needs } : {}) };
    const reason = refusal(name, rule, facts, options);
    if (reason) refused.push({ name, recipe: recipe.steps.map((step) => ({ ...step, notes: [] })), reason });
    else recipes.push(recipe);
  }
  const combined = halfScales(profile, recipes);
  return { target: profile, recipes: combined ? [...recipes, combined] : recipes, refused };
}

/** Where 16-bit arithmetic pays, 4-bit weights go with float16 activations. */
function halfScales(target: Target, recipes: readonly Recipe[]): Recipe | undefined {
  const [half, four] = ['fp16', 'int4-weights'].map((name) => recipes.find((r) => r.name === name));
  if (!half || !four || target.variants.fp16.aim !== 'speed') return undefined;
  const why = 'Blocks of 4-bit weights with float16 scales and activations: the fewest bytes.';
  return { ...half, name: 'int4-fp16', dtype: 'q4f16', why, steps: [...four.steps, ...half.steps] };
}

function refusal(name: Precision, rule: VariantRule, facts: ModelFacts, options: PlanOptions): string | undefined {
  const why = modelRefusal(name, facts) ?? (rule.aim === 'no' ? rule.why : rule.refuse?.(facts));
  if (why) return sentence(why);
  return name === 'int8' && !options.calibrated
    ? 'Static quantization needs samples to calibrate with; give some with --data.'
    : undefined;
}

/** What speaks against a variant wherever it runs. */
function modelRefusal(name: Precision, facts: ModelFacts): string | undefined {
  // 16-bit scales and activations around quantized weights are a variant of their own.
  const quantized = name === 'fp16' ? facts.quantizedActivation : facts.quantized;
  if (quantized) return `the model is quantized already (${quantized})`;
  if (facts.weightBytes > 0 || facts.quantized) return undefined;
  if (facts.halfBytes === 0) return 'the model has no float32 constants';
  return name === 'fp16' ? 'the model is float16 already' : 'its weights are float16; start from the float32 model';
}

const sentence = (text: string): string =>
  `${text.charAt(0).toUpperCase()}${text.slice(1)}${text.endsWith('.') ? '' : '.'}`;
