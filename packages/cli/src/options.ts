import type { Command } from 'commander';
import { collect } from './parse.js';

/*
 * Options that several commands share, in one wording.
 */

type Add = (command: Command) => Command;

/** Adds groups of options to a command, in order. */
export const withOptions = (command: Command, ...groups: readonly Add[]): Command =>
  groups.reduce((c, add) => add(c), command);

export const dataOptions: Add = (command) =>
  command
    .option('--data <path>', 'samples: .npz, .npy, .jsonl, .csv, a folder of images, or a TypeScript module')
    .option('--preprocess <file>', 'how pictures become tensors: preprocessing JSON or preprocessor_config.json');

export const metricOption: Add = (command) =>
  command.option('--metric <name|file>', 'metric by name, or a TypeScript module (default: by the labels)');

export const gateOptions: Add = (command) =>
  command
    .option('--max-drop <amount>', 'gate: largest drop of the metric, for example 1%')
    .option('--max-p95 <time>', 'gate: largest p95 latency, for example 20ms')
    .option('--max-size <bytes>', 'gate: largest size, for example 10MB')
    .option('--min-cosine <number>', 'gate: smallest cosine of an output to the original');

export const shapeOptions: Add = (command) =>
  command
    .option(
      '--fix-shape <name=dims>',
      'fix the shape of an input: image=1,3,224,224; ? leaves a dimension free',
      collect,
    )
    .option('--fix-dim <name=number>', 'fix a named dimension: batch=1', collect);

export const measureOptions: Add = (command) =>
  command
    .option('--time <time>', 'time for the latency of each model, for example 10s (default: 3s)')
    .option('--threads <n>', 'threads of every measurement (default: 1)')
    .option('--seed <n>', 'seed of splits, random inputs and resampling (default: 1)');

export const configOption: Add = (command) =>
  command
    .option('--config <file>', 'where flags are silent (default: pare.config.ts of this folder, if there is one)')
    .option('--no-config', 'do not read pare.config.ts');

export const jsonOption =
  (what: string): Add =>
  (command) =>
    command.option('--json', `print ${what} as JSON`);

/** Examples below the options. */
export const examples =
  (...lines: readonly string[]): Add =>
  (command) =>
    command.addHelpText('after', `\nExamples:\n${lines.map((line) => `  $ pare ${line}`).join('\n')}`);
