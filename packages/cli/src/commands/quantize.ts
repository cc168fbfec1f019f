import { stat } from 'node:fs/promises';
import type { Model } from '@pare/core';
import { readModel, writeModel } from '@pare/core/node';
import { applyRecipe, calibrationFeeds, PRECISION_NAMES, type RecipeStep, recipeFor } from '@pare/optimize';
import { simplify } from '@pare/transforms';
import { type CommandContext, EXIT } from '../command.js';
import { type DataFlags, loadData } from '../data.js';
import { bytes } from '../format.js';
import type { Register } from '../main.js';
import { collect, parseCount } from '../parse.js';

interface Flags extends DataFlags {
  readonly output: string;
  readonly to: string;
  readonly method?: string;
  readonly include?: string[];
  readonly exclude?: string[];
  readonly perTensor?: boolean;
  readonly reduceRange?: boolean;
  readonly blockSize?: string;
  readonly simplify: boolean;
  readonly json?: boolean;
}

/** `pare quantize`. */
export const quantize: Register = (program, run) => {
  program
    .command('quantize')
    .description('make one variant: fp16, bf16, int8 (static), int8-dynamic, int8-weights, int4-weights')
    .argument('<model>', 'ONNX file')
    .requiredOption('-o, --output <file>', 'where to write the result')
    .requiredOption('--to <precision>', PRECISION_NAMES.join(', '))
    .option('--data <path>', 'samples to calibrate with: needed for int8, useful for fp16')
    .option('--preprocess <file>', 'how pictures become tensors')
    .option('--method <name>', 'calibration: minmax, moving-average, percentile, entropy, mse')
    .option('--include <op|name|/regex/>', 'only these operators or nodes', collect)
    .option('--exclude <op|name|/regex/>', 'not these operators or nodes', collect)
    .option('--per-tensor', 'one scale a tensor instead of one a channel')
    .option('--reduce-range', '7-bit weights, for x64 processors without VNNI')
    .option('--block-size <n>', 'weights that share a scale in int4-weights (default: 32)')
    .option('--no-simplify', 'do not simplify first')
    .option('--json', 'print the result as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare quantize model.onnx --to int8 --data val.npz -o int8.onnx\n  $ pare quantize model.onnx --to int4-weights --block-size 32 -o q4.onnx\n  $ pare quantize model.onnx --to fp16 --exclude "/^head/" -o fp16.onnx',
    )
    .action((file: string, flags: Flags) =>
      run(async (context) => {
        const { terminal, progress, signal, engine } = context;
        const recipe = recipeFor(flags.to, settingsOf(flags));
        const model = await readModel(file, { signal });
        if (flags.simplify)
          await model.transform(simplify(), { engine: engine(), signal, onProgress: progress.update });
        const steps = await applyRecipe(model, recipe, {
          engine: engine(),
          signal,
          onProgress: progress.update,
          calibration: await calibrationOf(model, flags, context),
        });
        await writeModel(flags.output, model, { signal });
        progress.end();
        const before = (await stat(file)).size;
        const after = (await stat(flags.output)).size;
        if (flags.json) {
          terminal.out(JSON.stringify({ recipe: recipe.name, steps, bytes: { before, after } }, null, 2));
        } else {
          for (const note of steps.flatMap((s) => s.notes)) terminal.out(terminal.style('dim', `  ${note}`));
          terminal.out(`${bytes(before)}  ->  ${terminal.style('bold', bytes(after))}  ${flags.output}`);
        }
        return EXIT.ok;
      }),
    );
};

/** The flags as options of the transform: only what was said. */
function settingsOf(flags: Flags): RecipeStep['options'] {
  return {
    ...(flags.method === undefined ? {} : { method: flags.method }),
    ...(flags.include ? { include: flags.include } : {}),
    ...(flags.exclude ? { exclude: flags.exclude } : {}),
    ...(flags.perTensor ? { perChannel: false } : {}),
    ...(flags.reduceRange ? { reduceRange: true } : {}),
    ...(flags.blockSize === undefined ? {} : { blockSize: parseCount(flags.blockSize, '--block-size') }),
  };
}

async function calibrationOf(model: Model, flags: Flags, { engine, signal }: CommandContext) {
  if (flags.data === undefined) return undefined;
  return calibrationFeeds(await loadData(flags.data, flags.preprocess), engine(), model, signal);
}
