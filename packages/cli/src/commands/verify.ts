import { writeFile } from 'node:fs/promises';
import { assembleEvidence } from '@pare/optimize';
import {
  type DataInfo,
  type Dataset,
  type Evidence,
  indexData,
  renderReport,
  renderTable,
  type Stage,
  verify as verifyModels,
} from '@pare/verify';
import { freshProcess, hostInfo } from '@pare/verify/node';
import { type CommandContext, EXIT } from '../command.js';
import { type DataFlags, loadData, loadMetric } from '../data.js';
import type { Register } from '../main.js';
import { openForVerify } from '../models.js';
import { type GateFlags, parseCount, parseGates } from '../parse.js';
import { stageName } from '../stages.js';

interface Flags extends DataFlags, GateFlags {
  readonly threads?: string;
  readonly seed?: string;
  readonly report?: string;
  readonly json?: boolean;
}

/** `pare verify`: stages 1 to 3 on models that exist. */
export const verify: Register = (program, run) => {
  program
    .command('verify')
    .description('measure models against the one they came from: accuracy, numerics, performance')
    .argument('<original>', 'ONNX file that the others are compared with')
    .argument('<variants...>', 'ONNX files')
    .option('--data <path>', 'labelled samples: .npz, .jsonl, .csv, a folder of images, or a module')
    .option('--preprocess <file>', 'how pictures become tensors')
    .option('--metric <name|file>', 'metric by name, or a TypeScript module')
    .option('--max-drop <amount>', 'gate: largest drop of the metric, for example 1%')
    .option('--max-p95 <time>', 'gate: largest p95 latency, for example 20ms')
    .option('--max-size <bytes>', 'gate: largest size, for example 10MB')
    .option('--min-cosine <number>', 'gate: smallest cosine of an output to the original')
    .option('--threads <n>', 'threads of every measurement (default: 1)')
    .option('--seed <n>', 'seed of random inputs and resampling (default: 1)')
    .option('--report <file>', 'write the report as one HTML file')
    .option('--json', 'print the evidence as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  $ pare verify model.onnx model.int8.onnx --data val.npz --max-drop 1%\n  $ pare verify a.onnx b.onnx --report report.html',
    )
    .action((original: string, variants: string[], flags: Flags) =>
      run(async (context) => {
        const evidence = await measure(original, variants, flags, [], context);
        if (flags.report !== undefined) await writeFile(flags.report, renderReport(evidence));
        return show(evidence, flags, context);
      }),
    );
};

/** Measures `variants` against `original`, leaving out the stages `skip`. */
export async function measure(
  original: string,
  variants: readonly string[],
  flags: Flags & { readonly budgetMs?: number },
  skip: readonly Stage[],
  { engine, signal, progress }: CommandContext,
): Promise<Evidence> {
  const gates = parseGates(flags);
  const threads = flags.threads === undefined ? 1 : parseCount(flags.threads, '--threads');
  const seed = flags.seed === undefined ? 1 : parseCount(flags.seed, '--seed', 0);
  const metrics = flags.metric === undefined ? [] : [await loadMetric(flags.metric)];
  const data = flags.data === undefined ? undefined : await loadData(flags.data, flags.preprocess);
  const first = await openForVerify(original, new Set(), signal);
  const others: Awaited<ReturnType<typeof openForVerify>>[] = [];
  for (const path of variants) {
    others.push(await openForVerify(path, new Set(['original', first.name, ...others.map((o) => o.name)]), signal));
  }
  const info = await dataInfo(data, seed, signal);
  const verified = await verifyModels(engine(), first, others, {
    data,
    metrics,
    gates,
    skip,
    threads,
    seed,
    signal,
    ...(flags.budgetMs === undefined ? {} : { budgetMs: flags.budgetMs }),
    fresh: (model, feeds) => freshProcess(model.model, feeds, { threads, config: model.sessionConfig ?? {}, signal }),
    onProgress: ({ stage, done, total }) => progress.update(stageName(stage), done, total ?? 0),
  });
  progress.end();
  return assembleEvidence(verified, {
    model: { ...first.info, inputs: verified.inputs, outputs: verified.outputs },
    data: { ...info, evaluation: verified.samples, samples: verified.samples },
    host: hostInfo(engine().name),
    options: { target: null, threads, batchSize: 1, seed, gates },
    repeat: { command: ['npx pare', ...process.argv.slice(2)].join(' '), config: null },
  });
}

/** Prints the evidence; exit code 0 when every variant holds the gates. */
export function show(evidence: Evidence, flags: { readonly json?: boolean }, { terminal }: CommandContext): number {
  terminal.out(
    flags.json
      ? JSON.stringify(evidence, null, 2)
      : renderTable(evidence, { columns: terminal.columns, style: terminal.style }),
  );
  const holds = evidence.refused.length === 0 && evidence.variants.every((v) => v.verdict.status !== 'refused');
  return holds ? EXIT.ok : EXIT.gatesFail;
}

async function dataInfo(data: Dataset | undefined, seed: number, signal: AbortSignal): Promise<DataInfo> {
  const base = { calibration: 0, evaluation: 0, samples: 0, seed };
  if (!data) {
    return { ...base, name: 'random inputs', kind: 'random', hash: null, labelled: false, classes: null, warnings: [] };
  }
  const index = await indexData(data, { signal });
  const { hash, labelled, classes, warnings } = index;
  return { ...base, name: data.name, kind: 'user', hash, labelled, classes, warnings };
}
