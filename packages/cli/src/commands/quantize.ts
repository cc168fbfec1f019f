import { type Model, PareError } from '@pare/core';
import {
  applyRecipe,
  calibrationFeeds,
  firstFeeds,
  modelFacts,
  PRECISION_NAMES,
  type Precision,
  type RecipeStep,
  recipeFor,
  simplifyProven,
  targetProfile,
} from '@pare/optimize';
import { LOSSES } from '@pare/train';
import type { RecipeStep as AppliedStep, Dataset, TrainingEvidence } from '@pare/verify';
import { type CommandContext, EXIT } from '../command.js';
import { type FewBitsFlags, fewBits, quantizeToFewBits } from '../few-bits.js';
import { bytes, noteLines } from '../format.js';
import { Job } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, type FileSummary, openModel, running, saveModel } from '../models.js';
import { configOption, dataOptions, examples, jsonOption, shapeOptions, withOptions } from '../options.js';
import { collect, oneOf, parseCount } from '../parse.js';
import { trainingOf, writeTrainingReport } from '../report.js';
import { showTransform } from '../stages.js';
import { FOLDING, forgetCheckpoints, printKept, printTraining, refuseTraining, trainingOptions } from '../training.js';

interface Flags extends FewBitsFlags {
  readonly include?: string[];
  readonly exclude?: string[];
  readonly perTensor?: boolean;
  readonly symmetric?: boolean;
  readonly reduceRange?: boolean;
  readonly format?: string;
  readonly blockSize?: string;
  readonly simplify: boolean;
  readonly json?: boolean;
}

/** What `pare quantize --json` prints: `schemas/quantize.schema.json`. */
export interface QuantizeReport {
  readonly schema: 'pare-quantize/1.0';
  /** One of the names, or bits like `w4a8`. */
  readonly precision: string;
  readonly before: FileSummary;
  readonly after: FileSummary;
  /** What each transform did, in order. */
  readonly steps: readonly AppliedStep[];
  /** With `--train`: how it learned. `start` is the score without training. */
  readonly training?: TrainingEvidence | undefined;
}

/** `pare quantize`. */
export const quantize: Register = (program, run) => {
  const command = program
    .command('quantize')
    .summary('one variant: fp16, bf16, int8, w4a8, ...')
    .description(
      'Makes one variant: fp16, bf16, int8 (static, needs --data), int8-dynamic, int8-weights, int4-weights; or so many bits of weights ' +
        'and activations, w8a8, w4a8, w4a4, w2a4, w4, ..., which --train then trains. The model is simplified first. Nothing is measured ' +
        'but what --val scores: see `pare verify`.',
    )
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .requiredOption('-o, --output <file>', 'where to write the result')
    .requiredOption('--to <precision>', `${PRECISION_NAMES.join(', ')}; or w4a8, w4a4, w2a4, w4, ...`);
  withOptions(
    command,
    (c) => c.option('--target <name>', 'with the settings that are best on: node-cpu, web-wasm, web-webgpu'),
    dataOptions,
    (c) =>
      c
        .option('--method <name>', 'int8: auto, min-max, moving-average, percentile, entropy, mse (default: auto)')
        .option('--include <op|name|/regex/>', 'only these operators or nodes', collect)
        .option('--exclude <op|name|/regex/>', 'not these operators or nodes', collect)
        .option('--per-tensor', 'int8, int8-dynamic: one scale a tensor instead of one a channel')
        .option('--symmetric', 'zero points in the middle (int8: of activations; weights: none at all)')
        .option('--reduce-range', 'int8, int8-dynamic: 7-bit weights, for x64 processors without VNNI')
        .option('--format <name>', 'int8: qdq, qoperator; weights: matmulnbits, dequantize, cast')
        .option('--block-size <n>', 'int8-weights, int4-weights: weights that share a scale (default: 32)')
        .option('--no-simplify', 'do not simplify first')
        .option('--train <epochs>', 'w4a8 and the like: train weights and step sizes with the rounding (needs --data)')
        .option('--loss <name>', `with --train: ${Object.keys(LOSSES).join(', ')} (default: cross-entropy)`),
    trainingOptions,
    shapeOptions,
    configOption,
    jsonOption('the result'),
    examples(
      'quantize model.onnx --to int8 --data val.npz -o int8.onnx',
      'quantize model.onnx --to int4-weights --block-size 64 -o q4.onnx',
      'quantize model.onnx --to w4a8 --train 2 --data train.npz --val val.npz -o qat.onnx',
      'quantize model.onnx --to fp16 --data val.npz --exclude "/^head/" -o fp16.onnx',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async (context) => {
      const { terminal, progress, signal } = context;
      const job = await Job.load(flags);
      const bits = fewBits(flags.to);
      const precision = bits ? undefined : (oneOf(flags.to, PRECISION_NAMES, '--to') as Precision);
      const own = settings(flags, precision);
      await checkOutput(flags.output);
      const data = (await job.calibration()) ?? (await job.data());
      if (precision === 'int8' && !data) {
        throw new PareError('bad-option', '--to int8 calibrates with samples: give some with --data.');
      }
      const { model, summary: before } = await openModel(job.model(file), signal);
      const skip = flags.train === undefined ? [] : FOLDING;
      const first = flags.simplify ? await simplified(model, job, data, context, skip) : { model, steps: [] };
      progress.update({ stage: 'Quantizing', done: 0 });
      const done = bits
        ? await running(first.model, () =>
            quantizeToFewBits(first.model, bits, { flags, job, data, context, patterns: own }),
          )
        : {
            steps: await applyNamed(first.model, precision as Precision, own, job, data, context),
            training: undefined,
          };
      progress.update({ stage: 'Writing', done: 0 });
      const after = await saveModel(flags.output, first.model, signal);
      if (done.training) forgetCheckpoints(flags);
      progress.end();
      const training =
        done.training && trainingOf(flags.output, { what: 'qat', seed: job.seed, result: done.training });
      if (training) {
        const facts = [['Precision', flags.to]] as const;
        await writeTrainingReport(flags.report, { before, after, training: [training], facts }, context);
      }
      const report: QuantizeReport = {
        schema: 'pare-quantize/1.0',
        precision: flags.to,
        before,
        after,
        steps: [...first.steps, ...done.steps],
        training,
      };
      if (flags.json) terminal.out(JSON.stringify(report, null, 2));
      else {
        for (const line of noteLines(done.steps.flatMap((s) => s.notes))) terminal.out(terminal.style('dim', line));
        if (done.training) {
          printTraining(terminal, done.training);
          printKept(terminal, flags.output, done.training);
        }
        terminal.out(`${bytes(before.bytes)}  →  ${terminal.style('bold', bytes(after.bytes))}  ${flags.output}`);
      }
      return EXIT.ok;
    }),
  );
};

/** A precision by its name: the recipe of the target's table with what the flags say. */
async function applyNamed(
  model: Model,
  precision: Precision,
  own: RecipeStep['options'],
  job: Job,
  data: Dataset | undefined,
  { engine, signal, progress }: CommandContext,
): Promise<AppliedStep[]> {
  const recipe = recipeFor(precision, { ...(await targetSettings(job, precision, model)), ...own });
  return applyRecipe(model, recipe, {
    engine: engine(),
    signal,
    onProgress: showTransform(progress),
    calibration: data && calibrationFeeds(data, engine(), model, signal),
  });
}

async function simplified(
  model: Model,
  { fixShapes, fixDims }: Job,
  data: Dataset | undefined,
  { engine, signal, progress }: CommandContext,
  skip: readonly string[],
): Promise<{ readonly model: Model; readonly steps: AppliedStep[] }> {
  const options = { fixShapes, fixDims, ...(skip.length > 0 ? { skip } : {}) };
  const context = { engine: engine(), signal, onProgress: showTransform(progress) };
  const proven = await running(model, async () =>
    simplifyProven(model, options, context, data && (await firstFeeds(data, model, engine(), signal))),
  );
  return { model: proven.model, steps: [{ transform: 'simplify', options, notes: proven.notes }] };
}

/** What the target's table says of this precision for this model; nothing without a target. */
async function targetSettings({ target }: Job, precision: Precision, model: Model): Promise<RecipeStep['options']> {
  if (!target) return {};
  const { variants, label } = await targetProfile(target);
  const rule = variants[precision];
  if (rule.aim === 'no')
    throw new PareError('unsupported', `--to ${precision} makes no sense on ${label}: ${rule.why}.`);
  return (typeof rule.options === 'function' ? rule.options(modelFacts(model)) : rule.options) ?? {};
}

type Setting = (flags: Flags, precision: Precision | undefined) => RecipeStep['options'];

/** For each flag, the precisions that it means something for, and what it sets there. */
const SETTINGS: readonly (readonly [flag: keyof Flags, precisions: readonly Precision[] | 'all', setting: Setting])[] =
  [
    ['method', ['int8'], ({ method }) => ({ method: oneOf(method, METHODS, '--method') })],
    ['include', 'all', ({ include }) => ({ include })],
    ['exclude', 'all', ({ exclude }) => ({ exclude })],
    ['perTensor', ['int8', 'int8-dynamic'], () => ({ perChannel: false })],
    ['symmetric', ['int8', 'int8-weights', 'int4-weights'], () => ({ symmetric: true })],
    [
      'reduceRange',
      ['int8', 'int8-dynamic'],
      (_, precision) => (precision === 'int8' ? { guard: 'reduced' } : { reduceRange: true }),
    ],
    [
      'format',
      ['int8', 'int8-weights', 'int4-weights'],
      ({ format }, precision) => ({
        format: oneOf(format, precision === 'int8' ? STATIC_FORMATS : WEIGHT_FORMATS, '--format'),
      }),
    ],
    [
      'blockSize',
      ['int8-weights', 'int4-weights'],
      ({ blockSize }) => ({ blockSize: parseCount(blockSize ?? '', '--block-size') }),
    ],
  ];

const METHODS = ['auto', 'min-max', 'moving-average', 'percentile', 'entropy', 'mse'] as const;
const STATIC_FORMATS = ['qdq', 'qoperator'] as const;
const WEIGHT_FORMATS = ['matmulnbits', 'dequantize', 'cast'] as const;

/** A flag as it is typed. */
const dashed = (flag: keyof Flags): string => `--${flag.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** The flags as options of the transform: only what was said. */
function settings(flags: Flags, precision: Precision | undefined): RecipeStep['options'] {
  if (precision && flags.train !== undefined) {
    throw new PareError('bad-option', `--train is for precisions like w4a8, not ${precision}.`);
  }
  if (flags.train === undefined) refuseTraining(flags, ['loss'], '--train');
  if (!precision && flags.target !== undefined) {
    throw new PareError('bad-option', `--target has no settings for ${flags.to}: its integers run everywhere.`);
  }
  // `--method` of few bits has a meaning of its own.
  const said = SETTINGS.filter(([flag]) => flags[flag] !== undefined && (precision || flag !== 'method'));
  const senseless = said.find(
    ([, precisions]) => precisions !== 'all' && !(precision && precisions.includes(precision)),
  );
  if (senseless) {
    const [flag, precisions] = senseless;
    throw new PareError(
      'bad-option',
      `${dashed(flag)} means nothing for ${flags.to}; it is for ${(precisions as readonly string[]).join(', ')}.`,
    );
  }
  return Object.assign({}, ...said.map(([, , setting]) => setting(flags, precision))) as RecipeStep['options'];
}
