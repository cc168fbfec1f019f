import { availableParallelism } from 'node:os';
import { PareError } from '@pare/core';
import {
  type Augmentation,
  adamW,
  augment,
  constantSchedule,
  cosineSchedule,
  type EpochRecord,
  oneCycleSchedule,
  type Schedule,
  sgd,
  type TrainOptions,
  type TrainProgress,
  type TrainResult,
} from '@pare/train';
import { checkCheckpointFolder, checkpointFolder, removeCheckpoints, workerBatches } from '@pare/train/node';
import { visible } from '@pare/verify';
import type { Command } from 'commander';
import type { CommandContext } from './command.js';
import { columns } from './format.js';
import type { Job, JobFlags } from './job.js';
import { checkOutput } from './models.js';
import { collect, oneOf, parseCount, parseMs } from './parse.js';
import type { Progress } from './progress.js';
import type { Terminal } from './terminal.js';

/** Flags of every command that trains. */
export interface TrainingFlags extends JobFlags {
  readonly output: string;
  readonly epochs?: string;
  readonly batch?: string;
  readonly optimizer?: string;
  readonly lr?: string;
  readonly lrSchedule?: string;
  readonly weightDecay?: string;
  readonly clip?: string;
  readonly average?: string;
  readonly augment?: string;
  readonly freeze?: string[];
  readonly freezeBatchnorm?: boolean;
  readonly patience?: string;
  readonly checkpoint?: string;
  readonly checkpointEvery?: string;
  readonly resume?: boolean;
  readonly report?: string;
}

const OPTIMIZERS = ['adamw', 'sgd'] as const;
const SCHEDULES = ['one-cycle', 'cosine', 'constant'] as const;
const DECAY = { adamw: 0.01, sgd: 5e-4 } as const;
/** Of `adamw`, a share of the size of each tensor: one step for all would destroy what has learned in other units. */
const RATE = { adamw: 2e-3, sgd: 0.05 } as const;

/** Passes of `simplify` that fold normalizations into weights: training, and measuring them anew, want them apart. */
export const FOLDING = ['fuse-affine-after-weights', 'fuse-affine-before-weights'];

/** Flags that only training has a use for. */
const TRAINING = [
  'val',
  'batch',
  'optimizer',
  'lr',
  'lrSchedule',
  'weightDecay',
  'clip',
  'average',
  'augment',
  'freeze',
  'freezeBatchnorm',
  'patience',
  'checkpoint',
  'checkpointEvery',
  'resume',
  'report',
] as const satisfies readonly (keyof TrainingFlags)[];

/**
 * Refuses flags that mean nothing where nothing is trained: those of training, and `more`.
 * @throws PareError `bad-option` with the flag, and `without`, which would make it mean something.
 */
export function refuseTraining<F extends TrainingFlags>(flags: F, more: readonly (keyof F)[], without: string): void {
  const flag = [...TRAINING, ...more].find((name) => flags[name as keyof F] !== undefined);
  if (flag !== undefined) {
    const dashed = `--${String(flag).replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
    throw new PareError('bad-option', `${dashed} means nothing without ${without}.`);
  }
}

/** Options of every command that trains, in one wording. */
export function trainingOptions(command: Command): Command {
  return command
    .option(
      '--val <path|n>',
      'samples that choose the best weights, or how many of --data do; default: the last ones are kept',
    )
    .option('--batch <n>', 'samples a step (default: 64)')
    .option('--optimizer <name>', `${OPTIMIZERS.join(' or ')} (default: adamw)`)
    .option('--lr <rate>', 'highest learning rate (default: 0.05 for sgd; for adamw 0.002 of the size of each tensor)')
    .option('--lr-schedule <name>', `${SCHEDULES.join(', ')} (default: one-cycle)`)
    .option('--weight-decay <n>', 'default: 0.01 for adamw, 0.0005 for sgd')
    .option('--clip <norm>', 'largest norm of the gradients')
    .option('--average <decay>', 'keep a moving average of the weights, for example 0.999')
    .option('--augment <list>', 'vary pictures: flip,crop=2,rotate=10,cutout=8,brightness=0.2,contrast=0.2')
    .option('--freeze <name|/regex/>', 'weights that stay as they are', collect)
    .option('--freeze-batchnorm', 'keep the running statistics of BatchNormalization')
    .option('--patience <n>', 'stop after so many epochs without a better score on --val')
    .option('--threads <n>', 'parts of a batch that are computed at the same time (default: cores, at most 4)')
    .option('--seed <n>', 'of the order of samples, variation and dropout (default: 1)')
    .option('--checkpoint <folder>', 'where the state of the run is saved (default: <output>.checkpoints)')
    .option('--checkpoint-every <time>', 'time between two (default: 30s)')
    .option('--resume', 'go on from the newest checkpoint, to the same bits as without the interruption')
    .option('--report <file>', 'write how it learned as one HTML file');
}

/**
 * What the flags say of a run. Checkpoints lie beside the output while it lasts.
 * @throws PareError `bad-option` and `io`: what can be known to fail fails here, before the work.
 */
export async function trainingSettings(
  flags: TrainingFlags,
  job: Job,
  { engine, signal, progress, terminal }: CommandContext,
  epochs: number,
): Promise<Omit<TrainOptions, 'loss'>> {
  const data = await job.data();
  if (!data) throw new PareError('bad-option', 'Training needs samples: give some with --data.');
  const validation = await job.validation();
  const threads = flags.threads === undefined ? Math.min(4, availableParallelism()) : job.threads;
  const wanted = flags.batch === undefined ? 64 : parseCount(flags.batch, '--batch');
  const name = oneOf(flags.optimizer, OPTIMIZERS, '--optimizer') ?? 'adamw';
  const weightDecay = number(flags.weightDecay, '--weight-decay') ?? DECAY[name];
  const learningRate = number(flags.lr, '--lr') ?? RATE[name];
  const every =
    flags.checkpointEvery === undefined ? undefined : parseMs(flags.checkpointEvery, '--checkpoint-every') / 1000;
  const folder = checkpointPath(flags);
  if (flags.report !== undefined) await checkOutput(flags.report);
  checkCheckpointFolder(folder);
  const store = checkpointFolder(folder, (warning) =>
    terminal.err(`${terminal.errStyle('yellow', 'warning')}: ${visible(warning)}`),
  );
  if (flags.resume && !(await store.latest())) {
    throw new PareError('bad-option', `There is no checkpoint in "${folder}" to go on from: start without --resume.`);
  }
  return {
    engine: engine(),
    signal,
    data,
    validation,
    epochs,
    batchSize: wanted,
    shards: Math.min(threads, wanted),
    seed: job.seed,
    optimizer: name === 'sgd' ? sgd({ momentum: 0.9, nesterov: true, weightDecay }) : adamW({ weightDecay }),
    rates: name === 'adamw' && flags.lr === undefined ? 'relative' : 'absolute',
    schedule: schedule(flags.lrSchedule, learningRate),
    clipNorm: number(flags.clip, '--clip'),
    average: number(flags.average, '--average'),
    augment: flags.augment === undefined ? undefined : parseAugmentation(flags.augment),
    freeze: matcher(flags.freeze ?? []),
    batchNorm: flags.freezeBatchnorm ? 'frozen' : 'batch',
    patience: flags.patience === undefined ? undefined : parseCount(flags.patience, '--patience'),
    batches: (data, options) => workerBatches(data, options),
    checkpoints: { store, every, resume: flags.resume ?? false },
    onProgress: showTraining(progress),
  };
}

/** Folder of the checkpoints of a run. */
export const checkpointPath = ({ checkpoint, output }: TrainingFlags): string => checkpoint ?? `${output}.checkpoints`;

/** Removes the checkpoints of a run whose result is written. */
export const forgetCheckpoints = (flags: TrainingFlags): void => removeCheckpoints(checkpointPath(flags));

/** Shows a run as it goes: `epoch 2 of 3, loss 0.312, 88.1 % right, 730 samples/s`. */
export function showTraining(progress: Progress, stage = 'Training'): (at: TrainProgress) => void {
  return ({ epoch, epochs, step, steps, loss, accuracy, samplesPerSecond }) => {
    const right = accuracy === undefined ? '' : `, ${(100 * accuracy).toFixed(1)} % right`;
    const what = `epoch ${epoch} of ${epochs}, loss ${loss.toPrecision(3)}${right}, ${samplesPerSecond.toFixed(0)} samples/s`;
    progress.update({ stage, done: step, total: steps, what });
  };
}

/** The epochs of a run as a table, the one whose weights were kept marked. */
export function printTraining(terminal: Terminal, result: TrainResult): void {
  const percent = result.score === undefined || result.score === 'accuracy';
  const score = (value: number | undefined): string =>
    value === undefined ? '' : percent ? `${(100 * value).toFixed(2)} %` : value.toPrecision(4);
  const rows = result.epochs.map((record: EpochRecord) => [
    `${record.epoch}`,
    record.loss.toPrecision(4),
    record.accuracy === undefined ? '' : `${(100 * record.accuracy).toFixed(2)} %`,
    score(record.score),
    `${record.seconds.toFixed(1)} s`,
    record.epoch === result.best && result.score ? '← kept' : '',
  ]);
  const kept = result.best === 0 ? '← kept: no epoch was better' : '';
  if (result.score) rows.unshift(['before', '', '', score(result.start), '', kept]);
  terminal.out(columns([['epoch', 'loss', 'training', result.score ?? '', 'time', ''], ...rows]));
  for (const note of result.notes) terminal.out(terminal.style('dim', `  ${note}`));
}

/** Which weights the file has. */
export function printKept(terminal: Terminal, file: string, { best }: TrainResult): void {
  const what = best === 0 ? 'the weights that it started from' : `the weights of epoch ${best}`;
  terminal.out(`${terminal.style('bold', file)} has ${what}.`);
}

function schedule(flag: string | undefined, learningRate: number): (steps: number) => Schedule {
  const name = oneOf(flag, SCHEDULES, '--lr-schedule') ?? 'one-cycle';
  if (name === 'constant') return () => constantSchedule(learningRate);
  return (steps) => (name === 'cosine' ? cosineSchedule : oneCycleSchedule)({ learningRate, steps });
}

function number(text: string | undefined, option: string): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new PareError('bad-option', `${option} ${text}: write a number of 0 or more.`);
}

/** Whether a name is one of `patterns`: equal, or matched by a /regular expression/. */
function matcher(patterns: readonly string[]): (name: string) => boolean {
  const tests = patterns.map((pattern) => {
    const expression = /^\/(.+)\/([a-z]*)$/.exec(pattern);
    if (!expression) return (name: string) => name === pattern;
    try {
      const regex = new RegExp(expression[1] as string, expression[2]);
      return (name: string) => regex.test(name);
    } catch (cause) {
      throw new PareError('bad-option', `--freeze ${pattern} is no regular expression.`, { cause });
    }
  });
  return (name) => tests.some((test) => test(name));
}

/** `flip,crop=2,cutout=8` as options of `augment`. */
export function parseAugmentation(text: string): Augmentation {
  const options: Record<string, unknown> = {};
  const colour: Record<string, number> = {};
  for (const part of text.split(',')) {
    const [key = '', value] = part.trim().split('=');
    const amount = Number(value);
    if (key === 'flip' && (value === undefined || ['horizontal', 'vertical', 'both'].includes(value))) {
      options.flip = value ?? 'horizontal';
    } else if (['crop', 'rotate', 'cutout', 'fill'].includes(key) && Number.isFinite(amount)) options[key] = amount;
    else if (['brightness', 'contrast', 'saturation'].includes(key) && Number.isFinite(amount)) colour[key] = amount;
    else {
      throw new PareError(
        'bad-option',
        `--augment ${part}: write flip, flip=vertical, flip=both, crop=2, rotate=10, cutout=8, fill=0, brightness=0.2, ` +
          'contrast=0.2 or saturation=0.2, with commas between.',
      );
    }
  }
  return augment({ ...options, ...(Object.keys(colour).length > 0 ? { colour } : {}) });
}
