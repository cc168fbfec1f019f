import { type Feeds, type Model, PareError, type Transform, type TransformContext } from '@pare/core';
import {
  type Float16Options,
  float16,
  type NodePattern,
  type PruneChannelsOptions,
  type PruneWeightsOptions,
  pruneChannels,
  pruneWeights,
  type QuantizeDynamicOptions,
  type QuantizeMixedOptions,
  type QuantizeStaticOptions,
  type QuantizeWeightsOptions,
  quantizeDynamic,
  quantizeMixed,
  quantizeStatic,
  quantizeWeights,
  type ShareWeightsOptions,
  shareWeights,
  type UpgradeOpsetOptions,
  upgradeOpset,
} from '@pare/transforms';
import type { RecipeStep as AppliedStep } from '@pare/verify';

/** One transform of a recipe, as data: it can be stored, hashed and repeated. */
export interface RecipeStep {
  readonly transform:
    | 'upgrade-opset'
    | 'float16'
    | 'quantize-dynamic'
    | 'quantize-static'
    | 'quantize-mixed'
    | 'quantize-weights'
    | 'prune-weights'
    | 'prune-channels'
    | 'share-weights';
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
  /** What a device must have, in the words of the bundle, for example `shader-f16`. */
  readonly needs?: readonly string[];
}

/** What steps may need beside the model. */
export interface RecipeContext extends TransformContext {
  /** A fresh pass over the calibration samples; undefined when there are none. */
  readonly calibration?: (() => AsyncIterable<Feeds>) | undefined;
  /** Gradients of the loss by name of the weight, for pruning by `taylor`. */
  readonly gradients?: PruneWeightsOptions['gradients'];
}

type Maker = (options: Readonly<Record<string, unknown>>, context: RecipeContext) => Transform;

const TRANSFORMS: Readonly<Record<RecipeStep['transform'], Maker>> = {
  'upgrade-opset': (options) => upgradeOpset(options as unknown as UpgradeOpsetOptions),
  float16: (options, { calibration }) => float16({ ...(options as Float16Options), samples: calibration?.() }),
  'quantize-dynamic': (options) => quantizeDynamic(options as QuantizeDynamicOptions),
  'quantize-static': (options, { calibration }) =>
    quantizeStatic({ ...(options as QuantizeStaticOptions), samples: calibration && repeatable(calibration) }),
  'quantize-mixed': (options, { calibration }) => {
    if (!calibration) throw new PareError('bad-option', 'Mixed quantization needs calibration samples.');
    return quantizeMixed({ ...(options as unknown as QuantizeMixedOptions), samples: repeatable(calibration) });
  },
  'quantize-weights': (options) => quantizeWeights(options as QuantizeWeightsOptions),
  'prune-weights': (options, { calibration, gradients }) => {
    const samples = calibration && repeatable(calibration);
    return pruneWeights({ ...(options as PruneWeightsOptions), samples, gradients });
  },
  'prune-channels': (options, { calibration, gradients }) => {
    const samples = calibration && repeatable(calibration);
    return pruneChannels({ ...(options as unknown as PruneChannelsOptions), samples, gradients });
  },
  'share-weights': (options) => shareWeights(options as ShareWeightsOptions),
};

/** Iterable as often as needed: choosing the best calibration method takes a second pass. */
export const repeatable = (open: () => AsyncIterable<Feeds>): AsyncIterable<Feeds> => ({
  [Symbol.asyncIterator]: () => open()[Symbol.asyncIterator](),
});

/** Options as their transform takes them. Patterns are data in a recipe: `/text/` stands for a regular expression. */
export function reviveOptions(options: RecipeStep['options']): RecipeStep['options'] {
  const pattern = (text: unknown): NodePattern => {
    const match = /^\/(.+)\/([a-z]*)$/.exec(String(text));
    if (!match) return String(text);
    try {
      return new RegExp(match[1] as string, match[2]);
    } catch (cause) {
      throw new PareError('bad-option', `${text} is no regular expression: ${(cause as Error).message}.`, { cause });
    }
  };
  const lists = ['include', 'exclude'].filter((key) => Array.isArray(options[key]));
  return { ...options, ...Object.fromEntries(lists.map((key) => [key, (options[key] as unknown[]).map(pattern)])) };
}

/**
 * Applies `recipe` to `model` in place; returns what each step did, for the evidence.
 * @throws PareError `unsupported` when no step finds anything to change; what the transforms throw.
 */
export async function applyRecipe(model: Model, recipe: Recipe, context: RecipeContext): Promise<AppliedStep[]> {
  const applied: AppliedStep[] = [];
  let changed = 0;
  for (const { transform, options } of recipe.steps) {
    const [result] = await model.transform(TRANSFORMS[transform](reviveOptions(options), context), context);
    applied.push({ transform, options, notes: result?.notes ?? [] });
    // A newer opset alone is the same model.
    if (transform !== 'upgrade-opset') changed += result?.changed ?? 0;
  }
  if (recipe.steps.length > 0 && changed === 0) {
    const last = applied.flatMap((step) => step.notes).at(-1) ?? '';
    throw new PareError(
      'unsupported',
      `There is nothing in the model that ${recipe.name} could change. ${last}`.trim(),
    );
  }
  return applied;
}
