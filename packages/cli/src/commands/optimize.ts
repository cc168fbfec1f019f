import { join, resolve } from 'node:path';
import { PareError } from '@pare/core';
import {
  type Goal,
  type Layout,
  type OptimizeOptions,
  optimize as optimizeModel,
  type PareConfig,
  type TargetName,
} from '@pare/optimize';
import { type Dataset, renderTable } from '@pare/verify';
import { type CommandContext, EXIT } from '../command.js';
import { type LoadedConfig, loadConfig } from '../config.js';
import { type DataFlags, loadData, loadMetric } from '../data.js';
import type { Register } from '../main.js';
import { collect, type GateFlags, parseCount, parseDims, parseGates, parseShapes } from '../parse.js';

interface Flags extends DataFlags, GateFlags {
  readonly output?: string;
  readonly config?: string;
  readonly calibration?: string;
  readonly target?: string;
  readonly goal?: string;
  readonly layout?: string;
  readonly fixShape?: string[];
  readonly fixDim?: string[];
  readonly threads?: string;
  readonly seed?: string;
  readonly json?: boolean;
}

/** `pare optimize`: the main job. */
export const optimize: Register = (program, run) => {
  program
    .command('optimize')
    .description('the main job: build every variant that makes sense for the target, prove each, write what may ship')
    .argument('[model]', 'ONNX file; default: the one in pare.config.ts')
    .option('-o, --output <folder>', 'folder for the result (default: dist)')
    .option('--data <path>', 'labelled samples: .npz, .jsonl, .csv, a folder of images, or a module')
    .option('--calibration <path>', 'samples for calibration (default: some of --data, which are then not scored)')
    .option('--preprocess <file>', 'how pictures become tensors: preprocessing JSON or preprocessor_config.json')
    .option('--metric <name|file>', 'metric by name, or a TypeScript module (default: by the labels)')
    .option('--target <name>', 'node-cpu, web-wasm or web-webgpu (default: node-cpu)')
    .option('--max-drop <amount>', 'gate: largest drop of the metric, for example 1%')
    .option('--max-p95 <time>', 'gate: largest p95 latency, for example 20ms')
    .option('--max-size <bytes>', 'gate: largest size, for example 10MB')
    .option('--min-cosine <number>', 'gate: smallest cosine of an output to the original')
    .option('--goal <goal>', 'recommend by latency or size (default: latency)')
    .option('--layout <layout>', 'names of files: pare, or hf for Hugging Face (default: pare)')
    .option('--fix-shape <name=dims>', 'fix the shape of an input, for example image=1,3,224,224', collect)
    .option('--fix-dim <name=number>', 'fix a named dimension, for example batch=1', collect)
    .option('--threads <n>', 'threads of every measurement (default: 1)')
    .option('--seed <n>', 'seed of splits and random inputs (default: 1)')
    .option('--config <file>', 'configuration (default: pare.config.ts of this folder, if there is one)')
    .option('--json', 'print the evidence as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare optimize model.onnx --data val.npz --max-drop 1% -o dist/\n  $ pare optimize model.onnx --data val/ --preprocess preprocessor_config.json --target web-wasm --goal size\n  $ pare optimize                      # everything from pare.config.ts',
    )
    .action((file: string | undefined, flags: Flags) =>
      run(async (context) => {
        const loaded = await loadConfig(flags.config);
        const options = await optionsOf(file, flags, loaded, context);
        const { evidence, folder } = await optimizeModel(options);
        const { terminal, progress } = context;
        progress.end();
        terminal.out(
          flags.json
            ? JSON.stringify(evidence, null, 2)
            : `${renderTable(evidence, { columns: terminal.columns, style: terminal.style })}

Written to ${folder}: open ${join(folder, 'report.html')}`,
        );
        const recommended = evidence.variants.find((v) => v.name === evidence.recommendation.variant);
        const nothingHolds =
          recommended?.isOriginal && evidence.variants.every((v) => v.isOriginal || v.verdict.status === 'refused');
        return nothingHolds ? EXIT.gatesFail : EXIT.ok;
      }),
    );
};

/** Flags win over the configuration; paths of the configuration are relative to it. */
async function optionsOf(
  file: string | undefined,
  flags: Flags,
  loaded: LoadedConfig | undefined,
  { engine, signal, progress }: CommandContext,
): Promise<OptimizeOptions> {
  const config: Partial<PareConfig> = loaded?.config ?? {};
  const inFolder = (path: string): string => resolve(loaded?.folder ?? '.', path);
  const model = file ?? (config.model !== undefined ? inFolder(config.model) : undefined);
  if (model === undefined) {
    throw new PareError('bad-option', 'Which model? Give a file, or write a pare.config.ts with a "model".');
  }
  const preprocess = flags.preprocess ?? (config.preprocess !== undefined ? inFolder(config.preprocess) : undefined);
  const dataset = async (flag: string | undefined, own: PareConfig['data']): Promise<Dataset | undefined> =>
    flag !== undefined
      ? loadData(flag, preprocess)
      : typeof own === 'string'
        ? loadData(inFolder(own), preprocess)
        : own;
  const metric = flags.metric ?? config.metric;
  return {
    model,
    output: flags.output ?? (config.output !== undefined ? inFolder(config.output) : 'dist'),
    engine: engine(),
    data: await dataset(flags.data, config.data),
    calibration: await dataset(flags.calibration, config.calibration),
    metric: typeof metric === 'string' ? await loadMetric(metric) : metric,
    target:
      oneOf(flags.target, ['node-cpu', 'web-wasm', 'web-webgpu'] satisfies TargetName[], '--target') ?? config.target,
    gates: { ...config.gates, ...parseGates(flags) },
    goal: oneOf(flags.goal, ['latency', 'size'] satisfies Goal[], '--goal') ?? config.goal,
    layout: oneOf(flags.layout, ['pare', 'hf'] satisfies Layout[], '--layout') ?? config.layout,
    fixShapes: { ...config.fixShapes, ...parseShapes(flags.fixShape ?? []) },
    fixDims: { ...config.fixDims, ...parseDims(flags.fixDim ?? []) },
    threads: flags.threads !== undefined ? parseCount(flags.threads, '--threads') : config.threads,
    seed: flags.seed !== undefined ? parseCount(flags.seed, '--seed', 0) : config.seed,
    command: ['npx pare', ...process.argv.slice(2)].join(' '),
    signal,
    onProgress: progress.update,
  };
}

function oneOf<T extends string>(text: string | undefined, known: readonly T[], option: string): T | undefined {
  if (text === undefined) return undefined;
  const found = known.find((name) => name === text);
  if (!found) throw new PareError('bad-option', `${option} ${text}: choose one of ${known.join(', ')}.`);
  return found;
}
