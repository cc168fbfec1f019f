import { type Feeds, type Model, PareError, seededRandom, select, shuffle } from '@pare/core';
import { type CompressedSizes, compressedSizes } from '@pare/core/node';
import {
  applyRecipe,
  calibrationFeeds,
  firstFeeds,
  type RecipeStep,
  repeatable,
  reviveOptions,
  simplifyProven,
} from '@pare/optimize';
import { LOSSES, type Loss, lossGradients, namedLoss, type TrainResult, train, trainSparse } from '@pare/train';
import {
  cubicSchedule,
  iterativeSchedule,
  type SparsityOptions,
  type SparsitySchedule,
  sparsityMasks,
} from '@pare/transforms';
import type { RecipeStep as AppliedStep, Dataset, TrainingEvidence } from '@pare/verify';
import { type CommandContext, EXIT } from '../command.js';
import { bytes, columns, noteLines } from '../format.js';
import { Job } from '../job.js';
import type { Register } from '../main.js';
import { checkOutput, type FileSummary, openModel, running, saveModel } from '../models.js';
import { configOption, dataOptions, examples, jsonOption, withOptions } from '../options.js';
import { collect, oneOf, parseCount } from '../parse.js';
import {
  DISTRIBUTIONS,
  ENDS,
  type Kind,
  type Pruning,
  type PruningFlags,
  pruningOf,
  RANKINGS,
  SCORES,
  sharingOf,
} from '../pruning.js';
import { trainingOf, writeTrainingReport } from '../report.js';
import { showTransform } from '../stages.js';
import type { Terminal } from '../terminal.js';
import {
  FOLDING,
  forgetCheckpoints,
  printKept,
  printTraining,
  refuseTraining,
  type TrainingFlags,
  trainingOptions,
  trainingSettings,
} from '../training.js';

type Flags = PruningFlags &
  TrainingFlags & {
    readonly finetune?: string;
    readonly schedule?: string;
    readonly rounds?: string;
    readonly loss?: string;
    readonly samples?: string;
    readonly simplify: boolean;
    readonly json?: boolean;
  };

/** What `pare prune --json` prints: `schemas/prune.schema.json`. */
export interface PruneReport {
  readonly schema: 'pare-prune/1.0';
  /** What was taken away; null: weights were only shared. */
  readonly pruned: Kind | null;
  readonly before: FileSummary;
  readonly after: FileSummary;
  /** Both files under the compressors of the web: what zeros bring. */
  readonly compressed: { readonly before: CompressedSizes; readonly after: CompressedSizes };
  /** What each transform did, in order. */
  readonly steps: readonly AppliedStep[];
  /** With `--finetune`: how it learned. */
  readonly training?: TrainingEvidence | undefined;
}

const COURSES = ['gradual', 'iterative', 'one-shot'] as const;
const ROUNDS = 4;

/** `pare prune`. */
export const prune: Register = (program, run) => {
  const command = program
    .command('prune')
    .summary('remove weights or channels, share weights')
    .description(
      'Sets single weights to 0 (--sparsity, --nm), or removes whole channels with all that is coupled to them (--channels, --macs, ' +
        '--parameters, --latency). With --data, what is left makes up for what went as far as it can without training. Fewer channels ' +
        'are faster everywhere; zeros bring bytes under compression, and no time. Nothing is scored: see `pare verify`.',
    )
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .requiredOption('-o, --output <file>', 'where to write the result')
    .option('--sparsity <share>', 'share of the weights that become 0: 0.8 or 80%')
    .option('--nm <n:m>', 'of each m inputs of an output n stay: 2:4 for sparse tensor cores')
    .option('--channels <share>', 'share of the channels that go')
    .option('--macs <share>', 'share of the multiply-accumulates that go with channels')
    .option('--parameters <share>', 'share of the parameters that go with channels')
    .option('--latency <share>', 'share of the time that goes with channels, measured on this machine')
    .option('--finetune <epochs>', 'train what is left on --data; weights that went stay 0')
    .option('--share <bits>', 'store weights as indices of 2 to 8 bits into codebooks: alone, or after pruning');
  withOptions(
    command,
    (c) =>
      c
        .option('--score <name>', `weights: ${SCORES.weights.join(', ')}; channels: ${SCORES.channels.join(', ')}`)
        .option(
          '--loss <name>',
          `--finetune, --score taylor: ${Object.keys(LOSSES).join(', ')} (default: cross-entropy)`,
        )
        .option('--schedule <name>', `--sparsity with --finetune: ${COURSES.join(', ')} (default: gradual)`)
        .option('--rounds <n>', `--schedule iterative: how often it prunes and mends (default: ${ROUNDS})`)
        .option('--distribution <name>', `--sparsity over the layers: ${DISTRIBUTIONS.join(', ')}`)
        .option('--keep <which>', `weights: layers that stay as they are: ${ENDS.join(', ')}`)
        .option('--ranking <name>', `channels of different layers: ${RANKINGS.join(', ')} (default: global)`)
        .option('--round-to <n>', 'channels: what is left of a layer is a multiple of this')
        .option('--include <op|name|/regex/>', 'only these operators or nodes', collect)
        .option('--exclude <op|name|/regex/>', 'not these operators or nodes', collect)
        .option('--no-simplify', 'channels: do not simplify first'),
    dataOptions,
    (c) => c.option('--samples <n>', 'samples of --data that pruning looks at (default: 256)'),
    trainingOptions,
    configOption,
    jsonOption('the result'),
    examples(
      'prune model.onnx --channels 0.5 --data train.npz -o half.onnx',
      'prune model.onnx --channels 0.5 --data train.npz --val val.npz --finetune 3 -o half.onnx',
      'prune model.onnx --sparsity 0.9 --data train.npz --val 1000 --finetune 6 --schedule iterative -o sparse.onnx',
      'prune model.onnx --macs 40% --data train.npz --score taylor --round-to 8 -o small.onnx',
      'prune model.onnx --sparsity 0.3 --share 6 -o sparse.onnx',
      'prune model.onnx --nm 2:4 --score wanda --data train.npz --keep both -o sparse24.onnx',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async (context) => {
      const { terminal, progress, signal } = context;
      const job = await Job.load(flags);
      const pruning = pruningOf(flags, job.seed);
      const sharing = sharingOf(flags);
      const loss = namedLoss(oneOf(flags.loss, Object.keys(LOSSES), '--loss') ?? 'cross-entropy');
      const tuning = await tuningOf(flags, pruning, job, context, loss);
      await checkOutput(flags.output);
      const data = await someOf(await job.data(), flags, job.seed);
      if (!data) refuseWithoutData(flags);
      const { model: original, summary: before } = await openModel(job.model(file), signal);
      progress.update({ stage: 'Compressing', done: 0 });
      const dense = await compressedSizes(original);
      const isSimplified = pruning?.kind === 'channels' && flags.simplify;
      const { model, steps: first } = isSimplified
        ? await simplified(original, data, context)
        : { model: original, steps: [] };
      const engine = context.engine();
      const calibration = data && calibrationFeeds(data, engine, model, signal);
      const gradients = await running(model, async () =>
        data && flags.score === 'taylor'
          ? await lossGradients(model, { engine, data, loss, seed: job.seed, signal })
          : undefined,
      );
      const apply = (steps: readonly (RecipeStep | undefined)[]): Promise<AppliedStep[]> =>
        running(model, () =>
          applyRecipe(model, recipeOf(steps), {
            engine,
            signal,
            onProgress: showTransform(progress),
            calibration,
            gradients,
          }),
        );
      const applied: AppliedStep[] = [];
      let training: TrainResult | undefined;
      if (tuning && pruning?.kind === 'weights') {
        // Weights go while the rest learns to do without.
        training = await running(model, () =>
          tuning.sparse(model, pruning, calibration && repeatable(calibration), gradients),
        );
        applied.push({ ...pruning.step, notes: [] });
      } else {
        applied.push(...(await apply([pruning?.step])));
        if (tuning) training = await running(model, () => tuning.dense(model));
      }
      if (sharing) applied.push(...(await apply([sharing])));
      progress.update({ stage: 'Writing', done: 0 });
      const after = await saveModel(flags.output, model, signal);
      progress.update({ stage: 'Compressing', done: 0 });
      const compressed = { before: dense, after: await compressedSizes(model) };
      progress.end();
      const report: PruneReport = {
        schema: 'pare-prune/1.0',
        pruned: pruning?.kind ?? null,
        before,
        after,
        compressed,
        steps: [...first, ...applied],
        training: training && trainingOf(flags.output, { what: 'prune', seed: job.seed, result: training }),
      };
      if (report.training) {
        forgetCheckpoints(flags);
        await writeTrainingReport(flags.report, { before, after, training: [report.training] }, context);
      }
      if (flags.json) terminal.out(JSON.stringify(report, null, 2));
      else print(terminal, report, training);
      return EXIT.ok;
    }),
  );
};

/** How what is left is trained: whole, or while weights go. */
interface Tuning {
  dense(model: Model): Promise<TrainResult>;
  sparse(
    model: Model,
    pruning: Pruning,
    samples: AsyncIterable<Feeds> | undefined,
    gradients: ReadonlyMap<string, Float32Array> | undefined,
  ): Promise<TrainResult>;
}

/** @throws PareError `bad-option` for flags that mean nothing together. */
async function tuningOf(
  flags: Flags,
  pruning: Pruning | undefined,
  job: Job,
  context: CommandContext,
  loss: Loss,
): Promise<Tuning | undefined> {
  if (flags.finetune === undefined) {
    refuseTraining(flags, ['schedule', 'rounds'], '--finetune');
    return undefined;
  }
  if (!pruning)
    throw new PareError('bad-option', '--finetune trains after pruning: say what goes, for example --sparsity.');
  if (pruning.kind === 'channels' && flags.schedule !== undefined) {
    throw new PareError('bad-option', '--schedule is for single weights (--sparsity); channels go at once.');
  }
  const isPattern = flags.nm !== undefined;
  const course = oneOf(flags.schedule, COURSES, '--schedule') ?? (isPattern ? 'one-shot' : 'gradual');
  if (isPattern && course !== 'one-shot') throw new PareError('bad-option', '--nm goes at once: --schedule one-shot.');
  if (course !== 'one-shot' && (flags.score ?? 'magnitude') !== 'magnitude' && pruning.kind === 'weights') {
    throw new PareError('bad-option', `--schedule ${course} looks at weights as they learn: --score magnitude only.`);
  }
  const rounds = flags.rounds === undefined ? ROUNDS : parseCount(flags.rounds, '--rounds');
  if (flags.rounds !== undefined && course !== 'iterative') {
    throw new PareError('bad-option', '--rounds means nothing without --schedule iterative.');
  }
  const settings = await trainingSettings(flags, job, context, parseCount(flags.finetune, '--finetune'));
  const options = { ...settings, loss };
  return {
    dense: (model) => train(model, options),
    async sparse(model, { step }, samples, gradients) {
      const sparsity: SparsityOptions = { ...reviveOptions(step.options), samples };
      if (course !== 'one-shot') return trainSparse(model, { ...options, sparsity, course: COURSE[course](rounds) });
      const { engine, signal } = options;
      const masks = await sparsityMasks(model, { ...sparsity, gradients }, { engine, signal });
      return train(model, { ...options, masks });
    },
  };
}

/** Share of the training after which nothing more goes: what went last is mended before the learning rate is spent. */
const END = 2 / 3;
const COURSE = {
  gradual: () => (share: number) => cubicSchedule(share, { end: END }),
  iterative:
    (rounds: number) =>
    (share: number): SparsitySchedule => {
      const inRounds = iterativeSchedule(share, rounds);
      return (progress) => inRounds(Math.min(1, progress / END));
    },
} as const;

function refuseWithoutData({ score = '', latency }: Flags): void {
  const flag = ['wanda', 'taylor', 'activation'].includes(score) ? `--score ${score}` : latency && '--latency';
  if (flag) throw new PareError('bad-option', `${flag} runs the model on samples: give some with --data.`);
}

const SAMPLES = 256;

/** So many samples, chosen by `seed`: a folder of pictures begins with those of one class. */
async function someOf(data: Dataset | undefined, flags: Flags, seed: number): Promise<Dataset | undefined> {
  const most = flags.samples === undefined ? SAMPLES : parseCount(flags.samples, '--samples');
  if (!data || data.size === undefined || data.size <= most) return data;
  const all = Array.from({ length: data.size }, (_, i) => i);
  return select(
    data,
    shuffle(all, seededRandom(seed))
      .slice(0, most)
      .sort((a, b) => a - b),
  );
}

async function simplified(
  model: Model,
  data: Dataset | undefined,
  { engine, signal, progress }: CommandContext,
): Promise<{ readonly model: Model; readonly steps: AppliedStep[] }> {
  const options = { skip: FOLDING };
  const context = { engine: engine(), signal, onProgress: showTransform(progress) };
  const proven = await running(model, async () =>
    simplifyProven(model, options, context, data && (await firstFeeds(data, model, engine(), signal))),
  );
  return { model: proven.model, steps: [{ transform: 'simplify', options, notes: proven.notes }] };
}

const recipeOf = (steps: readonly (RecipeStep | undefined)[]): Parameters<typeof applyRecipe>[1] => ({
  name: 'prune',
  dtype: 'fp32',
  why: 'asked for',
  steps: steps.filter((step) => step !== undefined),
});

function print(
  terminal: Terminal,
  { before, after, compressed, steps, pruned }: PruneReport,
  training?: TrainResult,
): void {
  for (const line of noteLines(steps.flatMap((step) => step.notes))) terminal.out(terminal.style('dim', line));
  const row = (name: string, from: number | undefined, to: number | undefined): string[] =>
    from === undefined || to === undefined
      ? [name, 'not available', `on Node ${process.version}`]
      : [name, bytes(from), bytes(to)];
  terminal.out(
    columns([
      ['', 'before', 'after'],
      row('file', before.bytes, after.bytes),
      row('gzip', compressed.before.gzip, compressed.after.gzip),
      row('brotli', compressed.before.brotli, compressed.after.brotli),
      row('zstd', compressed.before.zstd, compressed.after.zstd),
    ]),
  );
  if (pruned === 'weights') {
    terminal.out('The kernels of ONNX Runtime are dense: it is no faster, and no smaller in memory.');
  }
  if (training) {
    printTraining(terminal, training);
    printKept(terminal, after.file, training);
  } else terminal.out(terminal.style('bold', after.file));
}
