import { mkdir } from 'node:fs/promises';
import { basename, dirname, join, posix } from 'node:path';
import type { Engine, Model } from '@pare/core';
import { readModel, writeModel } from '@pare/core/node';
import type { RecipeStep as AppliedStep, VerifyModel } from '@pare/verify';
import { calibrationFeeds, type RunData } from './data.js';
import type { PlacedFile } from './deliver.js';
import { type Layout, modelPath } from './layout.js';
import { applyRecipe, type Recipe } from './recipe.js';

/** A variant as a file that waits to be measured. */
export interface BuiltVariant {
  readonly recipe: Pick<Recipe, 'name' | 'dtype' | 'needs' | 'sessionConfig'>;
  readonly verifyModel: VerifyModel;
  /** The model file first, then external data. */
  readonly files: readonly PlacedFile[];
}

/** What variants are built from, and where. */
export interface Workshop {
  readonly engine: Engine;
  /** The simplified model, which no variant changes. */
  readonly simplified: Model;
  /** How that was made of the original. */
  readonly simplification: readonly AppliedStep[];
  /** Folder for files that are made on the way. */
  readonly staging: string;
  readonly layout?: Layout | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** One variant: a copy of the simplified model, changed by its recipe, as a file. */
export async function build(
  recipe: Recipe,
  { calibration }: RunData,
  tell: (what: string) => void,
  workshop: Workshop,
): Promise<BuiltVariant> {
  const { engine, signal, simplified } = workshop;
  const model = simplified.clone();
  const applied = await applyRecipe(model, recipe, {
    engine,
    signal,
    onProgress: (_, done) => tell(`${recipe.name}, calibration sample ${done}`),
    calibration: calibration && calibrationFeeds(calibration, engine, simplified, signal),
  });
  return stage(recipe, model, applied, workshop);
}

/** Writes `model`, which `applied` made of the simplified one, to the staging folder. */
export async function stage(
  recipe: BuiltVariant['recipe'],
  model: Model,
  applied: readonly AppliedStep[],
  { simplified, simplification, staging, layout = 'pare', signal }: Workshop,
): Promise<BuiltVariant> {
  // Staged under its final name: the names of external data files are written in the model.
  const place = modelPath(recipe.name, layout);
  await mkdir(dirname(join(staging, place)), { recursive: true });
  const written = await writeModel(join(staging, place), model, { signal });
  const files = written.map((file) => ({
    place: posix.join(posix.dirname(place), basename(file.path)),
    file: file.path,
  }));
  const path = files[0]?.file ?? '';
  // The staged file is read back: its tensors lie in the file, where the model's are still to be computed.
  const graph = await readModel(path, { signal });
  return {
    recipe,
    files,
    verifyModel: {
      name: recipe.name,
      model: path,
      graph,
      basis: simplified,
      bytes: written.reduce((sum, file) => sum + file.byteLength, 0),
      files: files.map((file) => file.place),
      recipe: [...simplification, ...applied],
      sessionConfig: recipe.sessionConfig ?? {},
    },
  };
}
