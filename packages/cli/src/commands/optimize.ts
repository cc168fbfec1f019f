import { isAbsolute, join, relative } from 'node:path';
import { gateFailures, optimize as optimizeModel } from '@pare/optimize';
import { type Evidence, renderTable } from '@pare/verify';
import { EXIT } from '../command.js';
import { Job, type JobFlags } from '../job.js';
import type { Register } from '../main.js';
import {
  configOption,
  dataOptions,
  examples,
  gateOptions,
  jsonOption,
  measureOptions,
  metricOption,
  shapeOptions,
  withOptions,
} from '../options.js';
import { showStages } from '../stages.js';

interface Flags extends JobFlags {
  readonly train?: string;
  readonly trainEpochs?: string;
  readonly json?: boolean;
}

/** `pare optimize`: the main job. */
export const optimize: Register = (program, run) => {
  const command = program
    .command('optimize')
    .summary('the main job: build variants, prove them, pack the best')
    .description(
      'Simplifies the model, builds every variant that makes sense for the target, measures each against the original on the data, ' +
        'drops what is worse with a reason, and writes a folder: the variants, manifest.json, evidence.json and report.html. The exit ' +
        'code is 1 when gates leave nothing but the original, or when what is recommended fails one.',
    )
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .option('-o, --output <folder>', 'folder for the result (default: dist)');
  withOptions(
    command,
    dataOptions,
    (c) =>
      c
        .option('--calibration <path>', 'samples for calibration (default: some of --data, which are then not scored)')
        .option('--train <path>', 'samples to train int8 on where it fails the gates on accuracy; none of --data')
        .option('--train-epochs <n>', 'passes over them (default: 2)'),
    metricOption,
    (c) => c.option('--target <name>', 'node-cpu, web-wasm or web-webgpu (default: node-cpu)'),
    gateOptions,
    (c) =>
      c
        .option('--goal <goal>', 'recommend by latency or size (default: latency)')
        .option('--layout <layout>', 'names of files: pare, or hf for Hugging Face (default: pare)'),
    shapeOptions,
    measureOptions,
    configOption,
    jsonOption('the evidence'),
    examples(
      'optimize model.onnx --data val.npz --max-drop 1% -o dist/',
      'optimize model.onnx --data val.npz --max-drop 0.5% --train train.npz --train-epochs 3',
      'optimize model.onnx --data val/ --preprocess preprocessor_config.json --target web-wasm --goal size',
      'optimize                      # everything from pare.config.ts',
    ),
  ).action((file: string | undefined, flags: Flags) =>
    run(async ({ terminal, progress, signal, engine, commandLine }) => {
      const job = await Job.load(flags);
      const { target, gates, goal, layout, fixShapes, fixDims, threads, seed, budgetMs } = job;
      const { evidence, folder } = await optimizeModel({
        model: job.model(file),
        output: job.output ?? 'dist',
        engine: engine(),
        data: await job.data(),
        calibration: await job.calibration(),
        train: await job.training(flags.train, flags.trainEpochs),
        metric: await job.metric(),
        target,
        gates,
        goal,
        layout,
        fixShapes,
        fixDims,
        threads,
        seed,
        budgetMs,
        repeat: { command: commandLine, config: job.configText },
        signal,
        onProgress: showStages(progress),
      });
      progress.end();
      if (flags.json) terminal.out(JSON.stringify(evidence, null, 2));
      else {
        terminal.out(renderTable(evidence, { columns: terminal.columns, style: terminal.style }));
        const place = shown(folder);
        terminal.out(`\nWritten to ${place}: open ${join(place, 'report.html')}`);
      }
      return gatesHold(evidence) ? EXIT.ok : EXIT.gatesFail;
    }),
  );
};

/** A path as one would type it here. */
function shown(path: string): string {
  const short = relative('.', path);
  return short === '' || short.startsWith('..') || isAbsolute(short) ? path : short;
}

/** What is recommended holds the gates, and it is not the original because gates refused all that was otherwise good. */
function gatesHold({ variants, options, recommendation }: Evidence): boolean {
  const holds = variants.map((v) => gateFailures(v, options.gates).length === 0);
  const recommended = variants.findIndex((v) => v.name === recommendation.variant);
  if (!holds[recommended]) return false;
  if (!variants[recommended]?.isOriginal) return true;
  const isLeft = variants.some((v) => !v.isOriginal && v.verdict.status !== 'refused');
  return isLeft || holds.every(Boolean);
}
