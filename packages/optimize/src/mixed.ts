import type { Engine, Feeds, Model } from '@pare/core';
import { OutputComparison } from '@pare/verify';
import type { Recipe } from './recipe.js';

/** Below this SQNR of the outputs, dB, some layers of a statically quantized model are better left in float. */
const CLEAN_DB = 20;
/** Samples that decide it, and that rank the layers. */
const JUDGED = 8;

/** The recipe of `int8` that leaves the fewest of its most sensitive layers in float with which the outputs are clean again. */
export function mixedRecipe(int8: Recipe): Recipe {
  const steps = int8.steps.map((step) =>
    step.transform === 'quantize-static'
      ? { transform: 'quantize-mixed' as const, options: { ...step.options, target: CLEAN_DB, judged: JUDGED } }
      : step,
  );
  return { ...int8, name: 'int8-mixed', why: `As int8, with the layers in float that cost it the most.`, steps };
}

/** Do the outputs of `quantized` (a path) differ from those of `model` by more than a clean quantization would? */
export async function needsMixed(
  engine: Engine,
  model: Model,
  quantized: string,
  samples: AsyncIterable<Feeds>,
  signal?: AbortSignal,
): Promise<boolean> {
  const options = signal ? { signal } : {};
  const [a, b] = [await engine.open(model, options), await engine.open(quantized, options)];
  try {
    const comparison = new OutputComparison();
    for await (const feeds of samples) {
      comparison.add(await a.run(feeds), await b.run(feeds));
      if (comparison.samples === JUDGED) break;
    }
    return comparison.sqnrDb() < CLEAN_DB;
  } finally {
    await a.close();
    await b.close();
  }
}
